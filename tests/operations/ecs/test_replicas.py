"""Several workers at once, where the engine lets them: each run is begun once, and nobody waits in a ring."""

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
    """Ids as they really are: threads draw them at once."""
    draw: Draw = real_draw
    return Agents(make_environment(postgresql_database, data, now, draw))


def at_once(*deeds: Callable[[], object]) -> None:
    """All of them in threads of their own; what goes wrong in one is told."""
    problems: list[Exception] = []

    def carefully(deed: Callable[[], object]) -> None:
        try:
            deed()
        except Exception as problem:  # noqa: BLE001 -- handed on below
            problems.append(problem)

    threads = [threading.Thread(target=carefully, args=(deed,)) for deed in deeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_each_run_is_begun_once(agents: Agents) -> None:
    """However many workers look, and however often."""
    hosts = [agents.env.host() for _ in range(5)]
    invocations = [agents.run(*hosts) for _ in range(12)]
    at_once(*[agents.look] * 4)
    for host in hosts:
        assert len(agents.given(host)) == len(invocations)
    for invoke_id in invocations:
        assert [r["Repeats"] for r in agents.results(invoke_id)] == [1] * 5


def test_stopping_while_workers_begin_and_collect(agents: Agents) -> None:
    """In the end everything is stopped or ended, and nothing is left to run."""
    hosts = [agents.env.host() for _ in range(4)]
    invocations = [agents.run(*hosts) for _ in range(8)]
    stops = [lambda invoke_id=invoke_id: agents.ask("StopInvocation", InvokeId=invoke_id) for invoke_id in invocations]
    at_once(agents.look, *stops[:4], agents.look, *stops[4:], agents.look)
    agents.look()
    for host in hosts:
        assert agents.given(host) == []
    for invoke_id in invocations:
        assert agents.statuses(invoke_id) == ("Stopped", ["Cancelled"] * 4)


def test_the_same_token_at_once_is_one_call(agents: Agents) -> None:
    """The answers are equal."""
    host = agents.env.host()
    found: list[str] = []
    at_once(*[lambda: found.append(agents.run(host, ClientToken="t"))] * 4)
    assert len(set(found)) == 1
    agents.look()
    assert len(agents.given(host)) == 1
