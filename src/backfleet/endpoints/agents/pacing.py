"""How fast agents are kicked: as fast as they get their lists.

A kick tells an agent to ask, so a server that kicks faster than it answers only makes them wait, behind each other and
before everybody else. The number of agents that are awaited at once grows by one a round while lists come soon, and is
about halved a round while they do not, as the window of a TCP connection. The way to an agent and back does not count:
hosts on another continent would have the fewest under way, who need the most.
"""

from typing import Final

SOON: Final = 0.15  # seconds that a list is being made; half of what the slowest hundredth may take
LEAST: Final = 20  # agents: a commit takes all lists that wait; with 4 a wave on a busy machine took twice as long
SMALLER: Final = 0.5  # by each list that came late


class Pace:
    """How many kicked agents may be awaited at once."""

    def __init__(self, most: int) -> None:
        """Begin in the middle; never allow more than `most`."""
        self._most = most
        self._allowed = max(1.0, most / 2)

    @property
    def allowed(self) -> int:
        """How many agents without a list there may be now."""
        return int(self._allowed)

    def answered(self, seconds: float) -> None:
        """Note that a list was ready so many seconds after an agent had asked for it."""
        if seconds <= SOON:
            self._allowed = min(float(self._most), self._allowed + 1 / self._allowed)
        else:
            self._allowed = max(float(min(LEAST, self._most)), self._allowed - SMALLER)
