"""Managed instances, and the state of the Cloud Assistant on them."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from backfleet import assistant, commands, fleet
from backfleet.assistant import Usage
from backfleet.carriers import ecs, ssh
from backfleet.fleet import Instance, InstanceFilter
from backfleet.operations.catalogue import ECS, Call, operation
from backfleet.operations.ecs import errors
from backfleet.operations.ecs.instances import find_instances
from backfleet.operations.ecs.requests import (
    PAGE_ERRORS,
    PAGE_SHAPE,
    TAGS,
    InRegion,
    Paged,
    check_region,
    has_address,
    instance_arns,
    page_size,
    requested_page,
    tag_list,
    tags_answer,
    time_of,
    wanted_tags,
)
from backfleet.operations.tags import Tag
from backfleet.storage import Transaction
from backfleet.values import value_object
from backfleet.wire.parameters import boolean, repeat, text

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


def _is_connected(call: Call, instance: Instance) -> bool:
    within = timedelta(seconds=call.services.settings.fit_seconds)
    return fleet.reachability(instance, now=call.now, reachable_within=within) is fleet.Reachability.REACHABLE


# --- Managed instances ----------------------------------------------------------------------------------------------


@value_object
class DescribeManagedInstances(Paged):
    """Filters of managed instances."""

    instance_ids: tuple[str, ...] = repeat("InstanceId", most=50, refusal=errors.TooManyIds)
    instance_name: str | None = text("InstanceName", longest=128)
    instance_ip: str | None = text("InstanceIp", longest=64)
    activation_id: str | None = text("ActivationId", longest=64)
    os_type: str | None = text("OsType", longest=32)
    machine_id: str | None = text("MachineId", longest=64)
    connected: bool | None = boolean("Connected")
    tags: tuple[Tag, ...] = tag_list()


@operation(
    ECS,
    "DescribeManagedInstances",
    action="ecs:DescribeManagedInstances",
    resources=lambda call, asked: instance_arns(call, asked.instance_ids),
    answer={"Instances": [MANAGED_SHAPE], **PAGE_SHAPE},
    errors=(errors.RegionNotFound, errors.TooManyIds, errors.TagKeyMissing, *PAGE_ERRORS),
)
def describe_managed_instances(call: Call, asked: DescribeManagedInstances) -> dict[str, Any]:
    """List enrolled instances, and whether the agent of each is connected."""
    check_region(call, asked)
    page = requested_page(call, asked)
    asked = page.asked
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
        found = find_instances(tx, call, wanted, page.page)
        details = _Details.of(tx, call, found.items)
    return {"Instances": [details.managed(instance) for instance in found.items], **page.answer(found)}


@value_object
class _Details:
    """Tags and usage of some instances."""

    call: Call
    tags: Mapping[str, dict[str, str]]
    usage: Mapping[str, Usage]

    @classmethod
    def of(cls, tx: Transaction, call: Call, instances: Sequence[Instance]) -> "_Details":
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
            "RegistrationTime": time_of(instance.registered_at),
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


@value_object
class DeregisterManagedInstance(InRegion):
    """An instance."""

    instance_id: str | None = text("InstanceId", required=True, longest=64)


@operation(
    ECS,
    "DeregisterManagedInstance",
    action="ecs:DeregisterManagedInstance",
    resources=lambda call, asked: instance_arns(call, [asked.instance_id]),
    answer={"Instance": MANAGED_SHAPE},
    errors=(errors.RegionNotFound, errors.InstanceNotFound),
)
def deregister_managed_instance(call: Call, asked: DeregisterManagedInstance) -> dict[str, Any]:
    """Delete an instance. The requests of its agent are refused from now on, and what it was sent has ended."""
    check_region(call, asked)
    with call.services.database.transaction() as tx:
        instance = _the_instance(tx, call, asked.instance_id)
        details = _Details.of(tx, call, [instance])
        if fleet.deregister(tx, instance.id, now=call.now):
            commands.end_gone(tx, instance.id, now=call.now)
            ssh.forget_host(tx, instance.id)
            ecs.forget_host(tx, instance.id)
    return {"Instance": details.managed(instance)}


def _the_instance(tx: Transaction, call: Call, instance_id: str | None) -> Instance:
    found = fleet.instance(tx, call.account_id, instance_id or "")
    if found is None or found.region != call.region:
        raise errors.InstanceNotFound
    return found


@value_object
class ModifyManagedInstance(InRegion):
    """An instance and its new name."""

    instance_id: str | None = text("InstanceId", required=True, longest=64)
    instance_name: str | None = text("InstanceName", required=True, longest=128, refusal=errors.NameRefused)


@operation(
    ECS,
    "ModifyManagedInstance",
    action="ecs:ModifyManagedInstance",
    resources=lambda call, asked: instance_arns(call, [asked.instance_id]),
    answer={"Instance": {"InstanceId": str, "InstanceName": str}},
    errors=(errors.RegionNotFound, errors.InstanceNotFound, errors.NameRefused),
)
def modify_managed_instance(call: Call, asked: ModifyManagedInstance) -> dict[str, Any]:
    """Rename an instance."""
    check_region(call, asked)
    name = asked.instance_name or ""
    if len(name) < 2 or has_address(name) or not name.isprintable():
        raise errors.NameRefused
    with call.services.database.transaction() as tx:
        instance = _the_instance(tx, call, asked.instance_id)
        fleet.rename(tx, instance.id, name)
    return {"Instance": {"InstanceId": instance.id, "InstanceName": name}}


# --- Cloud Assistant ------------------------------------------------------------------------------------------------


@value_object
class DescribeCloudAssistantStatus(Paged):
    """Filters of instances."""

    instance_ids: tuple[str, ...] = repeat("InstanceId", most=100, refusal=errors.TooManyIds)
    os_type: str | None = text("OSType", choices=("Windows", "Linux", "FreeBSD"))
    page_size: int = page_size(100)


@operation(
    ECS,
    "DescribeCloudAssistantStatus",
    action="ecs:DescribeCloudAssistantStatus",
    resources=lambda call, asked: instance_arns(call, asked.instance_ids),
    answer={"InstanceCloudAssistantStatusSet": {"InstanceCloudAssistantStatus": [STATUS_SHAPE]}, **PAGE_SHAPE},
    errors=(errors.RegionNotFound, errors.TooManyIds, errors.InstanceNotFound, *PAGE_ERRORS),
)
def describe_cloud_assistant_status(call: Call, asked: DescribeCloudAssistantStatus) -> dict[str, Any]:
    """List whether the agent of each instance is connected, as the validity codes of UpgradeBackupClients say."""
    check_region(call, asked)
    page = requested_page(call, asked, most=100)
    asked = page.asked
    wanted = InstanceFilter(ids=asked.instance_ids or None, os_type=asked.os_type)
    with call.services.database.reading() as tx:
        found = find_instances(tx, call, wanted, page.page)
        details = _Details.of(tx, call, found.items)
    if asked.instance_ids and not found.total:
        raise errors.InstanceNotFound
    listed = [details.agent(instance) for instance in found.items]
    return {
        "InstanceCloudAssistantStatusSet": {"InstanceCloudAssistantStatus": listed},
        **page.answer(found),
    }
