"""Signs of life, gathered and written together: one batch every few seconds per node, not one write per agent."""

from backfleet import fleet
from backfleet.fleet import Beat
from backfleet.storage import Database

WRITE_EVERY_SECONDS = 3.0


class Beats:
    """The last sign of life of each instance that was heard since the last write. Used from the event loop only."""

    def __init__(self) -> None:
        self._heard: dict[str, Beat] = {}

    def add(self, beat: Beat) -> None:
        """A sign of life. What an earlier one told and this one does not is kept."""
        before = self._heard.get(beat.instance_id)
        if before is not None:
            beat = Beat(
                beat.instance_id,
                beat.at,
                beat.agent_version or before.agent_version,
                beat.agent_mode or before.agent_mode,
                beat.clock_skew_ms if beat.clock_skew_ms is not None else before.clock_skew_ms,
            )
        self._heard[beat.instance_id] = beat

    def take(self) -> list[Beat]:
        """Everything that was gathered; from now on it is the caller's to write."""
        taken, self._heard = list(self._heard.values()), {}
        return taken

    def put_back(self, beats: list[Beat]) -> None:
        """They could not be written: to be tried again, unless something newer came."""
        for beat in beats:
            self._heard.setdefault(beat.instance_id, beat)


def write(database: Database, beats: list[Beat]) -> None:
    """Write them down, in one transaction."""
    if beats:
        with database.transaction() as tx:
            fleet.heard(tx, beats)
