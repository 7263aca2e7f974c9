"""The official Node clients against a real server and real hosts: the legacy core, the generic client, a typed one."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from journeys.installation import LONG, Installation

PROJECT = Path(__file__).resolve().parents[2]
CLIENTS = PROJECT / ".cache" / "node" / "node_modules"  # `make venv` puts them there
REGION = "cn-hangzhou"

pytestmark = pytest.mark.slow


def walk(installation: Installation, client: str, protocol: str, **more: object) -> dict[str, Any]:
    """Run the calls of the walk with this client; return what it saw."""
    admin = installation.admin()
    settings = {
        "client": client,
        "protocol": protocol,
        "endpoint": f"127.0.0.1:{installation.ports[protocol == 'https']}",
        "region": REGION,
        "key": admin["access_key_id"],
        "secret": admin["access_key_secret"],
        "instances": [host.instance_id for host in installation.hosts[:2]],
        **more,
    }
    done = subprocess.run(
        ["node", PROJECT / "tests" / "node" / "walk.cjs"],
        input=json.dumps(settings),
        env=os.environ | {"NODE_PATH": str(CLIENTS), "NODE_EXTRA_CA_CERTS": admin["ca_file"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=LONG,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("protocol", ["http", "https"])
@pytest.mark.parametrize(
    ("number", "client"),
    [
        pytest.param(6, "pop-core", id="the legacy core, signature version 1"),
        pytest.param(7, "openapi-client", id="the generic client, signature version 3"),
    ],
)
def test_the_walk_by_a_node_client(installation: Installation, number: int, client: str, protocol: str) -> None:
    """One host by instance, one by client; lists in the shapes it expects; a refusal with its code."""
    first, second = (host.instance_id for host in installation.hosts[:2])
    known = installation.call("DescribeBackupClients", ClientType="ECS_CLIENT", InstanceIds=[second])["Clients"]
    version = f"{number}.{protocol == 'https':d}"
    installation.add_release(version)

    saw = walk(installation, client, protocol, client_id=known[0]["ClientId"])

    assert saw["regions"] == [REGION]
    assert known[0]["ClientId"] in saw["clients"]
    assert [(line["InstanceId"], line["ValidInstance"]) for line in saw["statuses"]] == [(first, True)]
    assert (saw["task"]["Description"], saw["task"]["Progress"]) == ("completed", 100), saw["task"]
    assert [(item["instanceId"], item["toVersion"]) for item in saw["task"]["Result"]] == [
        (first, version),
        (second, version),
    ]
    assert installation.hosts[0].runs() == f"courier {version}"
    assert saw["refused"] == "TaskNotFound"
    assert saw["caller"] == installation.admin()["account_id"]


@pytest.mark.parametrize("protocol", ["http", "https"])
def test_cloud_assistant_by_the_typed_node_client(installation: Installation, protocol: str) -> None:
    """Its models find every list where they look for it. These hosts run no shell commands, and say so."""
    ids = [host.instance_id for host in installation.hosts[:2]]
    saw = walk(installation, "ecs20140526", protocol)
    assert saw["code"] is True
    assert set(ids) <= set(saw["managed"])
    assert set(ids) <= set(saw["machines"])
    assert sorted(saw["results"]) == sorted([instance, "CommandNotApplicable"] for instance in ids)
    assert saw["tags"] == [[["made-by", "node"]]] * 2
    assert saw["refused"] == "InvalidRegionId.NotFound"
