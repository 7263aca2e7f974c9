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

log = logging.getLogger(__name__)


class Breath:
    """How long a worker waits before it runs again, so that notifications that come close together cost one run.

    It may run a few times at once, so that what happens alone is acted on at once.
    """

    def __init__(self, now: float) -> None:
        """Begin after a rest. Times are seconds of a clock that is never set."""
        self._left, self._at = RUNS_AT_ONCE, now

    def taken(self, now: float) -> float:
        """Note that a run is due. Return the seconds until it should begin."""
        self._left = min(RUNS_AT_ONCE, self._left + (now - self._at) * RUNS_A_SECOND) - 1
        self._at = now
        return max(0.0, -self._left / RUNS_A_SECOND)


def poll_until_stopped(
    run_once: Callable[[], bool],
    subscription: Subscription,
    stopping: Callable[[], bool],
    interval: timedelta | Callable[[], timedelta] = LONGEST_WAIT,
    passing: type[Exception] | tuple[type[Exception], ...] = (),
) -> None:
    """Call `run_once` until `stopping` returns True.

    A failure is logged and tried again after 2 s: it never ends the worker.

    Args:
        run_once: Does what there is to do; returns True if there may be more to do at once.
        subscription: Ends the wait between two calls early.
        interval: The longest wait between two calls, or what returns it after each.
        passing: Failures that will be over by themselves: a sentence in the log says enough.
    """
    breath = Breath(time.monotonic())
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
            time.sleep(breath.taken(time.monotonic()))
