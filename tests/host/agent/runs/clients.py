"""Clients behind real shims, and a thread that notes their runs."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from backfleet_host.agent.runs.exits import Exits
from backfleet_host.agent.runs.ledger import Ledger, Run
from backfleet_host.agent.runs.watching import RunWatch
from backfleet_host.layout import Places
from backfleet_host.upgrader import gate
from backfleet_host.upgrader.host import shim
from host.agent.conftest import until

SCRIPT = '#!/bin/sh\ncase "$2" in sleep) exec sleep 600 ;; *) exit "${2:-0}" ;; esac\n'


class HostWithRuns:
    """A root with one client, and its ledger."""

    def __init__(self, root: Path, package: str = "courier") -> None:
        self.root, self.package = root, package
        Places(root).agent.mkdir(parents=True, exist_ok=True)
        self.folder, self.shim = root / package, root / "bin" / package
        self.add("1.0")
        for link in ("current", "verified"):
            (self.folder / link).symlink_to("versions/1.0")
        gate.make_lock_files(self.folder)
        shim.write_shims(root / "bin", self.folder, package, {package: f"bin/{package}"})
        assert shim.is_native(self.shim.read_bytes())
        self.ledger = Ledger(Places(root).runs)

    def add(self, version: str, program: Path | None = None) -> None:
        tree = self.folder / "versions" / version
        (tree / "bin").mkdir(parents=True)
        (tree / shim.ANSWERS).mkdir()
        path = tree / "bin" / self.package
        if program is None:
            path.write_text(SCRIPT)
        else:
            os.link(program, path) if program.stat().st_dev == path.parent.stat().st_dev else path.write_bytes(
                program.read_bytes()
            )
        path.chmod(0o755)
        (tree / shim.ANSWERS / self.package).write_text(f"{path}\n")

    def call(self, *arguments: str) -> int:
        return subprocess.run([self.shim, *arguments], check=False, capture_output=True).returncode

    @contextlib.contextmanager
    def watched(self, open_exits: Callable[[], Exits] = Exits) -> Iterator[Ledger]:
        """Note runs, with a ledger that is read anew."""
        self.ledger = Ledger(Places(self.root).runs)
        stopping, ready = threading.Event(), threading.Event()
        watch = RunWatch(self.root, self.ledger, lambda: None, ready.set, open_exits)
        thread = threading.Thread(target=watch.run, args=(stopping,))
        thread.start()
        try:
            assert ready.wait(10)
            yield self.ledger
        finally:
            stopping.set()
            thread.join(10)
            assert not thread.is_alive()

    def ended(self, number: int) -> list[Run]:
        """Wait until this many runs have ended, and return all."""
        assert until(lambda: sum(bool(run.result) for run in self.ledger.runs()) >= number), self.ledger.runs()
        return self.ledger.runs()
