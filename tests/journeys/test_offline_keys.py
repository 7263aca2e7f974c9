"""Releases signed by keys that the server never sees, end to end: real commands, a real server, real hosts."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from journeys.installation import LONG, Installation

OWN_KEYS = ("release-root.key", "release-targets.key")


def run(*words: object, server: Installation | None = None, fails: bool = False) -> str:
    """Run a command as a person does; without `server` it knows none."""
    environment = {"PATH": "/usr/bin:/bin"} | ({"BACKFLEET_DATA": str(server.data)} if server else {})
    done = subprocess.run(
        [sys.executable, "-m", "backfleet.cli", "release", *map(str, words)],
        check=False, capture_output=True, text=True, env=environment, timeout=LONG,
    )  # fmt: skip
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


def holder(keys: Path, folder: Path, *names: str) -> Path:
    """Return the folder of a person with some of the keys, and with what is public."""
    folder.mkdir()
    for name in ("signers.json", *(f"{name}.key" for name in names)):
        shutil.copy(keys / name, folder / name)
    return folder


def upgraded(installation: Installation) -> tuple[set[str], set[str]]:
    """Upgrade every host to the newest release; return what runs then, and the codes."""
    ids = [host.instance_id for host in installation.hosts]
    found = installation.finished(installation.call("UpgradeBackupClients", InstanceIds=ids)["TaskId"])
    return {host.runs() for host in installation.hosts}, {item["errorCode"] for item in found["Result"]}


def test_a_server_without_the_keys(installation: Installation, tmp_path: Path) -> None:
    """It takes releases and withdrawals, and cannot make one by itself; hosts follow the new root by themselves."""
    keys, document = tmp_path / "keys", tmp_path / "pending.json"
    assert "2 must sign" in run("keys", keys)
    assert "has keys already" in run("keys", keys, fails=True)
    alice = holder(keys, tmp_path / "alice", "root-1", "targets")
    bob = holder(keys, tmp_path / "bob", "root-2")

    run("pending", document, server=installation)
    assert "courier/1.0" in run("sign", document, "--keys", alice, "--take-over")
    assert "lacks signatures" in run("publish", document, server=installation, fails=True)
    run("sign", document, "--keys", bob, "--take-over")
    assert "sign with --take-over first" in run("forget-keys", installation.data, server=installation, fails=True)
    assert "forget-keys" in run("publish", document, server=installation)
    old = {name: (installation.data / "keys" / name).read_bytes() for name in OWN_KEYS}
    assert "Restart the server" in run("forget-keys", installation.data, server=installation)
    assert not any((installation.data / "keys" / name).exists() for name in OWN_KEYS)
    assert "there are no such keys" in run("forget-keys", installation.data, server=installation)

    installation.add_release("2.0")
    assert upgraded(installation)[0] == {"courier 1.0"}, "the release is not signed"
    run("pending", document, server=installation)
    stolen = tmp_path / "stolen.json"
    shutil.copy(document, stolen)
    assert "no key" in run("sign", stolen, "--keys", bob, fails=True)
    assert "Targets lacks signatures" in run("publish", stolen, server=installation, fails=True)
    shown = run("sign", document, "--keys", alice)
    assert "+ courier/2.0" in shown
    assert "courier/1.0" not in shown, "signed before"
    assert "targets" in run("publish", document, server=installation)
    assert upgraded(installation) == ({"courier 2.0"}, {""})

    installation.stop()
    for name, content in old.items():
        (installation.data / "keys" / name).write_bytes(content)
    installation.start()
    installation.add_release("3.0")
    assert upgraded(installation)[0] == {"courier 2.0"}, "its own keys have no effect, nor those it finds on its disk"
    run("pending", document, server=installation)
    run("sign", document, "--keys", alice)
    installation.add_release("4.0")
    assert "changed since" in run("publish", document, server=installation, fails=True)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param("", "not what `backfleet release pending` writes", id="empty"),
        pytest.param("[]", "not what `backfleet release pending` writes", id="of another form"),
        pytest.param(json.dumps({"root": {}, "targets": {}}), "not what", id="hollow"),
    ],
)
def test_a_file_that_cannot_be_signed_is_rejected(tmp_path: Path, content: str, text: str) -> None:
    """In one line, and the file stays as it was."""
    keys, document = tmp_path / "keys", tmp_path / "pending.json"
    run("keys", keys, "--root", "1", "--threshold", "1")
    document.write_text(content)
    output = run("sign", document, "--keys", keys, fails=True)
    assert text in output
    assert "Traceback" not in output
    assert document.read_text() == content


def test_a_threshold_above_the_number_of_keys_is_rejected(tmp_path: Path) -> None:
    """Nothing is left of the attempt."""
    assert "must agree" in run("keys", tmp_path / "keys", "--root", "1", "--threshold", "2", fails=True)
    assert not (tmp_path / "keys").exists()
