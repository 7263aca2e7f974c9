"""Several workers at the same time, on PostgreSQL: each run is begun once, and there is no deadlock."""

import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from backfleet.ids import Draw
from backfleet.ids import draw as real_draw
from backfleet.storage import Database
from operations.ecs.agents import Agents
from operations.environment import make_environment


@pytest.fixture
def agents(postgresql_database: Database, data: Path, now: datetime) -> Agents:
    """Agents with real ids, as several threads draw them."""
    draw: Draw = real_draw
    return Agents(make_environment(postgresql_database, data, now, draw))


def at_once(*calls: Callable[[], object]) -> None:
    """Run these calls in threads at the same time, and fail if one of them raises."""
    problems: list[Exception] = []

    def run(call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as problem:  # noqa: BLE001 -- handed on below
            problems.append(problem)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_each_run_is_begun_once(agents: Agents) -> None:
    """However many workers run, and however often."""
    hosts = [agents.env.host() for _ in range(5)]
    invocations = [agents.run(*hosts) for _ in range(10)]  # as many as an agent is handed at once
    at_once(*[agents.run_worker] * 4)
    for host in hosts:
        assert len(agents.handed_out(host)) == len(invocations)
    for invoke_id in invocations:
        assert [r["Repeats"] for r in agents.results(invoke_id)] == [1] * 5


def test_invocations_are_stopped_while_workers_run(agents: Agents) -> None:
    """In the end each is stopped, and nothing is left to run."""
    hosts = [agents.env.host() for _ in range(4)]
    invocations = [agents.run(*hosts) for _ in range(8)]
    stops = [lambda invoke_id=invoke_id: agents.ask("StopInvocation", InvokeId=invoke_id) for invoke_id in invocations]
    at_once(agents.run_worker, *stops[:4], agents.run_worker, *stops[4:], agents.run_worker)
    agents.run_worker()
    for host in hosts:
        assert agents.handed_out(host) == []
    for invoke_id in invocations:
        assert agents.statuses(invoke_id) == ("Stopped", ["Cancelled"] * 4)


def test_simultaneous_calls_with_the_same_token_are_one_call(agents: Agents) -> None:
    """They get the same answer."""
    host = agents.env.host()
    found: list[str] = []
    at_once(*[lambda: found.append(agents.run(host, ClientToken="t"))] * 4)
    assert len(set(found)) == 1
    agents.run_worker()
    assert len(agents.handed_out(host)) == 1
