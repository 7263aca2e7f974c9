"""How often one worker collects how far hosts are. What ended is collected in every round.

Of an order there is one end and any number of reports before it. In a wave these cost more than the ends, and most are
out of date when they are collected. So with much news they are collected once a second, and an order that takes less
time only at its end.
"""

from datetime import datetime, timedelta
from typing import Final

FEW_NEWS: Final = 8  # pieces that are collected at once, whatever they are
PROGRESS_APART: Final = timedelta(seconds=1)  # between two rounds that collect how far hosts are, with more


class ProgressPace:
    """When one worker last collected how far hosts are. It is about to do so at first."""

    def __init__(self) -> None:
        self._collected_at: datetime | None = None
        self.is_left = False
        """Whether some was left for later: then the worker has to look again, even if nothing more is reported."""

    def only_ends(self, pieces: int, now: datetime) -> bool:
        """Decide whether a round collects only what ended.

        Args:
            pieces: how many pieces of news there are; any number above FEW_NEWS means many.
            now: the time.
        """
        at = self._collected_at
        self.is_left = pieces > FEW_NEWS and at is not None and timedelta() <= now - at < PROGRESS_APART
        return self.is_left

    def collected_all(self, now: datetime) -> None:
        """Note that a round has collected everything."""
        self._collected_at = now
