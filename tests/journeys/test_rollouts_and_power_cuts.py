"""The server dies with -9 in the midst of a rollout, and is started again: real hosts, moved by the command line."""

import json
import re
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from journeys.installation import Host, Installation, wait_for
from journeys.rollout_commands import SECONDS, apply, cli, end_open, over, policy_file, run, states, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

HOSTS = 4
FROZEN = 2  # hosts that fetch nothing for a while
SETTINGS = {"BACKFLEET_FIT_SECONDS": "7200"}  # frozen hosts count as reachable however long a server takes to start

POLICY = """
name = "{name}"
package = "courier"
version = "{version}"
deadline = "{deadline}"

[[ring]]
name = "all"

[pace]
in_flight = "100%"
ramp = false
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A server, and hosts with 1.0 of the client."""
    made = Installation(tmp_path_factory.mktemp("fleet"))
    try:
        made.start(settings=SETTINGS)
        made.enrol(HOSTS)
        made.install("1.0")
        wait_for(lambda: all(is_noted(made, host) for host in made.hosts), SECONDS)
        yield made
    finally:
        made.close()


def is_noted(fleet: Installation, host: Host) -> bool:
    """Return whether the server has stored that it can reach a host: what it only remembers dies with it."""
    return bool(json.loads(run(fleet, "instance", "show", host.instance_id, "--json")).get("ReachableTime"))


@pytest.fixture(autouse=True)
def usable_fleet(fleet: Installation) -> Iterator[None]:
    """A test that fails leaves a server that runs, and no open rollout, to the next one."""
    yield
    if fleet.server is None or fleet.server.poll() is not None:
        fleet.start(settings=SETTINGS)
    end_open(fleet)


def apply_to(fleet: Installation, version: str) -> str:
    """Apply the policy that moves every host to this version at once. The same file again changes nothing."""
    return apply(fleet, f"to-{version}", POLICY, version=version)


def apply_to_dying_server(fleet: Installation, version: str) -> None:
    """Apply it once; the answer may die with the server."""
    file = policy_file(fleet, f"to-{version}", POLICY, version=version)
    cli(fleet, "rollout", "apply", str(file), "--json")


def moves(fleet: Installation, rollout: str, change: str, why: str) -> Counter[str]:
    """Return how often members made this move, by member, as the rollout's events say."""
    events = json.loads(run(fleet, "rollout", "events", rollout, "--json"))
    found = (each for each in events if (each["What"], each["Change"], each["Reason"]) == ("member", change, why))
    return Counter(each["Name"] for each in found)


def begun_twice(host: Host) -> list[str]:
    """Return the tasks that a host began more than once, as its agent's log says."""
    log = (host.root.parent / f"{host.root.name}.log").read_text()
    return [task for task, times in Counter(re.findall(r"task (\S+): begins", log)).items() if times > 1]


@contextmanager
def frozen(hosts: list[Host]) -> Iterator[None]:
    """Agents that keep their connection and do nothing, as on a host that is out of memory."""
    agents = [host.agent for host in hosts if host.agent is not None]
    for agent in agents:
        agent.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for agent in agents:
            agent.send_signal(signal.SIGCONT)


def test_members_that_had_begun_when_the_server_died_are_moved_once_and_all_of_them(fleet: Installation) -> None:
    """It dies with the orders stored and none sent, and again while hosts carry theirs out."""
    fleet.add_release("2.0")
    with frozen(fleet.hosts):
        fleet.kill()
        fleet.start(die_at="rollout decided", settings=SETTINGS)
        apply_to_dying_server(fleet, "2.0")
        assert fleet.wait_for_death() == -signal.SIGKILL
        fleet.start(settings=SETTINGS)
        rollout = apply_to(fleet, "2.0")
        until(fleet, rollout, lambda found: states(found) == {"upgrading": HOSTS})
    wait_for(lambda: any((host.root / "courier" / "versions" / "2.0").exists() for host in fleet.hosts), SECONDS)
    fleet.kill()
    fleet.start(settings=SETTINGS)
    done = over(fleet, rollout, "completed")

    assert states(done) == {"succeeded": HOSTS}
    assert list(moves(fleet, rollout, "upgrading", "its order leaves").values()) == [1] * HOSTS
    for host in fleet.hosts:
        assert host.runs() == "courier 2.0"
        assert len(host.outcomes("2.0")) == 1
        assert begun_twice(host) == []


def test_no_order_leaves_after_a_halt_though_the_server_dies_and_hosts_come_to_fetch(fleet: Installation) -> None:
    """Orders waited for them when the halt was written. The next server still gives them other orders."""
    fleet.add_release("3.0", health=1)
    slow, quick = fleet.hosts[:FROZEN], fleet.hosts[FROZEN:]
    before = [host.runs() for host in fleet.hosts]
    with frozen(slow):
        rollout = apply_to(fleet, "3.0")
        over(fleet, rollout, "halted")
        fleet.kill()
    fleet.start(settings=SETTINGS)
    stopped = until(fleet, rollout, lambda found: states(found)["waiting"] + states(found)["rolled_back"] == HOSTS)
    fetched = [host for host in quick if host.outcomes("3.0")]  # one may have been slower than the first to fail
    assert states(stopped) == {"rolled_back": len(fetched), "waiting": HOSTS - len(fetched)}
    withdrawn = moves(fleet, rollout, "pending", "its order was withdrawn before the host fetched it")
    assert list(withdrawn.values()) == [1] * (HOSTS - len(fetched))
    assert list(moves(fleet, rollout, "upgrading", "its order leaves").values()) == [1] * HOSTS
    fleet.add_release("3.1")
    started = fleet.call("UpgradeBackupClients", InstanceIds=[host.instance_id for host in fleet.hosts])
    assert fleet.finished(started["TaskId"])["Progress"] == 100

    assert len(fetched) >= 1
    assert [len(host.outcomes("3.0")) for host in fleet.hosts] == [int(host in fetched) for host in fleet.hosts]
    assert [begun_twice(host) for host in fleet.hosts] == [[]] * HOSTS
    run(fleet, "rollout", "cancel", rollout)
    until(fleet, rollout, lambda found: states(found) == {"rolled_back": len(fetched), "skipped": HOSTS - len(fetched)})
    assert "courier 3.0" not in [*before, *(host.runs() for host in fleet.hosts)]
