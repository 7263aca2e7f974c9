"""Hosts that share one identity: which processes run side by side, and which merely follow each other."""

from datetime import UTC, datetime, timedelta

import pytest

from backfleet import fleet
from backfleet.fleet import AgentRun
from backfleet.fleet.clones import ALIVE, side_by_side
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
