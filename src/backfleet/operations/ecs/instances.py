"""Instances, as managed ones, as ECS ones, and by the state of their Cloud Assistant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from backfleet import assistant, fleet
from backfleet.assistant import Usage
from backfleet.fleet import Instance, InstanceFilter
from backfleet.operations.catalogue import ECS, Call, operation
from backfleet.operations.ecs import errors
from backfleet.operations.ecs.commands import tags_answer
from backfleet.operations.ecs.errors import DryRun, InstanceNotFound, TooManyIds, check_region
from backfleet.operations.ecs.requests import (
    PAGE_ERRORS,
    PAGE_SHAPE,
    TAGS,
    TIME,
    Tag,
    instance_arns,
    max_results,
    next_token,
    page_number,
    page_size,
    part_of,
    region,
    tag_list,
    time_of,
    wanted_tags,
)
from backfleet.paging import Listing, Page
from backfleet.storage import Transaction
from backfleet.wire.parameters import boolean, json_list, repeat, text
from backfleet.wire.shapes import Anything

SHORT_TIME = "%Y-%m-%dT%H:%MZ"  # DescribeInstances leaves the seconds out
RUNNING, STOPPED = "Running", "Stopped"
OTHER_STATES = ("Pending", "Starting", "Stopping")  # no machine here is ever in one of them

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
MANAGED_SHAPE = {
    **dict.fromkeys(
        (
            "InstanceId", "InstanceName", "Hostname", "MachineId", "ActivationId", "AgentVersion", "IntranetIp",
            "InternetIp", "OsType", "OsVersion", "RegistrationTime", "LastInvokedTime", "ResourceGroupId",
        ),
        str,
    ),
    "Connected": bool,
    "InvocationCount": int,
    "Tags": TAGS,
}  # fmt: skip
STATUS_SHAPE = {
    **dict.fromkeys(
        (
            "InstanceId", "CloudAssistantStatus", "CloudAssistantVersion", "LastInvokedTime", "LastHeartbeatTime",
            "OSType",
        ),
        str,
    ),
    "ActiveTaskCount": int,
    "InvocationCount": int,
    "SupportSessionManager": bool,
}  # fmt: skip


def _heard_since(call: Call) -> datetime:
    return call.now - timedelta(seconds=call.services.settings.fit_seconds)


def _is_connected(call: Call, instance: Instance) -> bool:
    fit = fleet.reachability(
        instance, now=call.now, reachable_within=timedelta(seconds=call.services.settings.fit_seconds)
    )
    return fit is fleet.Reachability.REACHABLE


# --- DescribeInstances ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DescribeInstances:
    """What the caller sent. Other filters of the cloud name things that no machine here has."""

    region_id: str | None = region()
    instance_ids: tuple[str, ...] | None = json_list("InstanceIds")
    instance_name: str | None = text("InstanceName", longest=128)
    status: str | None = text("Status", choices=(RUNNING, STOPPED, *OTHER_STATES))
    private_ips: tuple[str, ...] | None = json_list("PrivateIpAddresses")
    vpc_id: str | None = text("VpcId")
    zone_id: str | None = text("ZoneId")
    tags: tuple[Tag, ...] = tag_list()
    next_token: str | None = next_token()
    max_results: int | None = max_results()
    page_number: int = page_number()
    page_size: int = page_size(100)
    dry_run: bool = boolean("DryRun", default=False)


def _no_instances(call: Call, asked: DescribeInstances) -> dict[str, Any]:
    """What a caller without permission sees; DryRun would reveal it, so it stays empty too."""
    return {"Instances": {"Instance": []}, "PageNumber": 1, "PageSize": 10, "TotalCount": 0, "NextToken": ""}


@operation(
    ECS,
    "DescribeInstances",
    action="ecs:DescribeInstances",
    resources=lambda call, asked: instance_arns(call, asked.instance_ids),
    denied=_no_instances,
    answer={"Instances": {"Instance": [ECS_INSTANCE_SHAPE]}, **PAGE_SHAPE},
    errors=(errors.RegionNotFound, TooManyIds, DryRun, errors.TooManyTags, errors.TagKeyMissing, *PAGE_ERRORS),
)
def describe_instances(call: Call, asked: DescribeInstances) -> dict[str, Any]:
    """Every machine of the account, as ECS shows machines. `[]` for InstanceIds gives none, not all."""
    check_region(call, asked.region_id)
    if asked.instance_ids is not None and len(asked.instance_ids) > 100:
        raise TooManyIds
    if asked.dry_run:
        raise DryRun
    part = part_of(asked, most=100)
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
            found = _find(tx, call, wanted, part.page)
            tags = fleet.tags_of(tx, "instance", [instance.id for instance in found.items])
    listed = [_ecs_instance(instance, tags.get(instance.id)) for instance in found.items]
    return {"Instances": {"Instance": listed}, **part.answer(found)}


def _find(tx: Transaction, call: Call, wanted: InstanceFilter, page: Page) -> Listing[Instance]:
    return fleet.find_instances(tx, call.account_id, call.region, wanted, page, heard_since=_heard_since(call))


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


# --- Managed instances ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DescribeManagedInstances:
    """What the caller sent."""

    region_id: str | None = region()
    instance_ids: tuple[str, ...] = repeat("InstanceId", most=50, refusal=TooManyIds)
    instance_name: str | None = text("InstanceName", longest=128)
    instance_ip: str | None = text("InstanceIp", longest=64)
    activation_id: str | None = text("ActivationId", longest=64)
    os_type: str | None = text("OsType", longest=32)
    machine_id: str | None = text("MachineId", longest=64)
    connected: bool | None = boolean("Connected")
    tags: tuple[Tag, ...] = tag_list()
    next_token: str | None = next_token()
    max_results: int | None = max_results()
    page_number: int = page_number()
    page_size: int = page_size()


@operation(
    ECS,
    "DescribeManagedInstances",
    action="ecs:DescribeManagedInstances",
    resources=lambda call, asked: instance_arns(call, asked.instance_ids),
    answer={"Instances": [MANAGED_SHAPE], **PAGE_SHAPE},
    errors=(errors.RegionNotFound, TooManyIds, errors.TagKeyMissing, *PAGE_ERRORS),
)
def describe_managed_instances(call: Call, asked: DescribeManagedInstances) -> dict[str, Any]:
    """Every enrolled machine and whether its agent is there."""
    check_region(call, asked.region_id)
    part = part_of(asked)
    wanted = InstanceFilter(
        ids=asked.instance_ids or None,
        name=asked.instance_name,
        ip=asked.instance_ip,
        activation_id=asked.activation_id,
        os_type=asked.os_type,
        machine_id=asked.machine_id,
        connected=asked.connected,
        tags=wanted_tags(asked.tags),
    )
    with call.services.database.reading() as tx:
        found = _find(tx, call, wanted, part.page)
        about = _About.these(tx, call, found.items)
    return {"Instances": [about.managed(instance) for instance in found.items], **part.answer(found)}


@dataclass(frozen=True, slots=True)
class _About:
    """What other tables know of some instances."""

    call: Call
    tags: Mapping[str, dict[str, str]]
    usage: Mapping[str, Usage]

    @classmethod
    def these(cls, tx: Transaction, call: Call, instances: Sequence[Instance]) -> "_About":
        ids = [instance.id for instance in instances]
        return cls(call, fleet.tags_of(tx, "instance", ids), assistant.usage(tx, ids))

    def managed(self, instance: Instance) -> dict[str, Any]:
        used = self.usage.get(instance.id, Usage())
        return {
            "InstanceId": instance.id,
            "InstanceName": instance.name,
            "Hostname": instance.hostname,
            "MachineId": instance.machine_id,
            "ActivationId": instance.activation_id,
            "AgentVersion": instance.agent_version,
            "Connected": _is_connected(self.call, instance),
            "IntranetIp": instance.intranet_ip,
            "InternetIp": instance.internet_ip,
            "OsType": instance.os_type,
            "OsVersion": instance.os_version,
            "RegistrationTime": instance.registered_at.strftime(TIME),
            "LastInvokedTime": time_of(used.last_at),
            "InvocationCount": used.count,
            "ResourceGroupId": "",
            "Tags": tags_answer(self.tags.get(instance.id)),
        }

    def agent(self, instance: Instance) -> dict[str, Any]:
        used = self.usage.get(instance.id, Usage())
        return {
            "InstanceId": instance.id,
            "CloudAssistantStatus": "true" if _is_connected(self.call, instance) else "false",
            "CloudAssistantVersion": instance.agent_version,
            "LastInvokedTime": time_of(used.last_at),
            "LastHeartbeatTime": time_of(instance.last_heard_at),
            "ActiveTaskCount": used.active,
            "InvocationCount": used.count,
            "OSType": instance.os_type.capitalize(),
            "SupportSessionManager": False,
        }


@dataclass(frozen=True, slots=True)
class DeregisterManagedInstance:
    """Which one."""

    region_id: str | None = region()
    instance_id: str | None = text("InstanceId", required=True, longest=64)


@operation(
    ECS,
    "DeregisterManagedInstance",
    action="ecs:DeregisterManagedInstance",
    resources=lambda call, asked: instance_arns(call, [asked.instance_id]),
    answer={"Instance": MANAGED_SHAPE},
    errors=(errors.RegionNotFound, InstanceNotFound),
)
def deregister_managed_instance(call: Call, asked: DeregisterManagedInstance) -> dict[str, Any]:
    """Forget a machine: its agent's signatures are refused from now on."""
    check_region(call, asked.region_id)
    with call.services.database.transaction() as tx:
        instance = _the_instance(tx, call, asked.instance_id)
        about = _About.these(tx, call, [instance])
        fleet.deregister(tx, instance.id, now=call.now)
    return {"Instance": about.managed(instance)}


def _the_instance(tx: Transaction, call: Call, instance_id: str | None) -> Instance:
    found = fleet.instance(tx, call.account_id, instance_id or "")
    if found is None or found.region != call.region:
        raise InstanceNotFound
    return found


@dataclass(frozen=True, slots=True)
class ModifyManagedInstance:
    """Which one, and its new name."""

    region_id: str | None = region()
    instance_id: str | None = text("InstanceId", required=True, longest=64)
    instance_name: str | None = text("InstanceName", required=True, longest=128, refusal=errors.NameRefused)


@operation(
    ECS,
    "ModifyManagedInstance",
    action="ecs:ModifyManagedInstance",
    resources=lambda call, asked: instance_arns(call, [asked.instance_id]),
    answer={"Instance": {"InstanceId": str, "InstanceName": str}},
    errors=(errors.RegionNotFound, InstanceNotFound, errors.NameRefused),
)
def modify_managed_instance(call: Call, asked: ModifyManagedInstance) -> dict[str, Any]:
    """Call a machine something else."""
    check_region(call, asked.region_id)
    name = asked.instance_name or ""
    if len(name) < 2 or "http://" in name or "https://" in name or not name.isprintable():
        raise errors.NameRefused
    with call.services.database.transaction() as tx:
        instance = _the_instance(tx, call, asked.instance_id)
        fleet.rename(tx, instance.id, name)
    return {"Instance": {"InstanceId": instance.id, "InstanceName": name}}


@dataclass(frozen=True, slots=True)
class DescribeInstanceStatus:
    """What the caller sent."""

    region_id: str | None = region()
    instance_ids: tuple[str, ...] = repeat("InstanceId", most=100, refusal=TooManyIds)
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
    errors=(errors.RegionNotFound, TooManyIds, errors.BadPageNumber, errors.BadPageSize),
)
def describe_instance_status(call: Call, asked: DescribeInstanceStatus) -> dict[str, Any]:
    """Whether each machine runs. Ids that name nothing are simply not there; no machine here has a zone or cluster."""
    check_region(call, asked.region_id)
    found: Listing[Instance] = Listing([], 0)
    page = Page(asked.page_number, asked.page_size)
    if not asked.zone_id and not asked.cluster_id:
        with call.services.database.reading() as tx:
            found = _find(tx, call, InstanceFilter(ids=asked.instance_ids or None), page)
    listed = [{"InstanceId": each.id, "Status": STOPPED if each.stopped_at else RUNNING} for each in found.items]
    return {
        "InstanceStatuses": {"InstanceStatus": listed},
        "PageNumber": page.number,
        "PageSize": page.size,
        "TotalCount": found.total,
    }


# --- Cloud Assistant ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DescribeCloudAssistantStatus:
    """What the caller sent."""

    region_id: str | None = region()
    instance_ids: tuple[str, ...] = repeat("InstanceId", most=100, refusal=TooManyIds)
    os_type: str | None = text("OSType", choices=("Windows", "Linux", "FreeBSD"))
    next_token: str | None = next_token()
    max_results: int | None = max_results()
    page_number: int = page_number()
    page_size: int = page_size(100)


@operation(
    ECS,
    "DescribeCloudAssistantStatus",
    action="ecs:DescribeCloudAssistantStatus",
    resources=lambda call, asked: instance_arns(call, asked.instance_ids),
    answer={"InstanceCloudAssistantStatusSet": {"InstanceCloudAssistantStatus": [STATUS_SHAPE]}, **PAGE_SHAPE},
    errors=(errors.RegionNotFound, TooManyIds, InstanceNotFound, *PAGE_ERRORS),
)
def describe_cloud_assistant_status(call: Call, asked: DescribeCloudAssistantStatus) -> dict[str, Any]:
    """Whether each instance's agent is there: the same story as the validity codes of UpgradeBackupClients."""
    check_region(call, asked.region_id)
    part = part_of(asked, most=100)
    wanted = InstanceFilter(ids=asked.instance_ids or None, os_type=asked.os_type)
    with call.services.database.reading() as tx:
        found = _find(tx, call, wanted, part.page)
        about = _About.these(tx, call, found.items)
    if asked.instance_ids and not found.total:
        raise InstanceNotFound
    listed = [about.agent(instance) for instance in found.items]
    return {
        "InstanceCloudAssistantStatusSet": {"InstanceCloudAssistantStatus": listed},
        **part.answer(found),
    }


@dataclass(frozen=True, slots=True)
class DescribeRegions:
    """No parameters that matter here."""


@operation(
    ECS,
    "DescribeRegions",
    action="ecs:DescribeRegions",
    answer={"Regions": {"Region": [{"RegionId": str, "LocalName": str, "RegionEndpoint": str, "Status": str}]}},
)
def describe_regions(call: Call, asked: DescribeRegions) -> dict[str, Any]:
    """The one region this installation answers for."""
    region = call.services.settings.region
    found = {"RegionId": region, "LocalName": region, "RegionEndpoint": "", "Status": "available"}
    return {"Regions": {"Region": [found]}}
