"""Start the demo's processes, and stop every one of them, also those they started."""

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

MARKER = "BACKFLEET_DEMO"
START_SECONDS = 30
STOP_SECONDS = 12


class NotReady(Exception):
    """A process did not print the expected line; the text has the end of its log."""


class Processes:
    """Processes in sessions of their own: Ctrl-C reaches only the demo, which then stops them in order.

    Hosts start processes that outlive their agent on purpose; a marker in the environment finds those too.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._marker = folder, f"{MARKER}={folder}"
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, words: list[Any]) -> None:
        """Start a process; its output goes to files named after it."""
        with self._file(name, "out").open("wb") as out, self._file(name, "log").open("wb") as log:
            self._started[name] = subprocess.Popen(
                [str(word) for word in words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env=os.environ | {MARKER: str(self._folder)},
                start_new_session=True,
            )

    def start_and_wait(self, name: str, words: list[Any], event: str) -> dict[str, Any]:
        """Start a process and wait for its JSON line with this event."""
        self.start(name, words)
        return self.wait_for_line(name, event)

    def wait_for_line(self, name: str, event: str) -> dict[str, Any]:
        """Wait for the JSON line with this event on a process's standard output; return it.

        Raises:
            NotReady: it ended, or took too long.
        """
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            for line in self._file(name, "out").read_text().splitlines():
                found = json.loads(line)
                if found.get("event") == event:
                    return dict(found)
            if self._started[name].poll() is not None:
                break
            time.sleep(0.05)
        raise NotReady(f"{name} did not print the event {event!r}:\n{self._file(name, 'log').read_text()[-2000:]}")

    def pid_of(self, name: str) -> int:
        """Return the id of the process with this name."""
        return self._started[name].pid

    def end(self, name: str) -> None:
        """Stop one process and wait for its end."""
        process = self._started.pop(name)
        process.terminate()
        process.wait(STOP_SECONDS)

    def pids(self) -> str:
        """Return the process ids, as arguments for `kill`."""
        return " ".join(str(pid) for pid in self._marked())

    def last_words(self) -> str:
        """Return the end of every log."""
        return "\n".join(f"--- {name}\n{self._file(name, 'log').read_text()[-1500:]}" for name in self._started)

    def stop(self) -> list[str]:
        """Stop everything; return what had to be killed. An upgrade that runs on a host may finish first."""
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
                if self._marker.encode() in environment.read_bytes().split(b"\0"):
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
