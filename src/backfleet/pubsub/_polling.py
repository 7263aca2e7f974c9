"""The loop of every worker."""

import logging
import time
from collections.abc import Callable
from datetime import timedelta

from backfleet.pubsub._channels import Subscription

LONGEST_WAIT = timedelta(seconds=15)  # a lost notification costs at most this (Source: upgrade semantics, last section)
AFTER_A_FAILURE = timedelta(seconds=2)  # so soon a database that was away is tried again

RUNS_A_SECOND = 20.0  # on account of notifications; more of them wait together for the next run
RUNS_AT_ONCE = 10.0  # that may follow each other at once after a rest
UNHURRIED_A_SECOND, UNHURRIED_AT_ONCE = 3.0, 1.0  # the same for a worker whose hurry is told by urgent topics

log = logging.getLogger(__name__)


class Breath:
    """How long to wait before the next run, so that what comes close together costs one run.

    A few may follow each other at once, so that what happens alone is acted on at once.
    """

    def __init__(self, now: float, a_second: float = RUNS_A_SECOND, at_once: float = RUNS_AT_ONCE) -> None:
        """Begin after a rest. Times are seconds of a clock that is never set."""
        self._a_second, self._at_once = a_second, at_once
        self._left, self._at = at_once, now

    def taken(self, now: float) -> float:
        """Note that a run is due. Return the seconds until it should begin; it may begin earlier."""
        rested = min(self._at_once, self._left + (now - self._at) * self._a_second)
        self._left, self._at = max(rested - 1, -1.0), now
        return max(0.0, -self._left / self._a_second)


def poll_until_stopped(
    run_once: Callable[[], bool],
    subscription: Subscription,
    stopping: Callable[[], bool],
    interval: timedelta | Callable[[], timedelta] = LONGEST_WAIT,
    passing: type[Exception] | tuple[type[Exception], ...] = (),
    urgent: Subscription | None = None,
) -> None:
    """Call `run_once` until `stopping` returns True.

    A failure is logged and tried again after 2 s: it never ends the worker.

    Args:
        run_once: Does what there is to do; returns True if there may be more to do at once.
        subscription: Ends the wait between two calls early.
        interval: The longest wait between two calls, or what returns it after each.
        passing: Failures that will be over by themselves: a sentence in the log says enough.
        urgent: Some of the notifications once more. With it the others may wait longer for each other: these do not.
    """
    breath = Breath(time.monotonic())
    unhurried = Breath(time.monotonic(), UNHURRIED_A_SECOND, UNHURRIED_AT_ONCE)
    while not stopping():
        try:
            more = run_once()
        except passing as problem:
            log.warning("a worker's run failed; it is tried again in %s: %s", AFTER_A_FAILURE, problem)
            subscription.wait(AFTER_A_FAILURE)
            continue
        except Exception:
            log.exception("a worker's run failed; it is tried again in %s", AFTER_A_FAILURE)
            subscription.wait(AFTER_A_FAILURE)
            continue
        longest = interval if isinstance(interval, timedelta) else interval()
        if not more and subscription.wait(longest):
            if urgent is not None and not urgent.wait(timedelta()):
                urgent.wait(timedelta(seconds=unhurried.taken(time.monotonic())))
            time.sleep(breath.taken(time.monotonic()))
