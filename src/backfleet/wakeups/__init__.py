"""The ground: nudges. A bell carries no facts and may be lost: the table tells, the bell only shortens the wait.

Owns no table. Verbs: `ring` a topic, `listen` for one (a worker), `subscribe` to a family of topics (a door with an
event loop), `keep_looking` (the shape of every worker's loop). `open_bells` chooses: within this process, or over NATS.
"""

from backfleet.wakeups._bells import Bell, Bells, InProcessBells
from backfleet.wakeups._loop import LONGEST_WAIT, keep_looking

__all__ = ["LONGEST_WAIT", "Bell", "Bells", "InProcessBells", "keep_looking", "open_bells"]


def open_bells(url: str) -> Bells:
    """Bells over the NATS at this address, or within this process for "". NATS need not be there.

    Raises:
        ValueError: not an address of NATS.
    """
    if not url:
        return InProcessBells()
    from backfleet.wakeups._nats import NatsBells, check_address  # a process alone needs none of it

    check_address(url)
    return NatsBells(url)
