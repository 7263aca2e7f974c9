"""A copied root: two real agents with one identity, until the copy gets its own."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from journeys.installation import HOST_PROGRAM, LONG, Host, Installation, wait_for
from journeys.test_stopped_agents import is_connected


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path)
    try:
        made.start()
        made.enrol(1)
        made.install("1.0")
        yield made
    finally:
        made.close()


def heartbeat(host: Host) -> None:
    """Restart nothing: have the agent's next heartbeat come now, as its next minute would."""
    script = (
        "import sys, time; from pathlib import Path; from backfleet_host.layout import Places;"
        "from backfleet_host.identity import read_identity;"
        "from backfleet_host.agent.running import _server;"
        "places = Places(Path(sys.argv[1])); identity = read_identity(places);"
        "print(_server(places, identity).get('/luban/api/heart-beat?pid=1&hostname=' + sys.argv[2] + '&run=' + "
        "sys.argv[2]).status)"
    )
    words = [HOST_PROGRAM[0], "-c", script, str(host.root), host.root.name]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip() == "200"


def test_a_copy_is_noticed_refused_and_given_an_identity_of_its_own(server: Installation, tmp_path: Path) -> None:
    """The server says which hosts they are, and what to do; orders go to neither until it is done."""
    (original,) = server.hosts
    copy = Host(server, tmp_path / "copy")
    original.stop()
    shutil.copytree(original.root, copy.root, symlinks=True, ignore=shutil.ignore_patterns(".runs"))

    def noticed() -> Any:
        for host in (original, copy):
            heartbeat(host)
        return server.call("DescribeInstance", "backfleet", InstanceId=original.instance_id)["Clones"]

    clones = wait_for(noticed, LONG)
    assert {clone["Host"] for clone in clones} == {"host-1", "copy"}
    assert server.call("DescribeServer", "backfleet")["ClonedInstances"] == 1
    original.start()
    original.wait_until_running()
    wait_for(lambda: is_connected(server, original), LONG)  # it was away
    server.add_release("2.0")
    started = server.call("UpgradeBackupClients", InstanceIds=[original.instance_id])
    (item,) = server.finished(started["TaskId"])["Result"]
    assert item["errorCode"] == "HostCloned"
    assert "copy" in item["message"]
    assert "enrol --new-identity" in item["message"]
    assert original.runs() == copy.runs() == "courier 1.0"

    code = server.call("CreateActivation", "ecs", RegionId="cn-hangzhou", InstanceCount=1)
    ca = str(server.data / "tls" / "ca.pem")
    words = ["--server", server.https, "--ca", ca, "--activation-id", code["ActivationId"], "--new-identity"]
    words += ["--activation-code", code["ActivationCode"], "--root", str(copy.root)]
    subprocess.run([*HOST_PROGRAM, "enrol", *words], capture_output=True, check=True)
    own = json.loads((copy.root / "agent" / "identity.json").read_text())["instance_id"]
    assert own != original.instance_id
    copy.start()
    server.hosts.append(copy)
    copy.wait_until_running()
    assert copy.instance_id == own
    started = server.call("InstallBackupClients", InstanceIds=[own])
    (item,) = server.finished(started["TaskId"])["Result"]
    assert (item["errorCode"], item["currentVersion"]) == ("", "2.0")
    assert (original.runs(), copy.runs()) == ("courier 1.0", "courier 2.0")
