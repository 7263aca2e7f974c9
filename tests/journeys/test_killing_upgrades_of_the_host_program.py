"""kill -9 at every step of an upgrade of the host program: each ends in one definite state, with one agent.

The process that carries the order out is killed at a failpoint, on a machine with a real systemd. What heals the host
is its agent, or the watchdog where no agent runs any more. The timer is not waited for: the test starts its unit.
"""

import json
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import machine as machines
from backfleet_host.agent.setup.systemd_unit import watchdog_name
from journeys.host_programs import offer
from journeys.installation import LONG, Installation, wait_for
from journeys.self_upgrading import UNIT, SelfUpgradingHost, hosts_moved_over

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(machines.why_not()), reason=machines.why_not()),
]

WATCHDOG = watchdog_name(UNIT, "service")
AT_ONCE = 3  # hosts
AGAIN_SECONDS = 2.0


@dataclass(frozen=True)
class Row:
    """Where the process is killed, and what its host then reports."""

    point: str
    code: str
    says: str
    fault: str = ""
    is_at_goal: bool = False


ENDED = "its process was ended"
CUT_OFF = "cut off in the middle of the switch"
ROWS = [
    *(Row(point, "HostBusy", ENDED) for point in ("check", "fetch", "unpacked", "stage", "drain")),
    *(Row(point, "InternalError", CUT_OFF) for point in ("about to switch", "service stopped")),
    *(Row(point, "", "verified after a crash", is_at_goal=True) for point in ("switched", "switch", "prove")),
    *(Row(point, "", "finished after a crash", is_at_goal=True) for point in ("commit", "outcome written")),
    Row("journal closed", "", "", is_at_goal=True),
    *(Row(point, "RolledBack", "runs again", fault="crashes") for point in ("going back", "pointed back")),
]

Fleet = tuple[Installation, list[SelfUpgradingHost]]


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """A server, and hosts whose rows are tried at once."""
    with tempfile.TemporaryDirectory(prefix="bf-") as short, hosts_moved_over(Path(short), AT_ONCE) as made:
        yield made


@pytest.mark.parametrize(
    "rows",
    [ROWS[at : at + AT_ONCE] for at in range(0, len(ROWS), AT_ONCE)],
    ids=lambda rows: "-".join(row.point for row in rows),
)
def test_an_upgrade_that_is_killed_ends_with_one_agent_in_one_state(fleet: Fleet, rows: list[Row]) -> None:
    server, hosts = fleet
    faults = {row.fault for row in rows}
    versions = {fault: f"{2 + ROWS.index(rows[0])}.{number}" for number, fault in enumerate(sorted(faults))}
    for fault, version in versions.items():
        offer(server, version, UNIT, fault)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        rest = [pool.submit(check_row, host, row, versions[row.fault]) for host, row in zip(hosts, rows, strict=False)]
        for each in rest:
            each.result()


def check_row(host: SelfUpgradingHost, row: Row, goal: str) -> None:
    """Kill an upgrade of one host at its row's point, and check how it ends.

    Raises:
        AssertionError: it ends in another way.
    """
    before = host.link("current")
    host.die_at(row.point)
    words = {"InstanceIds": [host.instance_id], "PackageName": "backfleet-host", "ReleaseVersion": goal}
    task = host.server.call("UpgradeBackupClients", **words)["TaskId"]
    result = ended(host, task)
    report = json.loads((host.folder / "outcome.json").read_bytes())["report"]
    assert (report["to_version"], report["code"], row.says in report["message"]) == (goal, row.code, True), (
        row,
        report,
    )
    assert result["errorCode"] == row.code, (row, result)
    wait_for(host.is_connected, LONG)
    at = goal if row.is_at_goal else before
    assert (host.link("current"), host.link("verified"), host.agents()) == (at, at, 1), row
    assert not (host.folder / "journal").exists()


def ended(host: SelfUpgradingHost, task: str) -> dict[str, Any]:
    """Return how a task ended on its one host. The watchdog runs meanwhile, as its timer would have it."""
    until = time.monotonic() + LONG
    while (found := host.server.task(task))["Description"] == "created":
        assert time.monotonic() < until, found
        time.sleep(AGAIN_SECONDS)
        host.machine.systemctl("start", "--no-block", WATCHDOG)
    (item,) = found["Result"]
    return dict(item)
