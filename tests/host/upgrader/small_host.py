"""A small fake host: the real transaction on a real folder, with releases, programs and processes in memory.

Any effect can be the last before a power cut, or can fail: `Trouble` says which and how.
"""

import contextlib
import fcntl
import functools
import io
import itertools
import os
import struct
import sys
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from backfleet_host.contract import Order, Report
from backfleet_host.manifest import Manifest, read_manifest
from backfleet_host.platforms import platform_here
from backfleet_host.upgrader import Installation, carry_out_on, disk, failpoints, gate
from backfleet_host.upgrader.errors import OrderFailed, Unhealthy
from backfleet_host.upgrader.host import native_shim, preserved_state, trees
from backfleet_host.upgrader.host.holders import Holder
from backfleet_host.upgrader.host.shim import ANSWERS
from backfleet_host.upgrader.host.subprocesses import Subprocess
from backfleet_host.upgrader.release.source import InterruptCheck, ReleaseServer, ReleaseTarget
from backfleet_host.upgrader.transaction.attempt import CancelCheck, never_cancelled

PACKAGE = "courier"


# --- Trouble --------------------------------------------------------------------------------------------------------


class PowerCut(BaseException):
    """The process is gone: nothing after this point is done."""


@dataclass
class Trouble:
    """A power cut before, after or half-way through effect number `at`.

    With an error the effect fails instead, once or from then on: before it began, half done, or completely done.
    """

    at: int = 0
    when: str = "before"
    error: OSError | None = None
    lasts: bool = False
    effects: list[str] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)  # to the system, which each of them took
    half: int = 1  # of these calls are made when it is half-way through
    between: set[int] = field(default_factory=set)  # effects after which a program was run
    _open: list[tuple[int, str, str]] = field(default_factory=list)

    def __call__(self, when: str, effect: str, path: str) -> None:
        if when == "before":
            self.effects.append(f"{effect} {os.path.basename(path)}")
            self.calls.append(0)
            self._open.append((len(self.effects), effect, path))
        self.meet(self._open[-1][0] if when == "before" else self._closed(effect, path), when, effect, path)

    def calling(self) -> None:
        """Note that a system call is about to change something, or that a program is about to run between effects."""
        if self._open:
            number, effect, path = self._open[-1]
            self.calls[number - 1] += 1
            self.meet_half(number, self.calls[number - 1], effect, path)
        else:
            self.between.add(len(self.effects))

    def meet(self, number: int, when: str, effect: str, path: str) -> None:
        """Strike before or after the effect with this number, if that is the one."""
        if self.when == when and (number == self.at or (self.lasts and number >= self.at > 0)):
            self._strike(effect, path)
        if when == "after" and number == self.at and self._tears(effect):
            Path(path).write_bytes(without_second_half(Path(path).read_bytes()))
            self._strike(effect, path)

    def meet_half(self, number: int, calls: int, effect: str, path: str) -> None:
        """Strike before so many of its calls, if that is half-way through the effect."""
        is_half_way = self.when == "half" and number == self.at and calls == self.half + 1
        if is_half_way and not self._tears(effect):
            self._strike(effect, path)

    @property
    def is_within(self) -> bool:
        """Whether an effect is being made."""
        return bool(self._open)

    def _tears(self, effect: str) -> bool:
        return self.when == "half" and self.error is None and effect in ("append", "write")

    def _closed(self, effect: str, path: str) -> int:
        """Return the number of the effect that ended. An effect that began within it and failed ended too."""
        while self._open[-1][1:] != (effect, path):
            self._open.pop()
        return self._open.pop()[0]

    def _strike(self, effect: str, path: str) -> None:
        if self.error is None:
            raise PowerCut(self.effects[-1])
        if effect not in ("unlink", "remove") or self.error.errno == 30:  # a full disk lets itself be emptied
            raise OSError(self.error.errno, self.error.strerror, path)


def without_second_half(content: bytes) -> bytes:
    """Remove the second half of the last line."""
    last = content[content[:-1].rfind(b"\n") + 1 :]
    return content[: len(content) - (len(last) + 1) // 2]


CHANGES = frozenset({
    "os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.setxattr",
    "os.removexattr", "os.symlink", "os.truncate",
})  # fmt: skip
"""Audit events of system calls that change a disk; "open" does if it is opened to be written."""

_called: Callable[[str], None] | None = None


def _on_audit_event(event: str, arguments: tuple[Any, ...]) -> None:
    if _called is not None and (event in CHANGES or (event == "open" and _writes(arguments))):
        _called(f"{event} {arguments[0]}")


def _writes(arguments: tuple[Any, ...]) -> bool:
    return bool((arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


sys.addaudithook(_on_audit_event)


@contextmanager
def watching_calls(called: Callable[[str], None] | None) -> Iterator[None]:
    """Call this before every system call that changes a disk; None stops that."""
    global _called  # noqa: PLW0603 - the hook stays for as long as the process does
    before, _called = _called, called
    try:
        yield
    finally:
        _called = before


@contextmanager
def with_trouble(trouble: Trouble) -> Iterator[Trouble]:
    """Let effects meet this trouble."""
    failpoints.watch(trouble)
    try:
        with watching_calls(lambda call: trouble.calling()):
            yield trouble
    finally:
        failpoints.watch(None)


# --- The host -------------------------------------------------------------------------------------------------------


@dataclass
class Process:
    """A process that runs from a version's tree. One that came through the shim holds `running`, and is a backup."""

    version: str
    lock: int | None = None


class PreservedStateHere:
    """Works on preserved state in this process, so that every effect can be the last before a power cut."""

    def __init__(self, owner: str, seconds: float) -> None:
        pass

    def start(self) -> None:
        pass

    def reach(self, paths: Iterable[str], check: Callable[[], object]) -> None:
        preserved_state.reach(paths)

    def snapshot(self, paths: Iterable[str], folder: Path, check: Callable[[], object]) -> None:
        preserved_state.snapshot(paths, folder)

    first_change = staticmethod(preserved_state.first_change)
    restore = staticmethod(preserved_state.restore)
    remove = staticmethod(preserved_state.remove)

    def close(self) -> None:
        pass


class SmallHost:
    """One host. What its programs do is in their text. Processes survive a crash of the upgrade, not a reboot."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.releases: dict[str, tuple[Manifest, bytes]] = {}
        self.processes: dict[int, Process] = {}
        self.service = 0  # the process that serves
        self.starts: list[str] = []
        self.state = root / "state"
        self.fetch_fails = False
        self.aged = False  # versions that age have
        self.numbers = itertools.count(1 << 30)  # no real process is called so
        self.installation = Installation(
            root, root / "bin", "", None, b"", runner=self.run, source=self, running=self.running,
            holders=self.holders, sees_all_holders=lambda lock: True, lock_holders=self.lock_holders,
            is_program=self.is_program, preserved=PreservedStateHere, end=self.end, end_orphans=lambda owner: None,
            clock=lambda: float(int(time.time())),  # whose lines are as long every time
        )  # fmt: skip
        root.mkdir(parents=True, exist_ok=True)

    # --- What it offers ---

    def add(self, version: str, behaviour: str = "", **manifest: Any) -> None:
        """Offer a release; `behaviour` lists the words that its program acts on."""
        text = f"{version} {behaviour}".encode()
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name, content, mode in (("bin/courier", text, 0o755), ("share/help", b"help", 0o644)):
                info = tarfile.TarInfo(name)
                info.size, info.mode = len(content), mode
                archive.addfile(info, io.BytesIO(content))
            link = tarfile.TarInfo("share/more")
            link.type, link.linkname = tarfile.SYMTYPE, "help"
            archive.addfile(link)
        raw = {
            "package": PACKAGE, "version": version, "platform": platform_here(), "format": "tar",
            "bin": ["bin/courier"], "switch": "anytime", "unpacked_bytes": 1000, "entries": 10,
            "health": {"command": [PACKAGE, "version"], "expect": f"^{version}", "seconds": 1}, **manifest,
        }  # fmt: skip
        self.releases[version] = read_manifest(raw), packed.getvalue()

    def find(self, server: ReleaseServer, order: Order, check_interrupted: InterruptCheck) -> ReleaseTarget:
        if order.version not in self.releases:
            raise OrderFailed("UntrustedRelease", "no signed metadata names it")
        return self._target(order.version)

    def others(self, server: ReleaseServer, order: Order, check_interrupted: InterruptCheck) -> list[ReleaseTarget]:
        return [self._target(version) for version in self.releases]

    def is_offered(self, server: ReleaseServer, order: Order, version: str, check_interrupted: InterruptCheck) -> bool:
        return version in self.releases

    def _target(self, version: str) -> ReleaseTarget:
        manifest, content = self.releases[version]
        return ReleaseTarget(f"{PACKAGE}/{version}", len(content), sha256(content).hexdigest(), manifest)

    def fetch(
        self,
        server: ReleaseServer,
        target: ReleaseTarget,
        folder: Path,
        bytes_per_second: int,
        check_interrupted: InterruptCheck,
    ) -> Path:
        check_interrupted()
        if self.fetch_fails:
            raise OrderFailed("DownloadFailed", "the network is down")
        complete = folder / target.sha256
        part = folder / f"{target.sha256}.part"
        with disk.open_for_writing(part, "wb") as file:
            disk.write_all(file, self.releases[target.manifest.version][1])
        disk.rename(part, complete)
        return complete

    # --- What its programs do ---

    def run(self, command: Subprocess) -> tuple[int, str]:
        if _called is not None:
            _called(f"program {command.arguments[0]}")
        with watching_calls(None):  # what it does is no effect of the upgrade
            program = Path(command.arguments[0])
            if program.parent == self.root / "bin":
                if not program.exists():
                    raise Unhealthy(f"{program} cannot be started: No such file or directory")
                program = self._program_of(program) if native_shim.split(program.read_bytes()) else program
            version, *behaviour = program.read_text().split()
            if command.user and "fails-for-others" in behaviour:
                return 126, f"backfleet: {PACKAGE}: the program cannot be run: {program}: Permission denied"
            return getattr(self, f"_{command.arguments[1]}")(version, behaviour)

    def _version(self, version: str, behaviour: list[str]) -> tuple[int, str]:
        if "breaks-state" in behaviour:
            (self.state / "config").write_text("broken by " + version)
            (self.state / "new").write_text("left by " + version)
        minds = "minds-its-state" in behaviour and (self.state / "config").read_text() != "mine"
        ails = "unhealthy" in behaviour or ("ages" in behaviour and self.aged)
        return (ails or minds) * 3, f"{version} here"

    def _probe(self, version: str, behaviour: list[str]) -> tuple[int, str]:
        return ("fails-the-probe" in behaviour) * 4, "asked"

    def _start(self, version: str, behaviour: list[str]) -> tuple[int, str]:
        if "will-not-start" in behaviour:
            return 1, "no"
        assert not self.serving, f"{self.serving} serves already"
        self.service = self.begin(version)
        self.starts.append(version)
        return 0, "started"

    def _stop(self, version: str, behaviour: list[str]) -> tuple[int, str]:
        if "will-not-stop" in behaviour:
            raise Unhealthy("it would not")
        if "leaves-a-worker" in behaviour and self.serving:
            self.begin(self.serving)
        self.processes.pop(self.service, None)
        return 0, "stopped"

    def _ready(self, version: str, behaviour: list[str]) -> tuple[int, str]:
        return (not self.serving) * 1, ""

    # --- What runs on it ---

    def begin(self, version: str, *, through_the_shim: bool = False) -> int:
        """Start a process from a version's tree."""
        number = next(self.numbers)
        self.processes[number] = Process(version)
        if through_the_shim:
            self.take_running(number)
        return number

    def take_running(self, number: int) -> None:
        """Let a process be a backup."""
        lock = self.processes[number].lock = os.open(self.folder / "running", os.O_RDONLY)
        assert take_record_lock(lock, fcntl.F_RDLCK)

    def end(self, number: int) -> None:
        assert self.processes[number].lock is None, "a backup is ended"
        del self.processes[number]

    def finish(self, number: int) -> None:
        """End a process as if by itself."""
        process = self.processes.pop(number)
        if process.lock is not None:
            os.close(process.lock)

    def reboot(self) -> None:
        """End every process."""
        for number in list(self.processes):
            self.finish(number)

    def running(self, tree: Path) -> list[int]:
        return [number for number, process in self.processes.items() if process.version == tree.name]

    def holders(self, file: Path) -> frozenset[int]:
        held = file == self.folder / "running"
        return frozenset(number for number, process in self.processes.items() if held and process.lock is not None)

    def lock_holders(self, file: Path, package: Path) -> list[Holder]:
        return [Holder(number, "backup", 60.0, "courier hold") for number in sorted(self.holders(file))]

    def is_program(self, number: int, tree: Path) -> bool:
        return self.processes[number].version == tree.name

    @property
    def serving(self) -> str:
        """The version whose service runs."""
        return self.processes[self.service].version if self.service in self.processes else ""

    @serving.setter
    def serving(self, version: str) -> None:
        self.processes.pop(self.service, None)
        self.service = self.begin(version) if version else 0

    # --- What people see ---

    def carry(
        self, kind: str, version: str = "", order_id: str = "", stopping: CancelCheck = never_cancelled, **more: Any
    ) -> Report:
        order = Order(
            order_id or f"u-{time.monotonic_ns()}", kind, PACKAGE, version, platform_here() if version else "", 30
        )
        return carry_out_on(self.installation, replace(order, **more), lambda line: None, stopping)

    @functools.cached_property
    def folder(self) -> Path:
        return self.root / PACKAGE

    def version(self) -> str:
        return self.installation.package(PACKAGE).version()

    def shim_runs(self) -> str:
        """Return the version that the shim would run, after a check that it is intact; "" if there is no shim."""
        shim = self.root / "bin" / PACKAGE
        if not shim.exists():
            return ""
        program = self._program_of(shim)
        assert os.access(program, os.X_OK), f"{program} cannot be run"
        version = program.read_text().split()[0]
        assert self.damage(version) == ""
        return version

    def _program_of(self, shim: Path) -> Path:
        """Return the program that a shim becomes."""
        found = native_shim.split(shim.read_bytes())
        assert found is not None
        answer = Path(os.fsdecode(found[1].current), ANSWERS, found[1].command.decode())
        return Path(answer.read_text().rstrip("\n"))

    def damage(self, version: str) -> str:
        """Return what is not intact in a version's tree; "" if everything is."""
        package = self.installation.package(PACKAGE)
        facts = disk.read_json(package.facts(version))
        if facts is None:
            return "what it should be is not known"
        answers = package.tree(version) / ANSWERS / PACKAGE
        answer = answers.read_text() if answers.exists() else ""
        if answer != f"{package.tree(version)}/bin/courier\n":
            return f"its answer is {answer!r}"
        return trees.first_difference(package.tree(version), facts["files"])

    def trees(self) -> set[str]:
        """Return the versions whose trees are on disk."""
        return {path.name for path in (self.folder / "versions").iterdir()}

    def facts(self) -> set[str]:
        """Return the versions that have facts."""
        return {path.name[: -len(".json")] for path in (self.folder / "facts").iterdir()}

    def is_quarantined(self) -> bool:
        """Return whether a version is quarantined."""
        return any((self.folder / "failed").glob("*/reason.json"))

    def journal(self) -> list[str]:
        """Return the complete lines of the open journal."""
        path = self.folder / "journal"
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        return [line.decode() for line in lines]

    def locked(self) -> list[str]:
        """Return the lock files that are held now; backups may share `running`."""
        found = []
        for name in ("lock", "gate", "running"):
            with contextlib.suppress(FileNotFoundError), open(self.folder / name, "r+b") as file:
                shared = name == "running" and self.holders(self.folder / name)
                try:
                    fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                except BlockingIOError:
                    found.append(name)
                if not take_record_lock(file.fileno(), fcntl.F_RDLCK if shared else fcntl.F_WRLCK):
                    found.append(name)
        return found

    def leftovers(self) -> list[str]:
        """Return what must not be left behind: half-made files and links, a journal, a snapshot, a marker."""
        return [
            os.path.join(folder, name)
            for folder, folders, files in os.walk(self.root)
            for name in folders + files
            if (name.startswith(".") and name != ANSWERS) or name in ("journal", "kept", "unproven")
        ]

    def picture(self) -> dict[str, str]:
        """Return everything that a user could notice, and what a rollback would need."""
        found = {"serving": self.serving}
        for folder, folders, files in os.walk(self.root):
            below = folder[len(str(self.root)) + 1 :]
            for name in (*folders, *files):
                path = os.path.join(folder, name)
                if os.path.islink(path):
                    found[os.path.join(below, name)] = f"-> {os.readlink(path)}"
                elif name in files and below.split("/")[0] in ("state", "bin"):
                    found[os.path.join(below, name)] = f"{os.stat(path).st_mode:o} {content_of(Path(path))}"
        return found


def content_of(path: Path) -> str:
    """Return a file as text, and one that is no text by its hash."""
    content = path.read_bytes()
    return sha256(content).hexdigest() if b"\0" in content else content.decode()


def take_record_lock(file: int, kind: int) -> bool:
    """Take a record lock of the open file, as shims do and upgraders; return False if another has it."""
    try:
        fcntl.fcntl(file, gate.SET_RECORD_LOCK, struct.pack(gate.RECORD, kind, os.SEEK_SET, 0, 0, 0))
    except BlockingIOError:
        return False
    return True


def effects_of(prepare: Callable[[], SmallHost], act: Callable[[SmallHost], Any]) -> Sequence[str]:
    """Return the effects of an action, counted on a host of its own."""
    return counted(prepare, act).effects


def counted(prepare: Callable[[], SmallHost], act: Callable[[SmallHost], Any]) -> Trouble:
    """Count effects as `effects_of`, and the system calls that each made."""
    host = prepare()
    with with_trouble(Trouble()) as trouble:
        act(host)
    return trouble
