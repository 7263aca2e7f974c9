"""Reports on a node's disk: none is ever given up, and one that cannot be stored holds up no other task's."""

import time
from pathlib import Path

import pytest

from backfleet.endpoints.agents import spool
from backfleet.endpoints.agents.spool import CannotKeep, Spool
from backfleet.endpoints.agents.spooled_report import SpooledReport
from backfleet.storage import Trouble, Unavailable
from mounts import mounted


def report(task_id: str, number: int = 1) -> SpooledReport:
    return SpooledReport("mi-1", "finish", {"taskId": task_id}, b"output", 1_700_000_000.0, number)


class Store:
    """A database that refuses the reports of some tasks."""

    def __init__(self) -> None:
        self.stored: list[tuple[str, int]] = []
        self.tried: list[str] = []
        self.refused: dict[str, Exception] = {}

    def __call__(self, found: SpooledReport) -> None:
        self.tried.append(found.task_id)
        if found.task_id in self.refused:
            raise self.refused[found.task_id]
        self.stored.append((found.task_id, found.fingerprint))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "reports"


@pytest.fixture
def opened(folder: Path) -> Spool:
    """An empty spool."""
    found = Spool(folder)
    found.open()
    return found


def test_a_report_that_is_refused_is_tried_again_and_holds_up_its_own_task_only(opened: Spool, folder: Path) -> None:
    """It is a fault of ours, and the next build may not have it. Reports of one task keep their order."""
    store = Store()
    store.refused["a"] = RuntimeError("a fault")
    for number, task_id in enumerate(["a", "b", "a"]):
        opened.add(report(task_id, number), time.time_ns())
    opened.deliver(store, now=0.0)
    assert (store.stored, store.tried) == ([("b", 1)], ["a", "b"])
    assert (spool.WAITING._value.get(), spool.REFUSED._value.get()) == (2, 1)
    opened.deliver(store, now=0.5)
    assert store.tried == ["a", "b"], "not before its pause is over"
    opened.deliver(store, now=1.0)
    assert store.tried == ["a", "b", "a"]
    store.refused.clear()
    opened.deliver(store, now=2.9)
    assert store.stored == [("b", 1)], "the pause is doubled"
    opened.deliver(store, now=3.0)
    assert store.stored == [("b", 1), ("a", 0), ("a", 2)]
    assert (spool.WAITING._value.get(), spool.REFUSED._value.get()) == (0, 0)
    assert opened.is_empty


def test_reports_are_stored_in_the_order_in_which_they_came(opened: Spool) -> None:
    """Whichever a thread wrote first: output that is stored after the end of its task is lost."""
    store = Store()
    opened.add(report("a", 2), 2_000_000_000)
    opened.add(report("a", 1), 1_000_000_000)
    opened.deliver(store, now=0.0)
    assert store.stored == [("a", 1), ("a", 2)]


def test_nothing_is_tried_while_the_database_is_unavailable(opened: Spool) -> None:
    """Nothing counts as refused then."""
    store = Store()
    store.refused["a"] = Unavailable(Trouble.READ_ONLY)
    opened.add(report("a"), time.time_ns())
    opened.add(report("b"), time.time_ns())
    opened.deliver(store, now=0.0)
    assert store.tried == ["a"]
    store.refused.clear()
    opened.deliver(store, now=0.0)
    assert [task_id for task_id, _ in store.stored] == ["a", "b"]


def test_what_cannot_be_read_is_set_aside_counted_and_read_again(opened: Spool, folder: Path) -> None:
    """At the next start and every hour; the content may have been mended, or the next build may read it."""
    store = Store()
    opened.add(report("a"), time.time_ns())
    (folder / "00000000000000000000-torn").write_bytes(b"{")
    opened.deliver(store, now=10.0)
    torn = folder / ".00000000000000000000-torn.bad"
    assert torn.exists()
    assert (store.stored, spool.UNREADABLE._value.get()) == ([("a", 1)], 1)
    assert not opened.is_empty
    torn.write_bytes(report("c").to_bytes())
    opened.deliver(store, now=11.0)
    assert store.stored == [("a", 1)], "an hour is not over"
    opened.deliver(store, now=11.0 + spool.READ_AGAIN_SECONDS)
    assert store.stored == [("a", 1), ("c", 1)]
    assert (spool.UNREADABLE._value.get(), opened.is_empty) == (0, True)


def test_a_report_that_an_earlier_build_gave_up_is_stored(folder: Path) -> None:
    """It set reports aside that a standby had refused."""
    folder.mkdir()
    (folder / ".00000000000000000007-0000000000000007.bad").write_bytes(report("a", 7).to_bytes())
    opened, store = Spool(folder), Store()
    opened.open()
    assert opened.holds("a")
    opened.deliver(store, now=0.0)
    assert store.stored == [("a", 7)]
    assert list(folder.glob(".*.bad")) == []


def test_a_full_disk_refuses_a_report_and_keeps_those_before(tmp_path: Path) -> None:
    """What cannot be kept is not acknowledged."""
    with mounted(tmp_path / "disk", "size=64k") as disk:
        opened, store = Spool(disk / "reports"), Store()
        opened.open()
        opened.add(report("a"), time.time_ns())
        (disk / "ballast").write_bytes(b"0" * 32_768)
        large = SpooledReport("mi-1", "finish", {"taskId": "b"}, b"x" * 60_000, 1.0, 2)
        with pytest.raises(CannotKeep, match="No space left"):
            opened.add(large, time.time_ns())
        opened.deliver(store, now=0.0)
        assert store.stored == [("a", 1)]


def test_a_report_is_not_hidden_under_a_disk_that_was_unmounted(tmp_path: Path) -> None:
    """It would be acknowledged, and found by nobody once the disk is back."""
    with mounted(tmp_path / "disk", "size=1m") as disk:
        opened = Spool(disk / "reports")
        opened.open()
    with pytest.raises(CannotKeep, match="unmounted"):
        opened.add(report("a"), time.time_ns())
    assert list((tmp_path / "disk").iterdir()) == []
