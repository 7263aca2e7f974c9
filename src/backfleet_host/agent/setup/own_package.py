"""The host program as a package of its own: where it is, whether the agent runs from it, and whether that one works.

The ordinary transaction upgrades it (docs/decisions/0059). What differs from a backup client is here: the proof of a
version is an agent of that version that is connected, and the watchdog recovers an upgrade that no agent can.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import List, Optional

from backfleet_host import upgrader
from backfleet_host.agent.setup import failing_starts
from backfleet_host.agent.setup.systemd_unit import unit_name
from backfleet_host.files import is_locked
from backfleet_host.identity import NotEnrolled
from backfleet_host.layout import HOST_PACKAGE, SYSTEMD_UNITS, Places
from backfleet_host.upgrader.errors import OrderFailed
from backfleet_host.upgrader.host.health import NOT_YET
from backfleet_host.upgrader.release import metadata
from backfleet_host.upgrader.release.retrieval import DownloadInterrupted

FAILED = 1
_DIGITS = 32  # of a SHA-256, as `host_program.unpack` names copies


class NotReady(Exception):
    """The program cannot take over; the text says why. `exit_code` is NOT_YET if that may be over in a moment."""

    def __init__(self, text: str, exit_code: int = FAILED) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def root_of(archive: Optional[Path]) -> Optional[Path]:
    """Return the root whose package holds this archive; None if it is somewhere else."""
    for folder in archive.resolve().parents if archive is not None else ():
        if folder.name == "versions" and folder.parent.name == HOST_PACKAGE:
            return folder.parent.parent
    return None


def carry_out(verb: str, archive: Optional[Path], root: Path) -> List[str]:
    """Carry out `rehearse`, `watchdog` or `late-rollback`; return what to print.

    Args:
        verb: Which of them.
        archive: The one-file program that this process runs from; None if it is another form of the program.
        root: The folder of this host. A program in a package belongs to the root that it is in.

    Raises:
        NotReady: it cannot be done, or not yet.
    """
    root = root_of(archive) or root
    try:
        if verb == "rehearse":
            return [rehearse(archive, root)]
        return watch(root) if verb == "watchdog" else roll_back_late(archive, root)
    except (NotEnrolled, OSError) as problem:
        raise NotReady(str(problem)) from None


def rehearse(archive: Optional[Path], root: Path, units: Path = SYSTEMD_UNITS) -> str:
    """Check that this program can carry orders here: it verifies signed metadata of the server, and its agent runs.

    Args:
        archive: The one-file program that is to take over.
        root: The folder of this host.
        units: Where systemd's units are.

    Returns:
        What was found, as a line.

    Raises:
        NotReady: it cannot, or not yet.
        NotEnrolled: the root belongs to no server.
    """
    if archive is None:
        raise NotReady("only the program that is one file for Python is upgraded this way; see docs/host-program.md")
    installation = upgrader.installation_at(root)
    try:
        metadata.query(installation.release_server, lambda updater: updater.refresh(), lambda: None)
    except OrderFailed as problem:
        raise NotReady(f"{problem.code}: {problem.text}") from None
    except DownloadInterrupted as problem:
        raise NotReady(f"the server cannot be reached: {problem}", NOT_YET) from None
    if not runs_from_package(root, units):
        return "signed metadata is verified; the agent of this host runs from somewhere else"
    _check_agent(Places(root), hashlib.sha256(archive.read_bytes()).hexdigest()[:_DIGITS])
    return "signed metadata is verified, and an agent of this program is connected"


def runs_from_package(root: Path, units: Path = SYSTEMD_UNITS) -> bool:
    """Return whether the unit of this root starts whatever version of the package is current."""
    try:
        return f"{root / HOST_PACKAGE / 'current'}/" in (units / unit_name(root)).read_text(encoding="utf-8")
    except OSError:
        return False


def _check_agent(places: Places, program: str) -> None:
    try:
        found = json.loads(places.ready.read_bytes())["program"]
    except (OSError, ValueError, KeyError, TypeError):
        found = ""
    if not is_locked(places.lock):
        raise NotReady("no agent runs yet", NOT_YET)
    if found != program:
        raise NotReady("an agent runs, and none of this program is connected yet", NOT_YET)


def watch(root: Path, units: Path = SYSTEMD_UNITS) -> List[str]:
    """Finish or roll back an upgrade of the host program that was cut off; return what came of it, as lines.

    It needs neither a network nor an agent. An upgrade that is under way holds its lock, and is left alone. What
    lost its journal, or the version that is current, is mended, too.

    Raises:
        NotEnrolled: the root belongs to no server.
    """
    mended = mend(root, units)
    if mended:
        return [mended]
    if not (root / HOST_PACKAGE / "journal").exists():
        return []
    return [
        f"{report.package}: {report.current_version or 'nothing'} is installed; {report.code} {report.message}"
        for report in upgrader.recover_all(root, progress=lambda _line: None)
    ]


def mend(root: Path, units: Path = SYSTEMD_UNITS) -> str:
    """Go back, or make a link again, where files of the package are lost; return what was done. As `mend_lost`.

    Raises:
        NotEnrolled: the root belongs to no server.
        OSError: the disk refuses it.
    """
    if not runs_from_package(root, units):
        return ""
    return upgrader.mend_lost(upgrader.installation_at(root), HOST_PACKAGE, zipfile.is_zipfile)


def roll_back_late(archive: Optional[Path], root: Path, units: Path = SYSTEMD_UNITS) -> List[str]:
    """Roll the current version back if its agent does not run any more; return what was done, as lines.

    Only the program of the version before does so: nothing is done by any other. It first does as `watch`, for the link
    to the version that was verified last may be lost.

    Raises:
        NotEnrolled: the root belongs to no server.
        OSError: the disk refuses it.
    """
    before = (root / HOST_PACKAGE / "previous").resolve()
    is_before = archive is not None and before in archive.resolve().parents
    if not is_before or before == (root / HOST_PACKAGE / "current").resolve() or not runs_from_package(root, units):
        return []
    return watch(root, units) or failing_starts.check_once(root)
