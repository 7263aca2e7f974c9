"""Ways to enrol, each as documented: pasted, by cloud-init, from a prepared disk that is copied, by Ansible.

The server is real; hosts are machines with a real systemd as their first process, and folders where Ansible works.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import machine as machines
from journeys.installation import LONG, Installation, wait_for

PROJECT = Path(__file__).resolve().parents[2]
ROLE = PROJECT / "packaging" / "ansible"
ANSIBLE = PROJECT / ".venv" / "ansible" / "bin" / "ansible-playbook"
needs_machine = pytest.mark.skipif(bool(machines.why_not()), reason=machines.why_not())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A server that hosts reach at 127.0.0.1."""
    made = Installation(tmp_path_factory.mktemp("server"))
    try:
        made.start()
        yield made
    finally:
        made.close()


def activation(server: Installation, *words: str) -> str:
    """Return what `backfleet activation create` prints."""
    command = [*server.program, "activation", "create", "--data", str(server.data), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def instances(server: Installation) -> dict[str, dict[str, Any]]:
    """Return all hosts by id."""
    found = server.call("DescribeManagedInstances", "ecs", RegionId="cn-hangzhou", PageSize=50)["Instances"]
    return {each["InstanceId"]: each for each in found}


def new_host(server: Installation, known: set[str]) -> dict[str, Any]:
    """Wait until a host that was not known is connected; return it."""

    def poll() -> Any:
        return [each for name, each in instances(server).items() if name not in known and each["Connected"]]

    (found,) = wait_for(poll, LONG)
    return dict(found)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Machines are below it: paths of sockets and control groups have to be short."""
    with tempfile.TemporaryDirectory(prefix="bf-") as made:
        yield Path(made)


@needs_machine
@pytest.mark.slow
def test_cloud_init_enrols_a_machine_and_a_pasted_line_changes_nothing_then(server: Installation, folder: Path) -> None:
    """Commands are run as cloud-init runs them: each with its arguments, in order, as root. The line is as printed."""
    known = set(instances(server))
    data = yaml.safe_load(activation(server, "--count", "1", "--as", "cloud-init"))
    line = json.loads(activation(server, "--count", "1", "--json"))["BackfleetHost"]
    with machines.switched_on(folder / "m", [server.folder]) as machine:
        for command in data["runcmd"]:
            done = machine.run("/usr/bin/env", *command)
            assert done.returncode == 0, done.stderr
        host = new_host(server, known)
        again = machine.run("/bin/sh", "-c", line)
        assert again.returncode == 0, again.stderr
        assert machine.systemctl("is-active", "backfleet-host.service") == "active"
        assert instances(server).keys() - known == {host["InstanceId"]}


@needs_machine
@pytest.mark.slow
def test_copies_of_a_prepared_disk_are_hosts_of_their_own(server: Installation, folder: Path) -> None:
    """The disk has no secret on it. Each copy is given its activation when it is started, and makes an identity."""
    disk, image = folder / "disk", folder / "image"
    disk.mkdir()
    program = disk / "backfleet-host"
    shutil.copy(PROJECT / "src" / "backfleet" / "backfleet-host.pyz", program)
    ca = server.data / "tls" / "ca.pem"
    with machines.switched_on(folder / "t", [disk]) as template:
        words = ["prepare", "--root", disk, "--server", server.https, "--ca", ca]
        done = template.run(sys.executable, program, *words)
        assert done.returncode == 0, done.stderr
    known = set(instances(server))
    shutil.copytree(disk, image, symlinks=True)
    hosts = []
    for number in (1, 2):
        shutil.rmtree(disk)
        shutil.copytree(image, disk, symlinks=True)
        copy = machines.Machine(folder / f"m{number}", [disk])
        shutil.rmtree(copy.units)
        shutil.copytree(folder / "t" / "units", copy.units, symlinks=True)
        (file,) = yaml.safe_load(activation(server, "--count", "1", "--as", "image"))["write_files"]
        write_as_cloud_init(file, disk)
        try:
            copy.boot()
            hosts.append(new_host(server, known | {each["InstanceId"] for each in hosts}))
        finally:
            copy.power_off()
        assert not (disk / "etc" / "backfleet" / "activation").exists()
    assert len({each["InstanceId"] for each in hosts}) == 2


def write_as_cloud_init(file: dict[str, str], root: Path) -> None:
    """Write a file of user data below another root."""
    target = root / file["path"].lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(file["content"])
    target.chmod(int(file["permissions"], 8))


@pytest.mark.slow
def test_ansible_enrols_a_host_once(server: Installation, tmp_path: Path) -> None:
    """By the real ansible-core, from what `activation create` prints; the second run changes nothing."""
    known = set(instances(server))
    (tmp_path / "activation.json").write_text(activation(server, "--count", "1", "--json"))
    here = {
        "backfleet_root": str(tmp_path / "root"),
        "backfleet_authority": str(tmp_path / "etc" / "ca.pem"),
        "backfleet_program": str(tmp_path / "bin" / "backfleet-host"),
        "backfleet_service": False,
        "backfleet_become": False,
        "backfleet_name": "by-ansible",
        "ansible_python_interpreter": sys.executable,
    }
    command = [ANSIBLE, "-i", "localhost,", "-c", "local", "-e", f"@{tmp_path}/activation.json", "-e", json.dumps(here)]
    environment = os.environ | {"ANSIBLE_HOME": str(tmp_path / "home"), "LC_ALL": "C.UTF-8"}
    environment |= {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_PIPELINING": "1"}
    recaps = []
    for _ in range(2):
        done = subprocess.run(
            [*command, ROLE / "enrol.yml"], env=environment, capture_output=True, text=True, check=False, timeout=LONG
        )
        assert done.returncode == 0, done.stdout + done.stderr
        recaps.append(re.findall(r"(changed|failed)=(\d+)", done.stdout))
    assert recaps[1] == [("changed", "0"), ("failed", "0")]
    assert json.loads((tmp_path / "activation.json").read_text())["ActivationCode"] not in done.stdout
    (made,) = [each for name, each in instances(server).items() if name not in known]
    assert made["InstanceName"] == "by-ansible"
