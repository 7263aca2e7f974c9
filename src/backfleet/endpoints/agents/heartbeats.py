"""Signs of life and used request ids, gathered and written together: one batch every few seconds per node."""

from dataclasses import dataclass
from datetime import datetime

from backfleet import fleet
from backfleet.fleet import Heartbeat
from backfleet.storage import Database

WRITE_EVERY_SECONDS = 3.0
MOST_USES = 200_000  # request ids that wait to be written; with a database that is away for long, the oldest go


@dataclass(frozen=True, slots=True)
class Batch:
    """What is written in one transaction."""

    beats: list[Heartbeat]
    uses: list[tuple[int, datetime]]  # the mark of a request id, and until when it is remembered


class Beats:
    """The last sign of life of each instance that was heard since the last write. Used from the event loop only."""

    def __init__(self) -> None:
        self._heard: dict[str, Heartbeat] = {}
        self._used: dict[int, datetime] = {}

    def add(self, beat: Heartbeat) -> None:
        """A sign of life. What an earlier one told and this one does not is kept."""
        before = self._heard.get(beat.instance_id)
        self._heard[beat.instance_id] = beat if before is None else _together(before, beat)

    def use(self, mark: int, until: datetime) -> None:
        """A request id that was taken on this node."""
        if len(self._used) < MOST_USES:
            self._used[mark] = until

    def take(self) -> Batch:
        """Everything that was gathered; from now on it is the caller's to write."""
        taken = Batch(list(self._heard.values()), list(self._used.items()))
        self._heard, self._used = {}, {}
        return taken

    def put_back(self, batch: Batch) -> None:
        """They could not be written: to be tried again, with what came since."""
        for beat in batch.beats:
            since = self._heard.get(beat.instance_id)
            self._heard[beat.instance_id] = beat if since is None else _together(beat, since)
        for mark, until in batch.uses:
            self.use(mark, until)


def _together(older: Heartbeat, newer: Heartbeat) -> Heartbeat:
    return Heartbeat(
        newer.instance_id,
        newer.at,
        newer.agent_version or older.agent_version,
        newer.agent_mode or older.agent_mode,
        newer.clock_skew_ms if newer.clock_skew_ms is not None else older.clock_skew_ms,
        max(filter(None, (newer.signed_ms, older.signed_ms)), default=None),
        newer.stopping,
    )


def write(database: Database, batch: Batch) -> list[str]:
    """Write them down, in one transaction; those of the instances that have been deregistered."""
    if not batch.beats and not batch.uses:
        return []
    with database.transaction() as tx:
        fleet.note_heartbeats(tx, batch.beats)
        fleet.remember_requests(tx, batch.uses)
        return fleet.deregistered_among(tx, [beat.instance_id for beat in batch.beats])
