"""How often a worker runs on account of notifications."""

import threading
import time
from datetime import timedelta
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet.pubsub import InProcessPubSub, Subscription, _polling, poll_until_stopped
from backfleet.pubsub._polling import (
    RUNS_A_SECOND,
    RUNS_AT_ONCE,
    UNHURRIED_A_SECOND,
    UNHURRIED_AT_ONCE,
    Breath,
)


def test_what_happens_alone_is_acted_on_at_once() -> None:
    """A call, its order, its report, and what follows from them."""
    breath = Breath(100.0)
    assert [breath.taken(100.0 + number / 100) for number in range(int(RUNS_AT_ONCE))] == [0.0] * int(RUNS_AT_ONCE)


@given(gaps=st.lists(st.floats(0, 0.2), min_size=30, max_size=200))
def test_runs_are_no_more_than_so_many_a_second(gaps: list[float]) -> None:
    """However notifications come; none waits for longer than the time of one run."""
    now, runs = 0.0, list[float]()
    breath = Breath(now)
    for gap in gaps:
        now += gap
        pause = breath.taken(now)
        assert 0 <= pause <= 1 / RUNS_A_SECOND + 1e-9
        now += pause
        runs.append(now)
    for first in range(len(runs)):
        inside = sum(runs[first] <= at <= runs[first] + 1 for at in runs)
        assert inside <= RUNS_AT_ONCE + RUNS_A_SECOND + 1


def test_a_worker_waits_for_what_comes_close_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand notifications without a pause cost some twenty runs a second."""
    time = SimpleNamespace(now=0.0)
    runs = list[float]()

    def rest(seconds: float) -> None:
        time.now += seconds

    monkeypatch.setattr(_polling, "time", SimpleNamespace(monotonic=lambda: time.now, sleep=rest))

    class Always:
        def wait(self, _at_most: timedelta) -> bool:
            time.now += 0.001
            return True

    def run_once() -> bool:
        runs.append(time.now)
        return False

    poll_until_stopped(run_once, cast("Subscription", Always()), lambda: time.now > 10)
    assert 10 * RUNS_A_SECOND <= len(runs) <= 10 * RUNS_A_SECOND + RUNS_AT_ONCE + 2


def test_a_worker_gathers_what_is_not_urgent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand notifications without a pause cost some five runs a second."""
    time = SimpleNamespace(now=0.0)
    runs = list[float]()

    class Always:
        def wait(self, _at_most: timedelta) -> bool:
            time.now += 0.001
            return True

    class Never:
        def wait(self, at_most: timedelta) -> bool:
            time.now += at_most.total_seconds()
            return False

    def run_once() -> bool:
        runs.append(time.now)
        return False

    monkeypatch.setattr(_polling, "time", SimpleNamespace(monotonic=lambda: time.now, sleep=lambda _seconds: None))
    always, never = cast("Subscription", Always()), cast("Subscription", Never())
    poll_until_stopped(run_once, always, lambda: time.now > 10, urgent=never)
    assert 10 * UNHURRIED_A_SECOND <= len(runs) <= 10 * UNHURRIED_A_SECOND + UNHURRIED_AT_ONCE + 2


def test_what_is_urgent_does_not_wait_for_the_rest() -> None:
    """It ends the wait of what came before it, and goes along with it."""
    pubsub = InProcessPubSub()
    runs, done = list[float](), threading.Event()

    def run_once() -> bool:
        runs.append(time.monotonic())
        return False

    arguments = run_once, pubsub.subscription("news", "new"), done.is_set, timedelta(seconds=20), ()
    worker = threading.Thread(target=poll_until_stopped, args=(*arguments, pubsub.subscription("new")))
    worker.start()
    for _ in range(10):  # more than may follow each other at once
        pubsub.publish("news")
        time.sleep(0.01)
    before, began = len(runs), time.monotonic()
    pubsub.publish("new")
    time.sleep(0.5 / UNHURRIED_A_SECOND)
    done.set()
    pubsub.publish("new")
    worker.join(5)
    assert not worker.is_alive()
    assert runs[before] - began < 0.5 / UNHURRIED_A_SECOND
