"""Turns at the one writer of SQLite between processes: a lock belongs to what each of them has opened for itself."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from backfleet.storage import TurnsBetween, _turns
from journeys.installation import wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="several processes need Linux")

LONG = 120.0  # seconds: never reached
HOLD = "import fcntl, sys; file = open(sys.argv[1], 'r+'); fcntl.flock(file, fcntl.LOCK_EX); print(); sys.stdin.read()"

Open = Callable[[], TurnsBetween]


@pytest.fixture
def files() -> Iterator[list[int]]:
    found = [os.memfd_create(name) for name in ("next", "writer")]
    yield found
    for file in found:
        os.close(file)


@pytest.fixture
def opened(files: list[int]) -> Iterator[Open]:
    """Open the two locks as another process does. The events are the same for all."""
    events = (os.eventfd(0, os.EFD_NONBLOCK), os.eventfd(0, os.EFD_NONBLOCK))
    descriptors: list[int] = [*events]

    def begin() -> TurnsBetween:
        one, two = (os.open(f"/proc/self/fd/{file}", os.O_RDWR) for file in files)
        descriptors.extend((one, two))
        return TurnsBetween((one, two), events)

    yield begin
    for descriptor in descriptors:
        os.close(descriptor)


def _is_locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(file, fcntl.LOCK_UN)
    return False


def test_one_process_has_a_turn_at_a_time(opened: Open) -> None:
    """Whoever waits in vain leaves nothing locked, neither there nor among the threads here."""
    here, there = opened(), opened()
    for _ in range(2):
        assert here.acquire(0)
        assert not there.acquire(0.01)
        here.release()
        assert there.acquire(0)
        assert not here.acquire(0.01)
        there.release()


def test_a_process_that_comes_back_at_once_goes_behind_one_that_waits(opened: Open, files: list[int]) -> None:
    here, there = opened(), opened()
    assert here.acquire(0)
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(there.acquire, LONG)
        wait_for(lambda: _is_locked(files[0]), LONG)
        here.release()
        assert not here.acquire(0)
        assert waits.result(LONG)
    there.release()
    assert here.acquire(0)


def test_a_killed_process_lets_go(opened: Open, files: list[int]) -> None:
    turns, words = opened(), [sys.executable, "-c", HOLD, f"/proc/{os.getpid()}/fd/{files[1]}"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert not turns.acquire(0.01)
        process.kill()
    assert turns.acquire(LONG)


def test_whoever_waits_is_woken_and_looks_again_by_itself_where_nothing_is_set(
    opened: Open, files: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if another process has seen the event, and was not served."""
    sleeps: list[int] = []
    wait_for_event = _turns._wait_for

    def note(event: int, seconds: float) -> None:
        sleeps.append(event)
        wait_for_event(event, seconds)

    monkeypatch.setattr(_turns, "_wait_for", note)
    monkeypatch.setattr(_turns, "LONGEST_SLEEP", LONG)
    here, there = opened(), opened()
    assert here.acquire(0)
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(there.acquire, LONG)
        wait_for(lambda: sleeps, LONG)
        here.release()
        assert waits.result(LONG)
        monkeypatch.setattr(_turns, "LONGEST_SLEEP", 0.01)
        monkeypatch.setattr(os, "eventfd_write", lambda _event, _count: None)
        waits = pool.submit(here.acquire, LONG)
        wait_for(lambda: _is_locked(files[0]), LONG)
        there.release()
        assert waits.result(LONG)


def test_turns_of_several_threads_of_two_processes_all_come(opened: Open) -> None:
    """One at a time, and nobody waits in vain."""
    both, inside, most = (opened(), opened()), [0], [0]

    def take(number: int) -> None:
        turns = both[number % 2]
        for _ in range(50):
            assert turns.acquire(LONG)
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            inside[0] -= 1
            turns.release()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(take, range(6)))
    assert (inside, most) == ([0], [1])
