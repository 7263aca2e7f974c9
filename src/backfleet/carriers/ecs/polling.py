"""From the cloud to the queue: what has become of a batch, of many instances with one call."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from backfleet.carriers.ecs import _batches
from backfleet.carriers.ecs.model import Batch, EcsProblem, Result, Trouble
from backfleet.carriers.ecs.reading import IN_DOUBT, progress_of
from backfleet.carriers.ecs.round import Round
from backfleet.storage import Transaction

OVERDUE: Final = timedelta(minutes=5)  # beyond a command's own time, until nobody waits for its end any more


def poll(this: Round, batch: Batch) -> None:
    """Ask what became of a batch, and record it.

    Raises:
        EcsProblem: the cloud was not reached, or does not say it.
    """
    try:
        found: Sequence[Result] = this.cloud(batch.region).results(
            batch.invoke_id, [run.remote_id for run in batch.runs]
        )
    except EcsProblem as problem:
        if problem.trouble is not Trouble.DOUBT:
            _put_off(this, batch)
            raise
        with this.means.database.transaction() as tx:
            this.end(tx, batch, batch.runs, IN_DOUBT)
        return
    this.has_heard = True
    with this.means.database.transaction() as tx:
        _note(this, tx, batch, found)
        _batches.note(tx, batch.token, {"polls": batch.polls + 1, "next_poll_at": this.next_poll(batch.polls)})


def _put_off(this: Round, batch: Batch) -> None:
    """Ask again later. What is long overdue by then is in doubt."""
    with this.means.database.transaction() as tx:
        _batches.note(tx, batch.token, {"polls": batch.polls + 1, "next_poll_at": this.next_poll(batch.polls)})
        if _is_overdue(this, batch):
            this.end(tx, batch, batch.runs, IN_DOUBT)


def _note(this: Round, tx: Transaction, batch: Batch, found: Sequence[Result]) -> None:
    """Record what is said of each run. Instances that were not asked about are left out."""
    results = {result.remote_id: result for result in found}
    for run in batch.runs:
        progress = progress_of(run, results[run.remote_id]) if run.remote_id in results else None
        if progress is not None and progress.report is not None:
            this.end(tx, batch, [run], progress.report)
        elif _is_overdue(this, batch):
            this.end(tx, batch, [run], IN_DOUBT)
        elif progress is not None:
            is_open = this.note_running(tx, run, progress.output, has_begun=progress.has_begun)
            if is_open:
                _batches.note_seen(tx, run.task_id, progress.seen)
            else:
                _batches.end_runs(tx, batch.token, [run.task_id])


def _is_overdue(this: Round, batch: Batch) -> bool:
    limit = timedelta(seconds=batch.command.timeout_seconds) + OVERDUE
    return this.means.clock() > batch.created_at + limit
