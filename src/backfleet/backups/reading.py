"""What the runs say."""

from collections.abc import Mapping
from datetime import datetime

from backfleet import fleet
from backfleet.backups import _store
from backfleet.backups.model import FAILED, SUCCEEDED, UNKNOWN, ClientRun, Overdue, Results, RunFilter
from backfleet.paging import Listing, Page
from backfleet.storage import Transaction


def find_runs(tx: Transaction, account_id: str, region: str, selected: RunFilter, page: Page) -> Listing[ClientRun]:
    """Return an account's runs, newest first."""
    return _store.page_of(tx, account_id, region, selected, page)


def overdue(tx: Transaction, account_id: str, region: str, *, now: datetime) -> list[Overdue]:
    """Return the clients whose next backup did not begin when it usually does, the longest overdue first."""
    found = _store.overdue(tx, account_id, region, now)
    existing = fleet.resolve(tx, account_id, region, [], [each.client_id for each in found]).clients if found else {}
    return [each for each in found if each.client_id in existing]


def first_results(tx: Transaction, version: str | None, since: Mapping[str, datetime]) -> dict[str, str]:
    """Return how the first backup of clients under a version ended: the first whose result is known.

    `unknown` if some ended and of none the result is known. Clients without a backup that ended are left out.

    Args:
        tx: the transaction to read in.
        version: the version that made the backup; None = any.
        since: for each client the moment from which on it counts.
    """
    found: dict[str, str] = {}
    if not since:
        return found
    for client_id, begun_at, result in _store.ended_backups(tx, list(since), version, min(since.values())):
        if begun_at >= since[client_id] and found.get(client_id, UNKNOWN) == UNKNOWN:
            found[client_id] = result
    return found


def count_results(tx: Transaction, account_id: str, region: str, selected: RunFilter) -> Results:
    """Return how many backups of a package ended how, under a version or, if none is named, under any."""
    found = _store.count_by_result(tx, account_id, region, selected)
    return Results(found.get(SUCCEEDED, 0), found.get(FAILED, 0), found.get(UNKNOWN, 0))
