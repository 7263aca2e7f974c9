"""One round with a cloud account, in its order; and what is recorded of the account."""

import functools
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from backfleet.carriers.ecs import _batches, _store
from backfleet.carriers.ecs.model import EcsAccount, EcsProblem, Trouble
from backfleet.carriers.ecs.polling import poll
from backfleet.carriers.ecs.refreshing import read_answers, refresh
from backfleet.carriers.ecs.round import Means, Round
from backfleet.carriers.ecs.sending import send, stop, take

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds until a cloud that did not answer is asked again
DUE_AT_ONCE: Final = 200  # batches that are sent or asked about in one round

log = logging.getLogger(__name__)


def run_round(means: Means, account: EcsAccount, pause: float) -> float:
    """Do what is due for a cloud account, and let others have it again.

    Args:
        pause: what the last round returned; 0 before the first.

    Returns:
        Seconds until the next round: 0 if the cloud answered, else longer each time.
    """
    this = Round(means, account)
    try:
        _steps(this)
    except EcsProblem as problem:
        pause = min(max(pause * 2, FIRST_PAUSE), LONGEST_PAUSE, means.lease.total_seconds() / 3)
        log.warning("a cloud account has a problem", extra={"ecs_account": account.name, "problem": problem.message})
        with means.database.transaction() as tx:
            _store.note_account(tx, account, problem.code, problem.message, None)
            _store.give_back(tx, account, means.clock() + timedelta(seconds=pause * means.spread()))
        return pause
    with means.database.transaction() as tx:
        _store.give_back(tx, account, None)
    return 0.0


def _steps(this: Round) -> None:
    """Take, stop, send, ask, refresh. What refuses one step does not keep the others from being done.

    Raises:
        EcsProblem: the last one; at once if the cloud does not answer.
    """
    means, account = this.means, this.account
    to_stop = take(this)
    refused: list[EcsProblem] = []
    with means.database.reading() as tx:
        due = _batches.due(tx, account, means.clock(), DUE_AT_ONCE)
        is_refresh_due = _store.is_refresh_due(tx, account, means.clock())

    def step(do: Callable[[], None]) -> None:
        try:
            do()
        except EcsProblem as problem:
            if problem.trouble is Trouble.PASSES:
                raise
            refused.append(problem)

    step(lambda: stop(this, to_stop))
    for batch in due:
        step(functools.partial(poll if batch.invoke_id else send, this, batch))
    read_answers(this)
    if is_refresh_due:
        step(lambda: refresh(this))
    if refused:
        raise refused[-1]
    if due or is_refresh_due:
        with means.database.transaction() as tx:
            _store.note_account(tx, account, "", "", means.clock())
