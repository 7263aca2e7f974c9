"""ListRollouts, DescribeRollout, DescribeRolloutMembers and DescribeRolloutEvents."""

from collections.abc import Sequence
from typing import Any, Final

from backfleet import fleet, rollouts
from backfleet.operations.backfleet.rollouts.answers import (
    EVENT,
    MEMBER,
    ROLLOUT,
    event_answer,
    member_answer,
    rollout_answer,
)
from backfleet.operations.backfleet.rollouts.creating import every_rollout, one_rollout, reachable_within
from backfleet.operations.backfleet.rollouts.errors import ERRORS, RolloutRingNotFound, refusals
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.paging import Page
from backfleet.rollouts import MemberState, RolloutState
from backfleet.rollouts.reading import WAITING
from backfleet.values import value_object
from backfleet.wire.errors import InvalidParameter
from backfleet.wire.parameters import integer, json_list, text

MOST_EVENTS: Final = 500  # in one answer


@value_object
class ListRollouts:
    """States, and a page."""

    states: tuple[str, ...] | None = json_list("States", longest_item=32)
    page_number: int = integer("PageNumber", default=1, least=1, most=1_000_000)
    page_size: int = integer("PageSize", default=10, least=1, most=50)


@value_object
class DescribeRollout:
    """A rollout."""

    rollout_id: str = text("RolloutId", required=True, longest=64)


@value_object
class DescribeRolloutMembers:
    """A rollout, one of its rings or all, states or all, and a page."""

    rollout_id: str = text("RolloutId", required=True, longest=64)
    ring: str | None = text("Ring", longest=64)
    states: tuple[str, ...] | None = json_list("States", longest_item=32)
    page_number: int = integer("PageNumber", default=1, least=1, most=1_000_000)
    page_size: int = integer("PageSize", default=50, least=1, most=500)


@value_object
class DescribeRolloutEvents:
    """A rollout, and the number of the last event that the caller has."""

    rollout_id: str = text("RolloutId", required=True, longest=64)
    after: int = integer("After", default=0, least=0, most=1_000_000_000)
    size: int = integer("MaxResults", default=100, least=1, most=MOST_EVENTS)


def _check_states(asked: tuple[str, ...] | None, known: Sequence[str]) -> None:
    """Refuse states that there are not: nothing would be found, and that would look like an answer.

    Raises:
        InvalidParameter: it names the state, and those that there are.
    """
    for state in asked or ():
        if state not in known:
            raise InvalidParameter(f"States has the entry {state!r}; it must be one of {', '.join(known)}.")


@operation(
    BACKFLEET,
    "ListRollouts",
    action="backfleet:ListRollouts",
    resources=every_rollout,
    answer={"Rollouts": [ROLLOUT], "PageNumber": int, "PageSize": int, "TotalCount": int},
)
def list_rollouts(call: Call, asked: ListRollouts) -> dict[str, Any]:
    """List the account's rollouts, newest first."""
    page = Page(asked.page_number, asked.page_size)
    _check_states(asked.states, list(RolloutState))
    with call.services.database.reading() as tx:
        found = rollouts.find_all(tx, call.account_id, call.region, asked.states or (), page)
        shown = rollouts.view(tx, found.items, call.now)
    return {
        "Rollouts": [rollout_answer(each) for each in shown],
        "PageNumber": page.number,
        "PageSize": page.size,
        "TotalCount": found.total,
    }


@operation(
    BACKFLEET,
    "DescribeRollout",
    action="backfleet:DescribeRollout",
    resources=one_rollout,
    answer={**ROLLOUT, "Policy": str},
    errors=ERRORS,
)
def describe_rollout(call: Call, asked: DescribeRollout) -> dict[str, Any]:
    """Describe a rollout: its state with the reason, its rings with their members by state, and its policy."""
    with refusals(), call.services.database.reading() as tx:
        record = rollouts.find(tx, call.account_id, asked.rollout_id)
        return {**rollout_answer(rollouts.view(tx, [record], call.now)[0]), "Policy": record.policy}


@operation(
    BACKFLEET,
    "DescribeRolloutMembers",
    action="backfleet:DescribeRolloutMembers",
    resources=one_rollout,
    answer={"Members": [MEMBER], "PageNumber": int, "PageSize": int, "TotalCount": int},
    errors=ERRORS,
)
def describe_rollout_members(call: Call, asked: DescribeRolloutMembers) -> dict[str, Any]:
    """List a rollout's members, each with its state and the reason, by ring."""
    page = Page(asked.page_number, asked.page_size)
    _check_states(asked.states, [*MemberState, WAITING])
    with refusals(), call.services.database.reading() as tx:
        record = rollouts.find(tx, call.account_id, asked.rollout_id)
        names = record.ring_names
        if asked.ring is not None and asked.ring not in names:
            raise RolloutRingNotFound(record.id, asked.ring, names)
        ring = None if asked.ring is None else names.index(asked.ring)
        since = call.now - reachable_within(call)
        found = rollouts.members(tx, record, ring, asked.states or (), page, reachable_since=since, now=call.now)
        hosts = fleet.instances_of(tx, call.account_id, [each.member.instance_id for each in found.items])
    return {
        "Members": [member_answer(record, each, hosts.get(each.member.instance_id), call.now) for each in found.items],
        "PageNumber": page.number,
        "PageSize": page.size,
        "TotalCount": found.total,
    }


@operation(
    BACKFLEET,
    "DescribeRolloutEvents",
    action="backfleet:DescribeRolloutEvents",
    resources=one_rollout,
    answer={"Events": [EVENT], "TotalCount": int},
    errors=ERRORS,
)
def describe_rollout_events(call: Call, asked: DescribeRolloutEvents) -> dict[str, Any]:
    """List what happened to a rollout, oldest first. Each event's hash covers the one before."""
    with refusals(), call.services.database.reading() as tx:
        record = rollouts.find(tx, call.account_id, asked.rollout_id)
        found = rollouts.events(tx, record, after=asked.after, limit=asked.size)
    return {"Events": [event_answer(each) for each in found], "TotalCount": record.events}
