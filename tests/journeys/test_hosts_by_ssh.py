"""Hosts without an agent: a real sshd, a real server, and a real client that is upgraded and rolled back."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from backfleet import commands
from backfleet.cli import main
from journeys.installation import LONG, PACKAGE, processes_of, wait_for
from journeys.ssh_installation import SETTINGS, SshInstallation, ssh_installation
from sshd import running_sshd

SLOW = """#!/bin/sh
touch {folder}/asked
while [ -e {folder}/hold ]; do sleep 0.05; done
echo courier {{version}}
exit {{health}}
"""


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshInstallation]:
    with ssh_installation(tmp_path_factory.mktemp("ssh")) as made:
        yield made


def test_a_host_without_an_agent_is_upgraded_and_rolled_back(ssh: SshInstallation) -> None:
    instance_id, host = ssh.import_host("web")
    found = ssh.visited(instance_id)
    assert (found["Carrier"], found["Ssh"]["HostKeys"]) == ("ssh", [f"ssh-ed25519 {ssh.sshd.fingerprint}"])
    ssh.server.add_release("1.0")
    installed = ssh.result(ssh.begin("InstallBackupClients", instance_id))
    assert (installed["errorCode"], host.runs()) == ("", f"{PACKAGE} 1.0"), installed
    ssh.server.add_release("2.0")
    upgraded = ssh.result(ssh.begin("UpgradeBackupClients", instance_id))
    assert (upgraded["errorCode"], upgraded["fromVersion"], host.runs()) == ("", "1.0", f"{PACKAGE} 2.0"), upgraded
    ssh.server.add_release("3.0", health=1)
    item = ssh.result(ssh.begin("UpgradeBackupClients", instance_id))
    assert (item["errorCode"], item["currentVersion"], host.runs()) == ("RolledBack", "2.0", f"{PACKAGE} 2.0"), item


@pytest.mark.parametrize("cut", ["connection", "server"])
def test_an_order_is_found_again_after_the_middle_was_killed(ssh: SshInstallation, cut: str) -> None:
    """Kill -9 of the sessions on the host, or of the server: it ends well, and the host has done it once."""
    version = {"connection": "4.0", "server": "5.0"}[cut]
    instance_id, host = ssh.import_host(cut)
    ssh.visited(instance_id)
    (ssh.server.folder / "asked").unlink(missing_ok=True)
    (ssh.server.folder / "hold").touch()
    ssh.server.add_release(version, client=SLOW.format(folder=ssh.server.folder))
    task_id = ssh.begin("InstallBackupClients", instance_id)
    wait_for((ssh.server.folder / "asked").exists, LONG)
    if cut == "connection":
        ssh.sshd.cut_connections()
    else:
        ssh.server.kill()
    (ssh.server.folder / "hold").unlink()
    if cut == "server":
        ssh.server.start(settings=SETTINGS)
    item = ssh.result(task_id)
    assert (item["errorCode"], item["toVersion"]) == ("", version), item
    assert [report["outcome"] for report in host.outcomes(version)] == ["succeeded"]


def test_a_command_runs_and_what_it_prints_comes_back(ssh: SshInstallation) -> None:
    """Whatever bytes are in it: nothing of it is part of a command line."""
    instance_id, _ = ssh.import_host("commands")
    ssh.visited(instance_id)
    found = ssh.invocation(ssh.run(instance_id, "echo \"it's\" '$HOME' `id -u`; cat; exit 3"), until="Failed")
    assert (found["ExitCode"], found["Output"]) == (3, "it's $HOME 0\n"), found


def test_a_command_is_stopped_on_its_host(ssh: SshInstallation) -> None:
    instance_id, _ = ssh.import_host("stopping")
    ssh.visited(instance_id)
    mark = f"{ssh.server.folder}/stopping-mark"
    invoke_id = ssh.run(instance_id, f"touch {mark}; sh -c 'sleep 3000; : {mark}'")
    wait_for(lambda: os.path.exists(mark) and processes_of(mark), LONG)  # type: ignore[arg-type]
    ssh.invocation(invoke_id, until="Running")
    ssh.server.call("StopInvocation", "ecs", RegionId="cn-hangzhou", InvokeId=invoke_id)
    ssh.invocation(invoke_id, until="Stopped")
    wait_for(lambda: not processes_of(mark), LONG)  # type: ignore[arg-type]


def test_a_command_that_prints_too_much_keeps_its_ends(ssh: SshInstallation) -> None:
    instance_id, _ = ssh.import_host("printing")
    ssh.visited(instance_id)
    content = "echo first; yes in-between | head -c 5000000; echo; echo last"
    found = ssh.invocation(ssh.run(instance_id, content), until="Finished")
    assert (found["Output"].startswith("first\n"), found["Output"].endswith("last\n")) == (True, True)
    assert len(found["Output"]) <= commands.LONGEST_OUTPUT
    assert found["Dropped"] == 5_000_000 + len("first\n\nlast\n") - len(found["Output"])


def test_a_command_ends_with_its_time(ssh: SshInstallation) -> None:
    """Its processes on the host end, too."""
    instance_id, _ = ssh.import_host("late")
    ssh.visited(instance_id)
    mark = f"{ssh.server.folder}/late-mark"
    invoke_id = ssh.run(instance_id, f"touch {mark}; sh -c 'sleep 3000; : {mark}'", seconds=10)
    wait_for(lambda: os.path.exists(mark) and processes_of(mark), LONG)  # type: ignore[arg-type]
    found = ssh.invocation(invoke_id, until="Failed")
    assert found["InvocationStatus"] == "Timeout", found
    wait_for(lambda: not processes_of(mark), LONG)  # type: ignore[arg-type]


def test_a_host_is_reached_through_a_jump_host(ssh: SshInstallation) -> None:
    """The jump host has keys of its own that it is known by."""
    with running_sshd(ssh.server.folder / "jump", forwarding=True) as jump:
        jump.admit(ssh.server.call("ListSshKeys", "backfleet")["Keys"][0]["PublicKey"])
        way = {"Hosts.1.Jumps.1.Address": "127.0.0.1", "Hosts.1.Jumps.1.Port": jump.port}
        known = {"Hosts.1.Jumps.1.HostKeys.1": jump.host_key}
        instance_id, _ = ssh.import_host("behind", **way, **known)
        assert ssh.visited(instance_id)["Ssh"]["Jumps"] == [f"127.0.0.1:{jump.port}"]
        assert b"Accepted publickey" in (jump.folder / "sshd.log").read_bytes()
        ssh.import_host("behind", **way, **{"Hosts.1.Jumps.1.HostKeys.1": ssh.sshd.host_key})
        message = ssh.problem(instance_id, "SshHostKeyChanged")
        assert jump.fingerprint in message, message
        ssh.server.call("DeregisterManagedInstance", "ecs", RegionId="cn-hangzhou", InstanceId=instance_id)


def test_sudo_is_used_only_where_it_says_so(ssh: SshInstallation) -> None:
    instance_id, _ = ssh.import_host("sudo", **{"Hosts.1.Sudo": "true"})
    ssh.visited(instance_id)
    found = ssh.invocation(ssh.run(instance_id, 'echo "$SUDO_UID"'), until="Finished")
    assert found["Output"] == "0\n"
    instance_id, _ = ssh.import_host("plain")
    ssh.visited(instance_id)
    found = ssh.invocation(ssh.run(instance_id, 'echo "by $SUDO_UID"'), until="Finished")
    assert found["Output"] == "by \n"


def test_a_host_is_scanned_only_where_the_settings_allow_it(ssh: SshInstallation) -> None:
    place = {"Hosts.1.Address": "127.0.0.1", "Hosts.1.Port": ssh.sshd.port}
    (found,) = ssh.server.call("ScanSshHosts", "backfleet", **place)["Hosts"]
    assert found["HostKeys"] == [ssh.sshd.host_key]
    with pytest.raises(Exception, match="ssh_allowed"):
        ssh.server.call("ScanSshHosts", "backfleet", **{**place, "Hosts.1.Address": "10.0.0.1"})


def test_a_host_with_another_key_is_refused_with_both_fingerprints(ssh: SshInstallation) -> None:
    """What waits for it ends with that; imported again with the new key, it is the same instance."""
    instance_id, _ = ssh.import_host("changed")
    ssh.visited(instance_id)
    before = ssh.sshd.fingerprint
    ssh.sshd.stop()
    ssh.sshd.new_host_key()
    ssh.sshd.start()
    invoke_id = ssh.run(instance_id, "echo never")
    found = ssh.invocation(invoke_id, until="Failed")
    for text in (found["ErrorInfo"], ssh.problem(instance_id, "SshHostKeyChanged")):
        assert before in text, text
        assert ssh.sshd.fingerprint in text, text
    assert ssh.import_host("changed")[0] == instance_id
    ssh.visited(instance_id)


def test_a_key_that_a_host_does_not_take_is_named(ssh: SshInstallation) -> None:
    admitted = (ssh.sshd.folder / "authorized_keys").read_text()
    ssh.sshd.admit("")
    instance_id, _ = ssh.import_host("closed")
    assert "authorized_keys" in ssh.problem(instance_id, "SshLoginRefused")
    ssh.sshd.admit(admitted)


def test_the_command_line_scans_asks_and_imports(ssh: SshInstallation, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.toml"
    root = ssh.server.folder / "cli"
    table = f'[[hosts]]\nname = "cli"\naddress = "127.0.0.1"\nport = {ssh.sshd.port}\nroot = "{root}"\n'
    hosts.write_text(table)
    words = ["instance", "import", "--carrier", "ssh", "--key", "fleet", "--file", str(hosts)]

    def run(*more: str, answer: str = "") -> Result:
        environment = {"BACKFLEET_DATA": str(ssh.server.data)}
        return CliRunner().invoke(main, [*words, *more], input=answer, env=environment)

    refused = run()
    assert (refused.exit_code, "--scan" in refused.output) == (1, True), refused.output
    declined = run("--scan", answer="n\n")
    assert (declined.exit_code, ssh.sshd.fingerprint in declined.output) == (1, True), declined.output
    done = run("--scan", answer="y\n")
    assert (done.exit_code, "in order" in done.output) == (0, True), done.output
    hosts.write_text(f'{table}host_keys = ["{ssh.sshd.host_key}"]\n')
    again = run("--json")
    assert again.exit_code == 0, again.output
    assert [each["Created"] for each in json.loads(again.output)] == [False]
