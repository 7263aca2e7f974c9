"""The loop that acts on leases that ran out, and not on those that a clock or a halt of the server ended."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from backfleet import fleet
from backfleet.commands import _store
from backfleet.commands.sending import sweep
from backfleet.commands.states import State
from backfleet.storage import Database, Transaction

AT_ONCE: Final = 200  # leases of one transaction
NOTED: Final = timedelta(seconds=15)  # a round is stored if the stored one is older than this
LONGEST_ROUND: Final = timedelta(minutes=1)  # between two rounds; longer: no server ran, or the clock was set
SET_BACK: Final = timedelta(minutes=1)  # by less than this a clock is only put right

log = logging.getLogger(__name__)


def _nothing(_tx: Transaction) -> None:
    """Let nothing else begin anew."""


def note_round(
    database: Database,
    *,
    handed: timedelta,
    lease: timedelta,
    now: datetime,
    also: Callable[[Transaction], None] = _nothing,
) -> bool:
    """Note that leases are looked at, and renew them all if that was impossible, or the clock was set.

    While no server ran, no agent could report, and a clock that is set forward ends every lease at one moment: then
    each agent gets the time to report that it has otherwise. A clock that is set back would let leases, and hosts that
    died, last for hours.

    Args:
        database: where the rounds of all servers are noted.
        handed: the lease of a command that was handed out.
        lease: that of one that runs.
        now: the time.
        also: what else begins anew then, in the same transaction.

    Returns:
        Whether leases were renewed.
    """
    with database.reading() as tx:
        if _is_noted(_store.last_round(tx), now):
            return False
    with database.transaction() as tx:
        last = _store.last_round(tx, locks=True)
        if _is_noted(last, now):
            return False
        _store.note_round(tx, now)
        if last is None or _goes_on(last, now):
            return False
        also(tx)
        _store.renew(tx, State.HANDED, now + handed)
        _store.renew(tx, State.RUNNING, now + lease)
        fleet.note_clock_set_back(tx, now=now)
    log.warning(
        "no server looked at leases for long, or the clock was set; they begin anew",
        extra={"seconds": round((now - last).total_seconds())},
    )
    return True


def rounds_go_on(tx: Transaction, now: datetime) -> bool:
    """Return whether servers looked at what is out of time; if not, it begins anew at their next look.

    Until then nothing may be called out of time: no server ran, or the clock was set.
    """
    return _goes_on(_store.last_round(tx), now)


def _goes_on(last: datetime | None, now: datetime) -> bool:
    return last is None or -SET_BACK <= now - last <= LONGEST_ROUND


def _is_noted(last: datetime | None, now: datetime) -> bool:
    return last is not None and timedelta() <= now - last < NOTED


def run_once(database: Database, *, now: datetime) -> bool:
    """Act on one batch of leases that ran out; True if there may be more."""
    with database.transaction() as tx:
        return sweep(tx, now=now, limit=AT_ONCE) == AT_ONCE
