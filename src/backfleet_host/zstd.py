"""Read zstd with what this machine has: Python's own reader, a package, or the program. All of them read the same.

Frames are parsed here, and a reader gets one block after the other. So a stream that is cut off, or is followed by
something else, is found with every reader (some would accept it); no reader unpacks more at once than the 128 KiB of a
block; and no reader gets a frame that needs more memory than is allowed.
Source: RFC 8878, section 3.
"""

from __future__ import annotations

import importlib
import io
import os
import select
import shutil
import subprocess
from typing import IO, Any, Callable, Iterator, Optional, Tuple, cast

MAGIC = b"\x28\xb5\x2f\xfd"
LARGEST_WINDOW_LOG = 27  # 128 MiB: what `zstd --ultra -22` needs, and the most that `zstd -d` takes by default
LARGEST_BLOCK = 128 << 10  # bytes, packed or not
PIECE = 1 << 17  # bytes read at a time

_SKIPPED = range(0x184D2A50, 0x184D2A60)  # skippable frames, which hold anything else
_REPEATED, _RESERVED = 1, 3  # types of blocks: one byte many times, and a type that is not defined

Reader = Callable[[IO[bytes]], io.RawIOBase]
Block = Tuple[bytes, bool]  # bytes for a reader, and whether they end a frame


class BrokenZstd(ValueError):
    """The stream is cut off, damaged, or needs more memory than is allowed."""


def can_read() -> bool:
    """Return whether anything on this machine reads zstd."""
    return _reader() is not None


def reading(packed: io.RawIOBase) -> IO[bytes]:
    """Open the content of a zstd stream. Close it: a process may be behind it.

    Raises:
        BrokenZstd: nothing on this machine reads zstd; also from `read`, if something is wrong with the stream.
    """
    reader = _reader()
    if reader is None:
        raise BrokenZstd("nothing on this machine reads zstd: install the program zstd, or repack it with xz")
    return cast("IO[bytes]", io.BufferedReader(reader(io.BufferedReader(packed, PIECE)), PIECE))


def _reader() -> Optional[Reader]:
    """Return the first reader that this machine has."""
    return next((reader for reader in (found() for found in READERS) if reader is not None), None)


# --- Frames ---------------------------------------------------------------------------------------------------------


def _blocks(packed: IO[bytes]) -> Iterator[Block]:
    """Give the bytes for a reader, in order. It returns only at the end of a complete stream."""
    while True:
        magic = packed.read(4)
        if not magic:
            return
        if magic == MAGIC:
            yield from _frame(packed)
        elif len(magic) == 4 and _number(magic) in _SKIPPED:
            _skip(packed, _number(_exactly(packed, 4)))
        else:
            raise BrokenZstd("a frame of zstd is followed by something else")


def _frame(packed: IO[bytes]) -> Iterator[Block]:
    header, checksum = _frame_header(packed)
    yield MAGIC + header, False
    is_last = False
    while not is_last:
        head = _exactly(packed, 3)
        is_last, kind, size = bool(head[0] & 1), head[0] >> 1 & 3, _number(head) >> 3
        if kind == _RESERVED or size > LARGEST_BLOCK:
            raise BrokenZstd("a block of zstd has an unknown type, or is too large")
        content = _exactly(packed, 1 if kind == _REPEATED else size)
        yield head + content + (_exactly(packed, checksum) if is_last else b""), is_last


def _frame_header(packed: IO[bytes]) -> Tuple[bytes, int]:
    """Read the rest of a frame's header; return it, and the length of the checksum at the frame's end."""
    flags = _exactly(packed, 1)
    is_single = flags[0] >> 5 & 1  # segment: the window is as large as the content
    window = _exactly(packed, 1 - is_single)
    dictionary = _exactly(packed, (0, 1, 2, 4)[flags[0] & 3])
    size = _exactly(packed, (is_single, 2, 4, 8)[flags[0] >> 6])
    if any(dictionary):
        raise BrokenZstd("it needs a dictionary of zstd, which is not supported; repack it without one")
    needed = _number(size) if is_single else _window(window[0])
    if needed > 1 << LARGEST_WINDOW_LOG:
        raise BrokenZstd(f"it needs {needed} bytes of memory to be unpacked; repack it with zstd -19, without --long")
    return flags + window + dictionary + size, 4 if flags[0] & 4 else 0


def _window(descriptor: int) -> int:
    base = 1 << 10 + (descriptor >> 3)
    return base + base // 8 * (descriptor & 7)


def _skip(packed: IO[bytes], size: int) -> None:
    while size:
        size -= len(_exactly(packed, min(size, PIECE)))


def _exactly(packed: IO[bytes], size: int) -> bytes:
    piece = packed.read(size) if size else b""
    if len(piece) != size:
        raise BrokenZstd("it is cut off")
    return piece


def _number(little: bytes) -> int:
    return int.from_bytes(little, "little")


# --- Readers within this process --------------------------------------------------------------------------------------


class _Within(io.RawIOBase):
    """A stream that a decoder in this process unpacks. Each frame gets a decoder of its own."""

    def __init__(self, packed: IO[bytes], fresh: Callable[[], Any], problem: Any) -> None:
        super().__init__()
        self._blocks, self._fresh, self._problem = _blocks(packed), fresh, problem
        self._decoder: Any = None
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._ready = memoryview(self._unpacked(*block))
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count

    def _unpacked(self, block: bytes, is_last: bool) -> bytes:
        self._decoder = self._decoder or self._fresh()
        try:
            plain: bytes = self._decoder.decompress(block)
        except self._problem as problem:
            raise BrokenZstd(str(problem)) from None
        if is_last != self._decoder.eof:
            raise BrokenZstd("a frame of zstd does not end where its blocks end")
        if is_last:
            self._decoder = None
        return plain


def _python() -> Optional[Reader]:
    """Return Python's own reader, from Python 3.14 on."""
    return _as_in_python("compression.zstd")


def _backports() -> Optional[Reader]:
    """Return the same reader from a package, for older Pythons."""
    return _as_in_python("backports.zstd")


def _as_in_python(name: str) -> Optional[Reader]:
    module = _imported(name)
    if module is None:
        return None
    options = {module.DecompressionParameter.window_log_max: LARGEST_WINDOW_LOG}
    return lambda packed: _Within(packed, lambda: module.ZstdDecompressor(options=options), module.ZstdError)


def _zstandard() -> Optional[Reader]:
    """Return the reader of a package that many systems have."""
    module = _imported("zstandard")
    if module is None:
        return None
    decoder = module.ZstdDecompressor(max_window_size=1 << LARGEST_WINDOW_LOG)
    return lambda packed: _Within(packed, decoder.decompressobj, module.ZstdError)


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


# --- The program ------------------------------------------------------------------------------------------------------


class _Program(io.RawIOBase):
    """A stream that a process unpacks. The process is ended when the stream is closed."""

    def __init__(self, packed: IO[bytes], process: subprocess.Popen[bytes]) -> None:
        super().__init__()
        self._blocks, self._process = _blocks(packed), process
        self._waiting = memoryview(b"")  # bytes that the process has not taken yet
        self._stdin, self._stdout = cast(Any, process.stdin), cast(Any, process.stdout)
        os.set_blocking(self._stdin.fileno(), False)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._has_something():
            self._give()
        count = int(self._stdout.readinto(buffer))
        if not count:
            self._check_end()
        return count

    def _check_end(self) -> None:
        """Raise BrokenZstd unless the process took everything and succeeded."""
        took_all = self._stdin.closed and not self._waiting
        self._stdin.close()
        if self._process.wait() or not took_all:
            raise BrokenZstd(f"it is damaged: the program zstd ended with {self._process.returncode}")

    def _has_something(self) -> bool:
        """Wait until the process gives something, even its end, or takes something; return whether it gives."""
        ready = select.poll()
        ready.register(self._stdout, select.POLLIN)
        if not self._stdin.closed:
            ready.register(self._stdin, select.POLLOUT)
        return any(descriptor == self._stdout.fileno() for descriptor, _ in ready.poll())

    def _give(self) -> None:
        """Write as much as the process takes without blocking; close the pipe once there is no more."""
        if not self._waiting:
            self._waiting = memoryview(next(self._blocks, (b"", True))[0])
        try:
            if self._waiting:
                self._waiting = self._waiting[self._stdin.write(self._waiting) or 0 :]
            else:
                self._stdin.close()
        except BrokenPipeError:  # it has ended
            self._stdin.close()

    def close(self) -> None:
        if not self.closed:
            self._process.kill()
            self._process.wait()
            for pipe in (self._stdin, self._stdout):
                pipe.close()
        super().close()


def _program() -> Optional[Reader]:
    """Return a reader that runs the program `zstd`, which most systems have."""
    program = shutil.which("zstd")
    return None if program is None else lambda packed: _Program(packed, _started(program))


def _started(program: str) -> subprocess.Popen[bytes]:
    arguments = [program, "-d", "-c", "-q", f"--memory={1 << LARGEST_WINDOW_LOG}"]
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    return subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=null, bufsize=0)


READERS: Tuple[Callable[[], Optional[Reader]], ...] = (_python, _backports, _zstandard, _program)
"""In this order: a reader within the process is better than another process."""
