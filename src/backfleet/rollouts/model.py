"""Rollouts, rings and members, and what a decision is made of. Plain values: no SQL."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

from backfleet.rollouts.elapsed import Gap
from backfleet.rollouts.policy import Policy
from backfleet.rollouts.states import MemberState, RingState, RolloutState
from backfleet.values import value_object

TRIED_AGAIN: Final = "tried again"
"""How the reason of a member begins that is to begin again; how it had ended follows."""


class OrderEnd(StrEnum):
    """How a member's order ended, as far as a rollout cares."""

    SUCCEEDED = "succeeded"
    ALREADY_THERE = "already_there"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"
    REFUSED = "refused"  # by the host: nothing was touched
    BUSY = "busy"  # not now: tried again later
    LOST = "lost"
    WITHDRAWN = "withdrawn"  # cancelled before it was handed out


class FirstRun(StrEnum):
    """What is known of the first real backup under the new version."""

    __hash__ = str.__hash__  # it is a key of counts, looked up a million times

    NONE = ""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"  # it ended, and nobody can tell how: never counts as well


class Ended(NamedTuple):
    """How a member had ended before it was tried again."""

    state: MemberState
    code: str
    reason: str


class Member(NamedTuple):
    """One client in a rollout, with what is known of its host. A tuple: there may be a million, and they change often.

    `rank` orders the members of a ring: a hash of rollout and member. `domains` holds the values of the tags that the
    policy names, `jitter` is this member's share of the jitter in seconds. `size` is more than 1 in simulations only:
    one value then stands for so many members that are alike, none of which has domains.
    """

    client_id: str
    instance_id: str
    ring: int
    rank: int
    state: MemberState = MemberState.PENDING
    since: datetime | None = None  # when it came into this state
    reason: str = ""
    code: str = ""
    zone: str = ""  # its host's time zone; "" = the policy's
    domains: tuple[tuple[str, str], ...] = ()  # (tag key, value)
    is_reachable: bool = True
    is_held: bool = False
    pinned: str = ""  # why a pin keeps it from moving, as of the last look; "" = none does
    moved_by: str = ""  # another rollout, which has not ended with it, and which it waits for; not stored
    not_before: datetime | None = None  # it was busy: asked again then
    needs_seconds: int = 900  # that its order may take
    end: OrderEnd | None = None  # of its last order; None while that runs
    end_text: str = ""
    first_run: FirstRun = FirstRun.NONE
    begun_at: datetime | None = None  # when its order left
    attempts: int = 0
    from_version: str = ""
    rolled_back_once: bool = False  # an order to roll back was sent; it is not sent again by itself
    given_at: datetime | None = None  # when the first order left that may have given it what it is to get
    ended: Ended | None = None  # how it had, while it is tried again and no order of that has done anything
    elsewhere: str = ""  # where it may go back: another version that it was given since; not stored
    size: int = 1

    def changed(self, facts: Mapping[str, Any]) -> "Member":
        """Return the same member with other facts, by field: `_replace`, in half its time."""
        values = list(self)
        for name, value in facts.items():
            values[_PLACES[name]] = value
        return _make_member(values)


_PLACES: Final = {name: at for at, name in enumerate(Member._fields)}
_make_member: Final = Member._make


@value_object
class RingRun:
    """How far a ring has come."""

    state: RingState = RingState.PENDING
    started_at: datetime | None = None
    finished_at: datetime | None = None


@value_object
class Rollout:
    """One run of a policy to one fixed version."""

    id: str
    account_id: str
    policy: Policy
    state: RolloutState
    target_version: str
    rings: tuple[RingRun, ...]
    author: str  # a person, see `people`
    starter: str
    reason: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    start_at: datetime | None = None  # it is scheduled for then
    roll_back_ring: int | None = None  # while it rolls back: only this ring; None = every member
    gaps: tuple[Gap, ...] = ()  # in which nobody decided it: no part of a wait of a length


@value_object
class CheckAnswer:
    """What an outside check (prometheus, webhook) answered last."""

    holds: bool
    why: str


@value_object
class Signals:
    """What the world says to a rollout, read by the worker before it asks the strategy.

    Answers of outside checks are by ring and position of the check. `approvals` holds, for each ring, the persons who
    approved it, without author and starter. `resumed` are rings whose manual check a person has confirmed.
    """

    answers: Mapping[tuple[int, int], CheckAnswer] = field(default_factory=dict)
    approvals: Mapping[int, frozenset[str]] = field(default_factory=dict)
    resumed: frozenset[int] = frozenset()
    failed_runs_above_baseline: int | None = 0  # None = it cannot be known
    starter_refused: str = ""  # why the starter may no longer do this; "" = they may


@value_object
class Opening:
    """Whether hosts of one time zone may be changed now, since when, and when that changes next at the latest."""

    is_open: bool
    since: datetime | None = None  # None = always
    until: datetime | None = None  # None = for good
    why: str = ""  # for people: "window Mon-Fri 22:00-05:00 (Europe/Berlin)", "freeze `holidays` until ..."
    kind: str = "window"  # or "freeze"


class Action(StrEnum):
    """What is asked of a member's host."""

    MOVE = "move"  # the order of the rollout's kind
    PRECHECK = "precheck"
    STAGE = "stage"
    INSTALL = "install"
    SETTINGS = "settings"
    ROLL_BACK = "roll-back"
    WITHDRAW = "withdraw"  # cancel its order if that was not handed out


class Move(NamedTuple):
    """One member's next state, and why. A tuple, as members are.

    `size`: how many of those that the member stands for move; 0 = all of them.
    """

    client_id: str
    to: MemberState
    why: str
    code: str = ""
    action: Action | None = None
    not_before: datetime | None = None
    size: int = 0


@value_object
class RingMove:
    """One ring's next state, and why."""

    ring: int
    to: RingState
    why: str


@value_object
class Decision:
    """Everything that is to change now, with its reasons, and the next instant at which to decide again.

    `decide_again_at` None: nothing changes before a signal comes. `waits_for` tells people what the rollout waits for.
    `roll_back_ring`: where `state` is rolling back, the only ring that is; None = every member.
    """

    moves: tuple[Move, ...] = ()
    ring_moves: tuple[RingMove, ...] = ()
    state: RolloutState | None = None
    reason: str = ""
    decide_again_at: datetime | None = None
    waits_for: str = ""
    roll_back_ring: int | None = None
