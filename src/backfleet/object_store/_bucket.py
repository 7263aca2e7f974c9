"""One bucket: what is written to it, read from it and verified."""

import functools
import hashlib
import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from backfleet.object_store._place import Place
from backfleet.object_store._troubles import ForgottenUpload, Missing, Trouble, WrongBytes, code_of, sentence

PART: Final = 5 << 20  # bytes of a part of an upload; S3 takes no smaller ones
PIECE: Final = 4 << 20  # bytes that are asked for at once
AT_ONCE: Final = 2  # parts on their way, so that an upload holds 10 MiB
MOST_OBJECTS: Final = 100_000  # that are listed
PROBE: Final = ".backfleet-check"  # the object that a check writes
CALL_SECONDS: Final = 20.0  # that one request may take
RETRY_SECONDS: Final = 30.0  # from a request's first try, within which it is tried again
MOST_RETRIES: Final = 5


class Bucket:
    """The objects below a place, each named by the SHA-256 of its bytes. Used from any thread; every call blocks.

    Args:
        place: Where it is.
        call_seconds: That one request may take.
        retry_seconds: From its first try, within which it is tried again: refused connections, 5xx, SlowDown, silence.
    """

    def __init__(
        self, place: Place, *, call_seconds: float = CALL_SECONDS, retry_seconds: float = RETRY_SECONDS
    ) -> None:
        self.place = place
        self._seconds = call_seconds, retry_seconds
        self._is_closed = threading.Event()

    def close(self) -> None:
        """End downloads at their next piece: the process ends."""
        self._is_closed.set()

    def put(self, file: Path, sha256: str) -> None:
        """Write a file as the object of its hash, over what may be there. Others see all of it or nothing.

        Raises:
            Trouble: it is not there.
            OSError: the file cannot be read.
        """
        wanted = file.stat().st_size
        try:
            self._write(sha256, file)
        except ForgottenUpload:
            self._write(sha256, file)
        size = self.size(sha256)
        if size != wanted:
            raise Trouble(f"{self.place} has {size} bytes of {sha256[:12]}... after all of it was written")

    def _write(self, sha256: str, file: Path) -> None:
        import obstore

        with self._asking("written"):
            obstore.put(self._store, sha256, file, chunk_size=PART, max_concurrency=AT_ONCE)

    def size(self, sha256: str) -> int | None:
        """Return the bytes of an object, by its name alone; None if there is none. Raises Trouble."""
        import obstore

        try:
            with self._asking("read"):
                return int(obstore.head(self._store, sha256)["size"])
        except Missing:
            return None

    def pieces(self, sha256: str, most: int) -> Iterator[bytes]:
        """Yield an object's bytes. Who reads them must verify them.

        Args:
            sha256: Its name.
            most: bytes; a larger object is not read.

        Raises:
            Missing, Trouble.
        """
        import obstore

        size, done = self.size(sha256), 0
        if size is None:
            raise Missing(f"{self.place} has no object {sha256}; add that release's file again")
        if size > most:
            raise WrongBytes(f"{self.place}/{sha256} has {size} bytes, and an artifact at most {most}")
        while done < size:
            if self._is_closed.is_set():
                raise Trouble("the server ends")
            with self._asking("read"):
                piece = bytes(obstore.get_range(self._store, sha256, start=done, length=min(PIECE, size - done)))
            if not piece:
                raise Trouble(f"{self.place}/{sha256} ends after {done} of {size} bytes")
            done += len(piece)
            yield piece

    def fetch(self, sha256: str, to: Path, most: int) -> None:
        """Write an object to a new file, verified.

        Raises:
            Missing, WrongBytes, Trouble: there is no such file then.
            OSError: it cannot be written.
        """
        digest = hashlib.sha256()
        try:
            with open(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                for piece in self.pieces(sha256, most):
                    digest.update(piece)
                    file.write(piece)
            if digest.hexdigest() != sha256:
                raise WrongBytes(
                    f"the object {self.place}/{sha256} has other bytes than its name says; add that release's file "
                    "again, and see who may write there"
                )
        except BaseException:
            to.unlink(missing_ok=True)
            raise

    def opened(self, sha256: str, most: int) -> tuple[int, io.BufferedReader]:
        """Return an object's bytes and a reader of them, which raises OSError where `pieces` raises Trouble.

        Raises:
            Missing, Trouble.
        """
        size = self.size(sha256)
        if size is None:
            raise Missing(f"{self.place} has no object {sha256}; add that release's file again")
        return size, io.BufferedReader(_Reader(self.pieces(sha256, most)), PIECE)

    def sizes(self) -> dict[str, int]:
        """Return the bytes of every object that is named by a hash. Raises Trouble."""
        import obstore

        found: dict[str, int] = {}
        with self._asking("listed"):
            for some in obstore.list(self._store):
                for one in some:
                    if len(found) >= MOST_OBJECTS:
                        raise Trouble(f"{self.place} has more than {MOST_OBJECTS} objects; give it a prefix of its own")
                    if len(one["path"]) == len(hashlib.sha256().hexdigest()):
                        found[one["path"]] = int(one["size"])
        return found

    def check(self) -> None:
        """Write a small object, list, and read it again.

        Raises:
            Trouble: what does not work.
        """
        import obstore

        content = b"backfleet writes this to see whether it can\n"
        with self._asking("written"):
            obstore.put(self._store, PROBE, content)
        with self._asking("listed"):
            next(iter(obstore.list(self._store, chunk_size=1)), None)
        with self._asking("read"):
            found = bytes(obstore.get(self._store, PROBE).bytes())
        if found != content:
            raise Trouble(f"{self.place} returned other bytes than were written to it a moment before")

    def __repr__(self) -> str:
        return f"Bucket({self.place})"

    @functools.cached_property
    def _store(self) -> Any:
        from obstore.store import S3Store

        call, retry = self._seconds
        options: dict[str, Any] = {
            "allow_http": self.place.endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=min(5.0, call)),
            "timeout": timedelta(seconds=call),
        }
        if self.place.authority:
            options["root_certificate"] = self.place.authority
        backoff = {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=5), "base": 2}
        tries = {"max_retries": MOST_RETRIES, "retry_timeout": timedelta(seconds=retry), "backoff": backoff}
        make: Callable[..., Any] = S3Store
        return make(
            self.place.bucket,
            prefix=self.place.prefix or None,
            client_options=options,
            retry_config=tries,
            **self.place.config(),
        )

    @contextmanager
    def _asking(self, done: str) -> Iterator[None]:
        """Turn what the library raises into a sentence."""
        from obstore.exceptions import BaseError

        try:
            yield
        except FileNotFoundError as problem:
            text = str(problem)
            is_head = not code_of(text) and "HEAD" in text  # whose answer has no body, and so no code
            if is_head or code_of(text) == "NoSuchKey":
                raise Missing(f"{self.place} has no such object") from None
            kind = ForgottenUpload if code_of(text) == "NoSuchUpload" else Trouble
            raise kind(f"{self.place} cannot be {done}: {sentence(text)}") from None
        except (BaseError, OSError, ValueError) as problem:
            raise Trouble(f"{self.place} cannot be {done}: {sentence(str(problem))}") from None


class _Reader(io.RawIOBase):
    """A file over pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces, self._rest = pieces, memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, or a part of it; 0 at the end."""
        if not self._rest:
            try:
                self._rest = memoryview(next(self._pieces, b""))
            except Trouble as problem:
                raise OSError(str(problem)) from None
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
