"""What of a fleet somebody should look at: hosts that are silent or deaf, copies, clients changed by others."""

from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from backfleet.fleet import _store
from backfleet.fleet.clones import ALIVE, side_by_side
from backfleet.fleet.model import Watched
from backfleet.fleet.model.instances import host_version_of
from backfleet.storage import Transaction
from backfleet_host.contract import OWN_AGENT


def lost(tx: Transaction, account_id: str, *, heard_since: datetime, limit: int) -> list[Watched]:
    """Return an account's hosts that were not heard of since a moment and were not shut down, at most `limit`."""
    return _store.instances.lost(tx, account_id, heard_since, limit)


def deaf(tx: Transaction, account_id: str, *, since: datetime, limit: int) -> list[Watched]:
    """Return an account's hosts that were heard of since a moment, and could not be given work since then."""
    return _store.instances.deaf(tx, account_id, since, limit)


def count_host_versions(tx: Transaction, account_id: str) -> dict[str, int]:
    """Return how many of an account's hosts have each version of the host program. Other agents do not count."""
    found: Counter[str] = Counter()
    for agent_version, number in _store.instances.count_agent_versions(tx, account_id).items():
        found[host_version_of(agent_version)] += number
    return dict(found)


def with_host_versions(tx: Transaction, account_id: str, versions: Collection[str], *, limit: int) -> list[Watched]:
    """Return an account's hosts that have one of these versions of the host program, at most `limit`."""
    reported = [f"{OWN_AGENT}{version}" for version in sorted(versions)]
    return _store.instances.with_agent_versions(tx, account_id, reported, limit) if reported else []


def cloned(tx: Transaction, account_id: str, *, now: datetime) -> list[str]:
    """Return the ids of an account's instances that several hosts claim to be."""
    return sorted(side_by_side(_store.runs.seen_in_account(tx, account_id, now - ALIVE)))


def changed(tx: Transaction, account_id: str, *, limit: int) -> list[Watched]:
    """Return an account's clients that differ from what their last order left, each with what differs."""
    return _store.clients.changed(tx, account_id, limit)


def with_wrong_clocks(
    tx: Transaction, account_id: str, *, heard_since: datetime, most: timedelta, limit: int
) -> list[Watched]:
    """Return an account's hosts whose clocks differ from ours by more than `most`, each with by how much."""
    return _store.instances.with_wrong_clocks(tx, account_id, heard_since, most, limit)


def quarantined(tx: Transaction, account_id: str, *, now: datetime, limit: int) -> list[Watched]:
    """Return an account's clients whose host rolled a version back and does not try it now, each with that version.

    Looks at the `limit` clients of which an order failed last.
    """
    return [
        replace(client, what=failure.version)
        for client, failure in _store.clients.with_failures(tx, account_id, limit)
        if failure.quarantined_until is not None and failure.quarantined_until > now
    ]
