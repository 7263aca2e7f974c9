"""DescribeFleet: the fleet at a glance, for pages and dashboards."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from backfleet import fleet, upgrades
from backfleet.fleet import FleetGroup, FleetRow
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.operations.hbr.answers import seconds
from backfleet.paging import Page
from backfleet.values import value_object
from backfleet.wire.parameters import integer, text
from backfleet.wire.shapes import Maybe

FAILED: Final = ("UPGRADE_FAILED", "INSTALL_FAILED", "UNINSTALL_FAILED")
MOVING: Final = ("UPGRADING", "INSTALLING", "UNINSTALLING")
Offers = dict[tuple[str, str, str], upgrades.OfferSummary]

STATES: Final[dict[str, Callable[[FleetGroup, str], bool]]] = {
    "Current": lambda group, offer: offer == "Current",
    "Behind": lambda group, offer: offer == "Behind",
    "Withdrawn": lambda group, offer: offer == "Withdrawn",
    "Moving": lambda group, offer: group.status in MOVING,
    "Failed": lambda group, offer: group.status in FAILED,
    "Silent": lambda group, offer: group.silent,
    "Drifted": lambda group, offer: group.drifted,
}
"""What a client can be; it may be several of these. The second argument is the state of its offer."""

CELL: Final = {"PackageName": str, "ClientVersion": str, "Site": str, "Clients": int} | dict.fromkeys(STATES, int)
ROW: Final = {
    "ClientId": str,
    "InstanceId": str,
    "InstanceName": str,
    "Hostname": str,
    "Platform": str,
    "HostVersion": str,
    "Site": str,
    "PackageName": str,
    "ClientVersion": str,
    "Channel": str,
    "Status": str,
    "OfferState": str,
    "Drift": [str],
    "IsSilent": bool,
    "LastHeardTime": Maybe(int),
}


@value_object
class DescribeFleet:
    """What the clients of the list must have, and a page of it. The map and the counts are of the whole fleet."""

    query: str | None = text("Query", longest=128)
    state: str | None = text("State", choices=tuple(STATES))
    package: str | None = text("PackageName", longest=128)
    version: str | None = text("ClientVersion", longest=128)
    host_version: str | None = text("HostVersion", longest=64)
    site: str | None = text("Site", longest=128)
    without_site: str | None = text("WithoutSite", choices=("true", "false"))
    site_tag: str = text("SiteTag", default="site", longest=64)
    page_number: int = integer("PageNumber", default=1, least=1, most=1_000_000)
    page_size: int = integer("PageSize", default=50, least=1, most=5000)


@operation(
    BACKFLEET,
    "DescribeFleet",
    action="backfleet:DescribeFleet",
    answer={
        "Counts": {"Clients": int} | dict.fromkeys(STATES, int),
        "Map": [CELL],
        "Clients": [ROW],
        "PageNumber": int,
        "PageSize": int,
        "TotalCount": int,
    },
)
def describe_fleet(call: Call, asked: DescribeFleet) -> dict[str, Any]:
    """Count the clients by version and site, and list those that a search finds.

    A site is the value of the tag of instances that SiteTag names. Query is a part of an id, a name, a version or the
    value of a tag, in any letter case. HostVersion is that of the host program, "" for hosts with another agent. A
    client may be in several states: Failed and Silent, for example.
    """
    since = call.now - timedelta(seconds=call.services.settings.fit_seconds)
    page = Page(asked.page_number, asked.page_size)
    with call.services.database.reading() as tx:
        groups = fleet.fleet_groups(tx, call.account_id, call.region, asked.site_tag, heard_since=since)
        offers = upgrades.summaries(tx, {(each.package, each.platform, each.channel) for each in groups})
        search = _search(asked, groups, offers)
        found = fleet.search_fleet(tx, call.account_id, call.region, search, page, heard_since=since, groups=groups)
    return {
        "Counts": _counted(groups, offers),
        "Map": _cells(groups, offers),
        "Clients": [_row(each, offers) for each in found.items],
        "PageNumber": page.number,
        "PageSize": page.size,
        "TotalCount": found.total,
    }


def _search(asked: DescribeFleet, groups: list[FleetGroup], offers: Offers) -> fleet.FleetSearch:
    state, versions = asked.state, None
    if state in ("Current", "Behind", "Withdrawn"):
        versions = sorted(
            {
                (each.package, each.platform, each.channel, each.version)
                for each in groups
                if _offer_state(each, offers) == state
            }
        )
    statuses = {"Moving": MOVING, "Failed": FAILED}.get(state or "")
    site = "" if asked.without_site == "true" else asked.site
    return fleet.FleetSearch(
        asked.site_tag, asked.query or "", asked.package, asked.version, site, statuses, versions,
        silent=state == "Silent", drifted=state == "Drifted", host_version=asked.host_version,
    )  # fmt: skip


def _counted(groups: list[FleetGroup], offers: Offers) -> dict[str, int]:
    """Return how many clients there are, and how many in each state."""
    counts = {"Clients": 0} | dict.fromkeys(STATES, 0)
    for group in groups:
        offer = _offer_state(group, offers)
        counts["Clients"] += group.number
        for name, holds in STATES.items():
            counts[name] += group.number if holds(group, offer) else 0
    return counts


def _cells(groups: list[FleetGroup], offers: Offers) -> list[dict[str, Any]]:
    """Return the counts of each version at each site."""
    by_cell: dict[tuple[str, str, str], list[FleetGroup]] = {}
    for group in groups:
        by_cell.setdefault((group.package, group.version, group.site), []).append(group)
    return [
        {"PackageName": package, "ClientVersion": version, "Site": site, **_counted(those, offers)}
        for (package, version, site), those in sorted(by_cell.items())
    ]


def _offer_state(of: FleetGroup | FleetRow, offers: Offers) -> str:
    offer = offers.get((of.package, of.platform, of.channel))
    return offer.state_of(of.version) if offer else ""


def _row(row: FleetRow, offers: Offers) -> dict[str, Any]:
    return {
        "ClientId": row.client_id,
        "InstanceId": row.instance_id,
        "InstanceName": row.name,
        "Hostname": row.hostname,
        "Platform": row.platform,
        "HostVersion": row.host_version,
        "Site": row.site,
        "PackageName": row.package,
        "ClientVersion": row.version,
        "Channel": row.channel,
        "Status": row.status,
        "OfferState": _offer_state(row, offers),
        "Drift": row.drift.splitlines(),
        "IsSilent": row.silent,
        "LastHeardTime": seconds(row.last_heard_at),
    }
