"""Waiting for something on the server: a poll that fails is tried again, and an interrupt says how to go on."""

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, NoReturn

from backfleet.cli._client import CallFailed, once
from backfleet.cli._options import fail
from backfleet.cli._print import say
from backfleet_host.retries import backoff_seconds

POLL_SECONDS: Final = 1.0  # between two polls
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 15.0  # seconds after a failed poll
AWAY_SECONDS: Final = 300  # that a server may be away: longer than a restart and a migration
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_INTERNAL_ERROR: Final = 500

Call = Callable[[], dict[str, Any]]


class Stopped(BaseException):
    """The command was told to stop, by Ctrl-C or SIGTERM."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.exit_code = 128 + signal_number  # as shells count it: 130 for Ctrl-C


@contextmanager
def stoppable(words: Callable[[], list[str]]) -> Iterator[None]:
    """Have Ctrl-C and SIGTERM print lines and end the command: with 130 and 143. Further ones change nothing.

    Args:
        words: returns the lines for stderr. It is called once it is over.
    """
    if threading.current_thread() is not threading.main_thread():  # only that one may set handlers
        yield
        return

    def stop(number: int, _frame: FrameType | None) -> NoReturn:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(number)

    before = {each: signal.getsignal(each) for each in _SIGNALS}
    for each, handler in before.items():
        if handler is not signal.SIG_IGN:  # as `nohup` and background jobs have it
            signal.signal(each, stop)
    try:
        yield
    except Stopped as stopped:  # further signals stay ignored until the process has ended
        for line in words():
            say(line, err=True)
        raise SystemExit(stopped.exit_code) from None
    except BaseException:
        _restore(before)
        raise
    _restore(before)


def _restore(handlers: Mapping[signal.Signals, Any]) -> None:
    for each, handler in handlers.items():
        signal.signal(each, handler)


class Poller:
    """Polls the server, also over its restarts and broken connections, up to a limit."""

    def __init__(
        self,
        go_on: str,
        *,
        has_answered: bool = False,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take how to wait.

        Args:
            go_on: says how to go on later, for the message after the limit.
            has_answered: whether the server has answered already. If not, and it is not there, that is an error at
                once: its address may be wrong.
            sleep: waits for so many seconds.
            clock: seconds that only grow.
        """
        self._go_on, self._sleep, self._clock, self._has_answered = go_on, sleep, clock, has_answered

    def poll(self, call: Call) -> dict[str, Any]:
        """Return the answer of a call that changes nothing.

        It is tried again, with growing pauses, while the server cannot be reached or is busy: the first failure is
        reported, and that it is over.

        Raises:
            CallFailed: it was refused for good.
        """
        since, failures = self._clock(), 0
        while True:
            try:
                with once():
                    found = call()
            except CallFailed as problem:
                self._pause(problem, failures, self._clock() - since)
                failures += 1
                continue
            if failures:
                say("the server answers again", err=True)
            self._has_answered = True
            return found

    def _pause(self, problem: CallFailed, failures: int, away: float) -> None:
        if not (problem.may_pass or problem.status == _INTERNAL_ERROR) or not (self._has_answered or problem.status):
            raise problem
        if away >= AWAY_SECONDS:
            fail(f"{problem.message.rstrip('.')}; tried for {AWAY_SECONDS // 60} minutes. {self._go_on}")
        if not failures:
            say(f"{problem.message.rstrip('.')}; trying again for {AWAY_SECONDS // 60} minutes", err=True)
        self._sleep(backoff_seconds(failures, FIRST_PAUSE, LONGEST_PAUSE, random.random()))  # noqa: S311 -- spreads load
