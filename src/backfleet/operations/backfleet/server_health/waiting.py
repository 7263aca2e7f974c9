"""Checks of what waits in the database: orders, commands, notifications."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from backfleet import commands, fleet, hold, notifications, upgrades
from backfleet.checks import Finding, Severity, named_some
from backfleet.checks.finding import MOST_NAMED
from backfleet.operations.catalogue import Call
from backfleet.storage import Transaction

LONG: Final = timedelta(minutes=5)
RECENT: Final = timedelta(days=2)
MOST: Final = 100
NO_WORKER: Final = "no process carries them out: one of yours must have `workers` among its parts (--only); see its log"


def check_queues(tx: Transaction, call: Call) -> Iterator[Finding]:
    """Check that nothing of the caller's account waits for long that could go on."""
    restore = hold.state(tx)
    if restore is None or not restore.is_held:
        yield _orders(tx, call)
    yield _commands(tx, call)
    yield _notifications(tx, call)


def _orders(tx: Transaction, call: Call) -> Finding:
    reachable_since = call.now - timedelta(seconds=call.services.settings.fit_seconds)
    since = upgrades.unsent_since(tx, call.account_id, now=call.now, reachable_since=reachable_since)
    if since is None or call.now - since < LONG:
        return Finding.ok("Orders", "none waits to be sent")
    found = f"orders wait to be sent, the oldest for {_minutes(call.now - since)}"
    return Finding("Orders", Severity.ERROR, found, NO_WORKER)


def _commands(tx: Transaction, call: Call) -> Finding:
    late = commands.waiting(tx, call.account_id, before=call.now - LONG, limit=MOST)
    known = fleet.instances_of(tx, call.account_id, [each for each, _ in late])
    within = timedelta(seconds=call.services.settings.fit_seconds)
    stuck = [
        (each, since)
        for each, since in late
        if each in known and fleet.is_connected(known[each], now=call.now, reachable_within=within)
    ]
    if not stuck:
        return Finding.ok("Commands", "none waits for a host that is connected")
    hosts, oldest = [each for each, _ in stuck], min(since for _, since in stuck)
    found = f"commands wait for {_minutes(call.now - oldest)}, though their hosts are connected: {named_some(hosts)}"
    advice = "restart the agent on these hosts, and see its log: it does not fetch what it is notified of"
    return Finding("Commands", Severity.ERROR, found, advice, hosts[:MOST_NAMED])


def _notifications(tx: Transaction, call: Call) -> Finding:
    undelivered = notifications.undelivered(
        tx, call.account_id, due_before=call.now - LONG, since=call.now - RECENT, limit=MOST
    )
    failed = {each.destination: each.problem for each in reversed(undelivered) if each.tries}
    if failed:
        found = f"{named_some([f'{name} ({problem[:80]})' for name, problem in failed.items()])} cannot be reached"
        advice = "`backfleet notify list`, then `backfleet notify test NAME`; mend the address or `outbound_allowed`"
        return Finding("Notifications", Severity.WARNING, found, advice, list(failed)[:MOST_NAMED])
    if undelivered:
        waited = _minutes(call.now - min(each.created_at for each in undelivered))
        found = f"{len(undelivered)} wait to be sent, the oldest for {waited}"
        return Finding("Notifications", Severity.ERROR, found, NO_WORKER)
    return Finding.ok("Notifications", "none waits")


def _minutes(waited: timedelta) -> str:
    return f"{waited // timedelta(minutes=1)} minutes"
