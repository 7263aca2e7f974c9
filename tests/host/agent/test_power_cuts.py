"""The power goes while the agent writes: what it has promised is there, and what it has not is complete or absent."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backfleet_host.agent.execution.task_folder import Begun, End
from backfleet_host.agent.execution.task_journal import TaskJournal
from backfleet_host.agent.protocol import task_reports
from backfleet_host.agent.protocol.task_list import Task
from backfleet_host.agent.protocol.task_reports import TaskTimes
from backfleet_host.files import make_folder, write_file
from backfleet_host.identity import Identity, NotEnrolled, keep_identity, read_identity
from backfleet_host.layout import Places
from power_cuts import Cut, Watched, put_back, watched

TASK = Task("t-1", invoke_version=1, content="ZWNobw==")
REPORT = task_reports.finished(TaskTimes("t-1", 1, 1, 2), 0, 0, b"out")
BEGUN, END = Begun(7, 1000), End("finish", 2000, 3)
IDENTITY = Identity("mi-1", "m" * 32, "cp.example:8443")


def after(disk: Watched, folder: Path) -> Iterator[tuple[Cut, Path]]:
    """Give every different state of the disk that a cut may leave."""
    seen = []
    for cut in disk.cuts:
        for tree in cut.states():
            if (tree, cut.passed) not in seen:
                seen.append((tree, cut.passed))
                yield cut, put_back(tree, folder / str(len(seen)))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk" / "root"


def test_an_accepted_task_is_carried_out_or_reported_after_a_power_cut(root: Path, tmp_path: Path) -> None:
    """And a task that was not accepted yet leaves nothing that disturbs a later start."""
    journal = TaskJournal(root)
    with watched(root.parent) as disk:
        journal.open()
        folder = journal.accept(TASK)
        disk.note("accepted")
        folder.write_begun(BEGUN)
        disk.note("begun")
        folder.write_end(END)
        disk.note("ended")
        folder.write_report(REPORT)
        disk.note("over")
    for cut, found in after(disk, tmp_path):
        journal = TaskJournal(found / "root")
        journal.open()
        known = journal.find(TASK.key)
        if "accepted" in cut.passed:
            assert known is not None, cut.before
        if known is not None and not known.is_over:
            assert known.task() == TASK, cut.before
            assert known.begun() == BEGUN if "begun" in cut.passed else known.begun() in (None, BEGUN)
            assert known.end() == END if "ended" in cut.passed else known.end() in (None, END)
        if "over" in cut.passed:
            assert known is not None
            assert known.report() == REPORT
        assert [path.name for path in (found / "root").iterdir()] in ([], [TASK.key])


def test_a_refused_task_is_reported_after_a_power_cut(root: Path, tmp_path: Path) -> None:
    journal = TaskJournal(root)
    with watched(root.parent) as disk:
        journal.open()
        journal.refuse(TASK, REPORT)
        disk.note("refused")
    for cut, found in after(disk, tmp_path):
        journal = TaskJournal(found / "root")
        journal.open()
        assert [folder.report() for folder in journal.unacknowledged()] in (
            [REPORT],
            [] if not cut.passed else [REPORT],
        )


def test_an_enrolled_host_has_its_key_after_a_power_cut(root: Path, tmp_path: Path) -> None:
    """The identity is written last: a host that has it has everything else that enrolment wrote before."""
    places = Places(root)
    with watched(root.parent) as disk:
        make_folder(places.agent)
        write_file(places.key, b"key", is_only_writer=True)
        disk.note("registered")
        keep_identity(places, IDENTITY)
        disk.note("enrolled")
    for cut, found in after(disk, tmp_path):
        places = Places(found / "root")
        if "registered" in cut.passed:
            assert places.key.read_bytes() == b"key"
        if "enrolled" in cut.passed:
            assert read_identity(places) == IDENTITY
        elif not places.identity.exists():
            with pytest.raises(NotEnrolled):
                read_identity(places)
        else:
            assert read_identity(places) == IDENTITY, cut.before
            assert places.key.read_bytes() == b"key"
