"""Roll back a version that was kept and does not work any more, by the program that was there before it.

It opens the journal as an upgrade that was rolled back half-way, and recovers that: so a crash in the middle ends as
any rollback does, and the version is quarantined. It needs no network.
"""

from __future__ import annotations

import time
from typing import Optional

from backfleet_host.contract import Order, Report
from backfleet_host.platforms import platform_here
from backfleet_host.upgrader import disk, gate
from backfleet_host.upgrader.host.installation import Installation
from backfleet_host.upgrader.transaction.checks import is_intact, quarantine
from backfleet_host.upgrader.transaction.journal import ROLLING_BACK, SWITCHING, AttemptJournal
from backfleet_host.upgrader.transaction.plan import Baseline
from backfleet_host.upgrader.transaction.recovery import recover

SECONDS = 240  # for the way back


def version_to_go_back_to(installation: Installation, name: str) -> str:
    """Return the version before the current one, if the host can go back to it: intact, and not quarantined itself.

    Returns:
        "" if there is none, or if the current version was not kept: an attempt is open.
    """
    package = installation.package(name)
    current, before = package.version(), package.version_before()
    if (
        not current
        or package.journal.exists()
        or before in ("", current)
        or quarantine(package, before, installation.clock()) is not None
    ):
        return ""
    return before if is_intact(package, before) else ""


def roll_back_late(installation: Installation, name: str, reason: str) -> Optional[Report]:
    """Go back from the current version of a package to the one before, whose service is to run.

    Args:
        installation: The host.
        name: Of the package.
        reason: Why, for people.

    Returns:
        What is then true; None if there is nothing to go back to, or an order of this package is being carried out.

    Raises:
        OSError: the disk refuses it, and nothing was changed.
    """
    package = installation.package(name)
    try:
        with gate.held(package.folder / "lock", seconds=0):
            before = version_to_go_back_to(installation, name)
            return go_back(installation, name, before, reason, is_its_fault=True) if before else None
    except gate.NotInTime:
        return None


def go_back(installation: Installation, name: str, before: str, reason: str, *, is_its_fault: bool) -> Optional[Report]:
    """Go back from the current version to one before it, which is intact. The caller holds the package's lock.

    Args:
        installation: The host.
        name: Of the package.
        before: The version to go back to.
        reason: Why, for people.
        is_its_fault: Of the current version: it is quarantined.

    Raises:
        OSError: the disk refuses it, and nothing was changed.
    """
    package = installation.package(name)
    current = package.version()
    order = Order(f"back-{time.time_ns()}", "upgrade", name, current, platform_here(), SECONDS)
    journal = AttemptJournal(package.journal)
    journal.open(order, before, "", installation.clock())
    disk.point_link(package.verified, before)  # an ordinary rollback finds it so
    journal.write(SWITCHING, **Baseline(serving=True).journal_fields())
    journal.write(ROLLING_BACK, code="RolledBack", reason=reason, is_its_fault=is_its_fault, trying=current)
    cut_off = journal.read()
    return None if cut_off is None else recover(installation, cut_off, lambda _line: None, SECONDS)
