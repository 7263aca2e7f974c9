"""Go back to the version that was verified last, where files were lost that say what is installed.

A power cut, a bad disk or a person may take the journal of an upgrade that is under way, or the version that is
current. Where an agent runs, its next order mends that. The host program's own package has nobody to send it one: its
watchdog calls this, and its agent where a link is lost, without a network. A link that is lost alone does no harm, but
the next loss would: it is made again at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Callable

from backfleet_host.layout import version_in_folder
from backfleet_host.upgrader import disk, gate
from backfleet_host.upgrader.host.installation import Installation, PackageFolder
from backfleet_host.upgrader.late_rollback import go_back
from backfleet_host.upgrader.transaction.checks import is_intact
from backfleet_host.upgrader.transaction.journal import AttemptJournal, UnreadableJournal


def mend_lost(installation: Installation, name: str, is_whole: Callable[[Path], bool]) -> str:
    """Go back if the journal of an open attempt is lost after the switch, or the program that is current.

    The link to the version that was verified last is made again, too.

    Args:
        installation: The host.
        name: Of the package; its program has that name, too.
        is_whole: Returns whether a program is there and complete.

    Returns:
        What was done; "" if nothing was, because nothing was to be done, or an order of this package is under way.

    Raises:
        OSError: the disk refuses it.
    """
    package = installation.package(name)
    try:
        with gate.held(package.folder / "lock", seconds=0):
            return "" if AttemptJournal(package.journal).read() is not None else _mend(installation, package, is_whole)
    except (gate.NotInTime, UnreadableJournal):
        return ""


def _mend(installation: Installation, package: PackageFolder, is_whole: Callable[[Path], bool]) -> str:
    journal, current = AttemptJournal(package.journal), package.version()
    if current and is_whole(package.current / "bin" / package.name):
        before = _intact_other_than(package, current) if package.unverified.exists() else ""
        if before:
            text = f"the journal of the upgrade to {current} is lost, and it is not verified"
            report = go_back(installation, package.name, before, text, is_its_fault=False)
            return "" if report is None else f"{report.code}: {report.message}"
        if package.journal.exists():
            journal.close()  # what is left of it says nothing
        if not package.unverified.exists() and not package.verified.is_dir():
            disk.point_link(package.verified, current)
            return f"{package.verified} led nowhere; it leads to {current} again"
        return ""
    before = _intact_other_than(package, current)
    if not before:
        return ""
    disk.point_link(package.current, before)  # its service starts by itself: it could not until now
    disk.point_link(package.verified, before)
    disk.remove_file(package.unverified)
    journal.close()
    return f"{package.current} led to no program; {before} runs again"


def _intact_other_than(package: PackageFolder, current: str) -> str:
    """Return the version that was verified last, or the one before the current one, if it is intact; else ""."""
    known = (disk.version_of_link(package.verified), package.version_before(), _only_version(package))
    return next((version for version in known if version not in ("", current) and is_intact(package, version)), "")


def _only_version(package: PackageFolder) -> str:
    """Return the version whose tree is the only one, and whose link is lost. Of several, one may be staged only."""
    there = [path.name for path in package.versions.glob("[!.]*") if path.is_dir()]
    return version_in_folder(there[0]) if len(there) == 1 and not package.current.is_symlink() else ""
