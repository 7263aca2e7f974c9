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
        self._heard[beat.instance_id] = beat if before is None else _together(before, beat)

    def take(self) -> list[Beat]:
        """Everything that was gathered; from now on it is the caller's to write."""
        taken, self._heard = list(self._heard.values()), {}
        return taken

    def put_back(self, beats: list[Beat]) -> None:
        """They could not be written: to be tried again, with what came since."""
        for beat in beats:
            since = self._heard.get(beat.instance_id)
            self._heard[beat.instance_id] = beat if since is None else _together(beat, since)


def _together(older: Beat, newer: Beat) -> Beat:
    return Beat(
        newer.instance_id,
        newer.at,
        newer.agent_version or older.agent_version,
        newer.agent_mode or older.agent_mode,
        newer.clock_skew_ms if newer.clock_skew_ms is not None else older.clock_skew_ms,
    )


def write(database: Database, beats: list[Beat]) -> None:
    """Write them down, in one transaction."""
    if beats:
        with database.transaction() as tx:
            fleet.heard(tx, beats)
