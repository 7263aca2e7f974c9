"""The journal of tasks: each task is found in exactly one state after a crash, and the journal stays small."""

import os
from pathlib import Path

import pytest

from backfleet_host.agent.execution import task_journal as journal_module
from backfleet_host.agent.execution.task_folder import RESERVED, Begun, End
from backfleet_host.agent.execution.task_journal import JournalFull, TaskJournal
from backfleet_host.agent.protocol import task_reports
from backfleet_host.agent.protocol.task_list import Task, Unusable
from backfleet_host.agent.protocol.task_reports import TaskTimes
from backfleet_host.agent.status import status
from backfleet_host.files import hold_lock, write_file
from backfleet_host.layout import Places

REPORT = task_reports.finished(TaskTimes("t-1", 0, 1, 2), 0, 0, b"out")


@pytest.fixture
def journal(tmp_path: Path) -> TaskJournal:
    journal = TaskJournal(tmp_path / "tasks")
    journal.open()
    return journal


def test_a_task_is_accepted_begun_ended_reported_and_acknowledged(journal: TaskJournal) -> None:
    """Each state is found by whoever reads the journal."""
    folder = journal.accept(Task("t-1", invoke_version=3))
    assert folder.key == "t-1.iv3"
    assert [one.key for one in journal.unfinished()] == ["t-1.iv3"]
    assert (folder.begun(), folder.end(), folder.report()) == (None, None, None)
    folder.write_begun(Begun(7, 1000))
    folder.write_end(End("finish", 2000, total=3, exit_code=1))
    found = journal.find("t-1.iv3")
    assert found is not None
    assert found.begun() == Begun(7, 1000)
    assert found.end() == End("finish", 2000, total=3, exit_code=1)
    folder.write_report(REPORT)
    assert journal.unfinished() == []
    assert [one.report() for one in journal.unacknowledged()] == [REPORT]
    folder.acknowledge()
    assert journal.unacknowledged() == []
    folder.forget_acknowledgement()
    assert len(journal.unacknowledged()) == 1


def test_output_is_read_from_head_and_tail(journal: TaskJournal) -> None:
    """Or from the head alone; nothing where nothing was printed."""
    folder = journal.accept(Task("t-1"))
    assert (folder.printed(), folder.output(), folder.last(5)) == (0, b"", b"")
    (folder.path / "output").write_bytes(b"0123456789")
    assert (folder.printed(), folder.output(2, 3), folder.last(4), folder.last(0)) == (10, b"234", b"6789", b"")
    (folder.path / "tail").write_bytes(b"abc")
    assert folder.last(2) == b"bc"
    assert folder.sent() == 0
    folder.note_sent(6)
    assert folder.sent() == 6


def test_a_crash_does_not_tear_the_note_of_what_was_sent(journal: TaskJournal) -> None:
    """Half a number would send chunks a second time: it is replaced, and who reads the old one has all of it."""
    folder = journal.accept(Task("t-1"))
    folder.note_sent(1000)
    with (folder.path / "sent").open() as old:
        folder.note_sent(2000)
        assert old.read() == "1000"
    assert folder.sent() == 2000


def test_a_task_that_is_half_written_was_never_accepted(journal: TaskJournal, tmp_path: Path) -> None:
    """The next agent removes what a crash left."""
    (tmp_path / "tasks" / ".t-1.partial").mkdir()
    (tmp_path / "tasks" / ".t-1.partial" / "task.json").write_text("{")
    assert journal.find("t-1") is None
    assert journal.unfinished() == []
    journal.open()
    assert list((tmp_path / "tasks").iterdir()) == []


def test_damaged_files_of_the_journal_are_noticed(journal: TaskJournal) -> None:
    """They neither crash the agent nor count."""
    folder = journal.accept(Task("t-1"))
    (folder.path / "task.json").write_text('{"id": "t-1", "unknown": 1}')
    with pytest.raises(Unusable):
        folder.task()
    (folder.path / "end.json").write_text("[]")
    assert folder.end() is None
    (folder.path / "report.json").write_text('["finish"]')
    assert folder.report() is None


def test_disk_space_is_reserved_for_the_end(journal: TaskJournal) -> None:
    """And released when the end is written."""
    folder = journal.accept(Task("t-1"))
    assert (folder.path / "room").stat().st_blocks * 512 >= RESERVED
    folder.write_end(End("finish", 1))
    assert not (folder.path / "room").exists()


def test_the_oldest_acknowledged_tasks_are_removed(journal: TaskJournal) -> None:
    """Never one whose report still waits."""
    for number in range(6):
        folder = journal.refuse(Task(f"t-{number}"), REPORT)
        if number != 1:
            folder.acknowledge()
    journal.prune(kept=2)
    assert sorted(path.name for path in journal._folder.iterdir()) == ["t-1", "t-4", "t-5"]


def test_with_too_many_unsent_reports_no_task_is_accepted(
    journal: TaskJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits is kept."""
    monkeypatch.setattr(journal_module, "MOST_UNSENT", 3)
    for number in range(3):
        journal.refuse(Task(f"t-{number}"), REPORT)
    with pytest.raises(JournalFull):
        journal.accept(Task("t-9"))
    assert len(journal.unacknowledged()) == 3
    assert journal.find("t-9") is None


def test_whole_or_not_at_all(tmp_path: Path) -> None:
    """A write that fails leaves what was there, and no partial file."""
    file = tmp_path / "file"
    write_file(file, b"first", mode=0o600)
    assert oct(file.stat().st_mode)[-3:] == "600"
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_file(tmp_path / "folder", b"second")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert file.read_bytes() == b"first"


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    """It waits for the configured time and no longer."""
    held = hold_lock(tmp_path / "lock")
    assert held is not None
    assert hold_lock(tmp_path / "lock") is None
    assert hold_lock(tmp_path / "lock", seconds=0.1) is None
    os.close(held)
    again = hold_lock(tmp_path / "lock", seconds=0.1)
    assert again is not None
    os.close(again)


def test_status_changes_nothing(tmp_path: Path) -> None:
    """Not even on a root that does not exist."""
    assert status(tmp_path / "root")["enrolled"] is False
    assert not (tmp_path / "root").exists()
    assert Places(tmp_path / "root").tasks == tmp_path / "root" / "agent" / "tasks"
