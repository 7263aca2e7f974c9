"""An order that came with the host program as a shell command of another agent (`backfleet-host bring`).

The work is done by a process that leads a session of its own and writes to a file. The process that the other agent
started only prints what comes into that file. So that agent may end, time out or be stopped, and the upgrade still
finishes, unless its server has withdrawn it. The same order run again prints its report. If the process that does the
work is killed, another one finds out what became of the order, and reports that. One that hangs is killed by the
system, long after the order's time is over.

The command that starts this program leaves a mark, `began-PROGRAM-ORDER`, which is removed here once the order has
ended with a report. One that stays means that this program crashed: that command then uses another one (0130).
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import errno
import os
import random
import sys
import time
from pathlib import Path
from typing import Callable, List, Optional, Sequence, Tuple

from backfleet_host.agent.execution.host_program import own_archive
from backfleet_host.agent.execution.order_output import report_line
from backfleet_host.agent.execution.orders import PROGRESS_BYTES, failed_report
from backfleet_host.agent.execution.systemd_scope import move_to_own_scope
from backfleet_host.agent.execution.time_limit import limit_time
from backfleet_host.agent.execution.withdrawal import WITHDRAWABLE, Withdrawal, question_to
from backfleet_host.agent.protocol.address import BadAddress, read_address
from backfleet_host.agent.protocol.server import Server, proxy_of, tls_towards
from backfleet_host.agent.setup.enrolment_errors import CannotEnrol, ServerAway
from backfleet_host.agent.setup.release_root import fetch_release_root
from backfleet_host.contract import CRASHED, Order, Report, read_order, stage_line
from backfleet_host.files import hold_lock, make_folder, set_mode, write_file
from backfleet_host.identity import Identity, keep_identity
from backfleet_host.layout import Places
from backfleet_host.texts import printable

CHECK = "--check"
QUOTA = 11_000  # bytes of output that every agent passes on, whatever its settings
GRACE_SECONDS = 60.0  # beyond the order's time budget
POLL_SECONDS = 0.2
PROGRAMS = 3  # that are kept, each from another server version: orders that began earlier may run from an older one
BEGAN = "began"  # the mark of a program that has begun an order
MARKS = ("proven", "crashed", BEGAN)  # files about a program, whose hash follows in their names
HALF_MADE_SECONDS = 24 * 3600.0  # after which nobody downloads what was half-made any more
RECOVERIES = 3  # tries to find out what became of an order whose process was killed
LONGEST_PAUSE_SECONDS = 15.0  # between two tries to reach the server
REPORT = b'{"report"'
RESERVED = 64 * 1024  # bytes for the report, on a disk that may be full by then

_DISK_CODES = {errno.ENOSPC: "DiskFull", errno.EDQUOT: "DiskFull", errno.EROFS: "HostBusy"}


def main(arguments: Sequence[str]) -> int:
    """Carry out the order that `ROOT SERVER CA ORDER [LABEL SPENT [MIRROR MIRROR_CA TRUST]]` names.

    ORDER is its command content in base64. The server knows the order by LABEL, and answers by it whether the order was
    withdrawn. SPENT are the seconds of its time budget that are over. MIRROR is an address that has what is below the
    server's downloads, and is asked first; MIRROR_CA a file with the authority for it, "" for those of the system;
    TRUST a file with the release root, so that the server need not be reached.

    Returns:
        0 if the order succeeded, else 1. The report is the last line on standard output.
    """
    if arguments[:1] == [CHECK]:
        return check(arguments[1:])
    root, server, authority, encoded, *more = arguments
    label, spent = more[0] if more else "", float(more[1]) if len(more) > 1 else 0.0
    mirror, mirror_ca, trust = more[2:5] if len(more) > 4 else ("", "", "")
    places, order = Places(Path(root)), read_order(base64.b64decode(encoded).decode())
    until = time.monotonic() + max(1.0, order.timeout_seconds - spent)
    remove_old_programs(places.bootstrap, own_archive(), time.time())
    try:
        _adopt_in_time(places, server, Path(authority), until, Path(trust) if trust else None)
        order = dataclasses.replace(order, timeout_seconds=max(1, round(until - time.monotonic())))
        asks = bool(label) and order.kind in WITHDRAWABLE
        ask = question_to(server, Path(authority), places.root, label) if asks else None
        return _Work(places, order, ask, (mirror, mirror_ca)).see_through()
    except (CannotEnrol, BadAddress, OSError) as problem:
        print(_not_begun(order, problem).as_line(), flush=True)
        _mark_ended(places.bootstrap, own_archive(), order.order_id)
        return 1


def check(arguments: Sequence[str]) -> int:
    """Check that this program can carry out an order on this host, before it gets the first one.

    `ROOT SERVER CA [MIRROR]` are as those of an order. What carries orders out can be loaded, and the server answers. A
    host with a mirror need not reach its server.

    Returns:
        0 if it can, else 1; the last line on standard output says why.
    """
    root, server, authority, *mirror = arguments
    try:
        from backfleet_host import upgrader  # noqa: F401 - it can be loaded: nothing more is needed of it here

        if not any(mirror):
            address, trust = read_address(server), tls_towards(Path(authority))
            with contextlib.closing(Server(address, trust, proxy=proxy_of(Path(root)))) as client:
                fetch_release_root(client)
    except (CannotEnrol, BadAddress, OSError) as problem:
        print(printable(str(problem)), flush=True)
        return 1
    return 0


def remove_old_programs(folder: Path, own: Optional[Path], now: float) -> None:
    """Keep this program and the newest of the others; remove what downloads that were killed have left. Best effort."""
    with contextlib.suppress(OSError):
        if own is not None and own.parent == folder:
            os.utime(own, (now, now))
        programs = sorted(folder.glob("backfleet-host-*.pyz"), key=lambda path: path.stat().st_mtime, reverse=True)
        half_made = list(folder.glob("backfleet-host-*.pyz.*"))
        kept = {_digits(path) for path in programs[:PROGRAMS]}
        for path in [
            *programs[PROGRAMS:],
            *(one for one in half_made if now - one.stat().st_mtime > HALF_MADE_SECONDS),
            *(one for kind in MARKS for one in folder.glob(f"{kind}-*") if one.name.split("-")[1] not in kept),
        ]:
            path.unlink()


def _digits(program: Path) -> str:
    """Return the beginning of a program's hash, which is in its name."""
    return program.stem.removeprefix("backfleet-host-")


def _mark_ended(folder: Path, own: Optional[Path], order_id: str) -> None:
    """Remove the mark that this program has begun an order. Best effort: with it, another one is used for a while."""
    if own is not None:
        with contextlib.suppress(OSError):
            (folder / f"{BEGAN}-{_digits(own)}-{order_id}").unlink()


def _not_begun(order: Order, problem: Exception) -> Report:
    code = _DISK_CODES.get(problem.errno or 0, "") if isinstance(problem, OSError) else ""
    return Report(
        order.order_id,
        order.kind,
        order.package,
        "failed",
        code=code or "DownloadFailed",
        message=str(problem),
        details={} if code else {"reason": "NotReachable"},
        version_known=False,
    )


def _adopt_in_time(places: Places, server: str, authority: Path, until: float, trust: Optional[Path]) -> None:
    """Do `_adopt`, tried again while the server is away and the order has time."""
    while True:
        try:
            return _adopt(places, server, authority, trust)
        except ServerAway:
            pause = random.uniform(1, LONGEST_PAUSE_SECONDS)  # noqa: S311 -- spreads load
            if time.monotonic() + pause > until:
                raise
        print(stage_line("admit"), flush=True)  # the agent has something to report
        time.sleep(pause)


def _adopt(places: Places, server: str, authority: Path, trust: Optional[Path]) -> None:
    """Store which server and which releases this root trusts. A root that is enrolled stays as it is."""
    if places.identity.exists():
        return
    address = read_address(server)
    make_folder(places.agent, parents_mode=0o755)
    set_mode(places.agent, 0o700)  # the shell command may have made it
    if trust is not None:
        release_root = trust.read_bytes()  # part of the command, as is the server's authority
    else:
        with contextlib.closing(Server(address, tls_towards(authority), proxy=proxy_of(places.root))) as client:
            release_root = fetch_release_root(client)
    write_file(places.authority, authority.read_bytes())
    make_folder(places.trusted_root.parent, mode=0o755, parents_mode=0o755)
    write_file(places.trusted_root, release_root, mode=0o644)
    keep_identity(places, Identity("", "", server, "another agent's"))


class _Work:
    """One order: the process that carries it out, and what that prints."""

    def __init__(
        self, places: Places, order: Order, ask: Optional[Callable[[], bool]], mirror: Tuple[str, str]
    ) -> None:
        self._root, self._order, self._ask, self._mirror = places.root, order, ask, mirror
        self._output = places.bootstrap / f"{order.order_id}.out"
        self._lock = places.bootstrap / f"{order.order_id}.lock"
        self._reserved = places.bootstrap / f"{order.order_id}.reserve"
        self._until = time.monotonic() + order.timeout_seconds + GRACE_SECONDS
        self._parent = os.getppid()
        self._listening: List[int] = []  # write ends of pipes: closed when the agent reads no more
        self._printed = 0

    def see_through(self) -> int:
        """Carry the order out, or find the process that does; print what it prints. Return the exit code."""
        for number in range(1 + RECOVERIES):
            held = hold_lock(self._lock)
            if held is not None:  # else the order is being carried out already, and only its output is printed
                self._start_detached(held, recovers=number > 0)
            content = self._print_output()
            if REPORT in content or time.monotonic() > self._until:
                return 0 if b'"outcome": "succeeded"' in content else 1
        return 1

    def _start_detached(self, lock: int, *, recovers: bool) -> None:
        """Start the work as a grandchild in a session of its own. It holds the lock and writes to the output file.

        Raises:
            OSError: there is no space for its output.
        """
        mode = os.O_APPEND if recovers else os.O_TRUNC
        written = os.open(self._output, os.O_WRONLY | os.O_CREAT | mode | os.O_CLOEXEC, 0o600)
        try:
            _reserve(self._reserved)
        except OSError:
            os.close(written)
            raise
        sys.stdout.flush()
        heard, listening = os.pipe()
        child = os.fork()
        if child:
            for file in (lock, written, heard):
                os.close(file)
            self._listening.append(listening)
            os.waitpid(child, 0)
            return
        os.setsid()
        if os.fork():
            os._exit(0)
        for pipe in [listening, *self._listening]:
            os.close(pipe)
        _redirect(written)
        limit_time(self._order.timeout_seconds)
        code = 1
        try:
            report = self._recover() if recovers else self._carry_out(heard)
            code = 0 if report.outcome == "succeeded" else 1
        finally:
            os._exit(code)

    def _carry_out(self, heard: int) -> Report:
        from backfleet_host import upgrader  # only the detached process needs it

        mirror = upgrader.mirror_at(*self._mirror)
        self._leave_the_agents_group()  # the order may restart the other agent's service
        withdrawal = Withdrawal(self._ask or (lambda: False), heard)
        if self._ask is not None:
            withdrawal.start()

        def progress(line: str) -> None:
            withdrawal.note(line)
            _write(line)

        order, root = self._order, self._root
        report = self._report(
            lambda: upgrader.carry_out(order, root, progress=progress, is_cancelled=withdrawal, mirror=mirror)
        )
        if not report.details.get(CRASHED):
            _mark_ended(self._output.parent, own_archive(), order.order_id)
        return report

    def _recover(self) -> Report:
        from backfleet_host import upgrader  # only the detached process needs it

        self._leave_the_agents_group()
        return self._report(lambda: upgrader.recover(self._order, self._root, progress=_write))  # the mark stays

    def _leave_the_agents_group(self) -> None:
        move_to_own_scope(f"backfleet-{self._order.order_id}-{os.getpid()}")

    def _report(self, carry: Callable[[], Report]) -> Report:
        """Have the order carried out, and write its report; return it."""
        try:
            report = carry()
        except Exception as problem:  # noqa: BLE001 -- whatever it is, the server must hear of it
            report = failed_report(self._order, problem)
        self._reserved.unlink(missing_ok=True)
        _write(report_line(report, QUOTA - PROGRESS_BYTES))
        return report

    def _print_output(self) -> bytes:
        """Print what comes into the output file until the work is over; return all of it."""
        content = b""
        while True:
            is_over = _is_free(self._lock) or time.monotonic() > self._until
            if os.getppid() != self._parent:
                self._stop_listening()  # the agent has ended its shell: stopped, timed out, or dead
            with contextlib.suppress(OSError):
                content = self._output.read_bytes()
                sys.stdout.buffer.write(content[self._printed :])
                sys.stdout.buffer.flush()
                self._printed = len(content)
            if is_over:
                return content
            time.sleep(POLL_SECONDS)

    def _stop_listening(self) -> None:
        while self._listening:
            os.close(self._listening.pop())


def _reserve(reserve: Path) -> None:
    """Take disk space now that the report will need."""
    file = os.open(reserve, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(file, 0, RESERVED)
    except OSError:
        reserve.unlink()
        raise
    finally:
        os.close(file)


def _redirect(written: int) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(written, 1)
    os.dup2(written, 2)


def _write(line: str) -> None:
    os.write(1, line.encode("utf-8", "replace") + b"\n")


def _is_free(lock: Path) -> bool:
    held = hold_lock(lock)
    if held is None:
        return False
    os.close(held)
    return True
