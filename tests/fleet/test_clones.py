"""Hosts that share one identity: which processes run side by side, and which merely follow each other."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from backfleet import fleet
from backfleet.fleet import AgentRun
from backfleet.fleet._tables import runs
from backfleet.fleet.clones import ALIVE, REMEMBERED, side_by_side
from backfleet.storage import Database

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def run(mark: str, first: float, last: float, instance_id: str = "mi-1") -> AgentRun:
    return AgentRun(instance_id, mark, NOW + timedelta(seconds=first), NOW + timedelta(seconds=last))


@pytest.mark.parametrize(
    ("runs", "beside"),
    [
        pytest.param([run("a", 0, 300)], "", id="one process"),
        pytest.param([run("a", 0, 300), run("b", 305, 600)], "", id="an agent that was restarted"),
        pytest.param([run("a", 0, 310), run("b", 305, 600)], "", id="a late heartbeat of the former process"),
        pytest.param([run("a", 0, 600), run("b", 305, 600)], "ab", id="two at once"),
        pytest.param([run("a", 0, 600), run("b", 590, 590)], "", id="one that was seen once"),
        pytest.param([run("a", 0, 100), run("b", 200, 600), run("c", 300, 600)], "bc", id="two after a restart"),
        pytest.param([run("a", 0, 600), run("b", 305, 600, "mi-2")], "", id="of two instances"),
    ],
)
def test_processes_that_run_side_by_side_are_two_hosts(runs: list[AgentRun], beside: str) -> None:
    found = side_by_side(runs)
    assert "".join(each.mark for each in found.get("mi-1", [])) == beside


@pytest.mark.parametrize(
    ("runs", "beside"),
    [
        pytest.param([run("a/1", 0, 50), run("b/2", 55, 90)], [], id="a reboot"),
        pytest.param([run("a/1", 0, 0), run("b/2", 55, 55), run("c/3", 90, 90)], [], id="several reboots"),
        pytest.param([run("a/1", 0, 60), run("b/2", 55, 90)], [], id="a late heartbeat from before the reboot"),
        pytest.param([run("a/1", 0, 50), run("b/1", 60, 90), run("c/2", 95, 99)], [], id="a restart and a reboot"),
        pytest.param(
            [run("a/1", 0, 0), run("b/2", 20, 20), run("c/1", 40, 40)], ["b/2", "c/1"], id="a boot comes back"
        ),
        pytest.param([run("a/1", 0, 0), run("b", 20, 20), run("c/1", 40, 40)], [], id="one that does not say"),
        pytest.param([run("a/1", 0, 600), run("b/1", 305, 600)], ["a/1", "b/1"], id="two at once on one kernel"),
    ],
)
def test_machines_that_run_side_by_side_are_two_and_a_reboot_makes_no_clone(
    runs: list[AgentRun], beside: list[str]
) -> None:
    """Each process may live for an instant, and everything but the boot may be equal."""
    assert [each.mark for each in side_by_side(runs).get("mi-1", [])] == beside


def test_a_machine_is_named_with_its_boot() -> None:
    """Where address, host name and machine id of two are equal, it tells them apart."""
    named = AgentRun("mi-1", "a/0badcafe-1234", NOW, NOW, "10.0.0.1", "web", "m1")
    assert named.text == "web, 10.0.0.1, machine m1, boot 0badcafe"


def test_a_clone_that_got_its_own_identity_is_forgotten_soon(database: Database) -> None:
    """It is seen no more under the old one, which then is one host again."""

    def seen(mark: str, at: float) -> list[AgentRun]:
        with database.transaction() as tx:
            return fleet.note_run(tx, run(mark, at, at))

    assert seen("a", 0) == []
    assert seen("b", 20) == []
    assert seen("a", 60) == []
    assert [each.mark for each in seen("b", 80)] == ["a", "b"]
    later = NOW + timedelta(seconds=80) + ALIVE
    with database.reading() as tx:
        assert list(fleet.clones_of(tx, ["mi-1", "mi-2"], now=later - timedelta(seconds=21))) == ["mi-1"]
        assert fleet.clones_of(tx, ["mi-1"], now=later + timedelta(seconds=1)) == {}


def test_processes_of_many_hosts_are_noted_together(database: Database) -> None:
    """Each keeps the moment at which it was first seen, also one that is named twice; the oldest are forgotten."""
    with database.transaction() as tx:
        fleet.note_runs(tx, [run("old", 0, 0), run("a", 0, 0, "mi-2"), run("a", 0, 0)])
    day = REMEMBERED.total_seconds()
    seen = [run("b", day, day, "mi-2"), run("a", day, day), run("a", day + 1, day + 1)]
    with database.transaction() as tx:
        assert fleet.note_runs(tx, [*seen, run("c", day + 1, day + 1, "mi-3")]) == {}
        assert fleet.note_runs(tx, [run("c", day + 20, day + 20)]) == {}
        later = [run("a", day + 40, day + 40), run("a", day + 40, day + 40, "mi-4"), run("c", day + 50, day + 50)]
        found = fleet.note_runs(tx, later)
    assert {each: [one.mark for one in beside] for each, beside in found.items()} == {"mi-1": ["a", "c"]}
    assert [(one.first_at, one.last_at) for one in found["mi-1"]] == [
        (NOW, NOW + timedelta(seconds=day + 40)),
        (NOW + timedelta(seconds=day + 20), NOW + timedelta(seconds=day + 50)),
    ]
    with database.reading() as tx:
        kept = {(row.instance_id, row.mark) for row in tx.rows(sa.select(runs))}
    assert kept == {("mi-1", "a"), ("mi-1", "c"), ("mi-2", "b"), ("mi-3", "c"), ("mi-4", "a")}
