"""Reading a copy: all of it is unpacked and checked before anything of it is used."""

import hashlib
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

from backfleet.copies.age import CannotOpen, Opener, decrypting, is_encrypted
from backfleet.copies.model import END, FACTS, NAMES, SECRET, CannotRestore, Facts, read_facts
from backfleet.copies.streaming import NotWhole
from backfleet.values import value_object
from backfleet_host.files import make_folder, set_mode, sync_folder

PIECE: Final = 1 << 20  # bytes copied at once


@value_object
class Unpacked:
    """A copy in a folder: every file where it was in its data folder, and the rows of its database in `database`."""

    folder: Path
    facts: Facts
    artifacts: int
    damaged: tuple[str, ...]  # artifacts that were damaged before they were copied; they are left out

    def parts(self) -> Iterator[tuple[str, bytes]]:
        """Yield the rows, as `storage.load` takes them."""
        for path in sorted((self.folder / "database").glob("*/*.jsonl")):
            yield path.parent.name, path.read_bytes()


def read_copy(source: Path, opener: Opener | None, folder: Path) -> Unpacked:
    """Unpack a copy into an empty folder.

    Args:
        source: The file.
        opener: What opens it if it is encrypted; None = it is not.
        folder: The caller removes it if this raises.

    Raises:
        CannotRestore: it cannot be read, cannot be opened, is not whole, or is of a newer version.
        OSError: the folder cannot be written to.
    """
    try:
        file = source.open("rb")
    except OSError as problem:
        raise CannotRestore(f"{source} cannot be read: {problem.strerror}") from None
    with file:
        try:
            return _Reader(folder).read(_opened(file, opener))
        except (CannotOpen, NotWhole, CannotRestore) as problem:
            raise CannotRestore(f"{source} cannot be restored: {problem}") from None
        except (tarfile.TarError, EOFError):
            raise CannotRestore(f"{source} cannot be restored: {NotWhole()}") from None


def _opened(file: IO[bytes], opener: Opener | None) -> Any:
    start = file.read(64)
    file.seek(0)
    if not is_encrypted(start):
        if not start:
            raise NotWhole
        return file  # one that is not encrypted needs no key
    if opener is None:
        raise CannotOpen("it is encrypted; name its passphrase (--passphrase-file, --passphrase-fd) or --identity")
    return decrypting(opener, file)


class _Reader:
    def __init__(self, folder: Path) -> None:
        self._folder, self._digest, self._count = folder, hashlib.sha256(), 0
        self._artifacts, self._damaged = 0, list[str]()
        self._made: set[Path] = set()

    def read(self, stream: Any) -> Unpacked:
        facts: Facts | None = None
        with tarfile.open(mode="r|", fileobj=stream) as archive:
            for info in archive:
                if not info.isreg() or not NAMES.fullmatch(info.name):
                    raise CannotRestore("it is no copy of an installation")
                file = archive.extractfile(info)
                assert file is not None  # noqa: S101 - it is a regular file
                if info.name == END:
                    self._check_end(file.read(info.size))
                    break
                if facts is None:
                    facts = self._read_facts(info.name, file.read(info.size))
                else:
                    self._unpack(info.name, file)
            else:
                raise NotWhole
        while stream.read(PIECE):  # to its end, which is sealed too
            pass
        for made in self._made:
            sync_folder(made)
        if facts is None:
            raise CannotRestore("it is no copy of an installation")
        return Unpacked(self._folder, facts, self._artifacts, tuple(self._damaged))

    def _read_facts(self, name: str, content: bytes) -> Facts:
        if name != FACTS:
            raise CannotRestore("it is no copy of an installation")
        self._note(name, hashlib.sha256(content).hexdigest())
        return read_facts(content)

    def _unpack(self, name: str, file: IO[bytes]) -> None:
        target, digest = self._folder / name, hashlib.sha256()
        if target.parent not in self._made:
            for folder in (target.parent.parent, target.parent):
                make_folder(folder)
            self._made |= {target.parent}
        with target.open("xb") as out:
            set_mode(out.fileno(), 0o600 if name.split("/", maxsplit=1)[0] in SECRET else 0o644)
            while piece := file.read(PIECE):
                digest.update(piece)
                out.write(piece)
            out.flush()
            os.fsync(out.fileno())
        self._note(name, digest.hexdigest())
        if name.startswith("artifacts/"):
            self._artifacts += 1
            if digest.hexdigest() != target.name:
                self._damaged.append(target.name)
                target.unlink()
            elif target.name in self._damaged:  # and copied once more, from where it was whole
                self._damaged.remove(target.name)
                self._artifacts -= 1

    def _note(self, name: str, digest: str) -> None:
        self._count += 1
        self._digest.update(f"{name} {digest}\n".encode())

    def _check_end(self, content: bytes) -> None:
        try:
            wanted = json.loads(content)
        except ValueError:
            raise NotWhole from None
        if wanted != {"members": self._count, "sha256": self._digest.hexdigest()}:
            raise NotWhole
