"""The server is lost in the midst of a ring, and comes back from a copy that is older than what its hosts did since."""

import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backfleet.clock import utc_now
from journeys.installation import Host, Installation, wait_for
from journeys.rollout_commands import SECONDS, apply, run, show, states, until
from journeys.test_restore import run as run_with_passphrase
from journeys.test_rollouts_and_power_cuts import begun_twice, is_noted

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SETTINGS = {"BACKFLEET_FIT_SECONDS": "7200"}
POLICY = """
name = "{name}"
package = "courier"
version = "{version}"
deadline = "{deadline}"

[[ring]]
name = "first"
count = 4
[[ring]]
name = "rest"
gates = [{{ kind = "soak", hours = 1 }}]

[pace]
in_flight = "100%"
ramp = false
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Installation]:
    """A server, and six hosts with 1.0 of the client."""
    made = Installation(tmp_path)
    try:
        made.start(settings=SETTINGS)
        made.enrol(6)
        made.install("1.0")
        wait_for(lambda: all(is_noted(made, host) for host in made.hosts), SECONDS)
        yield made
    finally:
        made.close()


def send(number: int, hosts: list[Host]) -> None:
    """Stop agents as on a host that is out of memory, or let them go on."""
    for host in hosts:
        if host.agent is not None:
            host.agent.send_signal(number)


def in_ring(fleet: Installation, rollout: str, ring: str) -> list[Host]:
    members = {each["InstanceId"] for each in show(fleet, rollout)["MemberList"] if each["Ring"] == ring}
    return [host for host in fleet.hosts if host.instance_id in members]


def test_a_copy_from_the_midst_of_a_ring_moves_nobody_twice_and_forgets_nobody(
    fleet: Installation, tmp_path: Path
) -> None:
    """Two hosts were done when it was made, one was moved since, one was not: nothing leaves while the copy is held."""
    fleet.add_release("2.0")
    copy = tmp_path / "copy.age"
    send(signal.SIGSTOP, fleet.hosts)
    rollout = apply(fleet, "to-2.0", POLICY, version="2.0")
    until(fleet, rollout, lambda found: states(found) == {"upgrading": 4, "pending": 2})
    first, rest = in_ring(fleet, rollout, "first"), in_ring(fleet, rollout, "rest")
    *quick, since, late = first
    send(signal.SIGCONT, [*quick, *rest])
    until(fleet, rollout, lambda found: states(found) == {"succeeded": 2, "upgrading": 2, "pending": 2})
    run_with_passphrase("backup", copy, data=fleet.data)
    send(signal.SIGCONT, [since])
    until(fleet, rollout, lambda found: states(found) == {"succeeded": 3, "upgrading": 1, "pending": 2})
    fleet.kill()
    shutil.rmtree(fleet.data)
    run_with_passphrase("restore", copy, data=fleet.data)
    fleet.start(settings=SETTINGS)
    restored = utc_now().timestamp()
    send(signal.SIGCONT, [late])

    # Held: hosts are asked what they have, and none is given an order.
    wait_for(lambda: fleet.call("DescribeServer", "backfleet")["ConnectedInstances"] == len(fleet.hosts), SECONDS)
    wait_for(lambda: has_now(fleet)["2.0"] == 3, SECONDS)
    assert states(show(fleet, rollout)) == {"succeeded": 2, "upgrading": 2, "pending": 2}
    assert [host.runs() for host in (late, *rest)] == ["courier 1.0"] * 3

    # Nobody knows what became of two orders: the rollout halts, says so, and goes on when somebody has looked.
    run(fleet, "server", "release-hold")
    halted = until(fleet, rollout, lambda found: found["State"] == "halted")
    reasons = [each["Reason"] for each in halted["MemberList"] if each["State"] == "lost"]
    assert all("the server was restored from a copy" in each for each in reasons), reasons
    assert late.runs() == "courier 1.0"
    run(fleet, "rollout", "retry", rollout)
    run(fleet, "rollout", "resume", rollout)
    found = until(fleet, rollout, lambda found: found["Rings"][0]["State"] == "finished")
    assert found["Rings"][0]["Succeeded"] + found["Rings"][0]["AlreadyThere"] == len(first)
    assert [len(moved(host)) for host in first] == [1] * len(first)
    assert [begun_twice(host) for host in fleet.hosts] == [[]] * len(fleet.hosts)

    # The gate counts from then on, and not from a moment before the server was lost.
    assert found["Rings"][0]["FinishedTime"] >= int(restored)
    waits = until(fleet, rollout, lambda found: bool(found["WaitsFor"]))
    assert (waits["State"], waits["WaitsFor"][:5], states(waits)["pending"]) == ("running", "soak:", 2)
    assert [(host.runs(), moved(host)) for host in rest] == [("courier 1.0", [])] * len(rest)


def has_now(fleet: Installation) -> Counter[str]:
    """Return how many clients the server knows of each version."""
    found = fleet.call("DescribeBackupClients", ClientType="ECS_CLIENT", PageSize=50)["Clients"]
    return Counter(each["ClientVersion"] for each in found)


def moved(host: Host) -> list[dict[str, Any]]:
    """Return how a host's orders ended that took it from 1.0 to 2.0."""
    return [each for each in host.outcomes("2.0") if each["from_version"] == "1.0" and each["outcome"] == "succeeded"]
