"""Whether a host can be changed now: its policy, its load, and the rights of its agent."""

import dataclasses
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.agent.protocol.address import Address
from backfleet_host.agent.protocol.signing import python_signer
from backfleet_host.agent.setup.registration import EnrolmentOptions, registration_fields
from backfleet_host.contract import read_output
from backfleet_host.upgrader.transaction import checks

Host = Any
Shop = Any


@pytest.mark.parametrize("file", ["host", "courier"])
@pytest.mark.parametrize(("kind", "version"), [("upgrade", "2.0"), ("install", "2.0"), ("uninstall", "")])
def test_f75_no_order_ignores_changes_false(installed: Host, file: str, kind: str, version: str) -> None:
    """For the host or for one package. Status is answered all the same."""
    installed.write_policy("changes = false\n", file)
    report = installed.carry(kind, version)
    assert (report.code, report.current_version) == ("ManagedElsewhere", "1.0")
    assert "switched changes off" in report.message
    assert installed.carry("status").outcome == "succeeded"
    installed.write_policy("changes = true\n", file)
    assert installed.carry(kind, version).outcome == "succeeded"


def test_f46_a_pending_reboot_defers_the_order(installed: Host) -> None:
    """If the policy says so. The version is not quarantined, and nothing is downloaded."""
    mark = installed.root / "run" / "reboot-required"
    mark.parent.mkdir()
    mark.touch()
    installed.write_policy("waits_for_reboot = true\n", "host")
    report = installed.carry("upgrade", "2.0", timeout_seconds=1)
    assert (report.code, report.stage, report.current_version) == ("HostBusy", "check", "1.0")
    assert "reboot" in report.message
    assert report.details == {"reason": "RebootPending", "deferred": True}
    assert installed.downloads() == []
    mark.unlink()
    assert installed.carry("upgrade", "2.0").current_version == "2.0"


def test_f46_an_order_goes_on_once_the_host_has_rebooted(installed: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks again and again while it has time, and nobody has to ask a second time."""
    mark = installed.root / "run" / "reboot-required"
    mark.parent.mkdir()
    mark.touch()
    installed.write_policy("waits_for_reboot = true\n", "host")
    threading.Timer(1.5, mark.unlink).start()
    report = installed.carry("upgrade", "2.0", timeout_seconds=20)
    assert (report.outcome, report.current_version, report.details) == ("succeeded", "2.0", {})
    assert report.seconds >= 1.0


def test_f46_an_order_waits_for_a_busy_host(installed: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its load falls while the order waits."""
    monkeypatch.setattr(checks, "BUSY_AGAIN_SECONDS", 0.01)
    loads = iter([9.0, 8.5, 3.0])
    installed.installation = dataclasses.replace(installed.installation, load=lambda: next(loads))
    installed.write_policy("busiest = 4\n", "host")
    assert installed.carry("upgrade", "2.0").current_version == "2.0"
    assert next(loads, None) is None


def test_a_busy_host_reports_its_load(installed: Host) -> None:
    installed.installation = dataclasses.replace(installed.installation, load=lambda: 17.25)
    installed.write_policy("busiest = 4\n", "host")
    report = installed.carry("upgrade", "2.0", timeout_seconds=1)
    assert (report.code, report.message.split(";")[0]) == ("HostBusy", "HighLoad: this host's load is 17.2, above 4")
    assert report.details == {"reason": "HighLoad", "deferred": True}


def test_an_order_can_be_cancelled_while_it_waits(installed: Host) -> None:
    installed.write_policy("busiest = 4\n", "host")
    installed.installation = dataclasses.replace(installed.installation, load=lambda: 17.25)
    asked = iter(range(100))
    from backfleet_host.upgrader import carry_out_on

    report = carry_out_on(
        installed.installation, installed.order("upgrade", "2.0"), lambda line: None, lambda: next(asked) > 2
    )
    assert (report.code, report.current_version) == ("TaskCancelled", "1.0")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_f47_an_agent_without_rights_reports_it_and_leaves_nothing(installed: Host, shop: Shop, tmp_path: Path) -> None:
    """The root belongs to another user: the report has a code, nothing is half-made, and the client keeps working."""
    (tmp_path / "root.json").write_bytes(shop.trust_root)
    for folder in [tmp_path, *tmp_path.parents][:4]:
        subprocess.run(["chmod", "a+rx", folder], check=True)
    before = sorted(str(path) for path in installed.root.rglob("*"))
    words = [
        sys.executable, str(Path(__file__).parents[1] / "carry_out_order.py"),
        f'{{"root": "{installed.root}", "downloads": "{shop.address}", "system": "",'
        f' "trust_root": "{tmp_path / "root.json"}"}}',
        installed.order("upgrade", "2.0").as_command().split("\n", 1)[1],
    ]  # fmt: skip
    path = ":".join(sys.path)
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *words],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    report = read_output(done.stdout)[1]
    assert report is not None, done.stderr
    assert (report.code, report.current_version) == ("HostBusy", "1.0"), report.message
    assert "cannot be written" in report.message
    assert sorted(str(path) for path in installed.root.rglob("*")) == before
    assert subprocess.run([installed.shim, "x"], capture_output=True, text=True, check=True).stdout == "1.0 x\n"


def test_a_release_in_zstd_is_refused_on_a_host_that_cannot_read_it(
    shop: Shop, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is downloaded, with what to install."""
    import tarfile

    plain, packed = tmp_path / "plain.tar", tmp_path / "packed.tar.zst"
    program = tmp_path / "courier"
    program.write_text('#!/bin/sh\necho "courier 1.0"\n')
    program.chmod(0o755)
    with tarfile.open(plain, "w") as archive:
        archive.add(program, "bin/courier")
    subprocess.run(["zstd", "-q", plain, "-o", packed], check=True)
    shop.offer(packed, "courier", "1.0", "tar", {"bin": ["bin/courier"]})
    with monkeypatch.context() as blind:
        blind.setattr(checks.archives, "can_read_zstd", lambda: False)
        report = host.carry("install", "1.0")
    assert (report.code, report.stage) == ("UnsupportedPlatform", "check")
    assert "zstd" in report.message
    assert host.downloads() == []
    assert host.carry("install", "1.0").outcome == "succeeded"


def test_an_i686_host_is_upgraded(shop: Shop, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """It enrols under the same name under which its upgrader takes orders."""
    here = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*here[:4], "i686")))
    options = EnrolmentOptions(Address("127.0.0.1", 1), Path("ca.pem"), "act-1", "code")
    enrolled_as = registration_fields(options, python_signer.make_key(512), "restricted")["platform"]
    shop.add("1.0", platform=enrolled_as)
    assert enrolled_as == "linux-386"
    assert host.carry("install", "1.0").outcome == "succeeded"
