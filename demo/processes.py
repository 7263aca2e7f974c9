"""Every process the demo started, directly or not, and the promise to stop them all."""

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

MARK = "BACKFLEET_DEMO"
START_SECONDS = 30
STOP_SECONDS = 12


class NotReady(Exception):
    """A process did not say what it should; the text has its last words."""


class Processes:
    """Started in sessions of their own, so that Ctrl-C reaches the demo alone, which then stops them in order.

    Hosts start processes that outlive their agent on purpose; a mark in the environment finds those too.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._mark = folder, f"{MARK}={folder}"
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, words: list[Any]) -> None:
        """Start a process; its output goes to files named after it."""
        with self._file(name, "out").open("wb") as out, self._file(name, "log").open("wb") as log:
            self._started[name] = subprocess.Popen(
                [str(word) for word in words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env=os.environ | {MARK: str(self._folder)},
                start_new_session=True,
            )

    def start_and_wait(self, name: str, words: list[Any], event: str) -> dict[str, Any]:
        """Start a process and wait for the JSON line in which it says `event`."""
        self.start(name, words)
        return self.wait_for_line(name, event)

    def wait_for_line(self, name: str, event: str) -> dict[str, Any]:
        """The JSON line on the process's standard output with this event.

        Raises:
            NotReady: it ended, or took too long.
        """
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            for line in self._file(name, "out").read_text().splitlines():
                said = json.loads(line)
                if said.get("event") == event:
                    return dict(said)
            if self._started[name].poll() is not None:
                break
            time.sleep(0.05)
        raise NotReady(f"{name} did not say {event!r}:\n{self._file(name, 'log').read_text()[-2000:]}")

    def pid_of(self, name: str) -> int:
        """The process id of what was started under this name."""
        return self._started[name].pid

    def end(self, name: str) -> None:
        """Stop one process and wait for its end."""
        process = self._started.pop(name)
        process.terminate()
        process.wait(STOP_SECONDS)

    def pids(self) -> str:
        """The process ids, as `kill` takes them."""
        return " ".join(str(pid) for pid in self._marked())

    def last_words(self) -> str:
        """The end of every log."""
        return "\n".join(f"--- {name}\n{self._file(name, 'log').read_text()[-1500:]}" for name in self._started)

    def stop(self) -> list[str]:
        """Stop everything; names what had to be forced. An upgrade that is under way on a host may end first."""
        _send(signal.SIGTERM, self._marked())
        until = time.monotonic() + STOP_SECONDS
        while self._marked() and time.monotonic() < until:
            for process in self._started.values():
                process.poll()
            time.sleep(0.05)
        forced = self._marked()
        _send(signal.SIGKILL, forced)
        for process in self._started.values():
            process.wait()
        self._started.clear()
        return [f"process {pid} had to be killed" for pid in forced]

    def _marked(self) -> list[int]:
        found = []
        for environment in Path("/proc").glob("[0-9]*/environ"):
            try:
                if self._mark.encode() in environment.read_bytes().split(b"\0"):
                    found.append(int(environment.parent.name))
            except OSError:
                continue  # ended meanwhile, or another person's
        return [pid for pid in found if pid != os.getpid()]

    def _file(self, name: str, ending: str) -> Path:
        return self._folder / f"{name}.{ending}"


def _send(number: signal.Signals, pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # it ended by itself
            os.kill(pid, number)
