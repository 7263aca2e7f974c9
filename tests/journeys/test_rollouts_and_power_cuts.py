"""The server dies with -9 in the midst of a rollout, and is started again: real hosts, moved by the command line."""

import json
import re
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result

from backfleet.cli import main
from backfleet.clock import utc_now
from journeys.installation import Host, Installation, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

HOSTS = 4
FROZEN = 2  # hosts that fetch nothing for a while
SECONDS = 120.0  # on a busy machine

POLICY = """
name = "to {version}"
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
        made.start()
        made.enrol(HOSTS)
        made.install("1.0")
        yield made
    finally:
        made.close()


def cli(fleet: Installation, *arguments: str) -> Result:
    """Run a command of the command line on that server."""
    return CliRunner().invoke(main, [*arguments, "--data", str(fleet.data)])


def apply(fleet: Installation, version: str) -> Result:
    """Apply the policy that moves every host to this version at once. The same file again changes nothing."""
    file = fleet.folder / f"to-{version}.toml"
    if not file.exists():
        file.write_text(POLICY.format(version=version, deadline=(utc_now() + timedelta(hours=2)).isoformat()))
    return cli(fleet, "rollout", "apply", str(file), "--json")


def show(fleet: Installation, rollout: str) -> dict[str, Any]:
    done = cli(fleet, "rollout", "show", rollout, "--members", "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.output)
    return found


def states(found: dict[str, Any]) -> Counter[str]:
    return Counter(each["State"] for each in found["MemberList"])


def moves(fleet: Installation, rollout: str, change: str, why: str) -> Counter[str]:
    """Return how often members made this move, by member, as the rollout's events say."""
    events = json.loads(cli(fleet, "rollout", "events", rollout, "--json").output)
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
        fleet.start(die_at="rollout decided")
        apply(fleet, "2.0")  # the answer may have died, too
        assert fleet.wait_for_death() == -signal.SIGKILL
        fleet.start()
        rollout = json.loads(apply(fleet, "2.0").output)["RolloutId"]
        assert states(show(fleet, rollout))["upgrading"] == HOSTS
    wait_for(lambda: any((host.root / "courier" / "versions" / "2.0").exists() for host in fleet.hosts), SECONDS)
    fleet.kill()
    fleet.start()
    done = wait_for(lambda: (found := show(fleet, rollout))["State"] == "completed" and found, SECONDS)

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
        rollout = json.loads(apply(fleet, "3.0").output)["RolloutId"]
        wait_for(lambda: show(fleet, rollout)["State"] == "halted", SECONDS)
        fleet.kill()
    fleet.start()
    wait_for(lambda: states(show(fleet, rollout)) == {"rolled_back": HOSTS - FROZEN, "waiting": FROZEN}, SECONDS)
    withdrawn = moves(fleet, rollout, "pending", "its order was withdrawn before the host fetched it")
    assert list(withdrawn.values()) == [1] * FROZEN
    assert list(moves(fleet, rollout, "upgrading", "its order leaves").values()) == [1] * HOSTS
    fleet.add_release("3.1")
    started = fleet.call("UpgradeBackupClients", InstanceIds=[host.instance_id for host in fleet.hosts])
    assert fleet.finished(started["TaskId"])["Progress"] == 100

    assert [len(host.outcomes("3.0")) for host in slow] == [0] * FROZEN
    assert [len(host.outcomes("3.0")) for host in quick] == [1] * (HOSTS - FROZEN)
    assert [begun_twice(host) for host in fleet.hosts] == [[]] * HOSTS
    assert cli(fleet, "rollout", "cancel", rollout).exit_code == 0
    wait_for(lambda: states(show(fleet, rollout)) == {"rolled_back": HOSTS - FROZEN, "skipped": FROZEN}, SECONDS)
    assert "courier 3.0" not in [*before, *(host.runs() for host in fleet.hosts)]
