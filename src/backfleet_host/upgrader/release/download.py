"""The bytes of a release: resumed where they broke off, paced, and hashed while they come."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator

from backfleet_host.upgrader.host import disk
from backfleet_host.upgrader.refusal import Refusal
from backfleet_host.upgrader.release.retrieval import NO_SUCH_RANGE, OK, PARTIAL, Broken, answer
from backfleet_host.upgrader.release.source import GoOn, Target

if TYPE_CHECKING:
    from backfleet_host.upgrader.host.installation import Package, Site

PIECE = 1 << 20  # bytes read at a time


class Download:
    """One artifact on its way. `once` is tried again and again, and goes on where it broke off."""

    def __init__(self, site: Site, package: Package, target: Target, most_per_second: int, go_on: GoOn) -> None:
        self._site, self._target = site, target
        self._most, self._go_on = most_per_second, go_on
        self.part = package.downloads / f"{target.sha256}.part"
        folder, _, name = target.path.rpartition("/")
        self._address = f"{site.downloads}/targets/{folder}/{target.sha256}.{name}"
        self._is_inherited = self.part.exists()  # what another order left: a power cut may have spoilt it
        self._ranges = True  # whether the server gives what it is asked for

    def once(self) -> None:
        """All of it, checked. A part that another order left and that turns out wrong is fetched afresh, once.

        Raises:
            Broken: the network or the server failed; what came is kept.
            Refusal: UntrustedRelease, and nothing is kept; or there is no time for more.
            OSError: the disk is full, or will not be written.
        """
        try:
            self._complete()
        except _WrongBytes as problem:
            disk.unlink(self.part)
            if not self._is_inherited:
                raise problem.refusal from None
            self._is_inherited = False
            self.once()

    def _complete(self) -> None:
        """Fetch what is missing. What was fetched before is hashed again: a part of a file is nobody's word."""
        target, digest = self._target, hash_of(self.part)
        have = self.part.stat().st_size if self.part.exists() else 0
        if have < target.length:
            with disk.writing(self.part, "ab") as file:
                for piece in self._missing(have):
                    have += len(piece)
                    if have > target.length:
                        break
                    digest.update(piece)
                    disk.write_all(file, piece)
        if have < target.length:
            raise Broken(f"{have} of {target.length} bytes came", "TooShort")
        if have > target.length:
            raise _WrongBytes(Refusal("UntrustedRelease", "more bytes came than the signed metadata names", "TooLong"))
        if digest.hexdigest() != target.sha256:
            text = "the bytes that came are not those the signed metadata names"
            raise _WrongBytes(Refusal("UntrustedRelease", text, "WrongBytes"))

    def _missing(self, have: int) -> Iterator[bytes]:
        """What is missing after the first `have` bytes."""
        headers = {"Range": f"bytes={have}-"} if have and self._ranges else {}
        pace = Pace(self._most, self._go_on)
        wanted = (OK, PARTIAL, NO_SUCH_RANGE) if headers else (OK,)
        with answer(self._site, self._address, self._go_on, headers, wanted) as response:
            skip = self._to_skip(response, have)
            while piece := response.read1(pace.piece):  # what came before a break is kept; read() would drop it
                if len(piece) > skip:
                    yield piece[skip:]
                skip = max(0, skip - len(piece))
                pace.keep(len(piece))

    def _to_skip(self, response: Any, have: int) -> int:
        """How many bytes of this answer are there already: who knows no ranges gives all of it."""
        if response.status == NO_SUCH_RANGE:
            text = f"the server has no more than {have} of {self._target.length} bytes"
            raise Broken(text, "TooShort", passing=False)
        if response.status == OK:
            return have
        begins = begin_of(response.headers.get("Content-Range", ""))
        if begins != have:
            self._ranges = False
            raise Broken(f"the server gave bytes from {begins} on, not from {have}", "NotServed")
        return 0


class _WrongBytes(Exception):
    """They are not what the signed metadata names."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.text)
        self.refusal = refusal


class Pace:
    """No more than so many bytes a second, over the whole of one answer; 0 = as fast as it comes."""

    def __init__(self, most_per_second: int, go_on: GoOn) -> None:
        self._most, self._go_on = most_per_second, go_on
        self._began, self._bytes = time.monotonic(), 0
        self.piece = min(PIECE, max(1, most_per_second // 10)) if most_per_second else PIECE

    def keep(self, size: int) -> None:
        """So many bytes came: wait until they may have. Raises Refusal once there is no time for more."""
        self._go_on()
        self._bytes += size
        if self._most:
            time.sleep(max(0.0, self._bytes / self._most - (time.monotonic() - self._began)))


def begin_of(content_range: str) -> int:
    """The first byte that a partial answer says it holds; -1 if it does not say."""
    found = re.match(r"bytes ([0-9]{1,18})-", content_range)
    return int(found[1]) if found else -1


def hash_of(path: Path) -> Any:
    """The hash of what is there so far."""
    digest = hashlib.sha256()
    if path.exists():
        with open(path, "rb", buffering=0) as file:
            while piece := file.read(PIECE):
                digest.update(piece)
    return digest
