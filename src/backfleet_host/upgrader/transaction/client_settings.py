"""An order of kind `settings`: what was set for a client is saved for whatever runs it here. No version is touched."""

from __future__ import annotations

from backfleet_host.contract import Report
from backfleet_host.upgrader import disk
from backfleet_host.upgrader.disk import read_json
from backfleet_host.upgrader.errors import OrderFailed
from backfleet_host.upgrader.host.policy import read_policy
from backfleet_host.upgrader.transaction.attempt import Attempt
from backfleet_host.upgrader.transaction.checks import check_changes_allowed
from backfleet_host.upgrader.transaction.outcome import meaning_of


def take_settings(attempt: Attempt) -> Report:
    """Save an order's settings. Return the report, which also tells if they were here already.

    The caller holds the package's lock. An end of the process leaves the old file, or the new one.
    """
    package, wanted = attempt.package, attempt.order.settings
    try:
        check_changes_allowed(read_policy(attempt.installation.etc, package.name))
        if (read_json(package.settings) or {}) == wanted:
            return attempt.report("succeeded", "AlreadyCurrent", "these settings are here already")
        disk.write_json(package.settings, wanted)
    except (OSError, ValueError, OrderFailed) as problem:
        return attempt.report("failed", *meaning_of(problem))
    return attempt.report("succeeded", "", f"{len(wanted)} settings are saved")
