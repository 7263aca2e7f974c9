"""DescribeBackupClients, DescribeTask, DescribeRegions: everything that only looks."""

from dataclasses import dataclass
from typing import Any

from backfleet import fleet, upgrades
from backfleet.fleet import Client, ClientFilter, Found, Instance, Page
from backfleet.operations.catalogue import HBR, Call, operation
from backfleet.operations.hbr.answers import COMMON, DESCRIBED_TASK, FOUND_CLIENTS, client_answer, common, task_answer
from backfleet.operations.hbr.crossing import CROSSING_ERRORS, Crossing, check_crossing, where_it_acts
from backfleet.operations.hbr.errors import TaskNotFound
from backfleet.operations.hbr.offers import Offer, newest_versions
from backfleet.wire.errors import InvalidParameter
from backfleet.wire.parameters import integer, json_list, repeat, repeat_objects, text

OUR_TYPE = "ECS_CLIENT"
MOST_IDS = 100
FORBIDDEN_IN_TAGS = ("http://", "https://")
FORBIDDEN_TAG_STARTS = ("aliyun", "acs:")


@dataclass(frozen=True, slots=True)
class Tag:
    """A key and a value."""

    key: str | None = text("Key", longest=128)
    value: str | None = text("Value", longest=128)


@dataclass(frozen=True, slots=True)
class Filter:
    """A key and the values it may have."""

    key: str | None = text("Key", longest=128)
    values: tuple[str, ...] = repeat("Values")


@dataclass(frozen=True, slots=True)
class DescribeBackupClients(Crossing):
    """What the caller sent."""

    client_type: str | None = text(
        "ClientType", required=True, choices=("ECS_CLIENT", "CONTAINER_CLIENT", "LOCAL_CLIENT")
    )
    cluster_id: str | None = text("ClusterId", longest=128)
    client_ids: tuple[str, ...] | None = json_list("ClientIds")
    instance_ids: tuple[str, ...] | None = json_list("InstanceIds")
    tags: tuple[Tag, ...] = repeat_objects("Tag", of=Tag, most=20)
    filters: tuple[Filter, ...] = repeat_objects("Filters", of=Filter, most=20)
    page_number: int = integer("PageNumber", default=1, least=1, most=1_000_000)
    page_size: int = integer("PageSize", default=10, least=1, most=99)


@operation(
    HBR, "DescribeBackupClients", action="hbr:DescribeBackupClients", answer=FOUND_CLIENTS, errors=CROSSING_ERRORS
)
def describe_backup_clients(call: Call, asked: DescribeBackupClients) -> dict[str, Any]:
    """Clients of the account, oldest first. Unknown ids are simply not in the list."""
    check_crossing(asked)
    _check(asked)
    there = where_it_acts(call, "DescribeBackupClients", asked)
    page = Page(asked.page_number, asked.page_size)
    found: Found[tuple[Client, Instance]] = Found([], 0)
    newest: dict[Offer, str] = {}
    # Clients carry no tags yet, so a tag matches none; other types of client do not exist here.
    if asked.client_type == OUR_TYPE and not asked.tags and not asked.cluster_id:
        wanted = ClientFilter(asked.client_ids or None, asked.instance_ids or None)
        with call.house.database.reading() as tx:
            found = fleet.find_clients(tx, there.account_id, there.region, wanted, page)
            newest = newest_versions(tx, [_offer(client, instance) for client, instance in found.items])
    return common(
        Clients=[
            client_answer(client, instance, newest.get(_offer(client, instance), ""))
            for client, instance in found.items
        ],
        PageNumber=page.number,
        PageSize=page.size,
        TotalCount=found.total,
    )


def _offer(client: Client, instance: Instance) -> Offer:
    return client.package, instance.platform, client.channel


def _check(asked: DescribeBackupClients) -> None:
    for name, ids in (("ClientIds", asked.client_ids), ("InstanceIds", asked.instance_ids)):
        if ids is not None and len(ids) > MOST_IDS:
            raise InvalidParameter(f"{name} has {len(ids)} entries; at most {MOST_IDS} are taken.")
    for tag in asked.tags:
        for part in (tag.key or "", tag.value or ""):
            if part.startswith(FORBIDDEN_TAG_STARTS) or any(word in part for word in FORBIDDEN_IN_TAGS):
                raise InvalidParameter(f"Tag has {part!r}: keys and values hold no aliyun, acs: or http(s)://.")


@dataclass(frozen=True, slots=True)
class DescribeTask:
    """What the caller sent. Marked optional everywhere, useless without it."""

    task_id: str | None = text("TaskId", required=True, longest=64)


@operation(
    HBR, "DescribeTask", action="hbr:DescribeTask", needs_tls=True, answer=DESCRIBED_TASK, errors=(TaskNotFound,)
)
def describe_task(call: Call, asked: DescribeTask) -> dict[str, Any]:
    """How far a task is, and each of its clients. Readable only within the account that created it."""
    with call.house.database.reading() as tx:
        task = upgrades.read(tx, call.account_id, asked.task_id or "", now=call.now)
    if task is None:
        raise TaskNotFound
    return task_answer(task)


@dataclass(frozen=True, slots=True)
class DescribeRegions:
    """No parameters."""


@operation(
    HBR,
    "DescribeRegions",
    action="hbr:DescribeRegions",
    answer={**COMMON, "Regions": {"Region": [{"RegionId": str, "LocalName": str}]}},
)
def describe_regions(call: Call, asked: DescribeRegions) -> dict[str, Any]:
    """The one region this installation answers for."""
    region = call.house.settings.region
    return common(Regions={"Region": [{"RegionId": region, "LocalName": region}]})
