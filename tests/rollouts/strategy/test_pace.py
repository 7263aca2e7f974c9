"""How many members begin at one time, and when."""

from datetime import timedelta

import pytest

from backfleet.rollouts.model import Member, Opening
from backfleet.rollouts.policy import Amount, Pace
from rollouts.strategy.decisions import HOUR, LENIENT, NOW, RUNNING, M, begun, decided, policy, row, some

FIVE_PERCENT = Pace(Amount(percent=5), ramp=False)


def pace(number: int, *, ramp: bool = False, per_hour: Amount | None = None, jitter: int = 0) -> Pace:
    return Pace(Amount(number), ramp=ramp, per_hour=per_hour, jitter_seconds=jitter)


@pytest.mark.parametrize(
    ("limits", "members", "expected"),
    [
        row(pace(3), some(10), 3, id="three at one time are three"),
        row(pace(3), some(2), 2, id="fewer members than places begin all"),
        row(pace(3), [*some(8), *some(2, M.UPGRADING)], 1, id="those under way use up places"),
        row(pace(3), [*some(8), *some(3, M.UPGRADING)], 0, id="no place is free"),
        row(pace(3), [*some(8), *some(5, M.UPGRADING)], 0, id="more under way than places begin none"),
        row(pace(3), [*some(8), *some(2, M.ROLLING_BACK)], 1, id="those that go back use up places, too"),
        row(pace(3), [*some(8), *some(3, M.VERIFYING)], 3, id="verifying frees a place"),
        row(pace(3), [*some(8), *some(3, M.LOST)], 3, id="a lost member frees its place"),
        row(FIVE_PERCENT, some(100), 5, id="five percent of a hundred are five"),
        row(FIVE_PERCENT, some(119), 5, id="a percentage rounds down"),
        row(FIVE_PERCENT, some(3), 1, id="five percent of three are one: it moves at all"),
        row(Pace(Amount(0), ramp=False), some(3), 1, id="zero at one time is one"),
        row(FIVE_PERCENT, [*some(50), *some(50, M.SUCCEEDED)], 5, id="the share is of all members, not of those left"),
        row(pace(100, ramp=True), some(20), 1, id="a ramp begins with one"),
        row(pace(100, ramp=True), [*some(20), *some(1, M.SUCCEEDED)], 2, id="a ramp goes on with two"),
        row(pace(100, ramp=True), [*some(20), *some(3, M.SUCCEEDED)], 4, id="then with four"),
        row(pace(100, ramp=True), [*some(20), *some(7, M.SUCCEEDED)], 8, id="then with eight"),
        row(pace(100, ramp=True), [*some(20), *some(3, M.VERIFYING)], 4, id="a ramp counts those that are verifying"),
        row(pace(100, ramp=True), [*some(20), *some(3, M.FAILED)], 1, id="a ramp counts no failures"),
        row(pace(100, ramp=True), [*some(20), *some(3, M.SKIPPED)], 1, id="a ramp counts nobody who was skipped"),
        row(pace(100, ramp=True), [*some(20), *some(1, M.UPGRADING)], 0, id="a ramp waits for the first one"),
        row(pace(2, ramp=True), [*some(20), *some(7, M.SUCCEEDED)], 2, id="a ramp never passes the pace"),
        row(pace(100, per_hour=Amount(4)), some(20), 4, id="four an hour are four at once"),
        row(pace(100, per_hour=Amount(4)), [*some(20), *some(4, M.SUCCEEDED)], 0, id="four within this hour: none now"),
        row(
            pace(100, per_hour=Amount(4)),
            [*some(20), *some(4, M.SUCCEEDED, begun_at=NOW - HOUR - timedelta(seconds=1))],
            4,
            id="orders of an hour ago no longer count",
        ),
        row(pace(100, per_hour=Amount(percent=10)), some(50), 5, id="a share an hour is of all members"),
        row(pace(100), some(5, is_held=True), 0, id="a held member does not begin"),
        row(pace(100), some(5, is_reachable=False), 0, id="a host that is away does not begin"),
        row(pace(100), some(5, not_before=NOW + HOUR), 0, id="a busy host is not asked before its time"),
        row(pace(100), some(5, not_before=NOW), 5, id="a busy host is asked again at its time"),
        row(pace(100), some(5, needs_seconds=25 * 3600), 0, id="what cannot end by the deadline does not begin"),
        row(pace(100), some(5, needs_seconds=24 * 3600), 5, id="what ends just by the deadline begins"),
    ],
)
def test_members_begin(limits: Pace, members: list[Member], expected: int) -> None:
    """As many as the pace lets."""
    assert len(begun(decided(policy(pace=limits, **LENIENT), members))) == expected


OPEN = Opening(is_open=True, since=NOW - HOUR, until=NOW + HOUR, why="window")
SHUT = Opening(is_open=False, since=NOW - HOUR, until=NOW + HOUR, why="window 22:00-05:00")


@pytest.mark.parametrize(
    ("zones", "members", "expected"),
    [
        row({"a": OPEN}, some(3, zone="a"), 3, id="an open window lets members begin"),
        row({"a": SHUT}, some(3, zone="a"), 0, id="a closed window lets none begin"),
        row(
            {"a": SHUT, "b": OPEN}, [*some(3, zone="a"), *some(2, ring=0, zone="b", code="x")], 2, id="each by its zone"
        ),
        row({"a": OPEN}, some(3, zone="a", needs_seconds=3600), 3, id="an order that just fits the window leaves"),
        row({"a": OPEN}, some(3, zone="a", needs_seconds=3601), 0, id="one that does not fit what is left does not"),
        row({"": SHUT}, some(3), 0, id="a host without a zone has the policy's"),
    ],
)
def test_windows(zones: dict[str, Opening], members: list[Member], expected: int) -> None:
    """An order leaves only inside the window of its host's zone."""
    assert len(begun(decided(policy(), members, zones=zones))) == expected


def test_a_closed_window_says_why_and_when_to_ask_again() -> None:
    """People are shown the window."""
    found = decided(policy(), some(2), zones={"": SHUT})
    assert (found.waits_for, found.decide_again_at) == ("window 22:00-05:00", NOW + HOUR)


def test_members_begin_by_rank() -> None:
    """The same order each time, whatever the order of storage."""
    members = some(6)
    assert begun(decided(policy(pace=pace(2)), reversed(members))) == [each.client_id for each in members[:2]]


def test_a_full_hour_says_when_the_next_order_may_leave() -> None:
    """An hour after the first of those that left."""
    left = some(4, M.SUCCEEDED, begun_at=NOW - HOUR / 2)
    found = decided(policy(pace=pace(100, per_hour=Amount(4))), [*some(9), *left])
    assert (found.waits_for, found.decide_again_at) == ("pace: 4 an hour", NOW + HOUR / 2 + timedelta(microseconds=1))


@pytest.mark.parametrize(
    ("since", "ranks", "expected"),
    [
        row(0, (0, 60, 120), 1, id="at the opening only those without jitter begin"),
        row(60, (0, 60, 120), 2, id="a minute later those of up to a minute"),
        row(120, (0, 60, 120), 3, id="at the end of the jitter everybody"),
        row(0, (121, 242), 2, id="the share of jitter is the rank within its length"),
    ],
)
def test_jitter(since: int, ranks: tuple[int, ...], expected: int) -> None:
    """Each host has its own share of the jitter, counted from the opening."""
    members = [each._replace(rank=rank) for each, rank in zip(some(len(ranks)), ranks, strict=True)]
    opened = Opening(is_open=True, since=NOW - timedelta(seconds=since), until=NOW + 5 * HOUR)
    found = decided(policy(pace=pace(100, jitter=120)), members, RUNNING, zones={"": opened})
    assert len(begun(found)) == expected


def test_jitter_is_counted_from_the_start_of_a_ring_in_an_open_window() -> None:
    """A window that has been open for long does not let all hosts begin in the same second."""
    from dataclasses import replace

    members = [each._replace(rank=rank) for each, rank in zip(some(3), (0, 50, 100), strict=True)]
    found = decided(policy(pace=pace(100, jitter=120)), members, replace(RUNNING, started_at=NOW))
    assert (len(begun(found)), found.decide_again_at) == (1, NOW + timedelta(seconds=50))
