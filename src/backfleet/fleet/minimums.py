"""Minimum versions: put, deleted, listed, and compared with what the clients of an account have."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from backfleet.fleet import _store
from backfleet.fleet.model import MinimumVersion, is_below
from backfleet.storage import Transaction
from backfleet_host.versions import scheme_of

MOST_MINIMUMS: Final = 200  # of one account: one of a package

SchemesOf = Callable[[Transaction, Iterable[str]], Mapping[str, str]]
"""Returns the version scheme of each package."""


class TooManyMinimums(Exception):
    """An account would have more than MOST_MINIMUMS."""


def put_minimum(tx: Transaction, new: MinimumVersion) -> MinimumVersion | None:
    """Store a minimum in place of the package's one, and return that.

    Raises:
        TooManyMinimums: the account has as many as it may.
        Conflict: another call is storing one for the package.
    """
    before = _store.minimums.put(tx, new)
    if before is None and len(minimums_of(tx, new.account_id, new.region)) > MOST_MINIMUMS:
        raise TooManyMinimums
    return before


def delete_minimum(tx: Transaction, account_id: str, region: str, package: str) -> MinimumVersion | None:
    """Delete a package's minimum, and return it; None if there is none."""
    return _store.minimums.delete(tx, account_id, region, package)


def minimums_of(tx: Transaction, account_id: str, region: str) -> list[MinimumVersion]:
    """Return an account's minimums, those first that are due first."""
    return _store.minimums.of_account(tx, account_id, region)


def minimum_of(tx: Transaction, account_id: str, region: str, package: str) -> MinimumVersion | None:
    """Return the minimum of a package; None if it has none."""
    return next((each for each in minimums_of(tx, account_id, region) if each.package == package), None)


def below_minimums(
    tx: Transaction, account_id: str, region: str, minimums: Sequence[MinimumVersion], schemes_of: SchemesOf
) -> list[tuple[MinimumVersion, int, int]]:
    """Return each minimum with how many clients of its package there are, and how many of them are below it."""
    if not minimums:
        return []
    schemes = schemes_of(tx, [each.package for each in minimums])
    clients, below = Counter[str](), Counter[str]()
    wanted = {each.package: each.version for each in minimums}
    for (package, version), number in _store.clients.count_by_version(tx, account_id, region).items():
        if package in wanted:
            clients[package] += number
            below[package] += number if is_below(scheme_of(schemes[package]), version, wanted[package]) else 0
    return [(each, clients[each.package], below[each.package]) for each in minimums]
