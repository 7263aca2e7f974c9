"""A whole installation into one file and back: consistent while it is written to, whole or not at all."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from backfleet import fleet, hold, identity, releases
from backfleet.copies import Artifacts, CannotCopy, CannotRestore, Lock, Opener, write_copy
from backfleet.ids import draw
from backfleet.opening import open_services
from backfleet.operations.catalogue import Services
from backfleet.pubsub import open_pubsub
from backfleet.restoring import Restored, restore
from backfleet.settings import Settings
from backfleet.storage import Database, metadata, open_database
from mounts import mounted
from operations.environment import Environment

MADE, LATER = datetime(2026, 11, 1, 12, tzinfo=UTC), datetime(2026, 11, 2, 12, tzinfo=UTC)
LOCK, OPENER = Lock("correct horse", work=8), Opener("correct horse")
ARTIFACT = b"an artifact"
NOTHING_ELSE = Artifacts(dict, lambda _name, _to: None)
DIGEST = hashlib.sha256(ARTIFACT).hexdigest()


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """An installation with an artifact, open as a server has it."""
    found, _ = open_services(Settings(data=tmp_path / "data"), open_pubsub(""), clock=lambda: MADE, draw=draw)
    (tmp_path / "data" / "artifacts" / DIGEST).write_bytes(ARTIFACT)
    with closing(found.database):
        yield found


@pytest.fixture
def copied(services: Services, tmp_path: Path) -> Path:
    """A copy of it."""
    copy(services, tmp_path / "copy")
    return tmp_path / "copy"


def copy(services: Services, target: Path, lock: Lock | None = LOCK) -> None:
    write_copy(services.settings.data, services.database, target, lock, NOTHING_ELSE, now=MADE, version="0.1.0")


def restored(source: Path, data: Path, url: str = "", opener: Opener = OPENER) -> Restored:
    return restore(Settings(data=data, database_url=url), source, opener, now=LATER)


def rows(database: Database) -> dict[str, list[tuple[object, ...]]]:
    """Return every row of every table but those that a restore changes."""
    changed = {"restores", "signed_metadata", "signed_metadata_floors"}
    with database.reading() as tx:
        return {
            table.name: sorted(map(tuple, tx.rows(sa.select(table))), key=repr)
            for table in metadata.sorted_tables
            if table.name not in changed
        }


def uncounted(database: Database) -> list[str]:
    """Return the tables of which PostgreSQL does not know how many rows they have: it plans badly for them."""
    if database.engine.dialect.name == "sqlite":
        return []
    never = (
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND reltuples < 0"
    )
    with database.reading() as tx:
        return [row.relname for row in tx.rows(sa.text(never)) if row.relname != "alembic_version"]


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_copy_has_every_row_and_file_and_moves_between_engines(
    services: Services, copied: Path, tmp_path: Path, engine: str, request: pytest.FixtureRequest
) -> None:
    """Keys, certificates and artifacts byte by byte; what is secret for its owner alone."""
    url = ""
    if engine == "postgresql":
        server = open_database(request.getfixturevalue("postgresql_url"))
        with closing(server), server.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text(f"CREATE DATABASE copies_{os.getpid()}"))
        base = sa.make_url(request.getfixturevalue("postgresql_url"))
        url = base.set(database=f"copies_{os.getpid()}").render_as_string(hide_password=False)
    before, after = services.settings.data, tmp_path / "after"
    found = restored(copied, after, url)
    assert (found.artifacts, found.damaged, found.needs_signature) == (1, (), False)
    for folder in ("keys", "tls", "artifacts"):
        files = {path.name: path.read_bytes() for path in (before / folder).iterdir() if path.name != ".lock"}
        assert {path.name: path.read_bytes() for path in (after / folder).iterdir()} == files
    assert {path.stat().st_mode & 0o777 for path in (after / "keys").iterdir()} == {0o600}
    assert json.loads((after / "admin.json").read_text())["ca_file"] == str(after / "tls" / "ca.pem")
    assert not list(after.glob(".restoring*"))
    with closing(open_database(Settings(data=after, database_url=url).database)) as there:
        assert rows(there) == rows(services.database)
        assert uncounted(there) == []
        write_copy(after, there, tmp_path / "again", None, NOTHING_ELSE, now=LATER, version="0.1.0")
    restore(Settings(data=tmp_path / "back"), tmp_path / "again", None, now=LATER.replace(hour=13))
    with closing(open_database(f"sqlite:///{tmp_path / 'back' / 'backfleet.db'}")) as there:
        assert rows(there) == rows(services.database)
    opened, _ = open_services(Settings(data=after, database_url=url), open_pubsub(""), clock=lambda: LATER, draw=draw)
    with closing(opened.database):
        assert opened.hold is not None
        assert opened.hold.is_held()


def test_versions_go_on_above_all_that_hosts_can_have_seen(services: Services, copied: Path, tmp_path: Path) -> None:
    """Also those of a second restore, from a copy of the first one's time."""
    with services.database.transaction() as tx:
        for _ in range(5):
            releases.signed_metadata.publish(tx, services.repository, now=MADE)
        seen = version(tx, "timestamp")
    restored(copied, tmp_path / "first")
    first = versions(tmp_path / "first")
    assert min(first.values()) > seen
    again = tmp_path / "again"
    with closing(open_database(f"sqlite:///{tmp_path / 'first' / 'backfleet.db'}")) as database:
        write_copy(tmp_path / "first", database, again, None, NOTHING_ELSE, now=LATER, version="0.1.0")
    restore(Settings(data=tmp_path / "second"), again, None, now=LATER.replace(hour=13))
    second = versions(tmp_path / "second")
    assert all(second[role] >= first[role] + 3600 - 1 for role in second)
    assert all(number < 1_000_000_000 for number in second.values()), "nine digits, which addresses take"


def versions(data: Path) -> dict[str, int]:
    with closing(open_database(f"sqlite:///{data / 'backfleet.db'}")) as database, database.reading() as tx:
        return {role: version(tx, role) for role in ("targets", "snapshot", "timestamp")}


def version(tx: object, role: str) -> int:
    return int(releases.signed_metadata.read(tx, role).signed.version)  # type: ignore[arg-type]


def test_targets_of_a_key_that_is_elsewhere_wait_for_its_signature(services: Services, tmp_path: Path) -> None:
    """Above what hosts have seen, so that they take them once they are signed; until then that is shown."""
    elsewhere = services.repository.signer("targets")
    (services.settings.data / "keys" / "release-targets.key").unlink()
    copy(services, tmp_path / "copy")
    after = tmp_path / "after"
    assert restored(tmp_path / "copy", after).needs_signature
    repository = releases.Repository.open(after)
    with closing(open_database(f"sqlite:///{after / 'backfleet.db'}")) as database, database.transaction() as tx:
        before = {role: version(tx, role) for role in ("targets", "snapshot", "timestamp")}
        assert before["targets"] == 1, "it was not signed here"
        assert min(before["snapshot"], before["timestamp"]) > 1_000_000
        assert releases.needs_signature(tx)
        waiting = releases.pending_signatures(tx, repository, now=LATER)
        waiting.targets.sign(elsewhere)
        assert releases.accept_signatures(tx, repository, waiting.to_bytes(), now=LATER) == ["targets"]
        assert version(tx, "targets") > 1_000_000
        assert not releases.needs_signature(tx)


def test_a_copy_is_of_one_moment(services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written while it is made is in it completely or not at all."""
    from backfleet.storage import _copying

    read = _copying._pieces

    def slow(connection: sa.Connection, table: sa.Table) -> Iterator[object]:
        if table.name == "accounts":
            with services.database.transaction() as tx:
                identity.create_account(tx, services.vault, "late", now=MADE, draw=draw)
        yield from read(connection, table)

    monkeypatch.setattr(_copying, "_pieces", slow)
    copy(services, tmp_path / "copy")
    restored(tmp_path / "copy", tmp_path / "after")
    with closing(open_database(f"sqlite:///{tmp_path / 'after' / 'backfleet.db'}")) as there, there.reading() as tx:
        assert len(identity.list_accounts(tx)) == 1


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-12_000])  # more than what tar fills its last block with


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def change(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("is_plain", [False, True])
@pytest.mark.parametrize("harm", [cut, cut_in_half, empty, change])
def test_a_copy_that_is_not_whole_changes_nothing(
    services: Services, tmp_path: Path, harm: Callable[[Path], None], is_plain: bool
) -> None:
    copy(services, tmp_path / "copy", None if is_plain else LOCK)
    harm(tmp_path / "copy")
    with pytest.raises(CannotRestore, match=r"not whole|no copy"):
        restored(tmp_path / "copy", tmp_path / "after")
    assert not (tmp_path / "after").exists()


def test_what_cannot_be_restored_is_refused_in_a_sentence(services: Services, copied: Path, tmp_path: Path) -> None:
    """A wrong passphrase, one that is missing, an installation that is there, a file that is none."""
    after = tmp_path / "after"
    (tmp_path / "other").write_bytes(b"something else\n" * 100)
    for source, opener, data, reason in (
        (copied, Opener("wrong"), after, "the passphrase is wrong"),
        (copied, None, after, "it is encrypted; name its passphrase"),
        (copied, OPENER, services.settings.data, "another `backfleet serve`|has an installation already"),
        (tmp_path / "other", OPENER, after, "not whole|no copy"),
        (tmp_path / "none", OPENER, after, "cannot be read"),
    ):
        with pytest.raises(CannotRestore, match=reason):
            restore(Settings(data=data), source, opener, now=LATER)
    with pytest.raises(CannotRestore, match="the database is in use already"):
        restored(copied, after, f"sqlite:///{services.settings.data / 'backfleet.db'}")


def test_a_copy_of_a_newer_version_is_refused(services: Services, tmp_path: Path) -> None:
    """By its schema; nothing is left of it."""
    with services.database.transaction() as tx:
        tx.run(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    copy(services, tmp_path / "copy")
    with pytest.raises(CannotRestore, match="a newer version of Backfleet made it"):
        restored(tmp_path / "copy", tmp_path / "after")
    assert not (tmp_path / "after").exists()


def test_a_damaged_artifact_is_named_and_left_out(services: Services, tmp_path: Path) -> None:
    (services.settings.data / "artifacts" / DIGEST).write_bytes(b"something else")
    written = write_copy(
        services.settings.data, services.database, tmp_path / "copy", LOCK, NOTHING_ELSE, now=MADE, version="0.1.0"
    )
    assert written.damaged == [DIGEST]
    assert restored(tmp_path / "copy", tmp_path / "after").damaged == (DIGEST,)
    assert not list((tmp_path / "after" / "artifacts").iterdir())


def test_a_full_disk_leaves_nothing_behind(services: Services, copied: Path, tmp_path: Path) -> None:
    """Neither half a copy nor half an installation."""
    with mounted(tmp_path / "disk", "size=16k") as disk:
        with pytest.raises(CannotCopy, match="is full; nothing was written"):
            copy(services, disk / "copy")
        assert not list(disk.iterdir())
        with pytest.raises(CannotRestore, match="full"):
            restored(copied, disk / "data")
        assert not (disk / "data").exists()


def test_a_copy_replaces_no_file(services: Services, copied: Path) -> None:
    before = copied.read_bytes()
    with pytest.raises(CannotCopy, match="exists already"):
        copy(services, copied)
    assert copied.read_bytes() == before


def test_a_first_attempt_that_was_given_up_does_not_stand_in_the_way(copied: Path, tmp_path: Path) -> None:
    """Empty folders, a lock, and a configuration that an operator has put there already, which stays."""
    after = tmp_path / "after"
    for name in ("keys", "tls", "artifacts"):
        (after / name).mkdir(parents=True)
    (after / "config.toml").write_text('region = "eu-1"\n')
    restored(copied, after)
    assert (after / "config.toml").read_text() == 'region = "eu-1"\n'
    assert (after / "keys" / "secrets.key").exists()
    shutil.rmtree(after)


def test_the_server_is_held_until_it_is_let_go(copied: Path, tmp_path: Path) -> None:
    """The watch of a process that serves notices it; one that was let go asks nothing any more."""
    restored(copied, tmp_path / "after")
    with closing(open_database(f"sqlite:///{tmp_path / 'after' / 'backfleet.db'}")) as database:
        watch = hold.Watch(database)
        assert watch.is_held()
        assert watch.covers(MADE)
        assert not watch.covers(LATER)
        with database.transaction() as tx:
            assert hold.count_adopted(tx)
            assert hold.release(tx, by="an operator", now=LATER)
            assert not hold.release(tx, by="an operator", now=LATER)
            assert not hold.count_adopted(tx)
        assert not watch.is_held()
    assert not watch.is_held(), "though the database is closed"


def test_no_host_counts_as_connected_before_it_is_heard_of_again(services: Services, tmp_path: Path) -> None:
    """What the copy knows of that is of another time: people look at the list before they let the server go."""
    env = Environment(services, tmp_path, MADE, identity_of(services))
    env.host()
    assert connected(services.database) == 1
    copy(services, tmp_path / "with a host")
    restored(tmp_path / "with a host", tmp_path / "back")
    with closing(open_database(f"sqlite:///{tmp_path / 'back' / 'backfleet.db'}")) as database:
        assert connected(database) == 0


def identity_of(services: Services) -> identity.Caller:
    with services.database.reading() as tx:
        account = identity.list_accounts(tx)[0].id
    return identity.Caller(account, "Account", f"acs:ram::{account}:root", account)


def connected(database: Database) -> int:
    with database.reading() as tx:
        return fleet.count_presence(tx, identity.list_accounts(tx)[0].id, reachable_since=MADE - timedelta(minutes=3))[
            0
        ]
