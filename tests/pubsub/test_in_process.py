"""Publish/subscribe within one process."""

import threading
from datetime import timedelta

from backfleet.pubsub import InProcessPubSub, poll_until_stopped

AT_ONCE, SOON = timedelta(seconds=0), timedelta(seconds=5)


def test_a_notification_wakes_receivers_of_its_topic_only() -> None:
    """A receiver of another topic keeps waiting."""
    pubsub = InProcessPubSub()
    upgrades, others = pubsub.subscription("upgrades"), pubsub.subscription("others")
    pubsub.publish("upgrades")
    assert upgrades.wait(AT_ONCE)
    assert not others.wait(AT_ONCE)


def test_notifications_before_the_wait_count_as_one() -> None:
    """A subscription remembers that it was notified, not how often."""
    pubsub = InProcessPubSub()
    subscription = pubsub.subscription("upgrades")
    pubsub.publish("upgrades")
    pubsub.publish("upgrades")
    assert subscription.wait(AT_ONCE)
    assert not subscription.wait(AT_ONCE)


def test_a_callback_is_called_for_a_family_of_topics_until_it_ends() -> None:
    """The agents' endpoint is called for every instance."""
    pubsub = InProcessPubSub()
    received: list[str] = []
    unsubscribe = pubsub.subscribe("instance/", received.append)
    pubsub.publish("instance/mi-1")
    pubsub.publish("upgrades")
    unsubscribe()
    pubsub.publish("instance/mi-2")
    assert received == ["instance/mi-1"]


def test_one_receiver_is_notified_of_each_of_its_topics() -> None:
    """Of both at once it learns once, and of others nothing."""
    pubsub = InProcessPubSub()
    receiver = pubsub.subscription("x", "y")
    for topic in ("x", "y"):
        pubsub.publish(topic)
        assert receiver.wait(SOON), topic
    pubsub.publish("x")
    pubsub.publish("y")
    pubsub.publish("z")
    assert [receiver.wait(SOON), receiver.wait(timedelta(0))] == [True, False]


def test_a_worker_runs_again_while_there_is_more_and_when_it_is_notified() -> None:
    """True means run at once; False means wait for a notification."""
    pubsub = InProcessPubSub()
    runs: list[int] = []
    rested, done = threading.Event(), threading.Event()

    def run_once() -> bool:
        runs.append(len(runs))
        if len(runs) == 3:
            rested.set()
        if len(runs) == 4:
            done.set()
        return len(runs) < 3

    worker = threading.Thread(target=poll_until_stopped, args=(run_once, pubsub.subscription("x"), done.is_set, SOON))
    worker.start()
    assert rested.wait(5)
    pubsub.publish("x")
    assert done.wait(5)
    pubsub.publish("x")
    worker.join(5)
    assert not worker.is_alive()
    assert runs == [0, 1, 2, 3]


def test_a_failing_run_does_not_end_the_worker() -> None:
    """A database that is unavailable for a moment delays the work by a moment."""
    pubsub = InProcessPubSub()
    runs: list[int] = []
    done = threading.Event()

    def run_once() -> bool:
        runs.append(1)
        if len(runs) == 1:
            pubsub.publish("x")  # so that the wait after the failure is short
            raise ConnectionError("away")
        done.set()
        return True

    poll_until_stopped(run_once, pubsub.subscription("x"), done.is_set)
    assert len(runs) == 2
