"""More about one instance than the cloud's API shows: its agent, its clock, and what is installed on it."""

from datetime import timedelta
from typing import Any

from backfleet import fleet
from backfleet.carriers import ecs, ssh
from backfleet.fleet import AgentRun, CarrierKind, Client, Inventory
from backfleet.operations.backfleet.cloud_accounts import host_of
from backfleet.operations.backfleet.ssh_hosts import ssh_of
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.operations.ecs.errors import InstanceNotFound
from backfleet.operations.hbr.answers import seconds
from backfleet.values import value_object
from backfleet.wire.parameters import integer, text
from backfleet.wire.shapes import Anything, Maybe

CHECKUP = {
    "ClientId": str,
    "PackageName": str,
    "ClientVersion": str,
    "CheckedTime": int,
    "Drift": [str],
    "InDoubt": bool,
    "ConfirmedTime": Maybe(int),
}
CLONE = {"Host": str, "IpAddress": str, "MachineId": str, "FirstTime": int, "LastTime": int}
SSH = {
    **dict.fromkeys(("Address", "User", "Root", "KeyName", "ProblemCode", "Problem"), str),
    "Port": int,
    "Sudo": bool,
    "HostKeys": [str],
    "Jumps": [str],
    "VisitedTime": Maybe(int),
}
ECS = {
    **dict.fromkeys(("AccountName", "RegionId", "InstanceId", "ProblemCode", "Problem"), str),
    "AskedTime": Maybe(int),
}
INVENTORY = {"Type": str, "Count": int, "CapturedTime": str, "ReceivedTime": int}


@value_object
class DescribeInstance:
    """An instance."""

    instance_id: str | None = text("InstanceId", required=True, longest=64)


@operation(
    BACKFLEET,
    "DescribeInstance",
    action="backfleet:DescribeInstance",
    answer={
        "InstanceId": str,
        "Carrier": str,
        "AgentKind": str,
        "AgentVersion": str,
        "AgentMode": str,
        "HostVersion": str,
        "TimeZone": str,
        "Platform": str,
        "LastHeardTime": Maybe(int),
        "ReachableTime": Maybe(int),
        "ConnectsTime": Maybe(int),
        "ClockSkewMilliseconds": Maybe(int),
        "ClockIsSkewed": bool,
        "Inventory": [INVENTORY],
        "Checkups": [CHECKUP],
        "Clones": [CLONE],
        "Ssh": Maybe(SSH),
        "Ecs": Maybe(ECS),
        "Ssm": Maybe(ECS),
    },
    errors=(InstanceNotFound,),
)
def describe_instance(call: Call, asked: DescribeInstance) -> dict[str, Any]:
    """Return an instance's carrier, agent and clock skew, its inventory by kind, and the last checkup of each client.

    HostVersion is that of the host program, empty for hosts with another agent.
    LastHeardTime is the last signed request of its agent, ReachableTime the last time it could be given work, and
    ConnectsTime when an official agent without a connection connects again by itself. Drift is what differs from the
    state after the last upgrade: another package manager, a file that was changed. Clones are hosts that use this
    instance's identity side by side; while there are some, it gets no orders. Ssh says how the server goes
    to an instance without an agent, and what was wrong at its last visit; Ecs or Ssm what its cloud says of it.
    """
    with call.services.database.reading() as tx:
        found = fleet.instance(tx, call.account_id, asked.instance_id or "")
        if found is None:
            raise InstanceNotFound
        inventory = fleet.find_inventory(tx, found.id)
        clones = fleet.clones_of(tx, [found.id], now=call.now).get(found.id, [])
        way = ssh.find_host(tx, found.id) if found.carrier is CarrierKind.SSH else None
        cloud = ecs.find_host(tx, found.id) if found.carrier in (CarrierKind.ECS, CarrierKind.SSM) else None
        clients = fleet.resolve(tx, call.account_id, found.region, [found.id], []).clients_on.get(found.id, [])
    skew = {} if found.clock_skew_ms is None else {"ClockSkewMilliseconds": found.clock_skew_ms}
    within = timedelta(seconds=call.services.settings.fit_seconds)
    is_connected = fleet.is_connected(found, now=call.now, reachable_within=within)
    moments = {
        "LastHeardTime": found.last_heard_at,
        "ReachableTime": found.reachable_at,
        "ConnectsTime": None if is_connected else fleet.next_dial(found, now=call.now, reachable_within=within),
    }
    return {
        "InstanceId": found.id,
        "Carrier": found.carrier.value,
        "AgentKind": found.agent_kind.value,
        "AgentVersion": found.agent_version,
        "AgentMode": found.agent_mode,
        "HostVersion": found.host_version,
        "TimeZone": found.time_zone,
        "Platform": found.platform,
        **{name: seconds(moment) for name, moment in moments.items() if moment is not None},
        **skew,
        "ClockIsSkewed": found.is_skewed,
        "Inventory": [_inventory(one) for one in inventory],
        "Checkups": [_checkup(client) for client in clients],
        "Clones": [_clone(run) for run in clones],
        **ssh_of(way),
        **host_of(cloud, found.carrier.value.capitalize()),
    }


def _inventory(one: Inventory) -> dict[str, Any]:
    return {
        "Type": one.kind,
        "Count": one.count,
        "CapturedTime": one.captured_at,
        "ReceivedTime": seconds(one.received_at),
    }


def _clone(run: AgentRun) -> dict[str, Any]:
    return {
        "Host": run.hostname,
        "IpAddress": run.address,
        "MachineId": run.machine_id,
        "FirstTime": seconds(run.first_at),
        "LastTime": seconds(run.last_at),
    }


def _checkup(client: Client) -> dict[str, Any]:
    return {
        "ClientId": client.id,
        "PackageName": client.package,
        "ClientVersion": client.version,
        "CheckedTime": seconds(client.checked_at),
        "Drift": client.drift.splitlines(),
        "InDoubt": client.in_doubt,
        **({} if client.confirmed_at is None else {"ConfirmedTime": seconds(client.confirmed_at)}),
    }


@value_object
class NoteInstanceStopped:
    """An instance."""

    instance_id: str | None = text("InstanceId", required=True, longest=64)


@operation(
    BACKFLEET,
    "NoteInstanceStopped",
    action="backfleet:NoteInstanceStopped",
    answer={"InstanceId": str, "Status": str},
    errors=(InstanceNotFound,),
)
def note_instance_stopped(call: Call, asked: NoteInstanceStopped) -> dict[str, Any]:
    """Note that an instance was shut down without a report. It counts as running from its agent's next heartbeat on.

    Until then calls that need it are refused with InstanceNotRunning instead of CloudAssistNotRunningOnInstance.
    """
    with call.services.database.transaction() as tx:
        found = fleet.instance(tx, call.account_id, asked.instance_id or "")
        if found is None:
            raise InstanceNotFound
        fleet.note_shutdown(tx, found.id, now=call.now)
    return {"InstanceId": found.id, "Status": "Stopped"}


@value_object
class ListInventory:
    """An instance, a kind of inventory, and a page."""

    instance_id: str | None = text("InstanceId", required=True, longest=64)
    kind: str | None = text("Type", longest=64)
    page_number: int = integer("PageNumber", default=1, least=1, most=100_000)
    page_size: int = integer("PageSize", default=100, least=1, most=500)


@operation(
    BACKFLEET,
    "ListInventory",
    action="backfleet:ListInventory",
    answer={"Type": str, "Rows": Anything, "PageNumber": int, "PageSize": int, "TotalCount": int},
    errors=(InstanceNotFound,),
)
def list_inventory(call: Call, asked: ListInventory) -> dict[str, Any]:
    """List what is installed on an instance, as last reported; packages unless Type names another kind."""
    kind = asked.kind or "ACS:Application"
    with call.services.database.reading() as tx:
        found = fleet.instance(tx, call.account_id, asked.instance_id or "")
        if found is None:
            raise InstanceNotFound
        inventory = {one.kind: one for one in fleet.find_inventory(tx, found.id)}
    rows = inventory[kind].rows() if kind in inventory else []
    start = (asked.page_number - 1) * asked.page_size
    return {
        "Type": kind,
        "Rows": rows[start : start + asked.page_size],
        "PageNumber": asked.page_number,
        "PageSize": asked.page_size,
        "TotalCount": len(rows),
    }
