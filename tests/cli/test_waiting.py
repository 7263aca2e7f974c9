"""Waiting: polls that fail are tried again, and an interrupt says how to go on."""

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from backfleet.cli._client import CallFailed, CallRefusedHere
from backfleet.cli._waiting import AWAY_SECONDS, LONGEST_PAUSE, Poller
from cli.one_task import OneTask

AWAY = CallFailed("connection refused")
BUSY = CallFailed("busy", {"Code": "ServiceUnavailable"}, 503)
GONE = CallFailed("no such task", {"Code": "TaskNotFound"}, 404)
BROKEN = CallFailed("something went wrong", {"Code": "InternalError"}, 500)


class Clock:
    """Time that passes while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)


def answers(*found: Any) -> Callable[[], dict[str, Any]]:
    """Return a call that answers with each of these in turn, the last one for ever."""
    left = itertools.chain(found, itertools.repeat(found[-1]))

    def call() -> dict[str, Any]:
        each = next(left)
        if isinstance(each, CallFailed):
            raise each
        return dict(each)

    return call


@pytest.mark.parametrize("problem", [AWAY, BUSY, BROKEN], ids=lambda each: each.message)
def test_a_failed_poll_is_tried_again(problem: CallFailed, capsys: pytest.CaptureFixture[str]) -> None:
    """That is reported once, however often it fails; and that it is over."""
    clock = Clock()
    poller = Poller("go on", has_answered=True, sleep=clock.sleep, clock=lambda: clock.now)
    assert poller.poll(answers(problem, problem, problem, {"a": 1})) == {"a": 1}
    assert capsys.readouterr().err.splitlines() == [
        f"{problem.message}; trying again for 5 minutes", "the server answers again"
    ]  # fmt: skip
    assert len(clock.pauses) == 3
    assert all(pause <= LONGEST_PAUSE for pause in clock.pauses)


def test_a_server_that_stays_away_ends_the_wait(capsys: pytest.CaptureFixture[str]) -> None:
    """After a limit, with the words to go on."""
    clock = Clock()
    poller = Poller("Go on with this.", has_answered=True, sleep=clock.sleep, clock=lambda: clock.now)
    with pytest.raises(SystemExit) as ended:
        poller.poll(answers(AWAY))
    assert ended.value.code == 1
    assert "backfleet: connection refused; tried for 5 minutes. Go on with this." in capsys.readouterr().err
    assert AWAY_SECONDS <= clock.now < AWAY_SECONDS + 2 * LONGEST_PAUSE


@pytest.mark.parametrize(
    ("problem", "has_answered"),
    [(GONE, True), (CallRefusedHere("certificate"), True), (AWAY, False)],
    ids=["refused for good", "not trusted", "never there"],
)
def test_what_does_not_pass_is_an_error_at_once(problem: CallFailed, has_answered: bool) -> None:
    """Without a pause."""
    clock = Clock()
    poller = Poller("go on", has_answered=has_answered, sleep=clock.sleep, clock=lambda: clock.now)
    with pytest.raises(CallFailed):
        poller.poll(answers(problem))
    assert clock.pauses == []


@pytest.fixture
def stuck() -> Iterator[OneTask]:
    """A server whose task never ends."""
    with OneTask() as made:
        yield made


@pytest.mark.parametrize(
    ("sent", "code"),
    [((signal.SIGINT,), 130), ((signal.SIGTERM,), 143), ((signal.SIGINT, signal.SIGINT), 130)],
    ids=str,
)
def test_an_interrupt_says_how_to_go_on(stuck: OneTask, sent: tuple[signal.Signals, ...], code: int) -> None:
    """With the tasks' ids and an exit code of its own; the tasks are not cancelled, and nothing is a traceback."""
    key = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "k", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "s"}
    waiting = subprocess.Popen(
        [sys.executable, "-m", "backfleet.cli", "task", "wait", "t-1", "t-2", "--endpoint", stuck.endpoint],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | key,
    )  # fmt: skip
    for _ in range(3):  # both were polled, and one again: the command waits
        assert stuck.polled.acquire(timeout=60)
    for each in sent:
        waiting.send_signal(each)
    printed, errors = waiting.communicate(timeout=60)
    assert (waiting.returncode, printed) == (code, "")
    assert errors.splitlines() == [
        "stopped waiting; t-1, t-2 go on without this command", "go on with `backfleet task wait t-1 t-2`"
    ]  # fmt: skip
