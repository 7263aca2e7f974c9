"""What is known of one host beyond what the cloud's API shows: its agent, its clock, what is installed there."""

from dataclasses import dataclass
from typing import Any

from backfleet import fleet
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.operations.ecs.errors import InstanceNotFound
from backfleet.operations.hbr.answers import seconds
from backfleet.wire.parameters import integer, text
from backfleet.wire.shapes import Anything, Maybe

DescribedCheckup = {"ClientId": str, "PackageName": str, "ClientVersion": str, "CheckedTime": int, "Drift": [str]}
DescribedInventory = {"Type": str, "Count": int, "CapturedTime": str, "ReceivedTime": int}


@dataclass(frozen=True, slots=True)
class DescribeInstance:
    """Which host."""

    instance_id: str | None = text("InstanceId", required=True, longest=64)


@operation(
    BACKFLEET,
    "DescribeInstance",
    action="backfleet:DescribeInstance",
    answer={
        "InstanceId": str,
        "AgentKind": str,
        "AgentVersion": str,
        "AgentMode": str,
        "Platform": str,
        "LastHeardTime": Maybe(int),
        "ClockSkewMilliseconds": Maybe(int),
        "ClockIsSkewed": bool,
        "Inventory": [DescribedInventory],
        "Checkups": [DescribedCheckup],
    },
    errors=(InstanceNotFound,),
)
def describe_instance(call: Call, asked: DescribeInstance) -> dict[str, Any]:
    """A host's agent, how wrong its clock is, which kinds of inventory it has told, and how its clients stand.

    A drift is what is not as the last upgrade left it: a second manager, a file that somebody changed.
    """
    with call.services.database.reading() as tx:
        found = fleet.instance(tx, call.account_id, asked.instance_id or "")
        if found is None:
            raise InstanceNotFound
        told = fleet.find_inventory(tx, found.id)
        clients = fleet.resolve(tx, call.account_id, found.region, [found.id], []).clients_on.get(found.id, [])
    skew = {} if found.clock_skew_ms is None else {"ClockSkewMilliseconds": found.clock_skew_ms}
    heard = {} if found.last_heard_at is None else {"LastHeardTime": seconds(found.last_heard_at)}
    return {
        "InstanceId": found.id,
        "AgentKind": found.agent_kind.value,
        "AgentVersion": found.agent_version,
        "AgentMode": found.agent_mode,
        "Platform": found.platform,
        **heard,
        **skew,
        "ClockIsSkewed": found.is_skewed,
        "Inventory": [
            {
                "Type": one.kind,
                "Count": one.count,
                "CapturedTime": one.captured_at,
                "ReceivedTime": seconds(one.received_at),
            }
            for one in told
        ],
        "Checkups": [
            {
                "ClientId": client.id,
                "PackageName": client.package,
                "ClientVersion": client.version,
                "CheckedTime": seconds(client.checked_at),
                "Drift": client.drift.splitlines(),
            }
            for client in clients
        ],
    }


@dataclass(frozen=True, slots=True)
class NoteInstanceStopped:
    """Which host."""

    instance_id: str | None = text("InstanceId", required=True, longest=64)


@operation(
    BACKFLEET,
    "NoteInstanceStopped",
    action="backfleet:NoteInstanceStopped",
    answer={"InstanceId": str, "Status": str},
    errors=(InstanceNotFound,),
)
def note_instance_stopped(call: Call, asked: NoteInstanceStopped) -> dict[str, Any]:
    """A host was shut down and could not say so itself. As soon as its agent is heard again, it runs.

    Until then calls that need it are refused with InstanceNotRunning instead of CloudAssistNotRunningOnInstance.
    """
    with call.services.database.transaction() as tx:
        found = fleet.instance(tx, call.account_id, asked.instance_id or "")
        if found is None:
            raise InstanceNotFound
        fleet.note_shutdown(tx, found.id, now=call.now)
    return {"InstanceId": found.id, "Status": "Stopped"}


@dataclass(frozen=True, slots=True)
class ListInventory:
    """Which host, which kind, which page."""

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
    """What is installed on a host, as its agent told it last; installed packages unless another kind is asked for."""
    kind = asked.kind or "ACS:Application"
    with call.services.database.reading() as tx:
        found = fleet.instance(tx, call.account_id, asked.instance_id or "")
        if found is None:
            raise InstanceNotFound
        told = {one.kind: one for one in fleet.find_inventory(tx, found.id)}
    rows = told[kind].rows() if kind in told else []
    start = (asked.page_number - 1) * asked.page_size
    return {
        "Type": kind,
        "Rows": rows[start : start + asked.page_size],
        "PageNumber": asked.page_number,
        "PageSize": asked.page_size,
        "TotalCount": len(rows),
    }
