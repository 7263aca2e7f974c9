"""What ends the waits of the workers."""

from datetime import datetime
from pathlib import Path

from backfleet import backups, rollouts
from backfleet.ids import Draw
from backfleet.storage import Database
from backfleet.workers import workers
from operations.environment import make_environment


def test_rollouts_are_decided_when_a_backup_failed(
    sqlite_database: Database, tmp_path: Path, now: datetime, draw: Draw
) -> None:
    """The ledger of backups knows no rollouts: it publishes, and their worker waits for that too."""
    env = make_environment(sqlite_database, tmp_path, now, draw)
    found = {worker.topic: worker.further for worker in workers(env.services, lambda: now)}
    assert found.pop(rollouts.TOPIC) == (backups.TOPIC,)
    assert set(found.values()) == {()}
