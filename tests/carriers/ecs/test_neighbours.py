"""Cloud accounts beside others that are slow, or answer nonsense; and clocks that are set back."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from backfleet import fleet
from backfleet.carriers import ecs
from backfleet.carriers.ecs import _store
from backfleet.carriers.ecs import round as round_module
from backfleet.carriers.ecs.model import EcsAccount, Result, Source
from backfleet.carriers.ecs.worker import MOST_OF_ONE, Worker
from backfleet.commands import State
from carriers.ecs.conftest import Scene, ScriptedCloud
from journeys.installation import wait_for

FACTS = b"Linux\naarch64\nweb\nDebian GNU/Linux 13\nmachine\n0\n1767323045\n"
DONE = Result("", "Success", 0, "", "", b"done\n", 0)
DAY = timedelta(days=1)
SECONDS = 30


@pytest.fixture
def two(scene: Scene) -> Scene:
    """A cloud with two instances that are imported."""
    for each in ("i-1", "i-2"):
        scene.cloud.boot(each)
        scene.cloud.ends[each] = Result("", "Success", 0, "", "", FACTS, 0)
    scene.import_all()
    return scene


def platform_of(scene: Scene, instance_id: str) -> str:
    with scene.database.reading() as tx:
        found = fleet.instance(tx, scene.account.account_id, instance_id)
    assert found is not None
    return found.platform


@pytest.mark.parametrize(
    "nonsense",
    [
        pytest.param(FACTS.replace(b"Linux", b"L" * 40, 1), id="a long system"),
        pytest.param(FACTS.replace(b"aarch64", b"a" * 90), id="a long processor"),
        pytest.param(FACTS.replace(b"Linux", b"Li nux\x1b[2J", 1), id="no name of a system"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_a_host_that_answers_nonsense_keeps_no_other_from_being_known(two: Scene, nonsense: bytes) -> None:
    """Answers are read for all accounts at once: one that could not be stored would stop every other."""
    two.cloud.ends["i-1"] = replace(two.cloud.ends["i-1"], output=nonsense)
    for _ in range(3):
        two.round()
    assert (platform_of(two, "i-1"), platform_of(two, "i-2")) == ("", "linux-arm64")


# --- Slow clouds ----------------------------------------------------------------------------------------------------


@dataclass
class Slow(ScriptedCloud):
    """A cloud that answers when a test lets it."""

    asked: list[tuple[str, str]] = field(default_factory=list)
    open_now: threading.Event = field(default_factory=threading.Event)

    def open(
        self, account: EcsAccount, region: str, now: datetime, before_call: Callable[[], None] = lambda: None
    ) -> ScriptedCloud:
        self.asked.append((account.account_id, account.name))
        self.open_now.wait(SECONDS)
        return super().open(account, region, now, before_call)


@pytest.fixture
def slow(scene: Scene) -> Iterator[Slow]:
    cloud = scene.cloud = Slow()
    yield cloud
    cloud.open_now.set()


def add(scene: Scene, account_id: str, *names: str) -> None:
    everything = ecs.Selection("cn-beijing")
    with scene.database.transaction() as tx:
        for each in names:
            ecs.add_account(tx, EcsAccount(account_id, each, Source.KEY, scene.now))
            ecs.add_import(tx, account_id, each, everything, now=scene.now, draw=scene.env.services.draw)


def test_clouds_of_one_account_that_are_slow_leave_a_place_to_those_of_others(scene: Scene, slow: Slow) -> None:
    mine = scene.account.account_id
    add(scene, mine, *(f"slow-{number}" for number in range(20)))
    add(scene, "9900", "zulu")
    worker = Worker(scene.database, scene.means)
    wait_for(lambda: worker.run_once(scene.now) or len(slow.asked) > MOST_OF_ONE, SECONDS)
    worker.run_once(scene.now)
    assert len(slow.asked) == MOST_OF_ONE + 1
    assert [each for each in slow.asked if each[0] != mine] == [("9900", "zulu")]
    slow.open_now.set()
    wait_for(lambda: not worker._under_way, SECONDS)


def test_the_cloud_account_that_waited_longest_has_its_turn_first(scene: Scene) -> None:
    """All of them have something to do at any time."""
    add(scene, scene.account.account_id, "a", "b", "c")
    turns = []
    for _ in range(6):
        scene.now += timedelta(seconds=1)
        with scene.database.transaction() as tx:
            (taken,) = _store.take_accounts(tx, scene.now, scene.now + timedelta(seconds=30), 1)
            _store.give_back(tx, taken, scene.now)
        turns.append(taken.name)
    assert turns == ["a", "b", "c", "cloud", "a", "b"]


def test_a_round_that_takes_long_leaves_the_rest_to_the_next_one(two: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each round does something of everything, so that all is done in the end."""
    for _ in range(3):
        two.round()
    monkeypatch.setattr(round_module, "MOST_SECONDS", -1.0)
    before = len(two.cloud.sent)
    for number in range(3):
        two.send("i-1", content=f"echo {number}")
        two.round(after=1)
    assert len(two.cloud.sent) - before < 3
    two.cloud.ends["i-1"] = DONE
    for _ in range(12):
        two.round()
    assert (len(two.cloud.sent) - before, two.news()["i-1"].state) == (3, State.FINISHED)
    host = two.host("i-2")
    assert host is not None
    assert host.asked_at is not None
    assert host.asked_at > two.now - timedelta(minutes=3)


# --- Clocks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_under_way", [False, True], ids=["between two refreshes", "during one"])
def test_a_clock_that_was_ahead_keeps_nothing_waiting_when_it_is_set_back(two: Scene, *, is_under_way: bool) -> None:
    """What was put off, held or begun at a moment that is still to come is done now."""
    for _ in range(3):
        two.round()
    real = two.now
    two.now += 3 * DAY
    two.send("i-1")
    two.round(after=70)  # it refreshes, sends, and asks again within seconds
    if is_under_way:
        with two.database.transaction() as tx:
            text = '{"began_at": %d, "streams": {}, "problem": ["", ""], "vouched_at": null}'
            _store.note_progress(tx, two.account, text % two.now.timestamp())
            _store.refresh_at(tx, two.account, two.now)
    with two.database.transaction() as tx:
        _store.give_back(tx, two.account, two.now + timedelta(seconds=30))  # its process was killed
    two.now = real
    with two.database.transaction() as tx:
        assert [each.name for each in _store.take_accounts(tx, two.now, two.now, 10)] == ["cloud"]
    two.cloud.ends["i-1"] = DONE
    two.cloud.boot("i-2", status="Stopped")
    two.round()
    two.round()
    assert two.news()["i-1"].state is State.FINISHED
    assert two.reachability("i-2") == "InstanceNotRunning"
    with two.database.reading() as tx:
        assert not _store.is_refresh_due(tx, two.account, two.now)
