"""How a member's order ended, read from its item in a task. Pure."""

from typing import Final, NamedTuple

from backfleet.rollouts.installing import ALREADY_INSTALLED
from backfleet.rollouts.model import OrderEnd
from backfleet.upgrades import Item, ItemState

REFUSALS: Final = frozenset(
    {
        "ManagedElsewhere",
        "UnsupportedPlatform",
        "NotAllowedFrom",
        "NoRelease",
        "RepositoryFormatConflict",
        "ClientNotInstalled",
        "ClientNotExists",
        "InstanceNotExists",
        "HostCloned",
        "Pinned",
        "NoPermission",  # the rollout's starter may not move it
    }
)
"""Codes of orders that touched nothing and would fail again."""

BUSY: Final = frozenset({"HostBusy", "BackupRunning", "UpgradeInProgress", "RebootPending"})
"""Codes of orders that touched nothing and may succeed later."""

_ROLLED_BACK: Final = frozenset({"RolledBack", "HealthCheckFailed"})


_CANCELLED: Final = "TaskCancelled"  # before the switch, or before its host had it
_UNREACHABLE: Final = "HostUnreachable"


def failed_by_release(code: str) -> bool:
    """Return whether a failed order with this code says something of the release that it was for."""
    return code not in REFUSALS | BUSY and code not in (_CANCELLED, _UNREACHABLE)


class Ended(NamedTuple):
    """How an order ended, its code, and what its host said, for people."""

    end: OrderEnd
    code: str
    text: str


def ended(item: Item) -> Ended | None:
    """Return how an item's order ended; None while it is under way."""
    if item.is_open and item.state is not ItemState.LOST:
        return None
    return Ended(_end(item), item.code, item.message)


def _end(item: Item) -> OrderEnd:
    if item.state is ItemState.SUCCEEDED:
        return OrderEnd.ALREADY_THERE if item.code == "AlreadyCurrent" else OrderEnd.SUCCEEDED
    if item.state is ItemState.CANCELLED:
        return OrderEnd.LOST if item.started_at else OrderEnd.WITHDRAWN
    if item.state is not ItemState.FAILED:
        return OrderEnd.LOST
    return _end_of_failure(item)


def _end_of_failure(item: Item) -> OrderEnd:
    if item.code == ALREADY_INSTALLED:
        return OrderEnd.ALREADY_THERE
    if item.code == _CANCELLED:
        return OrderEnd.WITHDRAWN
    if item.code in _ROLLED_BACK:
        return OrderEnd.ROLLED_BACK
    if item.code in REFUSALS:
        return OrderEnd.REFUSED
    never_left = item.code == _UNREACHABLE and item.started_at is None
    return OrderEnd.BUSY if item.code in BUSY or never_left else OrderEnd.FAILED
