"""DescribeInstances, DescribeInstanceStatus, DescribeRegions: managed instances as ECS instances."""

from datetime import timedelta
from typing import Any

from backfleet import fleet
from backfleet.fleet import Instance, InstanceFilter
from backfleet.operations.catalogue import ECS, Call, operation
from backfleet.operations.ecs import errors
from backfleet.operations.ecs.requests import (
    PAGE_ERRORS,
    PAGE_SHAPE,
    TAGS,
    InRegion,
    Paged,
    check_region,
    instance_arns,
    page_number,
    page_size,
    requested_page,
    tag_list,
    tags_answer,
    wanted_tags,
)
from backfleet.operations.tags import Tag
from backfleet.paging import Listing, Page
from backfleet.storage import Transaction
from backfleet.values import value_object
from backfleet.wire.parameters import boolean, json_list, repeat, text
from backfleet.wire.shapes import Anything

SHORT_TIME = "%Y-%m-%dT%H:%MZ"  # DescribeInstances leaves out the seconds
RUNNING, STOPPED = "Running", "Stopped"
OTHER_STATES = ("Pending", "Starting", "Stopping")  # no instance here is ever in one of them

ECS_INSTANCE_SHAPE = {
    **dict.fromkeys(
        (
            "InstanceId", "InstanceName", "HostName", "Description", "Status", "RegionId", "ZoneId", "OSType",
            "OSName", "OSNameEn", "InstanceType", "SerialNumber", "CreationTime", "InstanceNetworkType",
            "ResourceGroupId",
        ),
        str,
    ),
    "Cpu": int,
    "Memory": int,
    "VpcAttributes": {
        "VpcId": str,
        "VSwitchId": str,
        "NatIpAddress": str,
        "PrivateIpAddress": {"IpAddress": [str]},
    },
    **{name: {"IpAddress": [str]} for name in ("PublicIpAddress", "InnerIpAddress", "RdmaIpAddress")},
    "SecurityGroupIds": {"SecurityGroupId": [str]},
    "NetworkInterfaces": {"NetworkInterface": [Anything]},
    "OperationLocks": {"LockReason": [Anything]},
    "Tags": {"Tag": TAGS},
    **dict.fromkeys(("DeletionProtection", "DeviceAvailable", "IoOptimized"), bool),
}  # fmt: skip


def find_instances(tx: Transaction, call: Call, wanted: InstanceFilter, page: Page) -> Listing[Instance]:
    """Return one page of the account's instances."""
    reachable_since = call.now - timedelta(seconds=call.services.settings.fit_seconds)
    return fleet.find_instances(tx, call.account_id, call.region, wanted, page, reachable_since=reachable_since)


# --- DescribeInstances ----------------------------------------------------------------------------------------------


@value_object
class DescribeInstances(Paged):
    """Filters of instances. Other filters of the cloud are about things that no instance here has."""

    instance_ids: tuple[str, ...] | None = json_list("InstanceIds")
    instance_name: str | None = text("InstanceName", longest=128)
    status: str | None = text("Status", choices=(RUNNING, STOPPED, *OTHER_STATES))
    private_ips: tuple[str, ...] | None = json_list("PrivateIpAddresses")
    vpc_id: str | None = text("VpcId")
    zone_id: str | None = text("ZoneId")
    tags: tuple[Tag, ...] = tag_list()
    page_size: int = page_size(100)
    dry_run: bool = boolean("DryRun", default=False)


def _no_instances(call: Call, asked: DescribeInstances) -> dict[str, Any]:
    """Return the empty list that a caller without permission gets, for DryRun too."""
    return {"Instances": {"Instance": []}, "PageNumber": 1, "PageSize": 10, "TotalCount": 0, "NextToken": ""}


@operation(
    ECS,
    "DescribeInstances",
    action="ecs:DescribeInstances",
    resources=lambda call, asked: instance_arns(call, asked.instance_ids),
    denied=_no_instances,
    answer={"Instances": {"Instance": [ECS_INSTANCE_SHAPE]}, **PAGE_SHAPE},
    errors=(
        errors.RegionNotFound,
        errors.TooManyIds,
        errors.DryRun,
        errors.TooManyTags,
        errors.TagKeyMissing,
        *PAGE_ERRORS,
    ),
)
def describe_instances(call: Call, asked: DescribeInstances) -> dict[str, Any]:
    """List the account's instances as ECS instances. `[]` as InstanceIds lists none, not all."""
    check_region(call, asked)
    if asked.instance_ids is not None and len(asked.instance_ids) > 100:
        raise errors.TooManyIds
    if asked.dry_run:
        raise errors.DryRun
    page = requested_page(call, asked, most=100)
    asked = page.asked
    wanted = InstanceFilter(
        ids=asked.instance_ids,
        name=asked.instance_name,
        ips=asked.private_ips,
        stopped=None if asked.status is None else asked.status == STOPPED,
        tags=wanted_tags(asked.tags),
    )
    found: Listing[Instance] = Listing([], 0)
    tags: dict[str, dict[str, str]] = {}
    if asked.status not in OTHER_STATES and not asked.vpc_id and not asked.zone_id:
        with call.services.database.reading() as tx:
            found = find_instances(tx, call, wanted, page.page)
            tags = fleet.tags_of(tx, "instance", [instance.id for instance in found.items])
    listed = [_ecs_instance(instance, tags.get(instance.id)) for instance in found.items]
    return {"Instances": {"Instance": listed}, **page.answer(found)}


def _ecs_instance(instance: Instance, tags: dict[str, str] | None) -> dict[str, Any]:
    addresses = [instance.intranet_ip] if instance.intranet_ip else []
    return {
        "InstanceId": instance.id,
        "InstanceName": instance.name,
        "HostName": instance.hostname,
        "Description": "",
        "Status": STOPPED if instance.stopped_at else RUNNING,
        "RegionId": instance.region,
        "ZoneId": "",
        "OSType": instance.os_type,
        "OSName": instance.os_version,
        "OSNameEn": instance.os_version,
        "InstanceType": "",
        "Cpu": 0,
        "Memory": 0,
        "SerialNumber": instance.machine_id,
        "CreationTime": instance.registered_at.strftime(SHORT_TIME),
        "InstanceNetworkType": "vpc",
        "VpcAttributes": {
            "VpcId": "",
            "VSwitchId": "",
            "NatIpAddress": "",
            "PrivateIpAddress": {"IpAddress": addresses},
        },
        "PublicIpAddress": {"IpAddress": []},
        "InnerIpAddress": {"IpAddress": []},
        "RdmaIpAddress": {"IpAddress": []},
        "SecurityGroupIds": {"SecurityGroupId": []},
        "NetworkInterfaces": {"NetworkInterface": []},
        "OperationLocks": {"LockReason": []},
        "Tags": {"Tag": tags_answer(tags)},
        "ResourceGroupId": "",
        "DeletionProtection": False,
        "DeviceAvailable": True,
        "IoOptimized": True,
    }


# --- DescribeInstanceStatus -----------------------------------------------------------------------------------------


@value_object
class DescribeInstanceStatus(InRegion):
    """Filters of instances."""

    instance_ids: tuple[str, ...] = repeat("InstanceId", most=100, refusal=errors.TooManyIds)
    zone_id: str | None = text("ZoneId", longest=64)
    cluster_id: str | None = text("ClusterId", longest=64)
    page_number: int = page_number()
    page_size: int = page_size()


@operation(
    ECS,
    "DescribeInstanceStatus",
    action="ecs:DescribeInstanceStatus",
    resources=lambda call, asked: instance_arns(call, asked.instance_ids),
    answer={
        "InstanceStatuses": {"InstanceStatus": [{"InstanceId": str, "Status": str}]},
        "PageNumber": int,
        "PageSize": int,
        "TotalCount": int,
    },
    errors=(errors.RegionNotFound, errors.TooManyIds, errors.BadPageNumber, errors.BadPageSize),
)
def describe_instance_status(call: Call, asked: DescribeInstanceStatus) -> dict[str, Any]:
    """List whether instances run. An id that names nothing is left out; no instance here has a zone or a cluster."""
    check_region(call, asked)
    found: Listing[Instance] = Listing([], 0)
    page = Page(asked.page_number, asked.page_size)
    if not asked.zone_id and not asked.cluster_id:
        with call.services.database.reading() as tx:
            found = find_instances(tx, call, InstanceFilter(ids=asked.instance_ids or None), page)
    listed = [{"InstanceId": each.id, "Status": STOPPED if each.stopped_at else RUNNING} for each in found.items]
    return {
        "InstanceStatuses": {"InstanceStatus": listed},
        "PageNumber": page.number,
        "PageSize": page.size,
        "TotalCount": found.total,
    }


# --- DescribeRegions ------------------------------------------------------------------------------------------------


@value_object
class DescribeRegions:
    """No parameter has an effect here."""


@operation(
    ECS,
    "DescribeRegions",
    action="ecs:DescribeRegions",
    answer={"Regions": {"Region": [{"RegionId": str, "LocalName": str, "RegionEndpoint": str, "Status": str}]}},
)
def describe_regions(call: Call, asked: DescribeRegions) -> dict[str, Any]:
    """List the one region of this installation."""
    region = call.services.settings.region
    found = {"RegionId": region, "LocalName": region, "RegionEndpoint": "", "Status": "available"}
    return {"Regions": {"Region": [found]}}
