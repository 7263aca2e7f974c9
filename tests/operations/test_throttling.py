"""Throttling: never more than was promised, over all replicas; and nobody pays for another's calls."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet.operations._tables import buckets
from backfleet.operations.throttling import KEPT, Bucket, Rate, Throttle, Throttled, fill, take, wait_for
from backfleet.storage import Database

START = datetime(2026, 1, 2, tzinfo=UTC)
RATES = st.builds(Rate, st.integers(1, 1000), st.integers(1, 5000))
BUCKETS = st.builds(Bucket, st.floats(0, 5000), st.just(START))
STEPS = st.lists(st.tuples(st.floats(0, 60), st.integers(1, 200)), max_size=40)


@given(RATES, STEPS)
def test_never_more_than_was_promised(rate: Rate, steps: list[tuple[float, int]]) -> None:
    """In any time: a burst, and what flowed in since."""
    bucket, now, taken = Bucket(float(rate.burst), START), START, 0
    for seconds, wanted in steps:
        now += timedelta(seconds=seconds)
        bucket, some = take(bucket, rate, now, wanted)
        taken += some
        assert 0 <= some <= wanted
        assert 0 <= bucket.left <= rate.burst
        assert taken <= rate.burst + (now - START).total_seconds() * rate.per_second + 1e-6


@given(BUCKETS, RATES)
def test_who_waits_as_long_as_was_said_gets_a_call(bucket: Bucket, rate: Rate) -> None:
    """And waits no longer than one call takes to flow in."""
    empty = Bucket(bucket.left % 1, START)
    wait = wait_for(empty, rate)
    assert timedelta(0) < wait <= timedelta(seconds=1 / rate.per_second) + timedelta(milliseconds=1)
    assert take(empty, rate, START + wait + timedelta(microseconds=1), 1)[1] == 1


@given(BUCKETS, RATES, st.floats(0, 3600))
def test_a_clock_that_goes_back_fills_nothing(bucket: Bucket, rate: Rate, seconds: float) -> None:
    """Nor does it lose the time that was there."""
    before = fill(bucket, rate, START - timedelta(seconds=seconds))
    assert before.left == min(bucket.left, rate.burst)
    assert before.at == START


def calls(throttle: Throttle, who: str, now: datetime, wanted: int, action: str = "hbr:DescribeTask") -> int:
    """How many of so many calls at once are let through."""
    passed = 0
    for _ in range(wanted):
        try:
            throttle.spend(who, action, now)
        except Throttled:
            continue
        passed += 1
    return passed


def test_replicas_share_one_bucket(database: Database) -> None:
    """Together they let through what one would."""
    rate = Rate(per_second=10, burst=100)
    replicas = [Throttle(database, rate) for _ in range(3)]
    assert sum(calls(replica, "1", START, 100) for replica in replicas) == 100
    later = START + timedelta(seconds=5)
    assert sum(calls(replica, "1", later, 100) for replica in replicas) == 50
    assert all(calls(replica, "1", later, 5) == 0 for replica in replicas)


def test_each_replica_gets_some_of_it(database: Database) -> None:
    """One that is asked a moment later is not left with nothing."""
    rate = Rate(per_second=10, burst=100)
    one, two = Throttle(database, rate), Throttle(database, rate)
    passed = [0, 0]
    for _ in range(50):
        for number, replica in enumerate((one, two)):
            passed[number] += calls(replica, "1", START, 1)
    assert passed == [50, 50]


def test_accounts_and_operations_do_not_share(database: Database) -> None:
    """Somebody who calls without end is in nobody's way but their own."""
    throttle = Throttle(database, Rate(per_second=1, burst=5))
    assert calls(throttle, "1", START, 50) == 5
    assert calls(throttle, "2", START, 3) == 3
    assert calls(throttle, "1", START, 3, "hbr:DescribeRegions") == 3


def test_a_refusal_says_when_to_ask_again(database: Database) -> None:
    """And holds until then without a question to the database."""
    throttle = Throttle(database, Rate(per_second=2, burst=4))
    assert calls(throttle, "1", START, 4) == 4
    with pytest.raises(Throttled) as refused:
        throttle.spend("1", "hbr:DescribeTask", START)
    assert refused.value.wait == timedelta(seconds=0.5)
    with database.transaction() as tx:
        tx.run(buckets.delete())  # whoever asks the database now would find a full bucket
    assert calls(throttle, "1", START + timedelta(seconds=0.4), 3) == 0
    assert calls(throttle, "1", START + timedelta(seconds=0.5), 3) == 3


def test_calls_that_were_taken_are_not_hoarded(database: Database) -> None:
    """What nobody used in time is lost: a replica does not save up for a second burst."""
    rate = Rate(per_second=1, burst=40)
    throttle = Throttle(database, rate)
    assert calls(throttle, "1", START, 1) == 1
    later = START + KEPT
    assert calls(throttle, "1", later, 100) <= 40


def test_many_threads_get_all_there_is_and_no_more(database: Database) -> None:
    """One process's, and another's beside it, from the first call there ever was."""
    rate = Rate(per_second=1, burst=200)
    replicas = [Throttle(database, rate), Throttle(database, rate)]
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


def test_calls_that_another_thread_brought_are_not_thrown_away(database: Database) -> None:
    """One that comes back with nothing takes of what there is; only where there is nothing it is refused."""
    throttle = Throttle(database, Rate(per_second=1, burst=60))
    held = throttle._held(("1", "x"))
    empty = Bucket(0.0, START)
    throttle._put(held, 2, empty, START)
    throttle._put(held, 0, empty, START)
    with pytest.raises(Throttled):
        throttle._put(held, 0, empty, START)


def test_strangers_are_counted_by_address_and_leave_no_rows(database: Database) -> None:
    """They choose their addresses."""
    throttle = Throttle(database, Rate(per_second=1, burst=3))
    for number in range(5):
        for _ in range(3):
            throttle.spend(f"10.0.0.{number}", "sts:AssumeRoleWithOIDC", START, shared=False)
        with pytest.raises(Throttled):
            throttle.spend(f"10.0.0.{number}", "sts:AssumeRoleWithOIDC", START, shared=False)
    with database.reading() as tx:
        assert tx.rows(buckets.select()) == []


def test_what_a_process_remembers_is_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address that was not heard for longest is forgotten first."""
    monkeypatch.setattr("backfleet.operations.throttling.MOST_KNOWN", 3)
    throttle = Throttle(database, Rate(per_second=1, burst=1))
    for number in range(10):
        throttle.spend(str(number), "x", START, shared=False)
    assert len(throttle._known) == 3
    with pytest.raises(Throttled):
        throttle.spend("9", "x", START, shared=False)
    throttle.spend("0", "x", START, shared=False)
