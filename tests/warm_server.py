"""Servers that start in a process which has imported their modules already: the imports are most of a start.

One process for each of pytest's waits for orders. For each it forks twice: a parent that reports the exit status, and
the server, a real process with a folder, an environment, files and signals of its own. Where the start itself is what
is tested, tests start `python -m backfleet.cli` instead.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

COLD = [sys.executable, "-m", "backfleet.cli"]
MOST_BYTES = 1 << 17  # of an order
NUMBER = struct.Struct("=i")
LONGEST_SECONDS = 60  # for a process that was killed
_order = threading.Lock()


class WarmServer(subprocess.Popen[Any]):
    """`python -m backfleet.cli` with these words, as `subprocess.Popen` starts it."""

    def _execute_child(self, args: Any, *given: Any) -> None:
        """Send an order instead of starting a program. CPython gives the same arguments in all its versions."""
        _executable, preexec_fn, _close, pass_fds, folder, environment, _info, _flags, shell, *pipes = given[:15]
        assert not any((preexec_fn, pass_fds, shell))
        assert [str(word) for word in args[:3]] == COLD
        theirs = [pipes[at] if pipes[at] != -1 else standard for standard, at in enumerate((0, 3, 5))]
        order = {
            "words": [str(word) for word in args[3:]],
            "folder": str(folder or os.getcwd()),
            "environment": dict(os.environ if environment is None else environment),
        }
        self._status, write_end = os.pipe()
        try:
            with _order:
                socket.send_fds(_orders(), [json.dumps(order).encode()], [*theirs, write_end])
        finally:
            os.close(write_end)
            self._close_pipe_fds(*pipes)
        (self.pid,) = NUMBER.unpack(os.read(self._status, NUMBER.size))
        self._child_created = True

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: Any) -> None:
        """Wait for its end. If a test failed meanwhile, nobody has told it to end: kill it."""
        if kind is not None:
            self.kill()
        super().__exit__(kind, value, trace)

    def kill(self) -> None:
        """Kill it, and wait until the serving process that the kernel kills with it has let go of its files.

        A cold server would need longer for its imports. One that starts warm would find the port taken.
        """
        serving = list(self._forked())
        super().kill()
        for process in serving:
            _is_readable(process, LONGEST_SECONDS)
            os.close(process)

    def _forked(self) -> Iterator[int]:
        """Open the children that run the same command, by their pid."""
        ours = Path(f"/proc/{self.pid}")
        for child in read(ours / "task" / str(self.pid) / "children").split() if self.poll() is None else []:
            if read(ours / "cmdline") == read(Path("/proc", child.decode(), "cmdline")) != b"":
                with contextlib.suppress(ProcessLookupError):
                    yield os.pidfd_open(int(child))

    def _internal_poll(self, *_given: Any, **_named: Any) -> int | None:
        return self._ended(0)

    def _wait(self, timeout: float | None) -> int:
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def _ended(self, seconds: float | None) -> int | None:
        """Wait for the exit status. The process is there until its parent has written that."""
        if self.returncode is None and _is_readable(self._status, seconds):
            with self._waitpid_lock:
                if self.returncode is None:  # to this thread, that is
                    (self.returncode,) = NUMBER.unpack(os.read(self._status, NUMBER.size))
                    os.close(self._status)
        return self.returncode


def _is_readable(file: int, seconds: float | None) -> bool:
    """Wait until there is something to read; unlike `select`, also where thousands of files are open."""
    waiting = select.poll()
    waiting.register(file, select.POLLIN)
    return bool(waiting.poll(None if seconds is None else seconds * 1000))


def read(file: Path) -> bytes:
    """Return a file of a process; empty if the process is gone."""
    try:
        return file.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


@functools.cache
def _orders() -> socket.socket:
    """Start the process that forks; return where it takes orders. It ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    forking = subprocess.Popen([sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()])
    theirs.close()

    def end() -> None:
        ours.close()
        forking.wait()

    atexit.register(end)
    return ours


# --- In the process that forks --------------------------------------------------------------------------------------


def _take_orders(orders: socket.socket) -> None:
    """Fork for each order until nobody can give any."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks for their status
    while True:
        text, descriptors, _, _ = socket.recv_fds(orders, MOST_BYTES, 4)
        if not text:
            return
        if os.fork() == 0:
            orders.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _be_its_parent(json.loads(text), descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)


def _be_its_parent(order: dict[str, Any], descriptors: Sequence[int]) -> None:
    """Fork the server, and report how it ended; return in the server only, and once it is over."""
    *files, status = descriptors
    server = os.fork()
    if server == 0:
        for standard, file in enumerate(files):
            os.dup2(file, standard)
        _close_all_but_inheritable(descriptors)
        os.chdir(order["folder"])
        _run(order["words"], order["environment"])
        return
    for file in (*files, 0, 1):
        os.close(file)
    os.write(status, NUMBER.pack(server))
    ended = os.waitid(os.P_PID, server, os.WEXITED | os.WNOWAIT)
    code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
    with contextlib.suppress(BrokenPipeError):
        os.write(status, NUMBER.pack(code))
    os.waitpid(server, 0)
    os._exit(0)


def _run(words: Sequence[str], environment: dict[str, str]) -> None:
    """Do what `python -m backfleet.cli` does from here on."""
    from backfleet import failpoints
    from backfleet.cli import main

    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = ["backfleet", *words]
    sys.orig_argv[:] = [*COLD, *words]
    os.execve = _go_on_as
    importlib.reload(failpoints)  # it reads the environment as it is imported
    main(prog_name="backfleet")


def _go_on_as(program: str, command: list[str], environment: dict[str, str]) -> NoReturn:
    """Do what execve would: the serving process of a supervised server is forked and becomes another command."""
    assert (program, command[:3]) == (sys.executable, COLD)
    _close_all_but_inheritable([])
    code: object = 0
    try:
        _run(command[3:], environment)
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001 - as at the end of any program
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def _close_all_but_inheritable(more: Sequence[int]) -> None:
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the one of this listing
            if int(name) > 2 and (int(name) in more or not os.get_inheritable(int(name))):
                os.close(int(name))


if __name__ == "__main__":
    sys.path[0] = ""  # as `python -m` has it
    for module in ("app", "cli._serve"):
        importlib.import_module(f"backfleet.{module}")
    gc.collect()
    gc.freeze()
    _take_orders(socket.socket(fileno=int(sys.argv[1])))
