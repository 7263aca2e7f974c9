"""Rollouts of the same clients, where the later one waits: it begins with a client once the other is done with it."""

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


def test_of_two_that_wait_the_one_that_was_created_first_goes_first(hosts: Fleet) -> None:
    """Also where it is started later: no two wait for each other."""
    hosts.grow(4)
    drafted = hosts.ask("CreateRollout", Policy=hosts.policy(text=WAITS.replace('"waits"', '"drafted"')))["RolloutId"]
    hosts.at += 1
    running = hosts.roll_out(text=WAITS)
    hosts.ask("StartRollout", RolloutId=drafted)
    assert hosts.run(drafted)["State"] == "completed"
    assert states(hosts, drafted) == {"succeeded"}
    assert hosts.run(running)["State"] == "completed"


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
