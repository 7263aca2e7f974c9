"""Publish/subscribe between the processes of one server, over the sockets that their parent makes."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta

import pytest

from backfleet.pubsub import SiblingPubSub
from backfleet.pubsub._siblings import DROPPED, MOST_WAITING
from backfleet.siblings import Shared

AT_ONCE, SOON = timedelta(0), timedelta(seconds=20)
LONG = 20.0  # seconds

Start = Callable[[int], SiblingPubSub]


@pytest.fixture
def start() -> Iterator[Start]:
    """Open publish/subscribe as the process of this number does."""
    shared = Shared.make(2)
    with ExitStack() as ends:
        ends.callback(shared.close)

        def begin(number: int) -> SiblingPubSub:
            others = {other: pair[1] for other, pair in enumerate(shared.inboxes) if other != number}
            found = SiblingPubSub(shared.inboxes[number][0], others, lambda: b"x" * 3_000_000)
            ends.callback(found.close)
            return found

        yield begin


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.01)


def test_a_notification_arrives_in_both_processes_and_does_not_come_back(start: Start) -> None:
    """An order that one process stores kicks a host that is connected to the other one."""
    here, there = start(0), start(1)
    subscriptions = [here.subscription("upgrades"), there.subscription("upgrades")]
    heard_here, heard_there = list[str](), list[str]()
    here.subscribe("instance/", heard_here.append)
    there.subscribe("instance/", heard_there.append)
    here.publish("instance/i-1")
    here.publish("upgrades")
    assert all(subscription.wait(SOON) for subscription in subscriptions)
    assert (heard_here, heard_there) == (["instance/i-1"], ["instance/i-1"])
    there.publish("instance/i-2")
    until(lambda: "instance/i-2" in heard_here)
    assert heard_there == ["instance/i-1", "instance/i-2"]


def test_a_process_that_comes_back_is_told_what_waits(start: Start) -> None:
    """Its inbox is the one of the process before it; what did not fit waits at the senders."""
    here = start(0)
    count = 20_000
    for number in range(count):
        here.publish(f"instance/{number}")
    heard = set[str]()
    there = start(1)
    there.subscribe("instance/", heard.add)
    here.publish("instance/last")
    until(lambda: {"instance/last", f"instance/{count - 1}"} <= heard)


def test_what_waits_for_a_process_that_is_away_is_bounded(start: Start) -> None:
    """What is dropped is counted; publishing goes on."""
    here, before = start(0), DROPPED._value.get()
    for number in range(MOST_WAITING * 2):
        here.publish(str(number))
    assert DROPPED._value.get() > before
    assert len(here._waiting[1]) <= MOST_WAITING


def test_figures_of_any_size_are_given_and_silence_is_no_answer(start: Start) -> None:
    here = start(0)
    began = time.monotonic()
    assert here.ask() == {}
    assert time.monotonic() - began < LONG
    start(1)
    until(lambda: {number: len(content) for number, content in here.ask().items()} == {1: 3_000_000})
