"""A precheck finds out what would be refused; a stage has everything ready. Neither switches."""

import shutil
import time
from dataclasses import replace
from typing import Any

import pytest

Host = Any
Shop = Any
DAY = 86400.0


def tree(host: Host, version: str) -> bool:
    """Return whether a version's tree is there."""
    return bool((host.folder / "versions" / version).is_dir())


def test_a_precheck_changes_nothing(installed: Host) -> None:
    """And downloads nothing."""
    report = installed.carry("precheck", "2.0")
    assert (report.outcome, report.current_version) == ("succeeded", "1.0")
    assert report.message == "2.0 would be taken now; nothing was switched"
    assert not tree(installed, "2.0")
    assert installed.leftovers() == []


def test_a_precheck_is_refused_for_what_an_upgrade_would_be(installed: Host, shop: Shop) -> None:
    """With the same code."""
    shop.add("3.0", upgrades_from=">=2.5")
    report = installed.carry("precheck", "3.0")
    assert (report.code, report.current_version) == ("NotAllowedFrom", "1.0")
    assert report.code == installed.carry("upgrade", "3.0").code


def test_a_precheck_names_everything_that_an_upgrade_would_be_refused_for(
    installed: Host, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with its code, and without waiting for what passes by itself; an upgrade ends with the first of them."""
    shop.add("3.0", upgrades_from=">=2.5")
    mark = installed.root / "run" / "reboot-required"
    mark.parent.mkdir()
    mark.touch()
    installed.write_policy("waits_for_reboot = true\n", "host")
    full = shutil.disk_usage("/")._replace(free=1)
    monkeypatch.setattr("backfleet_host.upgrader.transaction.checks.shutil.disk_usage", lambda _path: full)
    report = installed.carry("precheck", "3.0")
    codes = [each["code"] for each in report.details["refusals"]]
    assert codes == ["HostBusy", "NotAllowedFrom", "DiskFull"]
    assert (report.code, report.details["reason"], report.current_version) == ("HostBusy", "RebootPending", "1.0")
    assert all(f"{code}: " in report.message for code in codes)
    assert report.seconds < 20
    mark.unlink()
    assert installed.carry("upgrade", "3.0").code == "NotAllowedFrom"
    assert not tree(installed, "3.0")


def test_a_precheck_that_cannot_go_on_names_what_it_has_found(installed: Host) -> None:
    """Without signed metadata of the release nothing else can be checked."""
    installed.write_policy("changes = false\n", "host")
    report = installed.carry("precheck", "9.9")
    assert [each["code"] for each in report.details["refusals"]] == ["ManagedElsewhere", "UntrustedRelease"]
    assert report.code == "ManagedElsewhere"


@pytest.mark.parametrize("kind", ["precheck", "stage"])
def test_a_host_without_the_client_refuses(host: Host, shop: Shop, kind: str) -> None:
    shop.add("1.0")
    assert host.carry(kind, "1.0").code == "ClientNotInstalled"


def test_a_staged_version_is_switched_to_without_a_download(installed: Host, shop: Shop) -> None:
    """It is there, verified, and the old one runs until the upgrade comes."""
    artifact = shop.add("3.0")
    report = installed.carry("stage", "3.0")
    assert (report.outcome, report.current_version, report.to_version) == ("succeeded", "1.0", "3.0")
    assert installed.version() == "1.0"
    assert tree(installed, "3.0")
    artifact.unlink()
    assert installed.carry("upgrade", "3.0").outcome == "succeeded"
    assert installed.version() == "3.0"


def without_server(host: Host) -> None:
    """Have the host's releases at an address where nobody answers."""
    host.installation = replace(host.installation, downloads="http://127.0.0.1:1/downloads")


def test_a_staged_host_is_upgraded_without_its_server_of_releases(
    installed: Host, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over an intermediate version, too. The report says why nothing was fetched."""
    monkeypatch.setattr("backfleet_host.upgrader.transaction.checks.AWAY_SECONDS", 0.5)
    shop.add("3.0", upgrades_from=">=2.0")
    assert installed.carry("stage", "3.0").outcome == "succeeded"
    without_server(installed)
    report = installed.carry("upgrade", "3.0")
    assert (report.outcome, report.current_version) == ("succeeded", "3.0"), report
    assert "the version that is staged was taken" in report.details["staged"]


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda host: host.carry("upgrade", "2.0"), id="from another version"),
        pytest.param(lambda host: (host.folder / "versions/3.0/bin/courier").write_text("changed"), id="changed files"),
        pytest.param(
            lambda host: setattr(host, "installation", replace(host.installation, clock=lambda: time.time() + 8 * DAY)),
            id="a week later",
        ),
        pytest.param(lambda host: (host.folder / "staged.json").write_text('{"versions": ["3.0"]}'), id="no such note"),
    ],
)
def test_what_is_not_staged_as_it_was_verified_needs_the_server(
    installed: Host, shop: Shop, monkeypatch: pytest.MonkeyPatch, spoil: Any
) -> None:
    """The host stays as it is."""
    monkeypatch.setattr("backfleet_host.upgrader.transaction.checks.AWAY_SECONDS", 0.5)
    shop.add("3.0")
    assert installed.carry("stage", "3.0").outcome == "succeeded"
    spoil(installed)
    before = installed.version()
    without_server(installed)
    report = installed.carry("upgrade", "3.0", timeout_seconds=2)
    assert (report.code, installed.version()) == ("DownloadFailed", before), report


def test_other_orders_leave_a_staged_version_in_place(installed: Host) -> None:
    """Each order tidies up; what is staged is needed."""
    installed.carry("stage", "2.0")
    assert installed.carry("upgrade", "1.0").code == "AlreadyCurrent"
    assert installed.carry("precheck", "2.0").outcome == "succeeded"
    assert tree(installed, "2.0")


def test_a_staged_version_that_nobody_switches_to_goes_after_a_week(installed: Host) -> None:
    """With the next order."""
    installed.carry("stage", "2.0")
    installed.installation = replace(installed.installation, clock=lambda: time.time() + 8 * DAY)
    installed.carry("precheck", "2.0")
    assert not tree(installed, "2.0")


def test_a_stage_of_a_version_that_is_current_says_so(installed: Host) -> None:
    assert installed.carry("stage", "1.0").code == "AlreadyCurrent"
