"""One policy in the simulator and in the real engine: the same hosts, the same events, in the same order.

The engine is the real worker on a real database, asked by the API, with orders that hosts fetch and answer and backups
that they report. Its clock goes on five minutes at a time, the simulator's is free: so what is the same is the order,
and, as every span here is a multiple of that, the times.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter

import pytest

from backfleet.rollouts import _store
from backfleet.rollouts.board import Board
from backfleet.rollouts.model import FirstRun, Member, OrderEnd
from backfleet.rollouts.records import RolloutRecord
from backfleet.rollouts.simulation import Host, Limits, run
from backfleet.rollouts.timetables import timetable_of
from rollouts.fleet import Fleet, rolls_back

STEP = timedelta(minutes=5)
MOST_STEPS = 150
LONGEST = timedelta(hours=4)  # what is compared; what halted expires days later
POLICY = """
name = "courier to 2.0"
package = "courier"
version = "2.0"
deadline = "{deadline}"

[[ring]]
name = "canary"
count = 2
[[ring]]
name = "early"
count = 4
gates = [{{ kind = "soak", hours = 1 }}, {{ kind = "backups", first_run = "each" }}]
[[ring]]
name = "rest"
gates = [{{ kind = "budget", max_failed = 1 }}, {{ kind = "backups", first_run = "each" }}]

[pace]
in_flight = 3
ramp = true
never_together = ["tag:set"]
{more}
"""

Happened = list[tuple[datetime, str, str, str, str]]


@dataclass
class Course:
    """What happened, and what was waited for."""

    events: Happened = field(default_factory=list)
    waits: list[str] = field(default_factory=list)

    def comparable(self) -> "Course":
        """Leave out what hosts said, and put what one decision does to members into one order: it does that at once."""
        bare = [(*event[:4], "" if event[1] == "member" else event[4]) for event in self.events]
        self.events = [each for _, group in groupby(bare, key=itemgetter(0, 1)) for each in sorted(group)]
        return self

    def wait(self, text: str) -> None:
        """Note what is waited for, once."""
        if text and (not self.waits or self.waits[-1] != text):
            self.waits.append(text)


@dataclass
class Engine:
    """The real one: hosts answer an order when the next step comes, and report their backups in time."""

    fleet: Fleet
    behaviour: dict[str, Host] = field(default_factory=dict)
    due: dict[str, datetime] = field(default_factory=dict)  # the first backup under the new version, by client

    def record(self, rollout: str) -> RolloutRecord:
        with self.fleet.helpers.database.reading() as tx:
            found = _store.rollout(tx, self.fleet.helpers.account, rollout)
        assert found is not None
        return found

    def members(self, rollout: str) -> list[Member]:
        with self.fleet.helpers.database.reading() as tx:
            return [each.member for each in _store.members_of(tx, rollout)]

    def take(self, rollout: str, until: datetime) -> Course:
        """Let time pass until then, and a little more, in which nothing should happen."""
        course, before = Course(), self.record(rollout).events
        while self.fleet.now <= until + 2 * STEP:
            self._step(rollout)
            course.wait(self.record(rollout).waits_for)
        with self.fleet.helpers.database.reading() as tx:
            rows = _store.events_after(tx, rollout, before, 1000)
        course.events = [(row.at, row.what, row.name, row.change, row.why) for row in rows]
        return course.comparable()

    def _step(self, rollout: str) -> None:
        fleet = self.fleet
        fleet._hear()
        fleet._answer()
        fleet.helpers.run_worker(fleet.at)
        self._back_up(rollout)
        fleet.decide()
        fleet.helpers.run_worker(fleet.at)
        fleet.at += STEP.total_seconds()

    def _back_up(self, rollout: str) -> None:
        for member in self.members(rollout):
            host = self.behaviour[member.client_id]
            has_it = self.fleet.helpers.client(member.client_id).version == "2.0"
            if has_it and host.first_run is not None:
                due = self.due.setdefault(member.client_id, self.fleet.now + host.first_run_after)
                if due == self.fleet.now:
                    self.fleet.back_up(member.client_id, host.first_run.value)


@pytest.fixture
def engine(sqlite_hosts: Fleet) -> Engine:
    """With fourteen hosts, in pairs that must not be open together."""
    for number in range(7):
        sqlite_hosts.grow(2, set=f"set-{number}")
    return Engine(sqlite_hosts)


def simulated(engine: Engine, rollout: str) -> Course:
    """Run what the engine is about to do, before it does it."""
    record = engine.record(rollout)
    board = Board(record.document, engine.members(rollout))
    with engine.fleet.helpers.database.reading() as tx:
        timetable = timetable_of(tx, record)
    begin = engine.fleet.now
    limits = Limits(tick=STEP, decisions=MOST_STEPS)
    history = run(record.rollout(), board, engine.behaviour, timetable, now=begin, limits=limits)
    found = [each for each in history.events if each.at <= begin + LONGEST]
    course = Course([(each.at, each.what, each.name, each.to, each.why) for each in found])
    for _, text in history.waits:
        course.wait(text)
    return course.comparable()


def both(engine: Engine, bad: dict[int, Host], more: str = "") -> tuple[Course, Course]:
    """Return the course in the simulator and in the engine; `bad`: hosts that are not well, by place."""
    rollout = engine.fleet.roll_out(more, text=POLICY)
    for place, member in enumerate(sorted(engine.members(rollout), key=lambda each: (each.ring, each.rank))):
        well = Host(upgrade=STEP, first_run_after=(place % 5 + 1) * STEP)
        engine.behaviour[member.client_id] = replace(bad.get(place, well), upgrade=STEP)
        if bad.get(place, well).end is OrderEnd.ROLLED_BACK:
            engine.fleet.answers[member.instance_id] = rolls_back
    ahead = simulated(engine, rollout)
    return ahead, engine.take(rollout, ahead.events[-1][0])


def went(course: Course, what: str) -> list[tuple[str, str]]:
    """Return what became of rings, of the rollout, or of members."""
    return [(name, change) for _, each, name, change, _ in course.events if each == what]


def test_a_good_release_goes_the_same_way_in_the_simulator_and_in_the_engine(engine: Engine) -> None:
    """Ring by ring, in pairs apart, behind a soak and first backups: with the same reasons at the same times."""
    ahead, real = both(engine, {})
    assert ahead.events == real.events
    assert ahead.waits == real.waits
    assert went(ahead, "ring") == [(ring, to) for ring in ("canary", "early", "rest") for to in ("running", "finished")]
    assert went(ahead, "rollout")[0][1] == "completed"


@pytest.mark.parametrize(
    ("bad", "more", "ends"),
    [
        pytest.param({1: Host(end=OrderEnd.ROLLED_BACK, first_run=None)}, "", ["halted"], id="a canary rolls back"),
        pytest.param(
            {3: Host(first_run=FirstRun.FAILED, first_run_after=2 * STEP)},
            '[failure]\nthen = "roll-back-rollout"',
            ["rolling_back", "rolled_back"],
            id="the first backup of an early one fails",
        ),
    ],
)
def test_a_bad_release_is_stopped_the_same_way_in_both(
    engine: Engine, bad: dict[int, Host], more: str, ends: list[str]
) -> None:
    """At the same member, and what goes back goes back in the same order."""
    ahead, real = both(engine, bad, more)
    assert ahead.events == real.events
    assert ahead.waits == real.waits
    assert [to for _, to in went(ahead, "rollout")] == ends
