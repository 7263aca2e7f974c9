"""What ends the waits of the workers."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from backfleet import backups, commands, rollouts, upgrades
from backfleet.carriers import ecs, ssh
from backfleet.ids import Draw
from backfleet.pubsub import LONGEST_WAIT
from backfleet.storage import Database
from backfleet.workers import ROUNDS, VISITS, Rounds, workers
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


def test_progress_that_is_left_is_looked_at_again_soon(
    sqlite_database: Database, tmp_path: Path, now: datetime, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else may publish then: the hosts have said it already."""
    env = make_environment(sqlite_database, tmp_path, now, draw)
    worker = next(each for each in workers(env.services, lambda: now) if each.topic == upgrades.TOPIC)
    interval = worker.interval
    assert callable(interval)
    assert interval() == LONGEST_WAIT

    def leave(*_given: object, progress: upgrades.ProgressPace, **_named: object) -> bool:
        progress.is_left = True
        return False

    monkeypatch.setattr(upgrades, "run_once", leave)
    worker.run_once()
    assert interval() == upgrades.PROGRESS_APART


def test_orders_of_new_tasks_wait_for_no_news(
    sqlite_database: Database, tmp_path: Path, now: datetime, draw: Draw
) -> None:
    """What a call publishes is urgent to the worker that sends; it hears of both."""
    env = make_environment(sqlite_database, tmp_path, now, draw)
    found = {worker.topic: worker for worker in workers(env.services, lambda: now)}
    assert found[upgrades.TOPIC].urgent == (upgrades.NEW_TASKS,)
    assert found[upgrades.TOPIC].topics == (upgrades.TOPIC, upgrades.NEW_TASKS)
    assert {topic for topic, worker in found.items() if worker.urgent} == {upgrades.TOPIC}


def test_a_worker_that_runs_often_notes_that_once_a_second(
    sqlite_database: Database, tmp_path: Path, now: datetime, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that is set is seen at once, whichever way."""
    env = make_environment(sqlite_database, tmp_path, now, draw)
    seen = list[datetime]()

    def note(_database: Database, *, now: datetime, **_named: object) -> bool:
        seen.append(now)
        return False

    monkeypatch.setattr(commands, "note_round", note)
    rounds = Rounds(sqlite_database, env.services.settings)
    moments = [now + each for each in (timedelta(), ROUNDS / 2, ROUNDS, 1.5 * ROUNDS, timedelta(hours=1), timedelta())]
    for moment in moments:
        rounds.note(moment)
    assert seen == [moments[0], moments[2], moments[4], moments[5]]
