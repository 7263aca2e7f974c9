"""A command at a terminal, and what the person in front of it sees."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import pyte

KEY: Final = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "k", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "s"}
SECONDS: Final = 60.0  # for anything to appear
CTRL_C: Final = b"\x03"
# The terminal becomes that of the command, so that Ctrl-C and new sizes reach it as they reach it from a shell.
AT_A_TERMINAL: Final = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, "-m", "backfleet.cli", *sys.argv[1:]])
"""


class Terminal:
    """A terminal in which `backfleet` runs: a context, at whose end the command is killed if it still runs."""

    def __init__(self, words: Sequence[str], columns: int = 80, lines: int = 24, **environment: str) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self._ours, theirs = pty.openpty()
        self._set_size()
        clean = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        more: Mapping[str, str] = clean | KEY | {"TERM": "xterm-256color"} | environment
        self.command = subprocess.Popen(
            [sys.executable, "-c", AT_A_TERMINAL, *words],
            stdin=theirs, stdout=theirs, stderr=theirs, env=more, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_failure: object) -> None:
        if self.command.poll() is None:
            self.command.kill()
            self.command.wait()
        os.close(self._ours)

    @property
    def shown(self) -> list[str]:
        """The lines of the screen that are not empty."""
        return [line.rstrip() for line in self.screen.display if line.strip()]

    def resize(self, columns: int, lines: int) -> None:
        """Pull the window to another size."""
        self.screen.resize(lines, columns)
        self._set_size()

    def press(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._ours, keys)

    def wait_for(self, is_there: Callable[[list[str]], bool]) -> list[str]:
        """Read what the command writes until the screen is as it should be; return its lines."""
        ends = time.monotonic() + SECONDS
        while not is_there(self.shown):
            is_there_still = self._read(ends)
            assert is_there_still, "\n".join(self.shown)
            assert time.monotonic() < ends, "\n".join(self.shown)
        return self.shown

    def wait(self) -> int:
        """Read what is left until the command has ended; return its exit code."""
        ends = time.monotonic() + SECONDS
        while self._read(ends):
            assert time.monotonic() < ends, "\n".join(self.shown)
        return self.command.wait(SECONDS)

    def _read(self, ends: float) -> bool:
        """Show what is written next; return whether the command still has the terminal."""
        if not select.select([self._ours], [], [], max(0.0, ends - time.monotonic()))[0]:
            return True
        try:
            written = os.read(self._ours, 65_536)
        except OSError:  # how Linux says that nobody has the other side any more
            return False
        self._stream.feed(written)
        return bool(written)

    def _set_size(self) -> None:
        size = struct.pack("HHHH", self.screen.lines, self.screen.columns, 0, 0)
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, size)
