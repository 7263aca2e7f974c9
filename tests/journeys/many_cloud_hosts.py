"""Many hosts of a cloud that fails in every way, both servers killed on the way: each order ends right, and once."""

import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from backfleet.cli._client import CallFailed
from journeys.cloud_agents import CloudAgents, cloud_agents
from journeys.cloud_faults import Faults, fault_proxy
from journeys.cloud_installation import REGION, SETTINGS, CloudInstallation, cloud_installation
from journeys.installation import LONG, PACKAGE, wait_for

CALL: Final = 20  # instances of one call
MANY: Final = {"BACKFLEET_FIT_SECONDS": "60"}


@dataclass
class Figures:
    """What happened."""

    hosts: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)  # of the cloud, by operation
    batches: int = 0  # ClientTokens that were sent
    invocations: int = 0  # that the cloud made of them
    twice: list[str] = field(default_factory=list)  # what a host carried out more than once, or never
    answered_from_journal: int = 0
    errors: list[str] = field(default_factory=list)


def run(folder: Path, *, simulated: int, real: int, kills: int, seed: int) -> Figures:
    """Install and upgrade a client on all of them.

    Args:
        folder: for everything.
        simulated: hosts with agents that play what they do.
        real: hosts with real agents, which do it.
        kills: of each server, in the installation and in the upgrade.
        seed: of the moments.
    """
    found, draw = Figures(hosts=simulated + real), random.Random(seed)
    with (
        cloud_installation(folder, hosts=real, **MANY) as made,
        cloud_agents(made.cloud, simulated) as agents,
        fault_proxy(made.cloud.https, made.cloud.data) as (place, faults),
    ):
        ids = [*agents.ids, *(host.instance_id for host in made.hosts)]
        began = time.monotonic()
        made.create_account(Endpoint=place)
        made.import_all()
        wait_for(lambda: all(_is_known(made, each) for each in ids), LONG)
        found.seconds["import"] = time.monotonic() - began
        faults.is_on = True
        for action, version in (("InstallBackupClients", "1.0"), ("UpgradeBackupClients", "2.0")):
            made.server.add_release(version)
            began = time.monotonic()
            tasks = [
                made.server.call(action, InstanceIds=ids[at : at + CALL])["TaskId"] for at in range(0, len(ids), CALL)
            ]
            _kill(made, agents, version, kills, draw, found)
            for task_id in tasks:
                for item in made.server.finished(task_id)["Result"]:
                    found.outcomes[f"{version} {item['errorCode'] or item['toVersion']}"] += 1
                    if item["errorCode"]:
                        found.errors.append(f"{item.get('instanceId')}: {item['errorCode']} {item.get('errorMessage')}")
            found.seconds[action] = time.monotonic() - began
        faults.is_on = False
        _read(made, agents, faults, found)
    return found


def _is_known(made: CloudInstallation, instance_id: str) -> bool:
    try:
        described: dict[str, Any] = made.described(instance_id)
    except CallFailed:
        return False
    return bool(described["Platform"]) and not described["Ecs"]["ProblemCode"]


def _kill(
    made: CloudInstallation, agents: CloudAgents, version: str, kills: int, draw: random.Random, found: Figures
) -> None:
    """Kill the servers while orders to a version are under way."""
    sides = ["cloud", "server"] * kills
    for number, side in enumerate(sides, start=1):
        most = len(agents.agents) * number // (len(sides) + 1)

        def are_under_way(most: int = most) -> bool:
            return sum(key[2] == version for key in agents.carried) >= most

        wait_for(are_under_way, LONG)
        time.sleep(draw.uniform(0, 1))
        one = made.cloud if side == "cloud" else made.server
        one.kill()
        found.kills[side] += 1
        time.sleep(draw.uniform(0, 2))
        one.start(settings=None if side == "cloud" else SETTINGS | MANY)


def _read(made: CloudInstallation, agents: CloudAgents, faults: Faults, found: Figures) -> None:
    """Read what each host did, and what the cloud has of it."""
    for agent in agents.agents:
        for version in ("1.0", "2.0"):
            times = sum(n for key, n in agents.carried.items() if key[0] == agent.instance_id and key[2] == version)
            if times != 1:
                found.twice.append(f"{agent.instance_id} {version}: {times}")
    for host in made.hosts:
        files = (host.brought / PACKAGE / "outcomes").glob("*.json")
        versions = Counter(json.loads(file.read_text())["report"]["to_version"] for file in files)
        if versions != {"1.0": 1, "2.0": 1} or host.runs() != f"{PACKAGE} 2.0":
            found.twice.append(f"{host.instance_id}: {dict(versions)}, runs {host.runs()}")
    for (action, fault), count in faults.met.items():
        found.faults[fault or "none"] += count
        found.calls[action] += count
    found.batches, found.answered_from_journal = len(set(faults.tokens)), agents.repeated
    listed = made.cloud.call("DescribeInvocations", "ecs", RegionId=REGION, PageSize=50)
    found.invocations = listed["TotalCount"]
    found.errors += [f"a command that is none of ours: {each}" for each in agents.strange]
