"""The shape of every worker's loop."""

import logging
from collections.abc import Callable
from datetime import timedelta

from backfleet.pubsub._channels import Subscription

LONGEST_WAIT = timedelta(seconds=15)  # losing a wakeup costs at most this (upgrade-semantics, last section)
AFTER_A_FAILURE = timedelta(seconds=2)  # a database that is away is asked again this much later

log = logging.getLogger(__name__)


def poll_until_stopped(
    look: Callable[[], bool], bell: Subscription, stopping: Callable[[], bool], nap: timedelta = LONGEST_WAIT
) -> None:
    """Run `look` until told to stop; between looks wait for the bell, at most `nap`.

    `look` returns True when there may be more to do at once. If it raises, that is logged and tried again
    later: a worker never ends because one look failed.
    """
    while not stopping():
        try:
            more = look()
        except Exception:
            log.exception("a look failed; trying again in %s", AFTER_A_FAILURE)
            bell.wait(AFTER_A_FAILURE)
            continue
        if not more:
            bell.wait(nap)
