"""The loop that begins what is due, collects what came back, and gives up what no agent takes.

Any number of replicas may run it at once: each step takes its rows for itself, and does nothing the second time.
"""

from datetime import datetime, timedelta

from backfleet import commands, fleet
from backfleet.assistant import _store
from backfleet.assistant.invocations import TOPIC
from backfleet.assistant.running import begin_booted, begin_due, collect, give_up
from backfleet.ids import Draw
from backfleet.storage import Database, Transaction

AT_ONCE = 50  # records, runs or news in one transaction
RESULT_DAYS = 14  # results are kept for two weeks; ECS 2014-05-26


def look(database: Database, *, now: datetime, draw: Draw, fit_within: timedelta) -> bool:
    """One look; True if there may be more to do at once."""
    with database.reading() as tx:
        late = _store.undelivered(tx, now, AT_ONCE)
        is_due = _store.something_due(tx, now)
        is_told, has_booted = commands.has_news(tx, TOPIC) or bool(late), fleet.has_boots(tx)
    counts = [len(late)]
    if late:
        with database.transaction() as tx:
            give_up(tx, late, now=now)
    if is_told:
        with database.transaction() as tx:
            counts.append(collect(tx, now=now, limit=AT_ONCE))
    if has_booted:
        with database.transaction() as tx:
            counts.append(begin_booted(tx, now=now, draw=draw, fit_within=fit_within, limit=AT_ONCE))
    if is_due:
        with database.transaction() as tx:
            counts.append(begin_due(tx, now=now, draw=draw, fit_within=fit_within, limit=AT_ONCE))
    return AT_ONCE in counts


def purge(tx: Transaction, *, now: datetime) -> None:
    """Forget results that are older than they need be kept, and tokens whose time is over."""
    before = now - timedelta(days=RESULT_DAYS)
    _store.forget(tx, before, 1000)
    _store.forget_tokens(tx, now)
    commands.drop_before(tx, TOPIC, before)
