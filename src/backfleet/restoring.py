"""Restoring a copy into an empty installation, so that the fleet goes on with it.

A copy is older than what hosts have seen. So metadata goes on above every version that they can have seen, tasks in the
copy are over, every host is asked what it has, and the server is held: nothing is moved until an operator has looked.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from backfleet import (
    commands,
    copies,
    fleet,
    hold,
    identity,
    installation,
    logins,
    operations,  # noqa: F401 - with it every module registers its tables, which a migrated database must have
    releases,
    upgrades,
)
from backfleet.certificates import authority_file
from backfleet.copies.model import FOLDERS
from backfleet.settings import Settings
from backfleet.storage import BadRows, Database, Transaction, is_new, load, open_database
from backfleet.values import value_object
from backfleet_host.files import make_folder, sync_folder, write_file

__all__ = ["Restored", "restore"]

FILLED: Final = "backfleet.db"  # the name of an SQLite file while it is filled


@value_object
class Restored:
    """What was restored."""

    facts: copies.Facts
    rows: int
    artifacts: int
    damaged: tuple[str, ...]  # artifacts that the copy does not have as they were
    ended_tasks: int
    missing: tuple[str, ...]  # the releases on offer whose artifacts the copy does not have
    needs_signature: bool  # of people with the targets key, before hosts that have seen newer targets take these


def restore(settings: Settings, source: Path, opener: copies.Opener | None, *, now: datetime) -> Restored:
    """Fill an empty installation with a copy.

    Args:
        settings: The data folder and the database.
        source: The copy.
        opener: What opens it if it is encrypted.
        now: The time.

    Raises:
        CannotRestore: the copy cannot be used, or the installation is not empty. Nothing was changed.
    """
    data = settings.data
    before = os.umask(0o077)  # no other user may read what is restored, the database's own file included
    try:
        _check_folder(data)  # before the lock: a server that runs there has it
        with _held(settings):
            _check_empty(settings)
            with _folder_for(data) as folder:
                return _restore(settings, copies.read_copy(source, opener, folder), now)
    except BadRows as problem:
        raise copies.CannotRestore(f"{source} cannot be restored: {problem}") from None
    except installation.USELESS as problem:
        raise copies.CannotRestore(installation.describe(problem, data)) from problem
    finally:
        os.umask(before)


@contextlib.contextmanager
def _held(settings: Settings) -> Iterator[None]:
    """Have the data folder to oneself; leave nothing of it behind where nothing was restored."""
    data, lock, file = settings.data, settings.data / installation.SERVING_LOCK, _sqlite_file(settings)
    made = [path for path in (lock, file) if path is not None and not path.exists()]
    was_there = data.exists()
    make_folder(data)
    held = installation.hold_data_folder(replace(settings, only=Settings().only, origin={}))
    try:
        yield
    except BaseException:
        for path in made:
            if path.exists() and path.stat().st_size == 0:  # an SQLite file that was only looked into is empty
                path.unlink()
        if not was_there:
            with contextlib.suppress(OSError):
                data.rmdir()
        raise
    finally:
        if held is not None:
            os.close(held)


def _check_empty(settings: Settings) -> None:
    """Raise CannotRestore unless there is nothing that a copy would replace."""
    _check_folder(settings.data)
    database = open_database(settings.database)
    try:
        if not is_new(database) and _has_accounts(database):
            raise copies.CannotRestore(
                "the database is in use already. Name an empty one with --database-url, or move its file away first"
            )
    finally:
        database.close()


def _check_folder(data: Path) -> None:
    found = sorted(
        path.name for name in ("admin.json", *FOLDERS) if (path := data / name).exists() and not _is_empty(path)
    )
    if found:
        raise copies.CannotRestore(
            f"{data} has an installation already ({', '.join(found)}). Name an empty folder with --data, or move all "
            "of it away first"
        )


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _has_accounts(database: Database) -> bool:
    """Return whether an installation was made in a database; one that a start or a restore gave up has no account."""
    with database.engine.connect() as connection:
        if not sa.inspect(connection).has_table("accounts"):
            return False
    with database.reading() as tx:
        return bool(identity.list_accounts(tx))


@contextlib.contextmanager
def _folder_for(data: Path) -> Iterator[Path]:
    """Give a folder beside the places of its files, and remove what is left of it."""
    folder = data / f".restoring.{os.urandom(4).hex()}"
    make_folder(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _restore(settings: Settings, unpacked: copies.Unpacked, now: datetime) -> Restored:
    """Fill the database, then move everything to its place. Until then a start refuses the one without the other."""
    folder = unpacked.folder
    missing = installation.missing_keys(folder)
    if missing:
        raise copies.CannotRestore(f"the copy cannot be restored: it lacks {', '.join(path.name for path in missing)}")
    with _empty_database(settings, folder) as database:
        rows = load(database, unpacked.facts.revision, unpacked.parts())
        repository = releases.Repository.open(folder)
        with database.transaction() as tx:
            if not identity.list_accounts(tx):
                raise copies.CannotRestore("the copy cannot be restored: it has no account")
            ended, signed = resume(tx, repository, copied_at=unpacked.facts.moment, now=now)
            named = releases.artifacts_named(tx)
    lacking = {what for sha256, what in named.items() if what and repository.artifact(sha256) is None}
    _put_in_place(folder, settings)
    counts = rows, unpacked.artifacts, unpacked.damaged, ended
    return Restored(unpacked.facts, *counts, tuple(sorted(lacking)), not signed)


@contextlib.contextmanager
def _empty_database(settings: Settings, folder: Path) -> Iterator[Database]:
    """Give the database to fill: on PostgreSQL the one itself, else a file that is put in its place at the end."""
    final = _sqlite_file(settings)
    database = open_database(settings.database if final is None else f"sqlite:///{folder / FILLED}")
    try:
        yield database
        database.move_log()
    finally:
        database.close()


def _sqlite_file(settings: Settings) -> Path | None:
    url = sa.make_url(settings.database)
    return Path(str(url.database)).absolute() if url.get_backend_name() == "sqlite" else None


def _put_in_place(folder: Path, settings: Settings) -> None:
    data, database = settings.data, _sqlite_file(settings)
    shutil.rmtree(folder / "database", ignore_errors=True)
    for name in FOLDERS:
        if (folder / name).exists():
            with contextlib.suppress(OSError):
                (data / name).rmdir()  # an empty one may be there
            os.replace(folder / name, data / name)
    if (folder / "config.toml").exists() and not (data / "config.toml").exists():
        os.replace(folder / "config.toml", data / "config.toml")
    _put_admin(folder / "admin.json", data)
    if database is not None:
        make_folder(database.parent)
        for each in (f"{database}-wal", f"{database}-shm"):
            Path(each).unlink(missing_ok=True)  # of the empty one that was there
        shutil.move(folder / FILLED, database)
        sync_folder(database.parent)
    sync_folder(data)


def _put_admin(file: Path, data: Path) -> None:
    """Bring the first account's key, with the path of the authority as it is here."""
    if not file.exists():
        return
    facts = json.loads(file.read_bytes())
    write_file(data / "admin.json", json.dumps({**facts, "ca_file": str(authority_file(data))}, indent=2).encode())


def resume(tx: Transaction, repository: releases.Repository, *, copied_at: datetime, now: datetime) -> tuple[int, bool]:
    """Make a database that is an older copy one that a fleet can go on with; hold the server.

    Returns:
        How many open tasks it had, and whether the metadata that hosts need could be signed.
    """
    hold.begin(tx, copied_at=copied_at, now=now)
    ended = upgrades.end_restored(tx, now=now)
    commands.end_open(tx, now=now)
    fleet.doubt_all_clients(tx)
    fleet.forget_presence(tx)
    logins.end_all(tx)
    return ended, releases.resume(tx, repository, now=now)
