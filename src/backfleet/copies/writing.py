"""Making a copy: one stream of members, written whole or not at all."""

import contextlib
import errno
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

import sqlalchemy as sa

from backfleet.copies.age import Lock, encrypting
from backfleet.copies.model import (
    ARTIFACTS,
    END,
    FACTS,
    FILES,
    FOLDERS,
    FORMAT,
    NAMES,
    Artifacts,
    CannotCopy,
    CannotFetch,
    Facts,
)
from backfleet.storage import Database, Snapshot, Unavailable, snapshot
from backfleet_host.files import PARTIAL, sync_folder

NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(slots=True)
class Written:
    """What a copy holds."""

    rows: int = 0
    artifacts: int = 0
    bytes: int = 0
    fetched: int = 0  # of the artifacts, from elsewhere
    damaged: list[str] = field(default_factory=list)  # artifacts whose content is not what their name says
    missing: dict[str, str] = field(default_factory=dict)  # why, by what the artifact is of


def write_copy(
    data: Path,
    database: Database,
    target: Path,
    lock: Lock | None,
    artifacts: Artifacts | None,
    *,
    now: datetime,
    version: str,
) -> Written:
    """Copy an installation into a new file that only its owner can read.

    Args:
        data: The data folder. Its server may be running.
        database: Its database.
        target: The file; there must be none yet.
        lock: How to encrypt it; None = not at all.
        artifacts: Which artifacts it should have besides those in the data folder; None = it has none at all.
        now: The time.
        version: That of this program.

    Raises:
        CannotCopy: the file could not be written, or there is no installation.
    """
    if target.exists():
        raise CannotCopy(f"{target} exists already; name a file that does not")
    partial = target.with_name(f".{target.name}.{os.urandom(4).hex()}{PARTIAL}")
    try:
        with _fresh(partial) as file:
            stream: Any = file if lock is None else encrypting(lock, file)
            written = _write(data, database, stream, artifacts, partial, now, version)
            if lock is not None:
                stream.close()
            file.flush()
            os.fsync(file.fileno())
            written.bytes = file.tell()
        os.replace(partial, target)
        sync_folder(target.parent)
    except BaseException as problem:
        with contextlib.suppress(OSError):
            partial.unlink()
        reason = _reason(problem, target)
        if reason is None:
            raise
        raise CannotCopy(reason) from problem
    return written


def _reason(problem: BaseException, target: Path) -> str | None:
    """Return why there is no copy, for an operator; None for what is a fault."""
    if isinstance(problem, OSError) and problem.errno in NO_SPACE:
        return f"the disk of {target} is full; nothing was written. Free some of it, or name a file elsewhere"
    if isinstance(problem, OSError):
        return f"{problem.filename or target} cannot be used: {problem.strerror or problem}; nothing was written"
    if isinstance(problem, LookupError | Unavailable):
        return f"the database cannot be read: {problem}; see --data and --database-url"
    if isinstance(problem, sa.exc.SQLAlchemyError):
        return f"the database cannot be read: {str(getattr(problem, 'orig', problem)).strip().splitlines()[0]}"
    return None


@contextlib.contextmanager
def _fresh(path: Path) -> Iterator[IO[bytes]]:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        yield file


def _write(
    data: Path,
    database: Database,
    stream: Any,
    artifacts: Artifacts | None,
    partial: Path,
    now: datetime,
    version: str,
) -> Written:
    with tarfile.open(mode="w|", fileobj=stream, format=tarfile.PAX_FORMAT) as archive:
        members, written = _Members(archive), Written()
        # The rows first: a release is a row only after its artifact is there, so none of them lacks its file.
        with snapshot(database) as found:
            made_at = now.astimezone(UTC).isoformat()
            members.add(FACTS, Facts(FORMAT, made_at, version, found.revision, found.engine).to_bytes())
            written.rows = _add_rows(members, found)
        _add_files(members, data)
        if artifacts is not None:
            _Adding(members, data / ARTIFACTS, artifacts, partial.with_suffix(f".artifact{PARTIAL}"), written).add_all()
        members.end()
    return written


def _add_rows(members: "_Members", found: Snapshot) -> int:
    rows = 0
    for number, (table, lines) in enumerate(found.parts()):
        members.add(f"database/{table}/{number:09d}.jsonl", lines)
        rows += lines.count(b"\n") - 1
    return rows


def _add_files(members: "_Members", data: Path) -> None:
    for name in FILES:
        if (data / name).is_file():
            members.add(name, (data / name).read_bytes())
    for folder in FOLDERS:
        if folder != ARTIFACTS:
            for path in _members_in(data / folder):
                members.add_file(f"{folder}/{path.name}", path)


def _members_in(folder: Path) -> list[Path]:
    """Return the files of a folder that belong into a copy: no locks, and nothing that is still being written."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in found if NAMES.fullmatch(f"{folder.name}/{path.name}") and path.is_file()]


class _Adding:
    """The artifacts of a copy: those of the data folder, and those that are elsewhere, one after the other."""

    def __init__(self, members: "_Members", folder: Path, artifacts: Artifacts, spool: Path, written: Written) -> None:
        self._members, self._folder, self._artifacts = members, folder, artifacts
        self._spool, self._written = spool, written
        self._away = ""  # why nobody is asked any more

    def add_all(self) -> None:
        """Add every artifact; note those that cannot be had."""
        here, wanted = {path.name for path in _members_in(self._folder)}, self._artifacts.wanted()
        for name in sorted(here | set(wanted)):
            digest = self._add_from(self._folder / name, name) if name in here else ""
            if digest != name and name in wanted:
                digest = self._add_from_elsewhere(name, wanted[name], is_damaged=bool(digest)) or digest
            self._written.artifacts += digest == name
            self._written.damaged += [name] if digest not in ("", name) else []

    def _add_from(self, path: Path, name: str) -> str:
        """Add a file; return its SHA-256, "" if it is not there any more: a server makes space for others."""
        try:
            return self._members.add_file(f"{ARTIFACTS}/{name}", path)
        except FileNotFoundError:
            return ""

    def _add_from_elsewhere(self, name: str, what: str, *, is_damaged: bool) -> str:
        """Add an artifact from elsewhere; return its SHA-256, or "" after noting why it cannot be had.

        It comes to a file first: a download that breaks off would leave half a member in the copy.
        """
        try:
            if self._away:
                raise CannotFetch(self._away, is_away=True)
            self._artifacts.fetch(name, self._spool)
            self._written.fetched += 1
            return self._add_from(self._spool, name)
        except CannotFetch as problem:
            self._away = str(problem) if problem.is_away else ""
            if what and not is_damaged:
                self._written.missing[what] = str(problem)
            return ""
        finally:
            self._spool.unlink(missing_ok=True)


class _Members:
    """The members of a copy in their order, and a digest of them all."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive, self._digest, self._count = archive, hashlib.sha256(), 0

    def add(self, name: str, content: bytes) -> None:
        """Add a member."""
        self._add(name, io.BytesIO(content), len(content))

    def add_file(self, name: str, path: Path) -> str:
        """Add a file as it is now; return its SHA-256."""
        with path.open("rb") as file:
            return self._add(name, file, os.fstat(file.fileno()).st_size)

    def end(self) -> None:
        """Add the last member, by which a reader knows that it has all of them, as they were written."""
        content = json.dumps({"members": self._count, "sha256": self._digest.hexdigest()}).encode()
        info = tarfile.TarInfo(END)
        info.size, info.mode = len(content), 0o600
        self._archive.addfile(info, io.BytesIO(content))

    def _add(self, name: str, file: IO[bytes], size: int) -> str:
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, 0o600
        hashed = Hashing(file)
        self._archive.addfile(info, hashed)
        self._count += 1
        self._digest.update(f"{name} {hashed.digest}\n".encode())
        return hashed.digest


class Hashing(io.RawIOBase):
    """A file that is read, and hashed meanwhile."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file, self._hash = file, hashlib.sha256()

    @property
    def digest(self) -> str:
        """The SHA-256 of what was read so far, in hexadecimal."""
        return self._hash.hexdigest()

    def read(self, size: int = -1) -> bytes:
        """Read so many bytes, or all."""
        found = self._file.read(size)
        self._hash.update(found)
        return found
