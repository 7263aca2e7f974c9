"""The fleet at a glance: counts by version and site, and a search."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from backfleet.fleet import _store
from backfleet.fleet.model import FleetGroup, FleetRow, FleetSearch
from backfleet.paging import Listing, Page
from backfleet.storage import Transaction


def fleet_groups(
    tx: Transaction, account_id: str, region: str, site_tag: str, *, heard_since: datetime
) -> list[FleetGroup]:
    """Return how many clients of an account are alike in everything that an overview shows.

    Those that are neither silent nor have drifted are counted from indexes alone, and on a healthy fleet that is almost
    all of it.

    Args:
        site_tag: The key of the tag of instances that names their site.
        heard_since: Instances that run and were not heard since then are silent.
    """
    every = _store.overview.groups(tx, account_id, region, site_tag)
    silent = _store.overview.silent_groups(tx, account_id, region, site_tag, heard_since)
    drifted = _store.overview.drifted_groups(tx, account_id, region, site_tag, heard_since)
    return _set_apart(every, [*silent, *drifted])


def _set_apart(every: Sequence[FleetGroup], odd: Sequence[FleetGroup]) -> list[FleetGroup]:
    """Return groups of all clients without those that are silent or have drifted, and these in groups of their own."""
    left = Counter({replace(each, number=0): each.number for each in every})
    for each in odd:
        left[replace(each, silent=False, drifted=False, number=0)] -= each.number
    return [replace(each, number=number) for each, number in left.items() if number > 0] + list(odd)


def search_fleet(
    tx: Transaction,
    account_id: str,
    region: str,
    asked: FleetSearch,
    page: Page,
    *,
    heard_since: datetime,
    groups: Sequence[FleetGroup],
) -> Listing[FleetRow]:
    """Return the clients that a search finds, by the names of their hosts.

    Args:
        groups: What `fleet_groups` returned for the same tag and moment. All that a search asks for but its text, and
            the host program, is the same in a group, so their sum is the total, and nothing is counted again.
    """
    if not asked.text:
        if asked.host_version is None:
            total = sum(group.number for group in groups if asked.holds_for(group))
        else:
            total = _store.overview.count(tx, account_id, region, asked, heard_since)
        return _store.overview.search(tx, account_id, region, asked, heard_since, page, total)
    wanted, found = asked.text.casefold(), {(group.package, group.version) for group in groups}
    versions = sorted(each for each in found if any(wanted in text.casefold() for text in each))
    return _store.overview.search_text(tx, account_id, region, asked, heard_since, page, versions)
