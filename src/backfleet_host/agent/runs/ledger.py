"""The last runs of each client, in a file that survives power cuts but for the last seconds.

One line of JSON for each change: a run, as it is then, or the ids of runs that the server has. The newest line counts.
The file is written anew when it is opened, and when it has grown to several times of what it keeps.
"""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from backfleet_host.files import write_file

log = logging.getLogger(__name__)

MOST_RUNS = 1000  # of one package
MOST_LINES = 20_000  # in the file, before it is written anew

SUCCEEDED, FAILED, UNKNOWN = "succeeded", "failed", "unknown"
"""How a run ended. Unknown: nobody saw its exit code."""


@dataclass(frozen=True)
class Run:
    """One run of a client. `result` is "" while it runs.

    Attributes:
        begun: when it began, in seconds of Unix time by the host's clock.
        ended: when it ended; None while it runs, and where nobody saw it.
        code: its exit code; of one that a signal killed, the signal's number, negative.
        ticks: when its process started, in ticks since the boot, which tells it from a later one; 0 = not known.
        boot: the boot that it runs in.
    """

    id: str
    package: str
    version: str
    begun: float
    pid: int = 0
    ticks: int = 0
    boot: str = ""
    user: str = ""
    caller: str = ""
    is_backup: bool = False
    ended: Optional[float] = None
    result: str = ""
    code: Optional[int] = None

    def with_end(self, at: Optional[float], code: Optional[int]) -> Run:
        """Return the run as it ended: at this time if that is known, with this exit code if anybody saw it."""
        result = UNKNOWN if code is None else FAILED if code else SUCCEEDED
        return replace(self, ended=at, code=code, result=result)


class Ledger:
    """The runs of this host. Threads may share it."""

    def __init__(self, path: Path) -> None:
        self._path, self._guard = path, threading.Lock()
        self._runs: Dict[str, Run] = {}  # in the order in which they began
        self._unsent: Dict[str, None] = {}
        self._lines = 0
        self._has_failed = False

    def open(self) -> None:
        """Read what earlier agents wrote. What cannot be read is left out."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            lines = []
        except OSError as problem:
            log.error("the ledger of runs cannot be read: %s", problem)
            lines = []
        with self._guard:
            for line in lines:
                self._read(line)
            self._write_anew()

    def put(self, run: Run) -> None:
        """Note a run that began, or its end."""
        with self._guard:
            self._put(run)
            self._append({"run": asdict(run)})

    def running(self) -> List[Run]:
        """Return the runs whose end was not noted."""
        with self._guard:
            return [run for run in self._runs.values() if not run.result]

    def runs(self) -> List[Run]:
        """Return every run, the oldest first."""
        with self._guard:
            return list(self._runs.values())

    def unsent(self, most: int) -> List[Run]:
        """Return runs that the server does not have as they are now, the oldest first."""
        with self._guard:
            return [self._runs[each] for each in list(self._unsent)[:most]]

    def note_sent(self, sent: Sequence[Run]) -> None:
        """Note that the server has these runs, as they were when they were sent."""
        with self._guard:
            ids = [run.id for run in sent if self._runs.get(run.id) == run]
            for each in ids:
                self._unsent.pop(each, None)
            self._append({"sent": ids})

    def _put(self, run: Run) -> None:
        is_new = run.id not in self._runs
        self._runs[run.id] = run
        self._unsent[run.id] = None
        mine = [each.id for each in self._runs.values() if each.package == run.package] if is_new else []
        for each in mine[:-MOST_RUNS]:
            del self._runs[each]
            self._unsent.pop(each, None)

    def _read(self, line: bytes) -> None:
        try:
            found = json.loads(line)
            if "run" in found:
                known = {field.name for field in fields(Run)}
                self._put(Run(**{name: value for name, value in found["run"].items() if name in known}))
            for each in found.get("sent", ()):
                self._unsent.pop(each, None)
        except (ValueError, TypeError, AttributeError, RecursionError):  # the end of a line that a power cut took
            return

    def _append(self, change: Dict[str, Any]) -> None:
        if self._lines >= MOST_LINES:
            self._write_anew()
            return
        try:
            with self._path.open("ab") as file:
                file.write(json.dumps(change).encode() + b"\n")
        except OSError as problem:
            self._note_failure(problem)
        self._lines += 1

    def _write_anew(self) -> None:
        sent = [each for each in self._runs if each not in self._unsent]
        changes: List[Dict[str, Any]] = [{"run": asdict(run)} for run in self._runs.values()]
        lines = [json.dumps(change) + "\n" for change in [*changes, {"sent": sent}]]
        self._lines = len(lines) % MOST_LINES  # many packages may fill more; then it is rewritten less often
        try:
            write_file(self._path, "".join(lines).encode(), is_only_writer=True)
        except OSError as problem:
            self._note_failure(problem)

    def _note_failure(self, problem: OSError) -> None:
        if not self._has_failed:
            log.error("the ledger of runs cannot be written, and is in memory only: %s", problem)
        self._has_failed = True
