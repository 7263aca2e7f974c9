"""A rollout moves the host program of real hosts in two rings, and nobody else gets what the canary could not run."""

import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import machine as machines
from journeys.host_programs import offer, program
from journeys.installation import LONG, Installation, wait_for
from journeys.rollout_commands import apply, end_open, over, run
from journeys.self_upgrading import UNIT, SelfUpgradingHost, hosts_moved_over

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(machines.why_not()), reason=machines.why_not()),
]

POLICY = """
name = "{name}"
package = "backfleet-host"
version = "{version}"
deadline = "{deadline}"

[[ring]]
name = "canary"
count = 1

[[ring]]
name = "rest"
gates = [{{ kind = "budget", max_failed = 0 }}]
"""

Fleet = tuple[Installation, list[SelfUpgradingHost]]


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """A server and three hosts."""
    with tempfile.TemporaryDirectory(prefix="bf-") as short, hosts_moved_over(Path(short), 3) as made:
        yield made


@pytest.fixture(autouse=True)
def usable_fleet(fleet: Fleet) -> Iterator[None]:
    """A test that fails leaves no open rollout to the next one."""
    yield
    end_open(fleet[0])


def moved(fleet: Fleet, version: str, fault: str = "", **more: Any) -> dict[str, Any]:
    """Offer a version, roll it out, and return the rollout once it has completed or halted."""
    server, _hosts = fleet
    offer(server, version, UNIT, fault, **more)
    return over(server, apply(server, f"to-{version}", POLICY, version=version), "completed", "halted")


def check_running(fleet: Fleet, *versions: str) -> None:
    """Check that each host is at one of these versions, and has one agent, which is connected.

    Raises:
        AssertionError: one is not.
    """
    for host in fleet[1]:
        wait_for(host.is_connected, LONG)
        assert (host.agents(), host.link("current") in versions) == (1, True), host.link("current")
        assert (host.link("verified"), (host.folder / "journal").exists()) == (host.link("current"), False)


def test_a_good_version_goes_through_both_rings_and_can_be_taken_back(fleet: Fleet) -> None:
    done = moved(fleet, "1.1")
    assert (done["State"], [ring["Succeeded"] for ring in done["Rings"]]) == ("completed", [1, 2]), done
    check_running(fleet, "1.1")
    run(fleet[0], "rollout", "roll-back", done["RolloutId"])
    back = over(fleet[0], done["RolloutId"], "rolled_back", "halted")
    assert (back["State"], sum(ring["RolledBack"] for ring in back["Rings"])) == ("rolled_back", 3), back
    check_running(fleet, "1.0")


@pytest.mark.parametrize(("version", "fault"), [("2.0", "is alone"), ("2.1", "crashes")])
def test_a_bad_version_is_taken_back_on_the_canary_and_halts_the_rollout(
    fleet: Fleet, version: str, fault: str
) -> None:
    """Within the limit of its proof. No other host gets an order, and none is left without an agent."""
    before = {host.instance_id: (host.link("current"), len(orders(host))) for host in fleet[1]}
    halted = moved(fleet, version, fault)
    assert halted["State"] == "halted", halted
    assert [ring["State"] for ring in halted["Rings"]] == ["running", "pending"]
    assert [ring["RolledBack"] for ring in halted["Rings"]] == [1, 0]
    check_running(fleet, *{each for each, _count in before.values()})
    changed = [host for host in fleet[1] if len(orders(host)) > before[host.instance_id][1]]
    assert len(changed) == 1
    run(fleet[0], "rollout", "cancel", halted["RolloutId"])


def orders(host: SelfUpgradingHost) -> list[Path]:
    """Return the outcomes of the orders that a host has carried out on its own program."""
    return [*(host.folder / "outcomes").glob("*.json")]


def test_a_bridge_version_is_passed_on_the_way(fleet: Fleet) -> None:
    """The goal may be reached from the bridge only; each host runs the bridge on its way, and both prove themselves."""
    offer(fleet[0], "3.0", UNIT)
    done = moved(fleet, "4.0", upgrades_from=">=3.0")
    assert (done["State"], [ring["Succeeded"] for ring in done["Rings"]]) == ("completed", [1, 2]), done
    check_running(fleet, "4.0")
    passed = sha256(program("3.0")).hexdigest()[:32]  # as the agent that ran there named its copy
    assert [(host.root / "agent" / "program" / passed).is_dir() for host in fleet[1]] == [True] * 3
