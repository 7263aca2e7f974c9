"""The loop that begins due runs, takes over what agents reported, and gives up runs that no agent takes.

Any number of replicas may run it at once: each step locks the rows it works on, and finds nothing to do a second time.
"""

from datetime import datetime, timedelta

from backfleet import commands, fleet
from backfleet.assistant import _store
from backfleet.assistant.invocations import TOPIC
from backfleet.assistant.runs import begin_booted, begin_due, collect, give_up
from backfleet.ids import Draw
from backfleet.storage import Database, Transaction

AT_ONCE = 50  # records, runs or outcomes in one transaction
RESULT_DAYS = 14  # for which results are kept; source: ECS 2014-05-26
PURGED_AT_ONCE = 1000  # invocations


def run_once(database: Database, *, now: datetime, draw: Draw, reachable_within: timedelta) -> bool:
    """Do one round of work; return True if there may be more to do at once.

    Args:
        reachable_within: an instance without a heartbeat for longer than this counts as unreachable.
    """
    with database.reading() as tx:
        late = _store.undelivered_runs(tx, now, AT_ONCE)
        is_due = _store.is_record_due(tx, now)
        has_outcomes, has_booted = commands.has_news(tx, TOPIC) or bool(late), fleet.has_boots(tx)
    counts = [len(late)]
    if late:
        with database.transaction() as tx:
            give_up(tx, late, now=now)
    if has_outcomes:
        with database.transaction() as tx:
            counts.append(collect(tx, now=now, limit=AT_ONCE))
    if has_booted:
        with database.transaction() as tx:
            counts.append(begin_booted(tx, now=now, draw=draw, reachable_within=reachable_within, limit=AT_ONCE))
    if is_due:
        with database.transaction() as tx:
            counts.append(begin_due(tx, now=now, draw=draw, reachable_within=reachable_within, limit=AT_ONCE))
    return AT_ONCE in counts


def purge(tx: Transaction, *, now: datetime) -> None:
    """Delete results older than RESULT_DAYS, and expired ClientTokens."""
    before = now - timedelta(days=RESULT_DAYS)
    _store.purge(tx, before, PURGED_AT_ONCE)
    _store.client_tokens.purge(tx, before=now)
    commands.drop_before(tx, TOPIC, before)
