"""What ends the waits of the workers."""

from datetime import datetime
from pathlib import Path

from backfleet import backups, rollouts
from backfleet.carriers import ecs, ssh
from backfleet.ids import Draw
from backfleet.pubsub import LONGEST_WAIT
from backfleet.storage import Database
from backfleet.workers import VISITS, workers
from operations.environment import make_environment


def test_rollouts_are_decided_when_a_backup_failed(
    sqlite_database: Database, tmp_path: Path, now: datetime, draw: Draw
) -> None:
    """The ledger of backups knows no rollouts: it publishes, and their worker waits for that too."""
    env = make_environment(sqlite_database, tmp_path, now, draw)
    found = {worker.topic: worker.further for worker in workers(env.services, lambda: now)}
    assert found.pop(rollouts.TOPIC) == (backups.TOPIC,)
    assert set(found.values()) == {()}


def test_who_has_nobody_to_go_to_looks_rarely(
    sqlite_database: Database, tmp_path: Path, now: datetime, draw: Draw
) -> None:
    """Whether there is a host or a cloud account is known after the first look; the first one is published."""
    env = make_environment(sqlite_database, tmp_path, now, draw)
    found = {worker.topic: worker for worker in workers(env.services, lambda: now)}
    for topic in (ssh.TOPIC, ecs.TOPIC):
        interval = found[topic].interval
        assert callable(interval)
        assert interval() == VISITS
        assert not found[topic].run_once()
        assert interval() == LONGEST_WAIT
