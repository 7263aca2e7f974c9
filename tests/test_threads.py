"""Blocking work in threads, as a coroutine sees it."""

import asyncio
import gc
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from backfleet.threads import SWITCH_SECONDS, ToLoop, in_thread, share_interpreter


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """One thread: what comes second waits."""
    with ThreadPoolExecutor(1, thread_name_prefix="worker") as pool:
        yield pool


def test_work_is_done_in_a_thread_and_gives_its_result(threads: ThreadPoolExecutor) -> None:
    """Not in that of the event loop."""

    async def ask() -> str:
        return await in_thread(threads, lambda: threading.current_thread().name)

    assert asyncio.run(ask()).startswith("worker")


def test_what_the_work_raises_is_raised_where_it_is_waited_for(threads: ThreadPoolExecutor) -> None:
    """As it is, and nothing of it stays in memory."""

    found: list[weakref.ref[Exception]] = []

    class Problem(Exception):
        def __init__(self) -> None:
            found.append(weakref.ref(self))

    def work() -> None:
        raise Problem

    async def ask() -> None:
        with pytest.raises(Problem):
            await in_thread(threads, work)

    gc.disable()
    try:
        asyncio.run(ask())
        in_order(threads)
        assert found[0]() is None
    finally:
        gc.enable()


def test_work_that_nobody_waits_for_any_more_is_not_begun(threads: ThreadPoolExecutor) -> None:
    """And what has begun goes on, without an error when it is done."""
    begun, go_on, done = threading.Event(), threading.Event(), list[str]()

    def first() -> None:
        begun.set()
        go_on.wait(10)
        done.append("first")

    async def ask() -> None:
        problems: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: problems.append(context))
        running = in_thread(threads, first)
        waiting = in_thread(threads, lambda: done.append("second"))
        assert await asyncio.to_thread(begun.wait, 10)
        running.cancel()
        waiting.cancel()
        go_on.set()
        await in_thread(threads, lambda: None)
        assert problems == []

    asyncio.run(ask())
    assert done == ["first"]


def test_threads_that_were_shut_down_accept_nothing(threads: ThreadPoolExecutor) -> None:
    """It is said at once."""
    threads.shutdown()

    async def ask(work: Callable[[], None]) -> None:
        with pytest.raises(RuntimeError, match="shutdown"):
            await in_thread(threads, work)

    asyncio.run(ask(lambda: None))


def in_order(threads: ThreadPoolExecutor) -> None:
    """Wait until the thread has let go of what it did before."""
    threads.submit(lambda: None).result(10)


def test_threads_hand_the_interpreter_over_sooner_than_by_default() -> None:
    before = sys.getswitchinterval()
    try:
        share_interpreter()
        assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
        assert before > SWITCH_SECONDS
    finally:
        sys.setswitchinterval(before)


def test_what_comes_together_wakes_the_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it arrives in its order, one that fails alone; what comes later wakes it again."""
    seen, woken, failures = list[int](), list[object](), list[object]()

    def act(value: int) -> None:
        if value == 1:
            raise ValueError(value)
        seen.append(value)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: failures.append(context["exception"]))
        wake = loop.call_soon_threadsafe
        monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *given: woken.append(given) or wake(*given))
        to_loop = ToLoop(loop, act)
        for value in range(4):
            to_loop.hand(value)
        await asyncio.sleep(0.01)
        assert (seen, len(woken)) == ([0, 2, 3], 1)
        to_loop.hand(4)
        await asyncio.sleep(0.01)

    asyncio.run(run())
    assert (seen, len(woken), list(map(str, failures))) == ([0, 2, 3, 4], 2, ["1"])
