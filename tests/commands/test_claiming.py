"""What an agent gets of what waits for it: never more than it runs, whoever hands it out, and a copied host nothing."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from backfleet import fleet
from backfleet.commands import sending
from backfleet.fleet import AgentRun
from commands.helpers import Helpers
from fleet.conftest import activate, keys, registration

__all__ = ["activate", "keys", "registration"]  # fixtures
WAIT = 20.0  # seconds that a thread may take


@pytest.fixture
def enrolled(activate: Callable[..., Any], registration: Callable[..., Any]) -> Callable[[Helpers], str]:
    """Return a function that enrols a host and returns its id."""

    def enrol(helpers: Helpers) -> str:
        activation, code = activate()
        with helpers.transaction() as tx:
            asked = registration(activation, code)
            return fleet.register(tx, asked, source_ip="10.1.1.1", now=helpers.now, draw=helpers.draw).id

    return enrol


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_two_replicas_together_hand_out_no_more_than_an_agent_runs(
    helpers: Helpers, enrolled: Callable[[Helpers], str]
) -> None:
    """While one hands out, the other waits, and counts what the first has given."""
    host = enrolled(helpers)
    helpers.send(*(f"r-{number}" for number in range(2 * sending.RUN_AT_ONCE)), host=host)
    handed: list[int] = []

    def other() -> None:
        handed.append(len(helpers.claim(host).run))

    with helpers.transaction() as tx:
        first = helpers.claim_in(tx, host)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.5)
        assert thread.is_alive(), "the other one did not wait"
    thread.join(WAIT)
    assert (len(first.run), handed) == (sending.RUN_AT_ONCE, [0])


def seen(helpers: Helpers, host: str, mark: str, at: float) -> None:
    moment: datetime = helpers.moment(at)
    with helpers.transaction() as tx:
        fleet.note_run(tx, AgentRun(host, mark, moment, moment))


def test_what_waits_for_a_host_is_not_handed_out_once_a_copy_of_it_is_noticed(
    helpers: Helpers, enrolled: Callable[[Helpers], str]
) -> None:
    """Nobody knows which of them would get it. When the copy has its own identity, it is handed out."""
    host = enrolled(helpers)
    helpers.send("r-1", host=host)
    for mark, at in (("a", 0), ("b", 20), ("a", 60), ("b", 80)):
        seen(helpers, host, mark, at)
    assert helpers.claim(host, at=81).run == []
    seen(helpers, host, "a", 600)
    assert len(helpers.claim(host, at=600).run) == 1


def test_a_copy_is_still_told_what_to_stop(helpers: Helpers, enrolled: Callable[[Helpers], str]) -> None:
    """Whichever runs it ends it."""
    host = enrolled(helpers)
    helpers.send("r-1", host=host)
    (command,) = helpers.claim(host).run
    helpers.stop("r-1")
    for mark, at in (("a", 0), ("b", 20), ("a", 60), ("b", 80)):
        seen(helpers, host, mark, at)
    assert helpers.claim(host, at=81).stop == [command.task_id]
    assert timedelta(seconds=81) < fleet.REFRESH
