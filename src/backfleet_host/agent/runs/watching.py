"""The thread that notes runs: their starts from shims, their ends from the kernel."""

from __future__ import annotations

import contextlib
import logging
import pwd
import select
import threading
import time
import uuid
from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple, Union

from backfleet_host.agent import machine
from backfleet_host.agent.runs.backups import is_backup
from backfleet_host.agent.runs.exits import Ends, Exits, NotAvailable
from backfleet_host.agent.runs.ledger import Ledger, Run
from backfleet_host.agent.runs.notes import Note, NotesSocket

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 1.0  # between two readings of /proc where the kernel does not send ends, and to see whether to stop
_GATHER_SECONDS = 0.05  # ends of other processes are read together
_READ_SECONDS = 60.0  # between two readings of /proc all the same

Open = Callable[[], Exits]


class RunWatch:
    """Notes the runs under one root in a ledger."""

    def __init__(
        self,
        root: Path,
        ledger: Ledger,
        on_change: Callable[[], None],
        on_ready: Callable[[], None],
        open_exits: Open = Exits,
    ) -> None:
        """Make one that calls `on_change` when the ledger has news, and `on_ready` once it notes what begins."""
        self._root, self._ledger, self._open_exits = root, ledger, open_exits
        self._on_change, self._on_ready = on_change, on_ready
        self._boot = machine.boot_id()
        self._running: Dict[int, Run] = {}
        self._exits: Optional[Exits] = None

    def run(self, stopping: threading.Event) -> None:
        """Note runs until `stopping` is set. Where shims cannot reach this agent, note none."""
        self._ledger.open()
        self._on_change()  # some may not have been sent
        try:
            notes = NotesSocket(self._root)
        except OSError as problem:
            log.warning("runs of clients are not noted: %s", problem)
            self._take_over()
            self._on_ready()
            stopping.wait()
            return
        with contextlib.closing(notes), contextlib.ExitStack() as stack:
            try:
                self._exits = stack.enter_context(contextlib.closing(self._open_exits()))
            except NotAvailable as problem:
                log.warning("how runs of clients end is not known on this host: %s", problem)
            self._take_over()
            self._on_ready()
            read_at = time.monotonic()
            while not stopping.is_set():
                ends = self._wait(notes)
                for note in notes.read_all():  # after the ends: a run that ended has sent its note before
                    self._begin(note)
                self._end(ends)
                if self._exits is None or ends.has_lost or time.monotonic() - read_at > _READ_SECONDS:
                    read_at = time.monotonic()
                    self._end_missed()

    def _wait(self, notes: NotesSocket) -> Ends:
        exits = self._exits
        if exits is None:
            select.select([notes], [], [], _PAUSE_SECONDS)
            return Ends({}, False)
        sources: List[Union[NotesSocket, Exits]] = [notes, exits]
        ready, _, _ = select.select(sources, [], [], _PAUSE_SECONDS)
        if ready == [exits]:
            select.select([notes], [], [], _GATHER_SECONDS)
        return exits.read_all()

    def _take_over(self) -> None:
        """Go on with the runs that an earlier agent saw begin. The end of those that are gone was not seen."""
        self._running = {run.pid: run for run in self._ledger.running()}
        for run in self._ledger.running():
            if self._running[run.pid] is not run or run.boot != self._boot:
                self._note_end(run, None, None)
        self._end_missed(is_end_now=False)

    def _begin(self, note: Note) -> None:
        before = self._running.pop(note.pid, None)
        if before is not None:
            self._note_end(before, None, None)
        ticks, parent = _started_and_parent(note.pid)
        run = Run(
            id=uuid.uuid4().hex,
            package=note.package,
            version=note.version,
            begun=time.time(),
            pid=note.pid,
            ticks=ticks,
            boot=self._boot,
            user=_user(note.uid),
            caller=_name(parent),
            is_backup=is_backup(note.command, note.arguments),
        )
        self._running[note.pid] = run
        self._ledger.put(run)
        self._on_change()

    def _end(self, ends: Ends) -> None:
        for pid in self._running.keys() & ends.codes.keys():
            self._note_end(self._running[pid], time.time(), ends.codes[pid])

    def _end_missed(self, *, is_end_now: bool = True) -> None:
        """End the runs whose process is gone although its end was not seen."""
        gone: List[Run] = []
        for run in self._running.values():
            ticks, _ = _started_and_parent(run.pid)
            if not ticks or (run.ticks and ticks != run.ticks):
                gone.append(run)
        last = Ends({}, False) if self._exits is None or not gone else self._exits.read_all()
        for run in gone:
            code = last.codes.get(run.pid)
            self._note_end(run, time.time() if is_end_now or code is not None else None, code)
        self._end(last)

    def _note_end(self, run: Run, at: Optional[float], code: Optional[int]) -> None:
        if self._running.get(run.pid) is run:
            del self._running[run.pid]
        self._ledger.put(run.with_end(at, code))
        self._on_change()


def _started_and_parent(pid: int) -> Tuple[int, int]:
    """Return when a process started, in ticks since the boot, and its parent; zeros if it runs no more."""
    try:
        content = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0, 0
    parts = content.rsplit(")", 1)[-1].split()  # the name before may hold anything
    return (0, 0) if parts[0] in ("Z", "X") else (int(parts[19]), int(parts[1]))


def _name(pid: int) -> str:
    try:
        found = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace") if pid else ""
    except OSError:
        return ""
    return "".join(letter for letter in found if letter.isprintable())[:64]


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name[:64]
    except KeyError:
        return str(uid)
