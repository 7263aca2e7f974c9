"""SQLite's file: it must stay the one that was opened, its disk may be full, and its log stays small."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from backfleet.storage import Database, Trouble, Unavailable, open_database
from backfleet.storage._database import MOVING_BUSY_LOG, MOVING_LOG
from backfleet.storage._sqlite import LARGEST_LOG, PAGES_LEFT
from mounts import mounted

ROWS = sa.Table("rows", sa.MetaData(), sa.Column("number", sa.Integer, primary_key=True), sa.Column("text", sa.Text))


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Database]:
    """A database with one table."""
    found = open_database(f"sqlite:///{tmp_path / 'x.db'}")
    ROWS.create(found.engine)
    yield found
    found.close()


def delete(file: Path) -> None:
    file.unlink()


def replace(file: Path) -> None:
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content)


def lose_log(file: Path) -> None:
    file.with_name(f"{file.name}-wal").unlink()


@pytest.mark.parametrize("happens", [delete, replace, lose_log])
def test_a_database_whose_file_is_not_the_one_that_was_opened_is_refused(
    opened: Database, tmp_path: Path, happens: Callable[[Path], None]
) -> None:
    """What would be written would be gone with the process. No empty file is made where the old one was."""
    happens(tmp_path / "x.db")
    for use in (opened.transaction, opened.reading):
        with pytest.raises(Unavailable) as found, use():
            pytest.fail("it was begun")
        assert found.value.trouble is Trouble.REPLACED
    opened.engine.dispose()  # as if every connection were new
    with pytest.raises(Unavailable), opened.transaction():
        pytest.fail("it was begun")
    assert (tmp_path / "x.db").exists() == (happens is not delete)


def test_a_file_that_vanishes_within_a_transaction_is_noticed_before_the_commit(
    opened: Database, tmp_path: Path
) -> None:
    """Nothing is acknowledged that is not on the disk."""
    with pytest.raises(Unavailable), opened.transaction() as tx:
        tx.add(ROWS, [{"number": 1, "text": ""}])
        (tmp_path / "x.db").unlink()


def test_a_file_that_comes_back_is_used_again(opened: Database, tmp_path: Path) -> None:
    """The same one: an operator may undo a mistake."""
    (tmp_path / "x.db").rename(tmp_path / "y.db")
    with pytest.raises(Unavailable), opened.transaction():
        pytest.fail("it was begun")
    (tmp_path / "y.db").rename(tmp_path / "x.db")
    with opened.transaction() as tx:
        tx.add(ROWS, [{"number": 1, "text": ""}])


def test_an_unmounted_disk_is_noticed(tmp_path: Path) -> None:
    """Lazily unmounted, the file goes on to exist for the process, and for nobody else."""
    with mounted(tmp_path / "disk", "size=8m") as disk:
        database = open_database(f"sqlite:///{disk / 'x.db'}")
        ROWS.create(database.engine)
    with pytest.raises(Unavailable) as found, database.transaction():
        pytest.fail("it was begun")
    assert found.value.trouble is Trouble.REPLACED
    assert not (tmp_path / "disk" / "x.db").exists()
    database.close()


def test_a_full_disk_is_said_and_loses_nothing(tmp_path: Path) -> None:
    """What was committed stays, and writing goes on once there is space."""
    with mounted(tmp_path / "disk", "size=2m") as disk:
        database = open_database(f"sqlite:///{disk / 'x.db'}")
        ROWS.create(database.engine)
        (disk / "ballast").write_bytes(b"0" * 1_000_000)
        with pytest.raises(Unavailable) as found:
            for number in range(100):
                with database.transaction() as tx:
                    tx.add(ROWS, [{"number": number, "text": "x" * 100_000}])
        assert found.value.trouble is Trouble.FULL
        (disk / "ballast").unlink()
        with database.transaction() as tx:
            tx.add(ROWS, [{"number": 1000, "text": "y"}])
        with database.reading() as tx:
            assert tx.scalar(sa.select(sa.func.count()).select_from(ROWS)) == number + 1
        database.close()


def test_the_log_shrinks_once_its_content_was_moved(opened: Database, tmp_path: Path) -> None:
    """A reader that holds it up may let it grow; afterwards it is cut."""
    log = tmp_path / "x.db-wal"
    with opened.reading() as reader:
        reader.rows(sa.select(ROWS))
        for number in range(6):
            with opened.transaction() as tx:
                tx.add(ROWS, [{"number": number, "text": "x" * 4_000_000}])
        opened.move_log()
        assert log.stat().st_size > LARGEST_LOG
    opened.move_log()
    assert log.stat().st_size <= LARGEST_LOG
    with opened.reading() as tx:
        assert tx.scalar(sa.select(sa.func.count()).select_from(ROWS)) == 6


def test_what_is_written_after_the_log_was_moved_is_moved_too(opened: Database, tmp_path: Path) -> None:
    """Where nothing was written there is nothing to move."""
    sizes = []
    for number in range(3):
        with opened.transaction() as tx:
            tx.add(ROWS, [{"number": number, "text": "x" * 400_000}])
        opened.move_log()
        sizes.append((tmp_path / "x.db").stat().st_size)
        opened.move_log()
        assert (tmp_path / "x.db").stat().st_size == sizes[-1]
    assert sizes[0] + 390_000 < sizes[1] < sizes[2] - 390_000


def test_a_log_that_is_always_written_to_is_begun_anew_all_the_same(opened: Database, tmp_path: Path) -> None:
    """Else it would grow until a commit had to move it, and each commit that makes a file longer waits for that."""
    log, is_over, written = tmp_path / "x.db-wal", threading.Event(), []

    def write() -> None:
        while not is_over.is_set():
            with opened.transaction() as tx:
                tx.add(ROWS, [{"number": len(written), "text": "x" * 40_000}])
            written.append(40_000)

    writer = threading.Thread(target=write)
    writer.start()
    while sum(written) < 40_000_000:
        time.sleep(0.02)
        opened.move_log()
    is_over.set()
    writer.join()
    assert log.stat().st_size < sum(written) / 2
    with opened.reading() as tx:
        assert tx.scalar(sa.select(sa.func.count()).select_from(ROWS)) == len(written)


def test_a_log_is_moved_more_often_while_much_is_written(opened: Database) -> None:
    """A short one is begun anew in the space that it has, and takes little of the disk."""
    for size, expected in ((4_000_000, MOVING_BUSY_LOG), (1, MOVING_LOG)):
        with opened.transaction() as tx:
            tx.add(ROWS, [{"number": size, "text": "x" * size}])
        opened.move_log()
        assert opened.until_log_is_moved() == expected
    opened.move_log()
    assert opened.until_log_is_moved() == MOVING_LOG


def test_commits_leave_the_log_to_the_one_who_moves_it(opened: Database, tmp_path: Path) -> None:
    """No call waits for it; only where nobody does it a commit does."""
    size = (tmp_path / "x.db").stat().st_size
    for number in range(20):
        with opened.transaction() as tx:
            tx.add(ROWS, [{"number": number, "text": "x" * 400_000}])  # 8 MB: twice what SQLite would wait for
    assert (tmp_path / "x.db").stat().st_size == size
    opened.move_log()
    assert (tmp_path / "x.db").stat().st_size > 8_000_000
    with opened.reading() as tx:
        assert tx.scalar(sa.text("PRAGMA wal_autocheckpoint")) == PAGES_LEFT
