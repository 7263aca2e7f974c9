"""From the agent to the sender: output, endings, and the news of both.

Rules: Cloud Assistant agent protocol, "what the server has to do". The first terminal report wins, copies are harmless,
`running` after an end is ignored, and a lost outcome is never guessed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from backfleet.commands import _store
from backfleet.commands.states import FINAL, State, may_move
from backfleet.storage import Transaction

LONGEST_OUTPUT = 24 * 1024  # bytes kept of one command's output: the head and the tail
ALREADY_STARTED = "-9"  # the agent's error code for "this id was started before": the outcome is not known

ENDINGS: Final = {
    "finish": State.FINISHED,
    "timeout": State.TIMED_OUT,
    "stopped": State.STOPPED,
    "error": State.FAILED,
    "invalid": State.REFUSED,
}


@dataclass(frozen=True, slots=True)
class Ending:
    """A terminal report. `kind` is its name on the wire; times are the host's, in milliseconds."""

    kind: str
    exit_code: int | None = None
    error_code: str = ""
    error_text: str = ""
    dropped: int = 0
    output: bytes = b""
    started_ms: int | None = None
    ended_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is new of one command, progress included. `revision` says how new."""

    task_id: str
    reference: str
    state: State
    exit_code: int | None
    error_code: str
    error_text: str
    output: bytes
    changed_at: datetime
    revision: int
    dropped: int = 0  # bytes of output that are lost
    started_ms: int | None = None  # by the host's clock
    ended_ms: int | None = None

    @property
    def is_final(self) -> bool:
        """Whether nothing more will come, unless it was lost."""
        return self.state in FINAL


def output(
    tx: Transaction,
    instance_id: str,
    task_id: str,
    chunk: bytes,
    *,
    started_ms: int | None,
    now: datetime,
    lease: timedelta,
) -> bool:
    """A running command has said something, or only that it runs: a sign of life that renews its lease.

    False if it is not this instance's, or has ended: then nothing is kept.
    """
    row = _store.locked(tx, instance_id, task_id)
    if row is None or State(row.state) in FINAL:
        return False
    kept, lost = with_chunk(row.output, chunk)
    # A bare sign of life is no news: only the lease moves, and nobody is woken.
    news = State(row.state) is not State.RUNNING or bool(chunk)
    _store.note_running(tx, row, kept, row.dropped + lost, started_ms, now=now, lease_until=now + lease, news=news)
    if news:
        tx.publish(row.topic)
    return True


def ended(tx: Transaction, instance_id: str, task_id: str, ending: Ending, *, now: datetime) -> bool:
    """A terminal report. False if it changed nothing: a copy, a later one, or not this instance's."""
    row = _store.locked(tx, instance_id, task_id)
    if row is None:
        return False
    state = State(row.state)
    to = ENDINGS[ending.kind]
    if to is State.FAILED and ending.error_code == ALREADY_STARTED:
        to = State.LOST  # it ran or runs; what became of it must be asked, not guessed
    if not may_move(state, to):
        return False
    kept, lost = with_chunk(row.output, ending.output)
    _store.note_ended(tx, row, to, ending, kept, row.dropped + ending.dropped + lost, now)
    tx.publish(row.topic)
    return True


def with_chunk(kept: bytes, chunk: bytes) -> tuple[bytes, int]:
    """What was kept and more, within LONGEST_OUTPUT: half for the head, the rest for the tail. Also what fell out.

    The last line matters most: it carries the outcome.
    """
    whole = kept + chunk
    excess = len(whole) - LONGEST_OUTPUT
    if excess <= 0:
        return whole, 0
    head = LONGEST_OUTPUT // 2
    return whole[:head] + whole[head + excess :], excess


def outcomes(tx: Transaction, topic: str, *, limit: int) -> list[Outcome]:
    """News of this sender's commands that it has not collected, oldest first.

    The rows are locked for this transaction: two workers that look at once see different ones.
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
        )
        for row in _store.news(tx, topic, limit)
    ]


def has_news(tx: Transaction, topic: str) -> bool:
    """Whether there is anything for `outcomes` to give: cheaper to ask than to look."""
    return _store.has_news(tx, topic)


def collected(tx: Transaction, known: Sequence[Outcome]) -> None:
    """The sender knows these now. What changed after it looked stays news."""
    _store.note_collected(tx, [(outcome.task_id, outcome.revision) for outcome in known])
