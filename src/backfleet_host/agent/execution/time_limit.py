"""The longest that a process may take which carries orders out and that nobody watches."""

from __future__ import annotations

import signal

from backfleet_host.agent.timings import Timings

GRACE_SECONDS = Timings.order_grace  # an order whose time is over may finish or roll back for this long


def limit_time(seconds: float) -> None:
    """Have the system kill this process if it has not ended then and after a grace period: it hangs.

    It would hold its package's lock, and no other order could be carried out. Killed, it leaves what a crash leaves.

    Args:
        seconds: what its order has, from now on.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    signal.setitimer(signal.ITIMER_REAL, seconds + GRACE_SECONDS)
