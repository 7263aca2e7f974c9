"""What a relay has on disk: documents and artifacts, the least recently used artifact goes first."""

import contextlib
import fcntl
import hashlib
import os
import re
import stat
from collections.abc import Collection
from pathlib import Path
from typing import IO, Final

KEPT_VERSIONS: Final = 16  # of the snapshot and the targets; every root is kept, hosts follow them one by one
_VERSIONED: Final = re.compile(r"([0-9]{1,9})\.(snapshot|targets)\.json")


class CacheInUse(Exception):
    """Another process has the folder, or it cannot be used. The text says which and what to do."""


class Cache:
    """A folder of this relay alone. Whatever is in it may be lost: it is fetched again.

    Args:
        folder: It is made if it is missing.
        most_bytes: What artifacts may take in all, parts of downloads included.

    Raises:
        CacheInUse: another relay has the folder, or it cannot be written.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._documents, self._artifacts, self._parts = (folder / name for name in ("documents", "artifacts", "parts"))
        self.most_bytes = most_bytes
        try:
            for one in (self._documents, self._artifacts, self._parts):
                one.mkdir(parents=True, exist_ok=True)
            _check_owners(folder, self._documents, self._artifacts, self._parts)
            lock = os.open(folder / "lock", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            self._lock: IO[bytes] = open(lock, "wb")  # noqa: SIM115 - held while this object lives
        except OSError as problem:
            raise CacheInUse(
                f"the folder {folder} cannot be used: {problem.strerror}; name another with --cache"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            text = f"another relay uses the folder {folder}; end it first, or name another with --cache"
            raise CacheInUse(text) from None

    def close(self) -> None:
        """Give the folder to others."""
        self._lock.close()

    def document(self, name: str) -> bytes | None:
        """Return a document; None if it is not here, or empty, as a power cut may leave it."""
        with contextlib.suppress(OSError):
            return (self._documents / name).read_bytes() or None
        return None

    def document_file(self, name: str) -> Path:
        """Return the file of a document, which may be missing."""
        return self._documents / name

    def keep_document(self, name: str, content: bytes) -> None:
        """Write a document, and remove those that are too old for anybody. Best effort: a full disk stops no answer."""
        partial = self._documents / f"{name}.part"
        with contextlib.suppress(OSError):
            with open(partial, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # else a power cut may leave half of it under its name, for good
            os.replace(partial, self._documents / name)
            for one in obsolete(os.listdir(self._documents)):
                (self._documents / one).unlink(missing_ok=True)

    def newest(self, role: str) -> bytes | None:
        """Return the newest version of a role's document that is here."""
        versions = [int(found[1]) for name in os.listdir(self._documents) if (found := _version(name, role))]
        return self.document(f"{max(versions)}.{role}.json") if versions else None

    def artifact(self, sha256: str) -> Path | None:
        """Return the file of a whole artifact, and note that it was used; None if it is not here."""
        path = self._artifacts / sha256
        try:
            os.utime(path)
        except OSError:
            return None
        return path

    def part(self, sha256: str) -> Path:
        """Return the file of an artifact that is being fetched."""
        return self._parts / sha256

    def keep_artifact(self, sha256: str) -> Path:
        """Take a part whose bytes were verified as the artifact. Raises OSError."""
        with open(self.part(sha256), "rb") as file:
            os.fsync(file.fileno())
        os.replace(self.part(sha256), self._artifacts / sha256)
        return self._artifacts / sha256

    def is_intact(self, sha256: str) -> bool:
        """Return whether an artifact has the bytes that its name says; one that has not is removed. Reads all of it."""
        digest = hashlib.sha256()
        try:
            with open(self._artifacts / sha256, "rb", buffering=0) as file:
                while piece := file.read(1 << 20):
                    digest.update(piece)
        except OSError:
            return False
        if digest.hexdigest() == sha256:
            return True
        (self._artifacts / sha256).unlink(missing_ok=True)
        return False

    def make_space(self, wanted: int, busy: Collection[str]) -> bool:
        """Remove what was not used for longest until `wanted` more bytes fit, on the disk, too; return whether they do.

        Args:
            wanted: Bytes.
            busy: SHA-256 of the parts that are being fetched: these stay.
        """
        sizes = {path: path.stat() for folder in (self._artifacts, self._parts) for path in folder.iterdir()}
        disk = os.statvfs(self._parts)
        allowed = self.most_bytes - sum(found.st_size for found in sizes.values())
        left = min(allowed, disk.f_bavail * disk.f_frsize) - wanted
        removable = [path for path in sizes if path.parent == self._artifacts or path.name not in busy]
        if left + sum(sizes[path].st_size for path in removable) < 0:
            return False
        for path in sorted(removable, key=lambda one: sizes[one].st_mtime):
            if left >= 0:
                break
            left += sizes[path].st_size
            path.unlink(missing_ok=True)  # who reads it has it open
        return True


def _check_owners(folder: Path, *within: Path) -> None:
    """Do nothing if the folder is ours. Whoever else has it could have us write where a link of theirs leads.

    Raises:
        CacheInUse: it, or one in it, is another user's or a link; root's own may be used by others.
    """
    for one in (folder, *within):
        found = one.stat() if one == folder else one.lstat()
        if found.st_uid not in (0, os.geteuid()) or not stat.S_ISDIR(found.st_mode):
            owner = f"belongs to the user {found.st_uid}, and this relay is the user {os.geteuid()}"
            why = owner if stat.S_ISDIR(found.st_mode) else "is a link, or no folder"
            raise CacheInUse(f"the folder {one} {why}; name one of this relay alone with --cache")


def obsolete(names: Collection[str]) -> list[str]:
    """Return the documents, of those named, of which there are enough newer versions. Pure."""
    by_role: dict[str, list[int]] = {}
    for name in names:
        if found := _VERSIONED.fullmatch(name):
            by_role.setdefault(found[2], []).append(int(found[1]))
    return [
        f"{version}.{role}.json"
        for role, versions in by_role.items()
        for version in sorted(versions, reverse=True)[KEPT_VERSIONS:]
    ]


def _version(name: str, role: str) -> re.Match[str] | None:
    return re.fullmatch(rf"([0-9]{{1,9}})\.{role}\.json", name)
