"""PubSub: heard by those who listen, missed without harm."""

import threading
from datetime import timedelta

from backfleet.pubsub import InProcessPubSub, poll_until_stopped

AT_ONCE, SOON = timedelta(seconds=0), timedelta(seconds=5)


def test_a_ring_wakes_the_listener_of_its_topic_only() -> None:
    """Another topic's listener sleeps on."""
    pubsub = InProcessPubSub()
    upgrades, others = pubsub.listen("upgrades"), pubsub.listen("others")
    pubsub.publish("upgrades")
    assert upgrades.wait(AT_ONCE)
    assert not others.wait(AT_ONCE)


def test_rings_before_the_wait_are_one_ring() -> None:
    """A bell remembers that it rang, not how often."""
    pubsub = InProcessPubSub()
    bell = pubsub.listen("upgrades")
    pubsub.publish("upgrades")
    pubsub.publish("upgrades")
    assert bell.wait(AT_ONCE)
    assert not bell.wait(AT_ONCE)


def test_a_subscriber_hears_a_family_of_topics_until_it_leaves() -> None:
    """The door of the agents hears every instance's bell."""
    pubsub = InProcessPubSub()
    heard: list[str] = []
    leave = pubsub.subscribe("instance/", heard.append)
    pubsub.publish("instance/mi-1")
    pubsub.publish("upgrades")
    leave()
    pubsub.publish("instance/mi-2")
    assert heard == ["instance/mi-1"]


def test_a_worker_looks_again_while_there_is_more_and_when_it_is_woken() -> None:
    """True means look at once; False means wait for the bell."""
    pubsub = InProcessPubSub()
    looks: list[int] = []
    rested, done = threading.Event(), threading.Event()

    def look() -> bool:
        looks.append(len(looks))
        if len(looks) == 3:
            rested.set()
        if len(looks) == 4:
            done.set()
        return len(looks) < 3

    worker = threading.Thread(target=poll_until_stopped, args=(look, pubsub.listen("x"), done.is_set, SOON))
    worker.start()
    assert rested.wait(5)
    pubsub.publish("x")
    assert done.wait(5)
    pubsub.publish("x")
    worker.join(5)
    assert not worker.is_alive()
    assert looks == [0, 1, 2, 3]


def test_a_failing_look_does_not_end_the_worker() -> None:
    """A database that is away for a moment costs a moment."""
    pubsub = InProcessPubSub()
    looks: list[int] = []
    done = threading.Event()

    def look() -> bool:
        looks.append(1)
        if len(looks) == 1:
            pubsub.publish("x")  # so that the wait after the failure is short
            raise ConnectionError("away")
        done.set()
        return True

    poll_until_stopped(look, pubsub.listen("x"), done.is_set)
    assert len(looks) == 2
