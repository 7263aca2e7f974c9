"""From the agent to the sender: output, final reports, and the news of both.

Rules: the first final report wins, copies of it are harmless, `running` after an end changes nothing of the invocation,
and a lost outcome is never guessed. Source: Cloud Assistant agent protocol, "what the server has to do".
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from backfleet import fleet
from backfleet.commands import _store
from backfleet.commands.model import FINAL_REPORTS, AgentReport, FinalReport, Outcome, Progress
from backfleet.commands.sending import topic_of
from backfleet.commands.states import FINAL, State, may_move
from backfleet.storage import Transaction
from backfleet.values import changed

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
    report = AgentReport(instance_id, task_id, now, chunk=chunk, started_ms=started_ms)
    return record_reports(tx, [report], lease=lease)[0]


def record_final_report(tx: Transaction, instance_id: str, task_id: str, report: FinalReport, *, now: datetime) -> bool:
    """Record how an invocation ended.

    Returns:
        False if that changed nothing: it is a copy, it came after another end, or the task is not this instance's.
    """
    return record_reports(tx, [AgentReport(instance_id, task_id, now, report)], lease=timedelta())[0]


def record_reports(tx: Transaction, reports: Sequence[AgentReport], *, lease: timedelta) -> list[bool]:
    """Record what many agents report, one after the other. See `record_output` and `record_final_report`.

    Args:
        tx: the transaction to write in.
        reports: in the order in which they came.
        lease: what an invocation gets that runs.

    Returns:
        Of each whether it changed something.
    """
    found = _store.locked(tx, list({report.task_id for report in reports if report.task_id}))
    after_all: dict[str, Progress] = {}
    doubted, results = set[str](), []
    for report in reports:
        known = after_all.get(report.task_id) or found.get(report.task_id)
        after = None
        if known is not None and known.instance_id == report.instance_id:
            after = (
                _after_output(known, report, lease)
                if report.final is None
                else _after_end(known, report.final, report.at)
            )
            if report.final is None and known.state in MAY_GO_ON:
                doubted.add(known.instance_id)  # whatever it does there, the host is asked what it has now
        if known is not None and after is not None:
            after_all[known.id] = after
            if after.revision != known.revision:
                tx.publish(known.topic)
        results.append(after is not None)
    _store.note_reported(tx, list(after_all.values()))
    if doubted:
        fleet.doubt_clients(tx, *doubted)
    ended = [one.instance_id for one in after_all.values() if one.state in FINAL or one.state is State.LOST]
    for instance_id in _store.waiting_on(tx, ended):  # their agents may have had as many as they run
        tx.publish(topic_of(instance_id))
    return results


def _after_output(known: Progress, report: AgentReport, lease: timedelta) -> Progress | None:
    """Return an invocation after output, or the news that it runs; None if that changes nothing. Pure."""
    if known.state in FINAL:
        return None
    until = report.at + lease
    if known.state is State.RUNNING and not report.chunk:  # no news: only the lease moves, and nothing is published
        started_ms = report.started_ms if known.started_ms is None else known.started_ms
        return changed(known, lease_until=until, started_ms=started_ms)
    kept, lost = with_chunk(known.output, report.chunk)
    return changed(
        known,
        state=State.RUNNING,
        lease_until=until,
        output=kept,
        dropped=known.dropped + lost,
        started_ms=report.started_ms if known.started_ms is None else known.started_ms,
        changed_at=report.at,
        revision=known.revision + 1,
    )


def _after_end(known: Progress, final: FinalReport, at: datetime) -> Progress | None:
    """Return an invocation after a final report; None if that changes nothing. Pure."""
    to = FINAL_REPORTS[final.kind]
    if to is State.FAILED and final.error_code == ALREADY_STARTED:
        to = State.LOST  # it ran or runs; only the host can say what became of it
    if not may_move(known.state, to):
        return None
    kept, lost = with_chunk(known.output, final.output)
    return changed(
        known,
        state=to,
        lease_until=None,
        output=kept,
        dropped=known.dropped + final.dropped + lost,
        started_ms=final.started_ms if known.started_ms is None else known.started_ms,
        ended_ms=final.ended_ms,
        exit_code=final.exit_code,
        error_code=final.error_code,
        error_text=final.error_text,
        changed_at=at,
        revision=known.revision + 1,
    )


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


def outcomes(tx: Transaction, topic: str, *, limit: int, only_ends: bool = False) -> list[Outcome]:
    """Return the news about this sender's invocations that it has not collected, oldest first.

    The rows are locked for this transaction: two workers that ask at once get different ones.

    Args:
        tx: the transaction that collects it.
        topic: the sender's.
        limit: how many pieces at most.
        only_ends: leave out what still runs; it stays news.
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
        for row in _store.news(tx, topic, limit, only_ends=only_ends)
    ]


def has_news(tx: Transaction, topic: str) -> bool:
    """Return whether `outcomes` would return anything. Cheaper, and locks nothing."""
    return _store.has_news(tx, topic)


def count_news(tx: Transaction, topic: str, *, most: int) -> int:
    """Return how many pieces of news `outcomes` would return; `most` if there are more."""
    return _store.count_news(tx, topic, most)


def mark_collected(tx: Transaction, known: Sequence[Outcome]) -> None:
    """Mark this news as collected. What changed after it was read stays news."""
    _store.mark_collected(tx, [(outcome.task_id, outcome.revision) for outcome in known])
