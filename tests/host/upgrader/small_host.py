"""A small fake host: the real transaction on a real folder; releases, programs and the service are told, not run.

Any effect can be the last before the power fails, or can fail itself: `Trouble` says which and how.
"""

import io
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from backfleet_host.contract import Order, Report
from backfleet_host.upgrader import Site, carry_out_on, disk, instants, platform_here
from backfleet_host.upgrader.manifest import Manifest, read_manifest
from backfleet_host.upgrader.processes import Command
from backfleet_host.upgrader.refusal import Refusal, Unwell
from backfleet_host.upgrader.shim import ANSWERS
from backfleet_host.upgrader.source import GoOn, Target

PACKAGE = "courier"


class PowerCut(BaseException):
    """The process is no more: nothing after this instant is done."""


@dataclass
class Trouble:
    """At effect number `at` the power fails, before or after it, or it fails with this error: once, or from then on."""

    at: int = 0
    when: str = "before"
    error: OSError | None = None
    lasts: bool = False
    deeds: list[str] = field(default_factory=list)

    def __call__(self, when: str, deed: str, path: str) -> None:
        if when == "before":
            self.deeds.append(f"{deed} {Path(path).name}")
        number = len(self.deeds)
        hit = number == self.at or (self.lasts and number >= self.at > 0)
        if not hit or when != self.when:
            return
        if self.error is None:
            raise PowerCut(self.deeds[-1])
        if deed not in ("unlink", "remove") or self.error.errno == 30:  # a full disk lets itself be emptied
            raise OSError(self.error.errno, self.error.strerror, path)


@contextmanager
def suffering(trouble: Trouble) -> Iterator[Trouble]:
    """Let effects meet this trouble."""
    instants.watch(trouble)
    try:
        yield trouble
    finally:
        instants.watch(None)


class SmallHost:
    """One host. What its programs do is in their text. The service survives a crash of the upgrade, not a reboot."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.releases: dict[str, tuple[Manifest, bytes]] = {}
        self.serving = ""  # the version that serves
        self.starts: list[str] = []
        self.state = root / "state"
        self.fetch_fails = False
        self.site = Site(root, root / "bin", "", None, b"", runner=self.run, running=lambda tree: [], source=self)
        root.mkdir(parents=True, exist_ok=True)

    # --- What it offers ---

    def add(self, version: str, behaviour: str = "", **manifest: Any) -> None:
        """A release; `behaviour` is a list of words its program acts on: unwell, breaks-state, will-not-start..."""
        text = f"{version} {behaviour}".encode()
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name, content, mode in (("bin/courier", text, 0o755), ("share/help", b"help", 0o644)):
                info = tarfile.TarInfo(name)
                info.size, info.mode = len(content), mode
                archive.addfile(info, io.BytesIO(content))
        said = {
            "package": PACKAGE, "version": version, "platform": platform_here(), "format": "tar",
            "bin": ["bin/courier"], "switch": "anytime", "unpacked_bytes": 1000, "entries": 10,
            "health": {"command": [PACKAGE, "version"], "expect": f"^{version}", "seconds": 1}, **manifest,
        }  # fmt: skip
        self.releases[version] = read_manifest(said), packed.getvalue()

    def find(self, site: Site, order: Order, go_on: GoOn) -> Target:
        if order.version not in self.releases:
            raise Refusal("UntrustedRelease", "nobody vouches for it")
        return self._target(order.version)

    def others(self, site: Site, order: Order, go_on: GoOn) -> list[Target]:
        return [self._target(version) for version in self.releases]

    def _target(self, version: str) -> Target:
        manifest, content = self.releases[version]
        return Target(f"{PACKAGE}/{version}", len(content), sha256(content).hexdigest(), manifest)

    def fetch(self, site: Site, package: Any, target: Target, most_per_second: int, go_on: GoOn) -> Path:
        if self.fetch_fails:
            raise Refusal("DownloadFailed", "the network is down")
        kept: Path = package.downloads / target.sha256
        part = kept.with_name(f"{kept.name}.part")
        with disk.writing(part, "wb") as file:
            disk.write_all(file, self.releases[target.manifest.version][1])
        disk.replace(part, kept)
        return kept

    # --- What its programs do ---

    def run(self, command: Command) -> tuple[int, str]:
        version, *behaviour = Path(command.words[0]).read_text().split()
        match command.words[1]:
            case "version":
                if "breaks-state" in behaviour:
                    (self.state / "config").write_text("broken by " + version)
                    (self.state / "new").write_text("left by " + version)
                return ("unwell" in behaviour) * 3, f"{version} here"
            case "start":
                if "will-not-start" in behaviour:
                    return 1, "no"
                assert not self.serving, f"{self.serving} serves already"
                self.serving = version
                self.starts.append(version)
            case "stop":
                if "will-not-stop" in behaviour:
                    raise Unwell("it would not")
                self.serving = ""
            case "ready":
                return (not self.serving) * 1, ""
        return 0, "done"

    # --- What people see ---

    def carry(self, kind: str, version: str = "", order_id: str = "", **more: Any) -> Report:
        order = Order(
            order_id or f"u-{time.monotonic_ns()}", kind, PACKAGE, version, platform_here() if version else "", 30
        )
        return carry_out_on(self.site, replace(order, **more), lambda line: None)

    @property
    def folder(self) -> Path:
        return self.root / PACKAGE

    def version(self) -> str:
        return self.site.package(PACKAGE).version()

    def shim_runs(self) -> str:
        """The version that the shim would run; "" if there is no shim."""
        if not (self.root / "bin" / PACKAGE).exists():
            return ""
        return (self.folder / "current" / "bin" / "courier").read_text().split()[0]

    def leftovers(self) -> list[str]:
        """What nothing may leave: half-made files, a journal, a snapshot, a link that is not in place."""
        odd = [
            p
            for p in self.root.rglob("*")
            if (p.name.startswith(".") and p.name != ANSWERS) or p.name in ("journal", "kept")
        ]
        return [str(path.relative_to(self.root)) for path in odd]

    def picture(self) -> dict[str, str]:
        """Everything a user could notice, and what is kept to go back to."""
        found = {"serving": self.serving}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            if path.is_symlink():
                found[name] = f"-> {path.readlink()}"
            elif path.is_file() and name.split("/", maxsplit=1)[0] in ("state", "bin"):
                found[name] = f"{path.stat().st_mode:o} {path.read_text()}"
        return found


def effects_of(prepare: Callable[[], SmallHost], act: Callable[[SmallHost], Any]) -> Sequence[str]:
    """The effects of an act, counted on a host of its own."""
    host = prepare()
    with suffering(Trouble()) as counted:
        act(host)
    return counted.deeds
