"""A check of the deltas between releases: which are not made, and why."""

from backfleet import releases
from backfleet.checks import Finding, Severity, named_some
from backfleet.checks.finding import MOST_NAMED
from backfleet.operations.catalogue import Call
from backfleet.storage import Transaction

_WHOLE = "hosts download whole artifacts instead"
_INSTALL = "install it for the server's Python: pip install bsdiff4"
_NO_MEMORY = "free memory on the machine of the workers: they are made as soon as there is enough"
_RAISE = "raise `delta_megabytes`, where the machine has as much memory: it is tried again then"


def check_deltas(tx: Transaction, call: Call) -> Finding:
    """Check that the deltas can be made which hosts may ask for."""
    megabytes = call.services.settings.delta_megabytes
    if not megabytes:
        return Finding.ok("Deltas", "none are made (delta_megabytes is 0)")
    found = releases.delta_outlook(tx, call.services.repository, megabytes=megabytes)
    if not found.may_sign:
        return Finding.ok("Deltas", "none are made: the targets key is kept elsewhere")
    if not found.has_library:
        text = f"the library bsdiff4 is not installed, so none are made: {_WHOLE}"
        return Finding("Deltas", Severity.WARNING, text, _INSTALL)
    not_made = _not_made(found, megabytes)
    return not_made or Finding.ok("Deltas", "every delta that is of use is made, or is about to be")


def _not_made(found: releases.DeltaOutlook, megabytes: int) -> Finding | None:
    """Return which deltas are not made, by the first reason that there is; None if there is none."""
    if found.too_large:
        names, most = list(found.too_large), max(found.too_large.values())
        text = f"{_some(names)} would take up to {most} MB of memory, and delta_megabytes is {megabytes}: {_WHOLE}"
        return Finding("Deltas", Severity.NOTE, text, _RAISE, names[:MOST_NAMED])
    if found.waiting:
        names, most = list(found.waiting), max(found.waiting.values())
        text = f"{_some(names)} wait(s) for {most} MB of memory, and {found.free} MB are free here: {_WHOLE}"
        return Finding("Deltas", Severity.NOTE, text, _NO_MEMORY, names[:MOST_NAMED])
    if found.failed:
        names = list(found.failed)
        text = f"{_some(names)} failed: {found.failed[names[0]]}"
        return Finding("Deltas", Severity.NOTE, text, "it is tried again within a day", names[:MOST_NAMED])
    return None


def _some(names: list[str]) -> str:
    return f"{len(names)} delta(s) ({named_some(names)})"
