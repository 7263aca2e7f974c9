"""Runs for instances that cannot be told of them now: those whose agent connects in time are waited for."""

import pytest

from operations.ecs.agents import Agents
from operations.environment import Environment


def test_a_run_waits_for_an_agent_that_connects_again_within_its_time_out(env: Environment, agents: Agents) -> None:
    """As upgrades do. The minute in which an agent must take it begins when the agent connects."""
    host = env.deaf_host(dials_in=600)
    invoke_id = agents.run(host, Timeout=900)
    agents.run_worker()
    agents.later(seconds=599)
    assert agents.statuses(invoke_id) == ("Pending", ["Pending"])
    agents.later(host, seconds=2)
    agents.carry_out(host)
    assert agents.statuses(invoke_id) == ("Success", ["Success"])


def test_a_run_whose_agent_does_not_connect_when_it_should_is_withdrawn(env: Environment, agents: Agents) -> None:
    """A minute later; it never runs."""
    host = env.deaf_host(dials_in=600)
    invoke_id = agents.run(host, Timeout=900)
    agents.run_worker()
    agents.later(seconds=661)
    (result,) = agents.results(invoke_id)
    assert (result["InvocationStatus"], result["ErrorCode"]) == ("Aborted", "DeliveryTimeout")
    assert agents.handed_out(host) == []


@pytest.mark.parametrize("dials_in", [600, None], ids=["later than its time-out", "at an unknown time"])
def test_a_run_does_not_wait_for_an_agent_that_may_come_too_late(
    env: Environment, agents: Agents, dials_in: float | None
) -> None:
    """The caller is told at once."""
    invoke_id = agents.run(env.deaf_host(dials_in=dials_in), Timeout=60)
    agents.run_worker()
    (result,) = agents.results(invoke_id)
    assert (result["InvocationStatus"], result["ErrorCode"]) == ("Aborted", "ClientNotRunning")


@pytest.mark.parametrize("so_far", ["waits", "runs"])
def test_a_run_on_a_host_that_is_deregistered_ends_at_once(env: Environment, agents: Agents, so_far: str) -> None:
    """Nobody will report on it."""
    host = env.host()
    invoke_id = agents.run(host, Timeout=900)
    agents.run_worker()
    if so_far == "runs":
        agents.begin(host)
    agents.ask("DeregisterManagedInstance", InstanceId=host)
    agents.run_worker()
    (result,) = agents.results(invoke_id)
    assert (result["InvocationStatus"], result["ErrorCode"]) == ("Aborted", "InstanceReleased")
