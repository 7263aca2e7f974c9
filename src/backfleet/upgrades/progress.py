"""How far a task is, as one number: pure."""

from collections.abc import Sequence
from typing import Final

from backfleet.upgrades.states import FINAL, ItemState
from backfleet_host.contract import STAGES

Standing = tuple[ItemState, str]
"""Where one item stands: its state, and the last step begun on its host ("" if none)."""

# How much of one client's work is done once it stands there or has begun that step, out of 100.
_STATE_SHARE: Final = {ItemState.WAITING: 0, ItemState.SENT: 5, ItemState.RUNNING: 10, ItemState.LOST: 10}
_FIRST_STAGE, _LAST_STAGE = 15, 95
_STAGE_SHARE: Final = {
    stage: _FIRST_STAGE + (_LAST_STAGE - _FIRST_STAGE) * number // (len(STAGES) - 1)
    for number, stage in enumerate(STAGES)
}

WHOLE, FAILED = 100, -1
HIGHEST_WHILE_OPEN = 99


def share_of(state: ItemState, stage: str) -> int:
    """The part of one client's work that is done, 0 to 100."""
    if state in FINAL:
        return WHOLE
    return max(_STATE_SHARE[state], _STAGE_SHARE.get(stage, 0))


def progress_of(standings: Sequence[Standing], highest: int) -> int:
    """A task's progress from where its items stand.

    0 to 99 while open and never less than `highest`, what was shown before; then 100 if every item succeeded, else -1:
    a caller who looks at nothing else cannot mistake a partial failure for success.
    """
    states = [state for state, _ in standings]
    if all(state in FINAL for state in states):
        return WHOLE if all(state is ItemState.SUCCEEDED for state in states) else FAILED
    done = sum(share_of(state, stage) for state, stage in standings) // len(standings)
    return max(highest, min(done, HIGHEST_WHILE_OPEN))
