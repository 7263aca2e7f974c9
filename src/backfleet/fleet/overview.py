"""The fleet at a glance: counts by version and site, and a search."""

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
    tx: Transaction, account_id: str, region: str, asked: FleetSearch, page: Page, *, heard_since: datetime
) -> Listing[FleetRow]:
    """Return the clients that a search finds, by the names of their hosts."""
    return _store.overview.search(tx, account_id, region, asked, heard_since, page)
