"""What members of the rings that have started wait for, beside their turn. Counted when a rollout is decided. Pure."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from backfleet.rollouts.board import Board
from backfleet.rollouts.model import RingRun
from backfleet.rollouts.states import MemberState
from backfleet.rollouts.strategy import Timetable

AWAY: Final = "away"
BUSY: Final = "busy"
HELD: Final = "held"
OVERLAP: Final = "overlap"
PINNED: Final = "pinned"
WINDOW: Final = "window"
_TEXTS: Final = {
    AWAY: ("host that cannot be reached", "hosts that cannot be reached"),
    BUSY: ("busy host", "busy hosts"),
    HELD: ("member that is held", "members that are held"),
    OVERLAP: ("member that another rollout moves", "members that other rollouts move"),
    PINNED: ("member that is pinned", "members that are pinned"),
    WINDOW: ("member whose window is shut", "members whose windows are shut"),
}

Waits = Mapping[str, int]
"""How many members wait, by what for: AWAY, BUSY, HELD, OVERLAP, PINNED or WINDOW."""


def waits_of(board: Board, rings: Sequence[RingRun], timetable: Timetable, now: datetime) -> Waits:
    """Return what the members that have not begun wait for; those that only wait for their turn are left out."""
    found = Counter[str]()
    is_open: dict[str, bool] = {}
    for ring, run in enumerate(rings):
        if run.started_at is None:
            continue
        for member in board.in_state(ring, MemberState.PENDING):
            if member.is_held:
                found[HELD] += 1
            elif member.pinned:
                found[PINNED] += 1
            elif member.moved_by:
                found[OVERLAP] += 1
            elif not member.is_reachable:
                found[AWAY] += 1
            elif member.not_before is not None and member.not_before > now:
                found[BUSY] += 1
            else:
                if member.zone not in is_open:
                    is_open[member.zone] = timetable.opening(member.zone, now).is_open
                found[WINDOW] += not is_open[member.zone]
    return {what: found[what] for what in _TEXTS if found[what]}


def text_of(waits: Waits) -> str:
    """Return what is waited for, for people; "" for nothing."""
    return ", ".join(f"{number} {_TEXTS[what][number != 1]}" for what, number in waits.items())


def write_waits(waits: Waits) -> str:
    """Return it as JSON."""
    return json.dumps(dict(waits))


def read_waits(text: str) -> Waits:
    """Return what `write_waits` wrote; what another version counts beside is left out."""
    return {what: number for what, number in json.loads(text).items() if what in _TEXTS}
