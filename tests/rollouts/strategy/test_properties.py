"""What holds for every policy, every fleet and every timetable: random rollouts in virtual time."""

import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backfleet.rollouts.board import Board, counts_as_failure
from backfleet.rollouts.model import (
    Action,
    CheckAnswer,
    Decision,
    FirstRun,
    Member,
    Opening,
    OrderEnd,
    Rollout,
    Signals,
)
from backfleet.rollouts.policy import (
    Amount,
    AtDeadline,
    Backups,
    BudgetCheck,
    Busy,
    Failure,
    Kind,
    Pace,
    Policy,
    Ring,
    Soak,
    Then,
    Verification,
    Webhook,
)
from backfleet.rollouts.simulation import History, Host, run
from backfleet.rollouts.states import ENDED, FINAL, MemberState, RingState, RolloutState
from backfleet.rollouts.strategy import decide
from rollouts.strategy.decisions import HOUR, NOW, PENDING, Zones
from rollouts.strategy.showing import reason_of

MOVING = (MemberState.UPGRADING, MemberState.ROLLING_BACK)
ENDS = [end for end in OrderEnd if end is not OrderEnd.WITHDRAWN]

amounts = st.builds(Amount, st.integers(0, 5)) | st.builds(lambda share: Amount(percent=share), st.floats(0, 100))
checks = st.one_of(
    st.builds(Soak, st.floats(0, 5), st.booleans()),
    st.builds(BudgetCheck, amounts, st.booleans()),
    st.builds(Backups, st.sampled_from(["", "each", "any"]), st.sampled_from([None, 0]), st.booleans()),
    st.just(Webhook("https://w")),
)
paces = st.builds(
    Pace,
    amounts,
    st.booleans(),
    st.sampled_from([0, 60, 900]),
    st.none() | amounts,
    st.dictionaries(st.just("site"), st.integers(1, 2), max_size=1),
    st.sampled_from([(), ("set",)]),
)


@st.composite
def policies(draw: Any) -> Policy:
    """A policy of up to three rings."""
    number = draw(st.integers(1, 3))
    rings = [
        Ring(
            f"r{at}",
            count=None if at == number - 1 else 1,
            checks=tuple(draw(st.lists(checks, max_size=2))) if at else (),
            max_failed=draw(st.none() | amounts),
        )
        for at in range(number)
    ]
    kind = draw(st.sampled_from([Kind.UPGRADE] * 3 + [Kind.SETTINGS]))
    then = draw(st.sampled_from(Then)) if kind is Kind.UPGRADE else Then.HOLD
    return Policy(
        name="any",
        kind=kind,
        package="courier",
        deadline=NOW + timedelta(hours=draw(st.integers(1, 72))),
        rings=tuple(rings),
        pace=draw(paces),
        busy=Busy(5, draw(st.sampled_from(AtDeadline)), 60),
        failure=Failure(draw(amounts), then, draw(st.sampled_from([frozenset(), {"refused"}]))),
        verification=Verification(draw(st.sampled_from([0, 3])), draw(st.sampled_from(["fail", "accept"]))),
    )


@st.composite
def hosts(draw: Any) -> Host:
    """A host, often a good one, which may be away and busy."""
    away = NOW + timedelta(minutes=draw(st.integers(0, 600)))
    busy = NOW + timedelta(minutes=draw(st.integers(0, 600)))
    span = timedelta(minutes=draw(st.integers(1, 6000)))
    return Host(
        upgrade=timedelta(minutes=draw(st.integers(1, 30))),
        end=draw(st.sampled_from([OrderEnd.SUCCEEDED] * 5 + ENDS)),
        first_run=draw(st.sampled_from([FirstRun.SUCCEEDED] * 3 + [FirstRun.FAILED, FirstRun.UNKNOWN, None])),
        first_run_after=timedelta(minutes=draw(st.integers(1, 400))),
        absent=((away, away + span),) if draw(st.booleans()) else (),
        busy=((busy, busy + span),) if draw(st.booleans()) else (),
        drain=timedelta(minutes=draw(st.integers(0, 60))),
    )  # fmt: skip


@dataclass(frozen=True)
class Windows:
    """Open for some hours of each period; each zone is shifted."""

    period: int  # hours
    hours: int

    def opening(self, zone: str, now: datetime) -> Opening:
        """Return whether a zone is open."""
        if self.hours >= self.period:
            return Opening(is_open=True)
        begin = NOW - 9 * timedelta(days=1) + HOUR * len(zone)
        passed = (now - begin) % (self.period * HOUR)
        since, is_open = now - passed, passed < self.hours * HOUR
        end = since + (self.hours if is_open else self.period) * HOUR
        return Opening(is_open, since if is_open else since + self.hours * HOUR, end, "window")

    def opens_for(self, zone: str, needs: timedelta, begin: datetime, end: datetime) -> bool:
        """Return whether an opening is long enough: the next ones are all alike."""
        while begin + needs <= end:
            found = self.opening(zone, begin)
            if found.is_open and (found.until is None or begin + needs <= found.until):
                return True
            if found.until is None:
                return False
            begin = found.until
        return False


@st.composite
def members(draw: Any, rings: int) -> list[Member]:
    """Some members, in all rings."""
    return [
        Member(
            f"c{at}",
            f"i{at}",
            draw(st.integers(0, rings - 1)),
            rank=draw(st.integers(0, 10_000)),
            zone=draw(st.sampled_from(["", "a"])),
            domains=(("set", draw(st.sampled_from("xy"))), ("site", draw(st.sampled_from("pq")))),
            is_held=draw(st.integers(0, 9)) == 0,
            needs_seconds=draw(st.sampled_from([60, 900, 7200])),
        )
        for at in range(draw(st.integers(0, 12)))
    ]


@st.composite
def situations(draw: Any) -> tuple[Policy, list[Member], dict[str, Host], Windows, bool]:
    """Everything that a simulation needs."""
    policy = draw(policies())
    found = draw(members(len(policy.rings)))
    period = draw(st.integers(1, 24))
    windows = Windows(period, draw(st.integers(1, 24)))
    return policy, found, {each.client_id: draw(hosts()) for each in found}, windows, draw(st.booleans())


def simulate(situation: Any, watch: Any = None) -> History:
    """Run a situation; `watch` sees the rollout before each decision."""
    policy, found, behaviour, windows, answer = situation

    def signals(rollout: Rollout, board: Board, now: datetime) -> Signals:
        answers = {(ring, at): CheckAnswer(answer, "so") for ring in range(3) for at in range(2)}
        given_now = Signals(answers=answers)
        if watch is not None:
            watch(rollout, board, given_now, now)
        return given_now

    rings = (PENDING,) * len(policy.rings)
    rollout = Rollout("ro", "1", policy, RolloutState.RUNNING, "2", rings, "a", "s", started_at=NOW)
    return run(rollout, Board(policy, found), behaviour, windows, now=NOW, signals=signals)


many = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@many
@given(situations())
def test_every_rollout_ends_and_every_member_with_it(situation: Any) -> None:
    """By the deadline, with its grace."""
    history = simulate(situation)
    policy = situation[0]
    grace = timedelta(minutes=60 if policy.busy.at_deadline is AtDeadline.WAIT else 0)
    going_back = policy.failure.then in (Then.ROLL_BACK_RING, Then.ROLL_BACK_ROLLOUT)
    assert history.rollout.state in ENDED
    assert history.ended_at is not None
    assert going_back or history.ended_at <= policy.deadline + grace + timedelta(seconds=30)
    assert {member.state for member in history.board} <= FINAL
    assert all(member.reason for member in history.board)


@many
@given(situations())
def test_no_rule_of_pace_window_domain_or_halt_is_ever_broken(situation: Any) -> None:
    """Looked at before and after every decision."""
    policy, windows = situation[0], situation[3]
    never = set(policy.pace.never_together)

    def watch(rollout: Rollout, board: Board, signals: Signals, now: datetime) -> None:
        limit = policy.pace.in_flight.at_least_one_of(len(board))
        moving = [member for member in board if member.state in MOVING]
        assert len(moving) <= limit
        open_now = [*moving, *(member for member in board if member.state is MemberState.VERIFYING)]
        values = Counter(domain for member in open_now for domain in member.domains if domain[0] in never)
        assert all(number <= 1 for number in values.values())
        sites = Counter(domain for member in moving for domain in member.domains)
        assert all(sites[domain] <= policy.pace.per_domain.get(domain[0], 99) for domain in sites)
        _check(decide(rollout, board, signals, windows, now), rollout, board, now)

    def _check(found: Decision, rollout: Rollout, board: Board, now: datetime) -> None:
        orders = [move for move in found.moves if move.to is MemberState.UPGRADING]
        assert len({move.client_id for move in found.moves}) == len(found.moves)
        assert not orders or rollout.state is RolloutState.RUNNING
        assert not orders or found.state in (None, RolloutState.RUNNING)
        for move in orders:
            member = board[move.client_id]
            opening = windows.opening(member.zone, now)
            needs = timedelta(seconds=member.needs_seconds)
            assert opening.is_open
            assert opening.until is None or now + needs <= opening.until
            assert member.state is MemberState.PENDING
            assert member.is_reachable
            assert not member.is_held

    simulate(situation, watch)


@many
@given(situations())
def test_an_hour_never_sees_more_orders_than_the_policy_says(situation: Any) -> None:
    """Those that go back count, too."""
    policy = situation[0]
    history = simulate(situation)
    if policy.pace.per_hour is None or policy.failure.then is not Then.HOLD:
        return
    most = policy.pace.per_hour.at_least_one_of(len(situation[1]))
    times = sorted(event.at for event in history.events if event.to == "upgrading")
    assert all(after - before > HOUR for before, after in zip(times, times[most:], strict=False))


@many
@given(situations())
def test_the_same_input_gives_the_same_history(situation: Any) -> None:
    """Whatever the order in which members were stored."""
    policy, found, behaviour, windows, answer = situation
    again = (policy, list(reversed(found)), behaviour, windows, answer)
    first, second = simulate(situation).events, simulate(again).events
    assert sorted(map(str, first)) == sorted(map(str, second))


@many
@given(situations())
def test_a_budget_of_n_bears_n(situation: Any) -> None:
    """A running rollout halts exactly when more have failed; nothing else here halts one but a check that watches."""
    policy = situation[0]

    def watch(rollout: Rollout, board: Board, signals: Signals, now: datetime) -> None:
        if rollout.state is not RolloutState.RUNNING:
            return
        own = {ring for ring, each in enumerate(policy.rings) if each.max_failed is not None}
        failed = [member.ring for member in board if counts_as_failure(member, policy.failure.counts)]
        shared = sum(ring not in own for ring in failed)
        assert shared <= policy.failure.max_failed.of(len(board)) or _halts(rollout, board, signals, now)

    def _halts(rollout: Rollout, board: Board, signals: Signals, now: datetime) -> bool:
        return decide(rollout, board, signals, situation[3], now).state is not None

    history = simulate(situation, watch)
    for event in history.events:
        spent = re.match(r"(\d+) members? of .* had failed by then; the budget allows (\d+)$", event.why)
        if spent:
            assert int(spent[1]) > int(spent[2])


@many
@given(st.integers(1, 1500), st.integers(0, 5), st.integers(7, 120), st.booleans())
def test_a_host_that_is_idle_again_in_time_is_not_missed(
    busy_minutes: int, drain_minutes: int, spare: int, by_window: bool
) -> None:
    """Seven minutes before its order would not fit any more are enough, however long it was busy before."""
    idle, drain = NOW + timedelta(minutes=busy_minutes), timedelta(minutes=drain_minutes)
    member = Member("c", "i", 0, rank=1, needs_seconds=900)
    end = idle + drain + timedelta(minutes=spare, seconds=member.needs_seconds)
    zones = Zones({"": Opening(True, NOW - HOUR, end)} if by_window else {})
    policy = Policy("any", "courier", end + (9 * HOUR if by_window else timedelta()), (Ring("all"),))
    rollout = Rollout("ro", "1", policy, RolloutState.RUNNING, "2", (PENDING,), "a", "s", started_at=NOW)
    host = Host(upgrade=timedelta(minutes=1), first_run=None, busy=((NOW, idle),), drain=drain)
    history = run(rollout, Board(policy, [member]), {"c": host}, zones, now=NOW)
    assert history.board["c"].state is MemberState.SUCCEEDED


@many
@given(situations())
def test_every_member_that_waits_is_explained(situation: Any) -> None:
    """As people are shown it."""

    def watch(rollout: Rollout, board: Board, signals: Signals, now: datetime) -> None:
        found = decide(rollout, board, signals, situation[3], now)
        moved = {move.client_id for move in found.moves}
        for member in board:
            if member.state is MemberState.PENDING and member.client_id not in moved:
                assert reason_of(rollout, member, found.waits_for, now)

    simulate(situation, watch)


@many
@given(situations())
def test_rings_begin_in_their_order(situation: Any) -> None:
    """Nobody of a ring begins before the ring before it has finished."""
    history = simulate(situation)
    finished: set[str] = set()
    started: set[str] = set()
    names = [ring.name for ring in situation[0].rings]
    rings = {each.client_id: names[each.ring] for each in situation[1]}
    for event in sorted(history.events, key=lambda each: (each.at, each.what != "ring")):
        if event.what == "ring":
            (started if event.to == RingState.RUNNING.value else finished).add(event.name)
            if event.to == RingState.RUNNING.value:
                assert set(names[: names.index(event.name)]) <= finished | {event.name}
        elif event.to == "upgrading":
            assert rings[event.name] in started


def test_actions_are_only_of_the_kinds_that_hosts_know() -> None:
    """A rule that invents an order is found here."""
    assert {each.value for each in Action} == {
        "move", "install", "precheck", "stage", "settings", "roll-back", "withdraw",
    }  # fmt: skip
