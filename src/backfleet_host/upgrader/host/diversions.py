"""Diversions: dpkg puts its file of a path under another name, now and at every upgrade of its package.

Source: dpkg-divert(1). Files are moved by us, in one step each; dpkg only notes where its own belong.
"""

from __future__ import annotations

from pathlib import Path
from typing import Tuple

from backfleet_host.upgrader.errors import OrderFailed, Unhealthy
from backfleet_host.upgrader.failpoints import effect
from backfleet_host.upgrader.host.owners import inside_of
from backfleet_host.upgrader.host.subprocesses import Subprocess, run

PROGRAM = "/usr/bin/dpkg-divert"
SECONDS = 60.0  # dpkg may hold its lock for a while
NOTES = "var/lib/dpkg/diversions"  # three lines for each: the path, the other name, and the package or `:`


def divert(system: Path, path: Path, aside: Path) -> None:
    """Have dpkg put its file of `path` at `aside` from now on. Done again, it changes nothing.

    Raises:
        OrderFailed: ManagedElsewhere, dpkg refuses: somebody else diverts the path already, or its lock is held.
    """
    if not is_diverted(system, path, aside):
        with effect("divert", path):
            _ask(system, path, ("--add",), aside)


def end_diversion(system: Path, path: Path, aside: Path) -> None:
    """Have dpkg put its file of `path` there again. As `divert`."""
    if is_diverted(system, path, aside):
        with effect("end diversion", path):
            _ask(system, path, ("--remove",), aside)


def is_diverted(system: Path, path: Path, aside: Path) -> bool:
    """Return whether dpkg knows the diversion."""
    try:
        lines = (system / NOTES).read_text(errors="replace").splitlines()
    except OSError:
        return False
    wanted = [inside_of(system, path), inside_of(system, aside)]
    return any(lines[at : at + 2] == wanted for at in range(0, len(lines), 3))


def _ask(system: Path, path: Path, verb: Tuple[str, ...], aside: Path) -> None:
    root = () if system == Path("/") else (f"--root={system}",)
    names = ("--divert", inside_of(system, aside), *verb, inside_of(system, path))
    try:
        code, output = run(Subprocess((PROGRAM, *root, "--quiet", "--local", "--no-rename", *names), SECONDS))
    except Unhealthy as problem:
        code, output = 1, problem.text
    if code:
        output_of_dpkg = output.strip()[:300] or f"it ended with code {code}"
        advice = f"`dpkg-divert --list {inside_of(system, path)}` shows whose it is; then adopt {path.name} again"
        raise OrderFailed("ManagedElsewhere", f"dpkg-divert does not divert {path}: {output_of_dpkg}; {advice}")
