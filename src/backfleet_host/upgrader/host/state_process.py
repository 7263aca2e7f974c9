"""Preserved state is read and written by a process of its own, which can be left behind.

State may be on a file system that has stopped answering: NFS whose server is away, FUSE whose program hangs. What
touches it then blocks, and not even SIGKILL ends it. So it is not done in the upgrader's process, which keeps the gate
closed, but in this program executed anew: that has none of our locks. It says which path it reaches next. If nothing
moves for too long, it is killed, or left behind, and the order ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any, Callable, Dict, Iterable, List, Optional, Protocol, cast

from backfleet_host.upgrader import progress
from backfleet_host.upgrader.errors import NotAnswering, OrderFailed
from backfleet_host.upgrader.failpoints import VARIABLE
from backfleet_host.upgrader.host import preserved_state
from backfleet_host.upgrader.host.processes import OWNER

MOST_SECONDS = 300.0  # for reading all state while the gate is closed, however well it moves
POLL_SECONDS = 0.1  # between two looks whether the order may go on
END_SECONDS = 1.0  # for a process that was killed, or has nothing more to do
PIECE = 1 << 16  # bytes of answers read at a time
_START = """import sys; sys.path[:] = {path!r}
from backfleet_host.upgrader.host import state_process; state_process.serve()"""

Check = Callable[[], object]
"""Called while state is worked on. What it raises ends that."""


class PreservedState(Protocol):
    """What an attempt does with preserved state. The verbs are those of preserved_state.py, and raise as they do.

    All of them raise NotAnswering too, if a file system does not answer.
    """

    def start(self) -> None:
        """Get ready, which takes a moment."""

    def reach(self, paths: Iterable[str], check: Check) -> None:
        """Reach everything below these paths."""

    def snapshot(self, paths: Iterable[str], folder: Path, check: Check) -> None:
        """Copy all state under these paths."""

    def first_change(self, folder: Path, check: Check) -> str:
        """Return how the first entry of a snapshot differs now."""

    def restore(self, folder: Path, evidence: Path) -> None:
        """Make all entries of a snapshot what they were."""

    def remove(self, paths: Iterable[str]) -> str:
        """Remove the state under these paths; return why some of it stays."""

    def close(self) -> None:
        """End what was started."""


class StateProcess:
    """Does it in a process of its own, which is started when it is first needed.

    Args:
        owner: the package whose attempt it serves: if that dies, the next attempt kills the process.
        seconds: for which nothing may move.
    """

    def __init__(self, owner: str, seconds: float) -> None:
        self._owner, self._seconds = owner, seconds
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._received = b""

    def start(self) -> None:
        """Start the process, unless it runs."""
        self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        program = _START.format(path=[os.path.abspath(entry) for entry in sys.path if entry])
        environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            env={**environment, OWNER: self._owner},
            start_new_session=True,
        )
        return self._process

    def reach(self, paths: Iterable[str], check: Check) -> None:
        """Reach everything below these paths, so that what cannot be is known before anything is touched."""
        self._ask(float("inf"), check, "reach", paths=list(paths))

    def snapshot(self, paths: Iterable[str], folder: Path, check: Check) -> None:
        """Copy all state under these paths into `folder`."""
        self._ask(MOST_SECONDS, check, "snapshot", paths=list(paths), folder=str(folder))

    def first_change(self, folder: Path, check: Check) -> str:
        """Return how the first entry of a snapshot differs now; "" if none does."""
        if not (folder / preserved_state.INDEX).exists():
            return ""
        return str(self._ask(MOST_SECONDS, check, "first_change", folder=str(folder)))

    def restore(self, folder: Path, evidence: Path) -> None:
        """Make all entries of a snapshot what they were. This takes as long as it takes, if only it moves."""
        if (folder / preserved_state.INDEX).exists():
            self._ask(float("inf"), _go_on, "restore", folder=str(folder), evidence=str(evidence))

    def remove(self, paths: Iterable[str]) -> str:
        """Remove the state under these paths; return why some of it stays."""
        named = list(paths)
        try:
            return str(self._ask(float("inf"), _go_on, "remove", paths=named)) if named else ""
        except NotAnswering as problem:
            return problem.text

    def close(self) -> None:
        """End the process. One that does not end is left behind."""
        self._end()

    def _ask(self, most: float, check: Check, verb: str, **arguments: Any) -> Any:
        """Have the process do something, and return its answer.

        Args:
            most: seconds for all of it.
        """
        process = self._started()
        try:
            answer = self._answer(process, most, check, {"verb": verb, **arguments})
        except BaseException:
            self._end()
            raise
        if "raised" in answer:
            raise _raised(answer["raised"])
        return answer["done"]

    def _answer(
        self, process: subprocess.Popen[bytes], most: float, check: Check, request: Dict[str, Any]
    ) -> Dict[str, Any]:
        requests, answers = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
        began = moved_at = time.monotonic()
        at = ", ".join(request.get("paths", ())) or "the preserved state"
        requests.write(json.dumps(request).encode() + b"\n")
        requests.flush()
        while True:
            for line in self._lines(answers.fileno()):
                moved_at = time.monotonic()
                if "at" not in line:
                    return line
                at = line["at"] or at
            now = time.monotonic()
            if now - moved_at >= self._seconds or now - began >= most:
                raise NotAnswering(at, now - (moved_at if now - began < most else began))
            check()

    def _lines(self, pipe: int) -> List[Dict[str, Any]]:
        """Return what the process has sent within POLL_SECONDS. Raises OSError, if it has ended."""
        if not select.select([pipe], [], [], POLL_SECONDS)[0]:
            return []
        piece = os.read(pipe, PIECE)
        if not piece:
            raise OSError(None, "the process that works on preserved state has ended; ask again")
        *lines, self._received = (self._received + piece).split(b"\n")
        return [json.loads(line) for line in lines]

    def _end(self) -> None:
        process, self._process, self._received = self._process, None, b""
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                cast("IO[bytes]", pipe).close()
        process.kill()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.returncode = -signal.SIGKILL  # it ends when its file system answers: nobody waits for that


def _go_on() -> None:
    """Let the work go on: for what must not be interrupted."""


def _raised(raised: Dict[str, Any]) -> Exception:
    if raised["type"] == "OrderFailed":
        return OrderFailed(raised["code"], raised["text"], raised["reason"])
    if raised["type"] == "OSError":
        return OSError(raised["errno"], raised["text"], raised["path"])
    return RuntimeError(raised["text"])


# --- In the process itself ------------------------------------------------------------------------------------------


def serve() -> None:
    """Do what standard input asks for, a line each, until it ends; write progress and answers to standard output."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # they mean the upgrader, which decides what to do
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o022)
    progress.observe(lambda path: _write({"at": path}))
    for line in iter(sys.stdin.buffer.readline, b""):
        _write(_done(json.loads(line)))


def _done(request: Dict[str, Any]) -> Dict[str, Any]:
    try:
        return {"done": _VERBS[request["verb"]](request)}
    except OrderFailed as problem:
        return {"raised": {"type": "OrderFailed", "code": problem.code, "text": problem.text, "reason": problem.reason}}
    except OSError as problem:
        path = None if problem.filename is None else os.fsdecode(problem.filename)
        text = problem.strerror or str(problem)
        return {"raised": {"type": "OSError", "errno": problem.errno, "text": text, "path": path}}
    except Exception as problem:  # noqa: BLE001 - whatever it is, the upgrader must hear of it
        return {"raised": {"type": "", "text": f"{type(problem).__name__}: {problem}"}}


_VERBS: Dict[str, Callable[[Dict[str, Any]], Any]] = {
    "reach": lambda request: preserved_state.reach(request["paths"]),
    "snapshot": lambda request: preserved_state.snapshot(request["paths"], Path(request["folder"])),
    "first_change": lambda request: preserved_state.first_change(Path(request["folder"])),
    "restore": lambda request: preserved_state.restore(Path(request["folder"]), Path(request["evidence"])),
    "remove": lambda request: preserved_state.remove(request["paths"]),
}


def _write(answer: Dict[str, Any]) -> None:
    rest = json.dumps(answer).encode() + b"\n"
    while rest:
        rest = rest[os.write(1, rest) :]
