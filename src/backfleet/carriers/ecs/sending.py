"""From the queue to the cloud: take what waits, send it as batches, stop what is to be stopped.

A batch is stored before it is sent, and sent again under the same token until the cloud says that it has it: a process
may be killed anywhere, and nothing runs twice. Its commands count as running from then on: nobody hands them out again.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Final

from backfleet import commands
from backfleet.carriers.ecs import _batches, _store
from backfleet.carriers.ecs.batching import Waiting, batches_of, halves, refusal_of
from backfleet.carriers.ecs.model import Batch, EcsProblem, Trouble
from backfleet.carriers.ecs.reading import IN_DOUBT
from backfleet.carriers.ecs.round import Round
from backfleet.commands import FinalReport
from backfleet.storage import Transaction

UNSENT_FOR: Final = timedelta(minutes=10)  # how long a batch is sent again: the cloud keeps tokens for longer
TAKEN_AT_ONCE: Final = 200  # instances with work that are taken in one round
HANDED: Final = timedelta(seconds=10)


def take(this: Round) -> dict[str, str]:
    """Store what waits as batches. Return the instances of commands that are to be stopped, by the commands' ids."""
    means, account = this.means, this.account
    with means.database.transaction() as tx:
        now = means.clock()
        waiting: list[Waiting] = []
        to_stop: dict[str, str] = {}
        for host in _store.with_work(tx, account, TAKEN_AT_ONCE):
            handout = commands.claim(tx, host.instance_id, now=now, lease=HANDED)
            to_stop |= dict.fromkeys(handout.stop, host.instance_id)
            for one in handout.run:
                why = refusal_of(one)
                if why:
                    refusal = FinalReport("invalid", error_code="NotSupported", error_text=why)
                    commands.record_final_report(tx, host.instance_id, one.task_id, refusal, now=now)
                else:
                    waiting.append((host, one))
        _store_batches(this, tx, waiting)
        return to_stop


def _store_batches(this: Round, tx: Transaction, waiting: list[Waiting]) -> None:
    for batch in batches_of(waiting, token=this.new_token, now=this.means.clock()):
        _batches.add(tx, batch)
        for run in batch.runs:
            this.note_running(tx, run)


def send(this: Round, batch: Batch) -> None:
    """Send a batch, for the first time or again.

    Raises:
        EcsProblem: the cloud was not reached, or has no time: it is sent again later.
    """
    means = this.means
    now = means.clock()
    with means.database.transaction() as tx:
        if now > batch.created_at + UNSENT_FOR:
            this.end(tx, batch, batch.runs, IN_DOUBT)
            return
        if not batch.tries:  # later ones find out by the same token what the cloud has
            batch = _without_unwanted(this, tx, batch)
        if not batch.runs:
            return
        _batches.note(tx, batch.token, {"tries": batch.tries + 1, "next_poll_at": now})
        for run in batch.runs:
            this.note_running(tx, run)
    try:
        invoke_id = this.cloud(batch.region).run(batch)
    except EcsProblem as problem:
        if problem.trouble is Trouble.PASSES:
            with means.database.transaction() as tx:
                tries = batch.tries + (0 if problem.not_taken else 1)
                _batches.note(tx, batch.token, {"tries": tries, "next_poll_at": this.next_poll(batch.tries)})
            raise
        _refused(this, batch, problem)
        if problem.trouble is Trouble.ACCOUNT:
            raise
        return
    this.has_heard = True
    with means.database.transaction() as tx:
        _batches.note(tx, batch.token, {"invoke_id": invoke_id, "next_poll_at": means.clock() + timedelta(seconds=1)})


def _without_unwanted(this: Round, tx: Transaction, batch: Batch) -> Batch:
    """Return a batch without what ended, or is to be stopped, since it was taken: a halt, a restored copy.

    One that is lost is forgotten: its lease ran out before it was sent, and its sender may have sent it again since.
    """
    wanted = commands.still_wanted(tx, [run.task_id for run in batch.runs])
    unwanted = [run for run in batch.runs if run.task_id not in wanted]
    lost = set(commands.lost_among(tx, [run.task_id for run in unwanted]))
    if lost:
        _batches.end_runs(tx, batch.token, lost)
    stopped = [run for run in unwanted if run.task_id not in lost]
    if stopped:
        this.end(tx, batch, stopped, FinalReport("stopped"))
    return replace(batch, runs=tuple(run for run in batch.runs if run.task_id in wanted))


def _refused(this: Round, batch: Batch, problem: EcsProblem) -> None:
    """Act on a refusal. One instance that is unfit spoils the call for all, so each half is sent on its own."""
    with this.means.database.transaction() as tx:
        if problem.trouble is Trouble.INSTANCE and len(batch.runs) > 1:
            _batches.end_runs(tx, batch.token, [run.task_id for run in batch.runs])
            for half in halves(batch, token=this.new_token, now=this.means.clock()):
                _batches.add(tx, half)
        elif problem.trouble is Trouble.DOUBT or (problem.trouble is Trouble.ACCOUNT and batch.tries):
            this.end(tx, batch, batch.runs, replace(IN_DOUBT, error_text=problem.message[:512]))
        else:
            refusal = FinalReport("error", error_code=problem.code, error_text=problem.message[:512])
            this.end(tx, batch, batch.runs, refusal)


def stop(this: Round, to_stop: Mapping[str, str]) -> None:
    """Have commands stopped. What the cloud may have taken without saying so is stopped when it has said so.

    Args:
        to_stop: instances by the ids of the commands.

    Raises:
        EcsProblem: the cloud was not reached, or does not let it be stopped.
    """
    if not to_stop:
        return
    means, stopped = this.means, FinalReport("stopped")
    with means.database.transaction() as tx:
        found = _batches.with_tasks(tx, this.account, to_stop)
        known = {run.task_id for batch in found for run in batch.runs}
        for task_id in commands.lost_among(tx, [each for each in to_stop if each not in known]):
            commands.record_final_report(tx, to_stop[task_id], task_id, stopped, now=means.clock())
        for batch in found:
            if not batch.tries:
                this.end(tx, batch, [run for run in batch.runs if run.task_id in to_stop], stopped)
    for batch in found:
        if batch.invoke_id and not this.is_long:
            try:
                remote_ids = [run.remote_id for run in batch.runs if run.task_id in to_stop]
                this.cloud(batch.region).stop(batch.invoke_id, remote_ids)
            except EcsProblem as problem:
                if problem.trouble in (Trouble.PASSES, Trouble.ACCOUNT):
                    raise
