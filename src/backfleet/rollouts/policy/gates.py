"""The checks before a ring, as a policy's file writes them: `gates = [{ kind = "soak", hours = 24 }]`."""

from collections.abc import Callable
from typing import Final

from backfleet.rollouts.policy.amounts import Amount
from backfleet.rollouts.policy.checks import (
    Approval,
    Backups,
    BudgetCheck,
    Check,
    Manual,
    Prometheus,
    Soak,
    Webhook,
)
from backfleet.rollouts.policy.sections import Section

MOST_CHECKS: Final = 20  # of one ring
_FIRST_RUNS: Final = ("", "each", "any")


def read_checks(ring: Section) -> tuple[Check, ...]:
    """Return the checks of a ring."""
    found = []
    for section in ring.tables("gates", most=MOST_CHECKS):
        read = _READERS.get(section.text("kind"))
        if read is None:
            section.fault("kind", f"give one of {', '.join(_READERS)}")
            section.pairs()
            continue
        found.append(read(section, section.flag("watch", default=False)))
        section.finish()
    return tuple(found)


def _soak(section: Section, watches: bool) -> Check:
    return Soak(section.number("hours", None, 0, 8760), watches)


def _budget(section: Section, watches: bool) -> Check:
    if not section.has("max_failed"):
        section.fault("max_failed", 'give a whole number, or a percentage such as "1%"')
    return BudgetCheck(section.amount("max_failed", Amount()) or Amount(), watches)


def _backups(section: Section, watches: bool) -> Check:
    first_run = section.text("first_run", "")
    if first_run not in _FIRST_RUNS:
        section.fault("first_run", 'give "each" or "any"')
    above = None
    if section.has("failures_above_baseline"):
        above = int(section.number("failures_above_baseline", 0, 0, 1_000_000, whole=True))
    if not first_run and above is None:
        section.fault("kind", "a `backups` gate needs `first_run` or `failures_above_baseline`")
    return Backups(first_run, above, watches)


def _approval(section: Section, watches: bool) -> Check:
    return Approval(int(section.number("people", 1, 1, 20, whole=True)), watches)


def _prometheus(section: Section, watches: bool) -> Check:
    bounds = {key: section.number(key, 0, -1e300, 1e300) if section.has(key) else None for key in ("below", "above")}
    if sum(bound is not None for bound in bounds.values()) != 1:
        section.fault("query", "a `prometheus` gate needs `below` or `above`, one of them")
    return Prometheus(
        _address(section, is_needed=False), section.text("query", most=4000), bounds["below"], bounds["above"], watches
    )


def _webhook(section: Section, watches: bool) -> Check:
    return Webhook(_address(section), watches)


def _manual(section: Section, watches: bool) -> Check:
    return Manual(watches)


def _address(section: Section, *, is_needed: bool = True) -> str:
    value = section.text("url", None if is_needed else "", most=500)
    if value and not value.startswith(("https://", "http://")):
        section.fault("url", "give an address that begins with https:// or http://")
    return value


_READERS: Final[dict[str, Callable[[Section, bool], Check]]] = {
    "soak": _soak,
    "budget": _budget,
    "backups": _backups,
    "approval": _approval,
    "prometheus": _prometheus,
    "webhook": _webhook,
    "manual": _manual,
}
