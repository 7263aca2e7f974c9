"""How fast agents are kicked: as fast as they get their lists.

A kick tells an agent to ask, so a server that kicks faster than it answers only makes them wait, behind each other and
before everybody else. The number of agents that are awaited at once grows by one a round while lists come soon, and is
about halved a round while they do not, as the window of a TCP connection.
"""

from typing import Final

SOON: Final = 0.15  # seconds from a kick to its list; half of what the slowest hundredth may take
LEAST: Final = 12  # agents: a commit takes all lists that wait; with 4 a wave on a busy machine took twice as long
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
        """Note that a list was ready so many seconds after its kick."""
        if seconds <= SOON:
            self._allowed = min(float(self._most), self._allowed + 1 / self._allowed)
        else:
            self._allowed = max(float(min(LEAST, self._most)), self._allowed - SMALLER)
