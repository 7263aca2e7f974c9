"""One round with a cloud account, in its order; and what is recorded of the account."""

import functools
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from backfleet.carriers.ecs import _batches, _store
from backfleet.carriers.ecs.judging import read_answers
from backfleet.carriers.ecs.model import EcsAccount, EcsProblem, Trouble
from backfleet.carriers.ecs.polling import poll
from backfleet.carriers.ecs.refreshing import refresh
from backfleet.carriers.ecs.round import Means, Round
from backfleet.carriers.ecs.sending import send, stop, take

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds until a cloud that did not answer is asked again
MOST_FAILURES: Final = 3  # calls without an answer in one round, before the refresh has its turn
DUE_AT_ONCE: Final = 200  # batches that are sent or asked about in one round

log = logging.getLogger(__name__)


def run_round(means: Means, account: EcsAccount, pause: float) -> float:
    """Do what is due for a cloud account, and let others have it again.

    Args:
        pause: what the last round returned; 0 before the first.

    Returns:
        Seconds until the next round: 0 if the cloud answered all, else longer each time that it answered nothing.
    """
    this = Round(means, account)
    try:
        _steps(this)
    except EcsProblem as problem:
        pause = FIRST_PAUSE if this.has_heard else max(pause * 2, FIRST_PAUSE)
        pause = min(pause, LONGEST_PAUSE, means.lease.total_seconds() / 3)
        log.warning("a cloud account has a problem", extra={"ecs_account": account.name, "problem": problem.message})
        with means.database.transaction() as tx:
            _store.note_account(tx, account, problem.code, problem.message, None)
            _store.give_back(tx, account, means.clock() + timedelta(seconds=pause * means.spread()))
        return pause
    with means.database.transaction() as tx:
        _store.give_back(tx, account, means.clock())
    return 0.0


def _steps(this: Round) -> None:
    """Take, stop, send, ask, refresh. What fails in one step does not keep the others from being done.

    Raises:
        EcsProblem: the last one.
    """
    means, account = this.means, this.account
    to_stop = take(this)
    problems: list[EcsProblem] = []
    with means.database.reading() as tx:
        due = _batches.due(tx, account, means.clock(), DUE_AT_ONCE)
        is_refresh_due = _store.is_refresh_due(tx, account, means.clock())

    def step(do: Callable[[], object]) -> bool:
        """Do a step. Return whether the cloud did not answer."""
        try:
            do()
        except EcsProblem as problem:
            problems.append(problem)
            return problem.trouble is Trouble.PASSES
        return False

    failures = int(step(lambda: stop(this, to_stop)))
    silent: set[str] = set()  # regions that did not answer: the rest of them waits for the next round
    for number, batch in enumerate(due):
        has_time = not (number and this.is_long)
        if batch.region not in silent and failures < MOST_FAILURES and has_time:
            has_failed = step(functools.partial(poll if batch.invoke_id else send, this, batch))
            failures += has_failed
            silent |= {batch.region} if has_failed else set()
    read_answers(this)
    is_over = False

    def go_on() -> None:
        nonlocal is_over
        is_over = refresh(this)

    if is_refresh_due:
        step(go_on)
    if problems:
        raise problems[-1]
    if is_over or (due and not is_refresh_due):  # one that goes on may have been refused something already
        with means.database.transaction() as tx:
            _store.note_account(tx, account, "", "", means.clock())
