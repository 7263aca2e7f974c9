"""Heartbeats and used request ids, gathered on a node and written together every few seconds."""

from dataclasses import field
from datetime import datetime

from backfleet import fleet
from backfleet.fleet import Heartbeat
from backfleet.storage import Database
from backfleet.values import value_object

WRITE_EVERY_SECONDS = 3.0
MOST_REQUESTS = 200_000  # request ids that wait to be written while the database is unavailable; more are dropped


@value_object
class Batch:
    """What is written together."""

    heartbeats: list[Heartbeat]
    requests: list[tuple[int, datetime]]  # the fingerprint of a request id, and until when it is remembered
    left: dict[str, datetime] = field(default_factory=dict)  # agents that closed their sockets, and when


class PendingHeartbeats:
    """The newest heartbeat of each instance since the last write, and used request ids. For the event loop only."""

    def __init__(self) -> None:
        self._heartbeats: dict[str, Heartbeat] = {}
        self._requests: dict[int, datetime] = {}
        self._left: dict[str, datetime] = {}

    def add(self, heartbeat: Heartbeat) -> None:
        """Add a heartbeat. Facts that only an earlier one of the instance has are kept."""
        before = self._heartbeats.get(heartbeat.instance_id)
        self._heartbeats[heartbeat.instance_id] = heartbeat if before is None else _merged(before, heartbeat)

    def remember_request(self, fingerprint: int, until: datetime) -> None:
        """Add a request id that this node accepted, to be remembered until then."""
        if len(self._requests) < MOST_REQUESTS:
            self._requests[fingerprint] = until

    def note_left(self, instance_id: str, at: datetime) -> None:
        """Add that an agent closed its socket then. What is heard of it later counts more."""
        self._left[instance_id] = max(at, self._left.get(instance_id, at))

    def take(self) -> Batch:
        """Take out everything that was gathered: the caller writes it."""
        taken = Batch(list(self._heartbeats.values()), list(self._requests.items()), self._left)
        self._heartbeats, self._requests, self._left = {}, {}, {}
        return taken

    def put_back(self, batch: Batch) -> None:
        """Put a batch back that could not be written, below what came since."""
        for heartbeat in batch.heartbeats:
            since = self._heartbeats.get(heartbeat.instance_id)
            self._heartbeats[heartbeat.instance_id] = heartbeat if since is None else _merged(heartbeat, since)
        for fingerprint, until in batch.requests:
            self.remember_request(fingerprint, until)
        for instance_id, at in batch.left.items():
            self.note_left(instance_id, at)


def _merged(older: Heartbeat, newer: Heartbeat) -> Heartbeat:
    return Heartbeat(
        newer.instance_id,
        newer.at,
        newer.agent_version or older.agent_version,
        newer.agent_mode or older.agent_mode,
        newer.clock_skew_ms if newer.clock_skew_ms is not None else older.clock_skew_ms,
        max(filter(None, (newer.signed_ms, older.signed_ms)), default=None),
        newer.stopping,
        newer.reachable_at or older.reachable_at,
        newer.agent_started_at or older.agent_started_at,
        newer.time_zone or older.time_zone,
    )


def write(database: Database, batch: Batch) -> list[str]:
    """Write a batch. Return those of its instances that have been deregistered."""
    gone = _write_heard(database, batch)
    if batch.left:  # in a transaction of its own: two nodes that lock the rows of both lists could deadlock
        with database.transaction() as tx:
            fleet.note_left(tx, batch.left)
    return gone


def _write_heard(database: Database, batch: Batch) -> list[str]:
    if not batch.heartbeats and not batch.requests:
        return []
    with database.transaction() as tx:
        fleet.note_heartbeats(tx, batch.heartbeats)
        fleet.remember_requests(tx, batch.requests)
        return fleet.deregistered_among(tx, [heartbeat.instance_id for heartbeat in batch.heartbeats])
