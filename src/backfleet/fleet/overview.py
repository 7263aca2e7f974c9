"""The fleet at a glance: counts by version and site, and a search."""

from collections.abc import Sequence
from datetime import datetime

from backfleet.fleet import _store
from backfleet.fleet.model import FleetGroup, FleetRow, FleetSearch
from backfleet.paging import Listing, Page
from backfleet.storage import Transaction


def fleet_groups(
    tx: Transaction, account_id: str, region: str, site_tag: str, *, heard_since: datetime
) -> list[FleetGroup]:
    """Return how many clients of an account are alike in everything that an overview shows.

    Args:
        site_tag: The key of the tag of instances that names their site.
        heard_since: Instances that run and were not heard since then are silent.
    """
    return _store.overview.groups(tx, account_id, region, site_tag, heard_since)


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
        groups: What `fleet_groups` returned for the same tag and moment. All that a search asks for but its text is
            the same in a group, so their sum is the total, and nothing is counted again.
    """
    total = None if asked.text else sum(group.number for group in groups if asked.holds_for(group))
    return _store.overview.search(tx, account_id, region, asked, heard_since, page, total)
