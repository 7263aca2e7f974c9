"""What is published of the runs that hosts report."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from backfleet import backups
from backfleet.backups import ReportedRun
from backfleet.ids import Draw
from backfleet.storage import Database
from operations.environment import make_environment


def test_a_backup_that_failed_is_news_once_and_nothing_else_is(
    database: Database, tmp_path: Path, now: datetime, draw: Draw
) -> None:
    """Hosts report a run as it begins and as it ends, each any number of times."""
    published: list[str] = []
    env = make_environment(database.publishing(published.append), tmp_path, now, draw)
    instance, _ = env.host_with_client("1.0")

    def note(*runs: ReportedRun) -> int:
        published.clear()
        with env.services.database.transaction() as tx:
            backups.note_runs(tx, instance, runs, now=now)
        return published.count(backups.TOPIC)

    begun = ReportedRun("1", "courier", "1.0", now - timedelta(minutes=1), None, "", None, "root", "cron", True)
    good = replace(begun, ended_at=now, result=backups.SUCCEEDED, code=0)
    bad = replace(begun, ended_at=now, result=backups.FAILED, code=1)
    assert note(begun) == 0
    assert note(bad) == 1
    assert note(bad) == 0
    assert note(replace(good, id="2"), replace(bad, id="3", result=backups.UNKNOWN, code=None)) == 0
    assert note(replace(bad, id="4", is_backup=False)) == 0, "it lists backups, perhaps"
    assert note(replace(bad, id="5", package="unheard-of")) == 0
    assert note(replace(bad, id="6"), replace(bad, id="7")) == 1
