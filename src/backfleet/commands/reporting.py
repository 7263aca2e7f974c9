"""From the agent to the sender: output, final reports, and the news of both.

Rules: the first final report wins, copies of it are harmless, `running` after an end changes nothing of the invocation,
and a lost outcome is never guessed. Source: Cloud Assistant agent protocol, "what the server has to do".
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from backfleet import fleet
from backfleet.commands import _store
from backfleet.commands.model import FINAL_REPORTS, FinalReport, Outcome
from backfleet.commands.sending import topic_of
from backfleet.commands.states import FINAL, State, may_move
from backfleet.storage import Transaction

LONGEST_OUTPUT: Final = 24 * 1024  # bytes kept of one invocation's output: the head and the tail
MAY_GO_ON: Final = frozenset({State.STOPPED, State.TIMED_OUT})  # the official agent ends only its own shell
ALREADY_STARTED: Final = "-9"  # the agent's error code for "this id was started before": the outcome is not known


def record_output(
    tx: Transaction,
    instance_id: str,
    task_id: str,
    chunk: bytes,
    *,
    started_ms: int | None,
    now: datetime,
    lease: timedelta,
) -> bool:
    """Record output of a running invocation, or only that it runs (an empty chunk), and renew its lease.

    Returns:
        False, with nothing recorded, if the invocation is not this instance's or has ended.
    """
    row = _store.locked(tx, instance_id, task_id)
    if row is not None and State(row.state) in MAY_GO_ON:
        fleet.doubt_clients(tx, instance_id)  # whatever it does there, the host is asked what it has now
        return False
    if row is None or State(row.state) in FINAL:
        return False
    kept, lost = with_chunk(row.output, chunk)
    # A bare heartbeat is no news: only the lease moves, and nothing is published.
    news = State(row.state) is not State.RUNNING or bool(chunk)
    _store.note_running(tx, row, kept, row.dropped + lost, started_ms, now=now, lease_until=now + lease, news=news)
    if news:
        tx.publish(row.topic)
    return True


def record_final_report(tx: Transaction, instance_id: str, task_id: str, report: FinalReport, *, now: datetime) -> bool:
    """Record how an invocation ended.

    Returns:
        False if that changed nothing: it is a copy, it came after another end, or the task is not this instance's.
    """
    row = _store.locked(tx, instance_id, task_id)
    if row is None:
        return False
    to = FINAL_REPORTS[report.kind]
    if to is State.FAILED and report.error_code == ALREADY_STARTED:
        to = State.LOST  # it ran or runs; only the host can say what became of it
    if not may_move(State(row.state), to):
        return False
    kept, lost = with_chunk(row.output, report.output)
    _store.note_ended(tx, row, to, report, kept, row.dropped + report.dropped + lost, now)
    tx.publish(row.topic)
    if _store.has_waiting(tx, instance_id):  # its agent may have had as many as it runs
        tx.publish(topic_of(instance_id))
    return True


def with_chunk(kept: bytes, chunk: bytes) -> tuple[bytes, int]:
    """Append a chunk to the output kept so far, within LONGEST_OUTPUT.

    Half is kept for the head and the rest for the tail: the last line carries the outcome.

    Returns:
        The output to keep, and how many bytes fell out of its middle.
    """
    everything = kept + chunk
    excess = len(everything) - LONGEST_OUTPUT
    if excess <= 0:
        return everything, 0
    head = LONGEST_OUTPUT // 2
    return everything[:head] + everything[head + excess :], excess


def outcomes(tx: Transaction, topic: str, *, limit: int) -> list[Outcome]:
    """Return the news about this sender's invocations that it has not collected, oldest first.

    The rows are locked for this transaction: two workers that ask at once get different ones.
    """
    return [
        Outcome(
            row.id,
            row.reference,
            State(row.state),
            row.exit_code,
            row.error_code,
            row.error_text,
            bytes(row.output),
            row.changed_at,
            row.revision,
            row.dropped,
            row.started_ms,
            row.ended_ms,
            row.instance_id,
            row.lease_until is not None,
        )
        for row in _store.news(tx, topic, limit)
    ]


def has_news(tx: Transaction, topic: str) -> bool:
    """Return whether `outcomes` would return anything. Cheaper, and locks nothing."""
    return _store.has_news(tx, topic)


def mark_collected(tx: Transaction, known: Sequence[Outcome]) -> None:
    """Mark this news as collected. What changed after it was read stays news."""
    _store.mark_collected(tx, [(outcome.task_id, outcome.revision) for outcome in known])
