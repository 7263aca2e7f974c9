"""A task's progress as one number: pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from backfleet.upgrades.states import FINAL, ItemState
from backfleet_host.contract import STAGES

ItemStatus = tuple[ItemState, str]
"""An item's state, and the last step begun on its host ("" if none)."""

# The share of one client's work, out of 100, that is done in a state or once a step has begun.
_STATE_SHARE: Final = {ItemState.WAITING: 0, ItemState.SENT: 5, ItemState.RUNNING: 10, ItemState.LOST: 10}
_FIRST_STAGE, _LAST_STAGE = 15, 95
_STAGE_SHARE: Final = {
    stage: _FIRST_STAGE + (_LAST_STAGE - _FIRST_STAGE) * number // (len(STAGES) - 1)
    for number, stage in enumerate(STAGES)
}

COMPLETE, FAILED = 100, -1
HIGHEST_WHILE_OPEN = 99


def share_of(state: ItemState, stage: str) -> int:
    """Return the share of one client's work that is done, 0 to 100."""
    if state in FINAL:
        return COMPLETE
    return max(_STATE_SHARE[state], _STAGE_SHARE.get(stage, 0))


def progress_of(statuses: Iterable[ItemStatus] | Mapping[ItemStatus, int], highest: int) -> int:
    """Return a task's progress, given the status of its items, or how many have each status.

    It is 0 to 99 while an item is open, and never less than `highest`, the progress shown before. Then it is 100 if
    every item succeeded, else -1: a caller who reads nothing else cannot mistake a partial failure for success.
    """
    counted = Counter(statuses)
    if all(state in FINAL for state, _ in counted):
        return COMPLETE if all(state is ItemState.SUCCEEDED for state, _ in counted) else FAILED
    done = sum(share_of(*status) * number for status, number in counted.items()) // counted.total()
    return max(highest, min(done, HIGHEST_WHILE_OPEN))
