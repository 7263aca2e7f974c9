"""Blocking work of a coroutine, done in a thread, and how threads share the interpreter."""

import asyncio
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Final, Generic, TypeVar

# How long a thread keeps the interpreter from others that want it. The event loop waits for it after each pause of its
# own, so with Python's default, 5 ms, whatever a busy server does takes a multiple of that (bench/RESULTS.md).
SWITCH_SECONDS: Final = 0.001

Result = TypeVar("Result")
Given = TypeVar("Given")


def share_interpreter() -> None:
    """Have threads hand the interpreter to each other sooner: the event loop is to wait for none of them for long."""
    sys.setswitchinterval(SWITCH_SECONDS)


def in_thread(threads: Executor, work: Callable[[], Result]) -> "asyncio.Future[Result]":
    """Have blocking work done in a thread. The future gets its result, or what it raised.

    It does what `loop.run_in_executor` does, which has the result handed on from one future to another. Work whose
    future was cancelled when its turn comes is not begun.

    Raises:
        RuntimeError: the threads accept no more work.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()
    threads.submit(_do, [loop, future, work])
    return future


def _do(given: list[Any]) -> None:
    """Do the work of a future, which no frame of this thread may have then: what is raised has the frames."""
    loop, future, work = given
    given.clear()
    if future.cancelled():
        return
    try:
        result = work()
    except BaseException as problem:  # noqa: BLE001 - raised again where the work is waited for
        loop.call_soon_threadsafe(_fail, future, problem)
        del future
    else:
        loop.call_soon_threadsafe(_complete, future, result)


def _complete(future: "asyncio.Future[Any]", result: Any) -> None:
    if not future.done():  # else nobody waits for it any more
        future.set_result(result)


def _fail(future: "asyncio.Future[Any]", problem: BaseException) -> None:
    if not future.done():
        future.set_exception(problem)


class ToLoop(Generic[Given]):
    """Hands values from any thread to a function that an event loop calls, in their order.

    Waking the loop costs more than most such calls: those that come before it is awake wake it once.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, act: Callable[[Given], None]) -> None:
        self._loop, self._act = loop, act
        self._lock = threading.Lock()
        self._waiting: list[Given] = []

    def hand(self, value: Given) -> None:
        """Have the function called with a value."""
        with self._lock:
            self._waiting.append(value)
            is_first = len(self._waiting) == 1
        if is_first:
            self._loop.call_soon_threadsafe(self._call)

    def _call(self) -> None:
        with self._lock:
            found, self._waiting = self._waiting, []
        for value in found:
            self._loop.call_soon(self._act, value)  # if one fails, it fails alone
