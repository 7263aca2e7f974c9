"""The loop of every worker."""

import logging
from collections.abc import Callable
from datetime import timedelta

from backfleet.pubsub._channels import Subscription

LONGEST_WAIT = timedelta(seconds=15)  # a lost notification costs at most this (Source: upgrade semantics, last section)
AFTER_A_FAILURE = timedelta(seconds=2)  # so soon a database that was away is tried again

log = logging.getLogger(__name__)


def poll_until_stopped(
    run_once: Callable[[], bool],
    subscription: Subscription,
    stopping: Callable[[], bool],
    interval: timedelta = LONGEST_WAIT,
    passing: type[Exception] | tuple[type[Exception], ...] = (),
) -> None:
    """Call `run_once` until `stopping` returns True.

    A failure is logged and tried again after 2 s: it never ends the worker.

    Args:
        run_once: Does what there is to do; returns True if there may be more to do at once.
        subscription: Ends the wait between two calls early.
        interval: The longest wait between two calls.
        passing: Failures that will be over by themselves: a sentence in the log says enough.
    """
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
        if not more:
            subscription.wait(interval)
