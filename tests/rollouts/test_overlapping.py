"""Rollouts of the same clients, where the later one waits: it begins with a client once the other is done with it."""

import pytest

from rollouts.fleet import POLICY, Fleet

GATED = POLICY.replace('name = "rest"', 'name = "rest"\ngates = [{{ kind = "manual" }}]')
WAITS = 'overlap = "wait"\n' + POLICY.replace("courier to 2.0", "waits").replace("count = 2", "count = 1")


def states(hosts: Fleet, rollout: str, *clients: str) -> set[str]:
    found = hosts.members(rollout)
    return {found[client]["State"] for client in clients or found}


def in_ring(hosts: Fleet, rollout: str, ring: str) -> list[str]:
    return [client for client, found in hosts.members(rollout).items() if found["Ring"] == ring]


def test_no_client_is_moved_past_the_gate_of_the_rollout_that_was_first(hosts: Fleet) -> None:
    """Who is done with in the first one begins; the others say which rollout they wait for, and are counted."""
    hosts.grow(4)
    first = hosts.roll_out(text=GATED)
    second = hosts.roll_out(text=WAITS)
    assert hosts.run(second, 10)["State"] == "running"
    gated = in_ring(hosts, first, "rest")
    assert states(hosts, first, *gated) == {"pending"}
    assert not states(hosts, second, *gated) & {"succeeded", "already_there", "upgrading"}
    member = hosts.members(second)[gated[0]]
    assert f"rollout {first} moves it" in member["Reason"] or "its ring has not started" in member["Reason"]
    assert {each["For"] for each in hosts.show(second)["Waits"]} <= {"overlap"}
    hosts.ask("ResumeRollout", RolloutId=first)
    assert hosts.run(first)["State"] == "completed"
    assert hosts.run(second)["State"] == "completed"
    assert states(hosts, second) <= {"already_there", "succeeded"}


@pytest.mark.parametrize("drafted_first", [True, False])
def test_of_two_that_wait_the_one_that_started_first_goes_first(hosts: Fleet, drafted_first: bool) -> None:
    """Whichever was created first: no two wait for each other."""
    hosts.grow(4)

    def draft(name: str) -> str:
        hosts.at += 1
        made: str = hosts.ask("CreateRollout", Policy=hosts.policy(text=WAITS.replace('"waits"', f'"{name}"')))[
            "RolloutId"
        ]
        return made

    older, newer = draft("older"), draft("newer")
    first, second = (older, newer) if drafted_first else (newer, older)
    hosts.ask("StartRollout", RolloutId=first)
    hosts.at += 1
    hosts.ask("StartRollout", RolloutId=second)
    assert hosts.run(first)["State"] == "completed"
    assert states(hosts, first) == {"succeeded"}
    assert hosts.run(second)["State"] == "completed"


def test_a_draft_that_is_older_waits_for_a_rollout_that_started_before_it(hosts: Fleet) -> None:
    """Also for one whose own policy would have refused it."""
    hosts.env.release("3.0")
    hosts.grow(4)
    text = WAITS.replace('"2.0"', '"3.0"')
    draft = hosts.ask("CreateRollout", Policy=hosts.policy(text=text))["RolloutId"]
    hosts.at += 1
    gated = hosts.roll_out(text=GATED)
    hosts.run(gated, 5)
    hosts.ask("StartRollout", RolloutId=draft)
    hosts.run(draft, 8)
    rest = in_ring(hosts, gated, "rest")
    assert states(hosts, gated, *rest) == {"pending"}
    assert {hosts.helpers.client(each).version for each in rest} == {"1.0"}
    hosts.ask("ResumeRollout", RolloutId=gated)
    assert hosts.run(gated)["State"] == "completed"
    assert hosts.run(draft)["State"] == "completed"
    assert {found["FromVersion"] for found in hosts.members(draft).values()} == {"2.0"}


def test_a_rollout_that_starts_by_its_time_waits_for_those_that_run_then(hosts: Fleet) -> None:
    """Nobody could refuse it: the other was not there when it was created."""
    hosts.grow(4)
    at = int(hosts.now.timestamp()) + 600
    scheduled = hosts.ask("CreateRollout", Policy=hosts.policy(), StartTime=str(at))["RolloutId"]
    running = hosts.roll_out(
        text=GATED.replace("courier to 2.0", "gated").replace("name =", 'overlap = "wait"\nname =', 1)
    )
    hosts.run(running, 5)
    hosts.at += 600
    hosts.run(scheduled, 5)
    rest = in_ring(hosts, running, "rest")
    assert not states(hosts, scheduled, *rest) & {"succeeded", "already_there", "upgrading"}


def test_a_rollout_that_goes_back_is_waited_for(hosts: Fleet) -> None:
    """Its members are moved once they are back."""
    hosts.env.release("3.0")
    clients = hosts.grow(4)
    first = hosts.roll_out()
    assert hosts.run(first)["State"] == "completed"
    hosts.silent |= {hosts.instance_of(client) for client in clients}
    hosts.ask("RollBackRollout", RolloutId=first)
    second = hosts.roll_out(text=WAITS.replace('"2.0"', '"3.0"'))
    hosts.run(second, 4)
    assert states(hosts, second) <= {"pending", "waiting"}
    hosts.silent.clear()
    assert hosts.run(first)["State"] == "rolled_back"
    assert hosts.run(second)["State"] == "completed"
    assert {found["FromVersion"] for found in hosts.members(second).values()} == {"1.0"}
