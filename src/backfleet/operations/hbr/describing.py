"""DescribeBackupClients, DescribeTask, DescribeRegions: the operations that only read."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from backfleet import fleet, releases, upgrades
from backfleet.fleet import Client, ClientFilter, Hold, Instance, Place
from backfleet.operations.catalogue import HBR, Call, operation
from backfleet.operations.hbr.answers import (
    COMMON,
    DESCRIBED_TASK,
    FOUND_CLIENTS,
    client_answer,
    common,
    confirmed_since,
    page_answer,
    pins_answer,
    task_answer,
)
from backfleet.operations.hbr.cross_account import CROSS_ACCOUNT_ERRORS, CrossAccount, acting_call, check_cross_account
from backfleet.operations.hbr.errors import TaskNotFound
from backfleet.operations.hbr.requests import page_number, page_size
from backfleet.operations.hbr.settings import settings_of
from backfleet.operations.hbr.targets import call_targets, named_targets
from backfleet.operations.tags import Tag, is_reserved
from backfleet.paging import Listing, Page
from backfleet.storage import Transaction
from backfleet.upgrades import Offer, OfferSummary
from backfleet.values import value_object
from backfleet.wire.errors import InvalidParameter, MissingParameter
from backfleet.wire.parameters import json_list, repeat, repeat_objects, text
from backfleet_host.versions import scheme_of

OUR_TYPE = "ECS_CLIENT"
NOTHING_OFFERED: Final = OfferSummary(None, frozenset())
MOST_IDS = 100
FILTER_KEYS: Final = {
    "status": "status",
    "clientversion": "version",
    "packagename": "package",
    "channel": "channel",
    "instancename": "instance_name",
    "hostname": "hostname",
}
"""Our names of what Filters can name. The public page does not list them; letter case does not count."""
FORBIDDEN_IN_TAGS = ("http://", "https://")


@value_object
class Filter:
    """A key and the values it may have."""

    key: str | None = text("Key", longest=128)
    values: tuple[str, ...] = repeat("Values")


@value_object
class DescribeBackupClients(CrossAccount):
    """The parameters of DescribeBackupClients."""

    client_type: str | None = text(
        "ClientType", required=True, choices=("ECS_CLIENT", "CONTAINER_CLIENT", "LOCAL_CLIENT")
    )
    cluster_id: str | None = text("ClusterId", longest=128)
    client_ids: tuple[str, ...] | None = json_list("ClientIds")
    instance_ids: tuple[str, ...] | None = json_list("InstanceIds")
    tags: tuple[Tag, ...] = repeat_objects("Tag", of=Tag, most=20)
    filters: tuple[Filter, ...] = repeat_objects("Filters", of=Filter, most=20)
    page_number: int = page_number()
    page_size: int = page_size()


@operation(
    HBR,
    "DescribeBackupClients",
    action="hbr:DescribeBackupClients",
    resources=call_targets,
    answer=FOUND_CLIENTS,
    errors=CROSS_ACCOUNT_ERRORS,
)
def describe_backup_clients(call: Call, asked: DescribeBackupClients) -> dict[str, Any]:
    """List clients of the account, oldest first. Unknown ids are left out without an error."""
    check_cross_account(asked)
    _check_lists(asked)
    there = acting_call(
        call, "DescribeBackupClients", asked, lambda tx, account: named_targets(tx, call, account, asked)
    )
    page = Page(asked.page_number, asked.page_size)
    found: Listing[tuple[Client, Instance]] = Listing([], 0)
    offered: dict[Offer, OfferSummary] = {}
    since = confirmed_since(call.now, call.services.settings)
    more = _Details({}, {}, {}, {}, {})
    # There are neither clients of another type nor clusters here: nothing is found.
    if asked.client_type == OUR_TYPE and not asked.cluster_id:
        tags = [(tag.key or "", tag.value) for tag in asked.tags]
        wanted = ClientFilter(asked.client_ids or None, asked.instance_ids or None, tags, _conditions(asked.filters))
        with call.services.database.reading() as tx:
            found = fleet.find_clients(tx, there.account_id, there.region, wanted, page)
            offered = upgrades.summaries(tx, [_offer(client, instance) for client, instance in found.items])
            more = _Details(
                settings_of(tx, [client.id for client, _ in found.items]),
                fleet.tags_of(tx, "instance", [instance.id for _, instance in found.items]),
                releases.schemes_of(tx, [client.package for client, _ in found.items]),
                _holds(tx, there, found.items),
                {each.package: each.version for each in fleet.minimums_of(tx, there.account_id, there.region)},
            )
    return common(
        Clients=[
            client_answer(client, instance, summary.newest.version if summary.newest else "", since)
            | {"OfferState": summary.state_of(client.version), "VersionScheme": more.schemes[client.package]}
            | _below(more, client)
            | pins_answer(more.holds.get((instance.id, client.package)))
            | {"Settings": more.settings.get(client.id, {}), "Tags": more.tags(instance.id)}
            for client, instance in found.items
            for summary in [offered.get(_offer(client, instance), NOTHING_OFFERED)]
        ],
        **page_answer(page, found.total),
    )


def _below(more: "_Details", client: Client) -> dict[str, str]:
    """Return what of an answer says that a client is below the minimum version of its package."""
    minimum = more.minimums.get(client.package, "")
    is_below = fleet.is_below(scheme_of(more.schemes[client.package]), client.version, minimum)
    return {"BelowMinimumVersion": minimum} if is_below else {}


@value_object
class _Details:
    """The settings of clients, tags of their instances, schemes and minimum versions of packages, what pins hold."""

    settings: Mapping[str, dict[str, Any]]
    tags_by_instance: Mapping[str, Mapping[str, str]]
    schemes: Mapping[str, str]
    holds: Mapping[Place, Hold]
    minimums: Mapping[str, str]  # by package

    def tags(self, instance_id: str) -> list[dict[str, str]]:
        return [{"Key": key, "Value": value} for key, value in self.tags_by_instance.get(instance_id, {}).items()]


def _holds(tx: Transaction, there: Call, found: Sequence[tuple[Client, Instance]]) -> dict[Place, Hold]:
    places = {(instance.id, client.package): client.id for client, instance in found}
    return fleet.holds_of(tx, there.account_id, there.region, places, now=there.now)


def _conditions(filters: Sequence[Filter]) -> dict[str, tuple[str, ...]]:
    """Return the conditions that filters set: the values that each field of a client may have.

    Raises:
        MissingParameter: a filter has no key, or no values.
        InvalidParameter: a key is unknown, and the text lists the known ones; or it comes twice.
    """
    conditions: dict[str, tuple[str, ...]] = {}
    for number, one in enumerate(filters, 1):
        if not one.key or not one.values:
            raise MissingParameter(f"Filters.{number}.{'Values' if one.key else 'Key'}")
        name = FILTER_KEYS.get(one.key.lower())
        if name is None:
            keys = "Status, ClientVersion, PackageName, Channel, InstanceName, Hostname"
            raise InvalidParameter(f"Filters.{number}.Key is {one.key!r}; it must be one of {keys}.")
        if name in conditions:
            raise InvalidParameter(f"Filters.{number}.Key is {one.key!r} a second time; give its values together.")
        conditions[name] = one.values
    return conditions


def _offer(client: Client, instance: Instance) -> Offer:
    return client.package, instance.platform, client.channel


def _check_lists(asked: DescribeBackupClients) -> None:
    for name, ids in (("ClientIds", asked.client_ids), ("InstanceIds", asked.instance_ids)):
        if ids is not None and len(ids) > MOST_IDS:
            raise InvalidParameter(f"{name} has {len(ids)} entries; at most {MOST_IDS} are taken.")
    for tag in asked.tags:
        for part in (tag.key or "", tag.value or ""):
            if is_reserved(part) or any(each in part for each in FORBIDDEN_IN_TAGS):
                raise InvalidParameter(f"Tag has {part!r}: keys and values hold no aliyun, acs: or http(s)://.")


@value_object
class DescribeTask:
    """The parameters of DescribeTask. The public page marks TaskId optional, but nothing works without it."""

    task_id: str | None = text("TaskId", required=True, longest=64)


@operation(
    HBR, "DescribeTask", action="hbr:DescribeTask", needs_tls=True, answer=DESCRIBED_TASK, errors=(TaskNotFound,)
)
def describe_task(call: Call, asked: DescribeTask) -> dict[str, Any]:
    """Describe a task and each of its clients. Only the account that started it can read it."""
    with call.services.database.reading() as tx:
        within = timedelta(seconds=call.services.settings.fit_seconds)
        task = upgrades.read(tx, call.account_id, asked.task_id or "", now=call.now, reachable_within=within)
        if task is None:
            raise TaskNotFound
        names = fleet.names_of(tx, call.account_id, sorted({item.instance_id for item in task.items}))
    return task_answer(task, names)


@value_object
class DescribeRegions:
    """DescribeRegions has no parameters."""


@operation(
    HBR,
    "DescribeRegions",
    action="hbr:DescribeRegions",
    answer={**COMMON, "Regions": {"Region": [{"RegionId": str, "LocalName": str}]}},
)
def describe_regions(call: Call, asked: DescribeRegions) -> dict[str, Any]:
    """List the one region that this installation is."""
    region = call.services.settings.region
    return common(Regions={"Region": [{"RegionId": region, "LocalName": region}]})
