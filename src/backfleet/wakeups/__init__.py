"""The ground: nudges. A bell carries no facts and may be lost: the table tells, the bell only shortens the wait.

Owns no table. Verbs: `ring` a topic, `listen` for one (a worker), `subscribe` to a family of topics (a door with an
event loop), `keep_looking` (the shape of every worker's loop).
"""

from backfleet.wakeups._bells import Bell, Bells, InProcessBells
from backfleet.wakeups._loop import LONGEST_WAIT, keep_looking

__all__ = ["LONGEST_WAIT", "Bell", "Bells", "InProcessBells", "keep_looking"]
