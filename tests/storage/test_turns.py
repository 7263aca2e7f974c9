"""Turns at the one writer of SQLite."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from backfleet.storage._turns import LONGEST_WAIT, Turns
from journeys.installation import wait_for

LONG = 120.0  # seconds: never reached
SHORT = LONGEST_WAIT / 10


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def turns(clock: Clock) -> Turns:
    return Turns(clock)


@contextmanager
def waiters(turns: Turns, *waits: float, before: int = 0) -> Iterator[list["Future[bool]"]]:
    """Threads that are next after so long, in this order; whoever leaves must have let all of them have it."""
    with ThreadPoolExecutor(len(waits)) as pool:
        found = []
        for number, longest_wait in enumerate(waits):
            found.append(pool.submit(turns.acquire, LONG, longest_wait))
            wait_for(lambda number=number: turns.waiting == before + number + 1, LONG)
        try:
            yield found
        finally:  # else a failure would wait for those whose clock stands still
            turns._clock = lambda: float("inf")
            for waiter in list(turns._waiting):
                waiter.woken.set()


def test_whoever_finds_it_free_has_it(turns: Turns) -> None:
    """And nobody else until it is free again."""
    assert turns.acquire(0)
    assert not turns.acquire(0)
    turns.release()
    assert turns.acquire(0)


def test_one_that_lets_go_and_comes_back_does_not_take_it_from_who_waits_long(turns: Turns, clock: Clock) -> None:
    """However long that thread needs to wake up."""
    assert turns.acquire(0)
    with waiters(turns, LONGEST_WAIT) as (other,):
        clock.now += LONGEST_WAIT
        turns.release()
        assert not turns.acquire(0)
        assert other.result(LONG)
        turns.release()
    assert turns.acquire(0)


def test_the_one_that_waits_longest_is_next(turns: Turns, clock: Clock) -> None:
    """Each of them, in their order."""
    assert turns.acquire(0)
    with waiters(turns, LONGEST_WAIT, LONGEST_WAIT, LONGEST_WAIT) as found:
        clock.now += LONGEST_WAIT
        for number, each in enumerate(found):
            turns.release()
            assert each.result(LONG)
            assert [other.done() for other in found] == [index <= number for index in range(3)]
        turns.release()


def test_one_that_may_wait_less_is_next_before_those_that_came_before_it(turns: Turns, clock: Clock) -> None:
    """From when its own time is over; and behind those whose time was over before."""
    assert turns.acquire(0)
    with waiters(turns, LONGEST_WAIT, SHORT) as (older, younger):
        clock.now += SHORT
        turns.release()
        assert younger.result(LONG)
        assert not older.done()
        clock.now += LONGEST_WAIT
        turns.release()
        assert older.result(LONG)
        turns.release()


def test_those_that_may_wait_less_keep_nobody_else_out(turns: Turns, clock: Clock) -> None:
    """One that has waited for its own time is next, also before a newer one with a shorter time, which is over, too."""
    assert turns.acquire(0)
    with waiters(turns, LONGEST_WAIT) as (older,):
        clock.now += LONGEST_WAIT - SHORT / 2
        with waiters(turns, SHORT, before=1) as (younger,):
            clock.now += 2 * SHORT
            turns.release()
            assert older.result(LONG)
            assert not younger.done()
            turns.release()
            assert younger.result(LONG)
            turns.release()


def test_who_waits_in_vain_leaves_it_to_the_others(turns: Turns, clock: Clock) -> None:
    """A turn is not handed to a thread that has gone."""
    assert turns.acquire(0)
    assert not turns.acquire(0.01 - LONG)
    assert turns.waiting == 0
    with waiters(turns, LONGEST_WAIT) as (other,):
        clock.now += LONGEST_WAIT
        turns.release()
        assert other.result(LONG)


def test_threads_that_come_back_at_once_keep_nobody_out() -> None:
    """Each gets its turn within seconds, and never two at a time."""
    turns, over, inside, counts = Turns(), threading.Event(), [], [0] * 4

    def come_back(number: int) -> None:
        while not over.is_set():
            assert turns.acquire(LONG)
            inside.append(number)
            assert inside == [number]
            counts[number] += 1
            inside.clear()
            turns.release()

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(come_back, number) for number in range(4)]
        try:
            wait_for(lambda: min(counts) >= 20 or any(each.done() for each in running), LONG)
        finally:
            over.set()
        assert [each.result(LONG) for each in running] == [None] * 4
