"""Throttling: no more calls than the limit over all replicas, and nobody uses up another's."""

import heapq
import itertools
import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet.operations._tables import buckets
from backfleet.operations.throttling import (
    FLOOR,
    GRACE,
    JITTER,
    KEPT,
    Bucket,
    RateLimit,
    Throttle,
    Throttled,
    fill,
    take,
    take_ahead,
)
from backfleet.storage import Database

START = datetime(2026, 1, 2, tzinfo=UTC)
RATES = st.builds(RateLimit, st.integers(1, 1000), st.integers(1, 5000))
BUCKETS = st.builds(Bucket, st.floats(0, 5000), st.just(START))
STEPS = st.lists(st.tuples(st.floats(0, 60), st.integers(1, 200)), max_size=40)


@given(RATES, STEPS)
def test_no_more_calls_than_the_limit(rate: RateLimit, steps: list[tuple[float, int]]) -> None:
    """In any time: one burst, and what was added since."""
    bucket, now, taken = Bucket(float(rate.burst), START), START, 0
    for seconds, wanted in steps:
        now += timedelta(seconds=seconds)
        bucket, some = take(bucket, rate, now, wanted)
        taken += some
        assert 0 <= some <= wanted
        assert 0 <= bucket.left <= rate.burst
        assert taken <= rate.burst + (now - START).total_seconds() * rate.per_second + 1e-6


@given(BUCKETS, RATES, st.integers(1, 50))
def test_a_call_taken_ahead_is_used_when_it_is_there(bucket: Bucket, rate: RateLimit, wanted: int) -> None:
    """Each at the moment at which the bucket would have held it, one after the other, and not without bound."""
    empty = Bucket(bucket.left % 1, START)
    left, added = take_ahead(empty, rate, START, wanted)
    assert len(added) == min(wanted, rate.ahead)
    for number, moment in enumerate(added, 1):
        assert take(empty, rate, moment + timedelta(microseconds=1), number)[1] == min(number, rate.burst)
    assert take(left, rate, START, 1)[1] == 0
    assert len(added) + len(take_ahead(left, rate, START, 5000)[1]) == rate.ahead


@given(BUCKETS, RATES, st.floats(0, 3600))
def test_a_clock_that_goes_back_adds_nothing(bucket: Bucket, rate: RateLimit, seconds: float) -> None:
    """Nor does it remove what was there."""
    before = fill(bucket, rate, START - timedelta(seconds=seconds))
    assert before.left == min(bucket.left, rate.burst)
    assert before.at == START


def calls(throttle: Throttle, who: str, now: datetime, wanted: int, action: str = "hbr:DescribeTask") -> int:
    """Return how many of so many calls at once are accepted."""
    passed = 0
    for _ in range(wanted):
        try:
            throttle.spend(who, action, now)
        except Throttled:
            continue
        passed += 1
    return passed


def test_replicas_share_one_bucket(database: Database) -> None:
    """Together they accept what one would."""
    rate = RateLimit(per_second=10, burst=100)
    replicas = [exact(database, rate) for _ in range(3)]
    assert sum(calls(replica, "1", START, 100) for replica in replicas) == 100
    later = START + timedelta(seconds=5)
    assert sum(calls(replica, "1", later, 100) for replica in replicas) == 50
    assert all(calls(replica, "1", later, 5) == 0 for replica in replicas)


def test_each_replica_gets_a_share(database: Database) -> None:
    """A replica that is called a moment later is not left with nothing."""
    rate = RateLimit(per_second=10, burst=100)
    one, two = exact(database, rate), exact(database, rate)
    passed = [0, 0]
    for _ in range(50):
        for number, replica in enumerate((one, two)):
            passed[number] += calls(replica, "1", START, 1)
    assert passed == [50, 50]


def test_accounts_and_operations_do_not_share(database: Database) -> None:
    """One who calls without end uses up only their own calls."""
    throttle = exact(database, RateLimit(per_second=1, burst=5))
    assert calls(throttle, "1", START, 50) == 5
    assert calls(throttle, "2", START, 3) == 3
    assert calls(throttle, "1", START, 3, "hbr:DescribeRegions") == 3


def refusal(throttle: Throttle, now: datetime, caller: str = "") -> timedelta:
    """Return the wait of a call that is refused."""
    with pytest.raises(Throttled) as refused:
        throttle.spend("1", "hbr:DescribeTask", now, caller=caller)
    return refused.value.wait


def exact(database: Database, rate: RateLimit) -> Throttle:
    """A throttle that adds no jitter, and waits for nobody."""
    return Throttle(database, rate, draw_fraction=lambda: 0.0, monotonic=lambda: 0.0)


def test_a_refusal_says_when_to_call_again(database: Database) -> None:
    """Not a moment before that; then the call is accepted, once."""
    throttle = exact(database, RateLimit(per_second=2, burst=4))
    assert calls(throttle, "1", START, 4) == 4
    assert refusal(throttle, START) == timedelta(seconds=0.5)
    assert calls(throttle, "1", START + timedelta(seconds=0.4), 1) == 0
    assert calls(throttle, "1", START + timedelta(seconds=0.5), 3) == 1


def test_a_wait_is_never_too_short_to_matter_and_differs(database: Database) -> None:
    """At 1000 calls a second the next is there in a millisecond; ten callers who all came then would meet again."""
    fractions = iter([0.0, 0.5, 1.0])
    rate = RateLimit(per_second=1000, burst=3)
    throttle = Throttle(database, rate, draw_fraction=lambda: next(fractions), monotonic=lambda: 0.0)
    assert calls(throttle, "1", START, 3) == 3
    waits = [refusal(throttle, START, f"caller {number}") for number in range(3)]
    assert waits == [FLOOR, FLOOR + JITTER / 2, FLOOR + JITTER]


def test_every_caller_of_an_account_comes_through_in_turn(database: Database) -> None:
    """Also beside one who calls without end and waits for nothing."""
    throttle = exact(database, RateLimit(per_second=10, burst=1))
    assert calls(throttle, "1", START, 1) == 1
    greedy = [refusal(throttle, START, "greedy") for _ in range(500)]
    assert max(greedy) <= timedelta(seconds=5), "half of what is promised, so that others find some"
    others = {name: refusal(throttle, START, name) for name in ("a", "b", "c")}
    assert sorted(others.values()) == sorted({*others.values()})
    for name, wait in others.items():
        assert wait <= timedelta(seconds=6)
        throttle.spend("1", "hbr:DescribeTask", START + wait, caller=name)


def test_a_promised_call_that_nobody_comes_for_is_anybodys(database: Database) -> None:
    """After a grace; it is lost if nobody takes it at all."""
    throttle = exact(database, RateLimit(per_second=1, burst=1))
    assert calls(throttle, "1", START, 1) == 1
    assert refusal(throttle, START, "gone") == timedelta(seconds=1)
    late = START + timedelta(seconds=1)
    assert refusal(throttle, late, "other") == timedelta(seconds=1)
    for name in ("third", "fourth"):  # the unused one, and the one that was added since
        throttle.spend("1", "hbr:DescribeTask", late + GRACE, caller=name)
    refusal(throttle, late + GRACE, "fifth")


def test_what_is_refused_needs_no_database_once_all_is_promised(database: Database) -> None:
    """A flood costs nothing but the bookings, which are as many as the calls of ten seconds."""
    throttle = exact(database, RateLimit(per_second=2, burst=4))
    assert calls(throttle, "1", START, 4) == 4
    for _ in range(50):
        refusal(throttle, START)
    with database.transaction() as tx:
        tx.run(buckets.delete())  # whoever asks the database now would find a full bucket
    assert calls(throttle, "1", START + timedelta(seconds=0.4), 30) == 0


def test_a_new_call_does_not_take_what_a_marked_retry_was_promised(database: Database) -> None:
    """Once it is known that a caller's client marks them; and a retry that comes too late for its own gets the next."""
    throttle = exact(database, RateLimit(per_second=20, burst=1))
    assert calls(throttle, "1", START, 1) == 1
    waits = [refusal(throttle, START, "a") for _ in range(3)]
    assert waits == [FLOOR, FLOOR, timedelta(seconds=0.15)]
    for moment in (START + FLOOR, START + FLOOR):
        throttle.spend("1", "hbr:DescribeTask", moment, caller="a", is_retry=True)
    later = START + timedelta(seconds=0.15)
    refusal(throttle, later, "a")  # a new call
    throttle.spend("1", "hbr:DescribeTask", later, caller="a", is_retry=True)
    throttle.spend("1", "hbr:DescribeTask", later, caller="a", is_retry=True)
    for _ in range(30):
        try:
            throttle.spend("1", "hbr:DescribeTask", later, caller="a", is_retry=True)
        except Throttled:
            break
    else:
        pytest.fail("marking everything as a retry lifts the limit")


@pytest.mark.parametrize("per_second", [1, 5, 200])
def test_ten_contending_callers_need_two_tries_each(database: Database, per_second: int) -> None:
    """Six calls one after the other by each, with one key: nobody is refused a third time. Time is simulated."""
    throttle = exact(database, RateLimit(per_second=per_second, burst=5))
    events = [(START + timedelta(milliseconds=number), number, 6, 0) for number in range(10)]
    most = 0
    while events:
        now, number, left, refused = heapq.heappop(events)
        try:
            throttle.spend("1", "hbr:DescribeTask", now, caller="key")
            left, refused, wait = left - 1, 0, timedelta(milliseconds=2)
        except Throttled as problem:
            refused, wait = refused + 1, problem.wait + timedelta(milliseconds=1)
            most = max(most, refused)
        if left:
            heapq.heappush(events, (now + wait, number, left, refused))
    assert most <= 2


def test_unspent_calls_of_a_replica_expire(database: Database) -> None:
    """A replica does not save up for a second burst."""
    rate = RateLimit(per_second=1, burst=40)
    throttle = exact(database, rate)
    assert calls(throttle, "1", START, 1) == 1
    later = START + KEPT
    assert calls(throttle, "1", later, 100) <= 40


def test_many_threads_get_exactly_the_burst(database: Database) -> None:
    """Those of one process, and of another beside it, from the very first call."""
    rate = RateLimit(per_second=1, burst=200)
    replicas = [exact(database, rate), exact(database, rate)]
    passed: list[int] = []
    threads = [
        threading.Thread(target=lambda one=one: passed.append(calls(one, "1", START, 60))) for one in replicas * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(passed) <= 200
    assert sum(passed) + calls(replicas[0], "1", START, 200) + calls(replicas[1], "1", START, 200) == 200


def test_a_caller_who_waited_for_the_bucket_is_not_refused_for_the_past(database: Database) -> None:
    """Others use it meanwhile; it is filled meanwhile, too."""
    seconds = itertools.chain([0.0, 0.0, 0.0, 0.1], itertools.repeat(0.1))
    rate = RateLimit(per_second=10, burst=1)
    throttle = Throttle(database, rate, draw_fraction=lambda: 0.0, monotonic=lambda: next(seconds))
    assert calls(throttle, "1", START, 1) == 1
    assert calls(throttle, "1", START, 1) == 1, "it asked at once, and had the bucket a tenth of a second later"


def test_a_new_call_uses_no_promise_while_another_call_is_left(database: Database) -> None:
    """Clients that do not mark retries would lose their turn to their own next call, again and again."""
    throttle = exact(database, RateLimit(per_second=10, burst=1))
    assert calls(throttle, "1", START, 1) == 1
    assert refusal(throttle, START) == timedelta(seconds=0.1)
    later = START + timedelta(seconds=0.2)  # the promised call is there, and one more
    assert calls(throttle, "1", later, 1) == 1
    assert len(throttle._known["1", "hbr:DescribeTask"].promised[""]) == 1
    assert calls(throttle, "1", later, 3) == 1


def test_calls_that_another_thread_took_are_not_lost(database: Database) -> None:
    """A thread that took nothing spends one of them; it is refused only if there is none."""
    throttle = exact(database, RateLimit(per_second=1, burst=60))
    held = throttle._held(("1", "x"))
    throttle._put(held, 2, [], "", START)
    throttle._put(held, 0, [], "", START)
    with pytest.raises(Throttled):
        throttle._put(held, 0, [], "", START)


def test_anonymous_callers_are_counted_by_address_without_rows(database: Database) -> None:
    """They choose their addresses, so rows would grow without bound."""
    throttle = exact(database, RateLimit(per_second=1, burst=3))
    for number in range(5):
        for _ in range(3):
            throttle.spend(f"10.0.0.{number}", "sts:AssumeRoleWithOIDC", START, shared=False)
        with pytest.raises(Throttled):
            throttle.spend(f"10.0.0.{number}", "sts:AssumeRoleWithOIDC", START, shared=False)
    with database.reading() as tx:
        assert tx.rows(buckets.select()) == []


def test_what_a_process_remembers_is_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address that was idle for longest is forgotten first."""
    monkeypatch.setattr("backfleet.operations.throttling.MOST_KNOWN", 3)
    throttle = exact(database, RateLimit(per_second=1, burst=1))
    for number in range(10):
        throttle.spend(str(number), "x", START, shared=False)
    assert len(throttle._known) == 3
    with pytest.raises(Throttled):
        throttle.spend("9", "x", START, shared=False)
    throttle.spend("0", "x", START, shared=False)
