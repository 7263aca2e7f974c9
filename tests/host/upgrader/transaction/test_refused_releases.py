"""What a host refuses of a release that is signed all the same: by a stolen key, or before there was a rule."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from host.upgrader.small_host import PACKAGE, SmallHost

BREAKING = [
    pytest.param({"keeps": ["/etc/shadow"]}, "keeps has '/etc/shadow'", id="a file of the system is kept"),
    pytest.param(
        {"service": {"start": ["/bin/sh"], "stop": [PACKAGE], "ready": [PACKAGE]}}, "runs '/bin/sh'", id="a shell"
    ),
    pytest.param({"service": {"unit": "ssh.service"}}, "part of the system", id="a unit of the system"),
    pytest.param({"service": {"unit": "nginx.service"}}, "not named for the package", id="another's unit"),
    pytest.param({"bin": ["bin/courier", "bin/sudo"]}, "the command 'sudo'", id="a command of the system"),
]


@pytest.fixture
def host(tmp_path: Path) -> SmallHost:
    host = SmallHost(tmp_path / "small")
    host.add("1.0")
    assert host.carry("install", "1.0").outcome == "succeeded"
    return host


@pytest.mark.parametrize(("fields", "expected"), BREAKING)
def test_a_signed_release_that_reaches_for_the_system_is_refused(
    host: SmallHost, fields: dict[str, Any], expected: str
) -> None:
    """With a code and a reason, before anything is fetched; as the goal and as an intermediate version."""
    host.add("2.0", **fields)
    host.add("3.0", upgrades_from=">=2.0")
    before = host.picture()
    for goal in ("2.0", "3.0"):
        report = host.carry("upgrade", goal)
        assert (report.code, report.stage, report.current_version) == ("UntrustedRelease", "check", "1.0")
        assert "the release courier 2.0 is refused, however it is signed" in report.message
        assert expected in report.message
    assert host.picture() == before


def test_a_release_from_before_the_rules_can_be_left(host: SmallHost) -> None:
    """It is installed already: only what is new is refused. But it removes nothing of the system."""
    facts = host.folder / "facts" / "1.0.json"
    facts.write_text(facts.read_text().replace('"keeps": []', '"keeps": ["/etc/ssh/no-such-file"]'))
    host.add("2.0")
    assert host.carry("upgrade", "2.0").outcome == "succeeded"
    facts = host.folder / "facts" / "2.0.json"
    facts.write_text(facts.read_text().replace('"keeps": []', '"keeps": ["/etc/ssh/no-such-file"]'))
    report = host.carry("uninstall", remove_state=True)
    assert (report.code, report.current_version) == ("InternalError", "")
    assert "/etc/ssh/no-such-file does not belong to one client alone" in report.message


def test_the_hosts_policy_allows_a_unit(host: SmallHost, tmp_path: Path) -> None:
    systemd = tmp_path / "no-systemd"
    host.installation = replace(host.installation, systemd=systemd)
    host.add(
        "2.0", service={"unit": "legacy.service", "start": [PACKAGE], "stop": [PACKAGE], "ready": [PACKAGE, "ready"]}
    )
    assert host.carry("upgrade", "2.0").code == "UntrustedRelease"
    host.installation.etc.mkdir(parents=True)
    (host.installation.etc / f"{PACKAGE}.toml").write_text('units = ["legacy.service"]\n')
    assert host.carry("upgrade", "2.0").outcome == "succeeded"


def test_an_upgrade_exposes_no_new_command_that_another_package_has(host: SmallHost, tmp_path: Path) -> None:
    """Not only an install is checked."""
    system = tmp_path / "system"
    (system / "usr" / "bin").mkdir(parents=True)
    (system / "usr" / "bin" / "help").write_text("another's")
    (system / "usr" / "bin" / PACKAGE).write_text("another's, which is drift by now")
    host.installation = replace(host.installation, system=system)
    host.add("2.0", bin=["bin/courier", "share/help"])
    report = host.carry("upgrade", "2.0")
    assert (report.code, report.current_version) == ("ManagedElsewhere", "1.0")
    assert "usr/bin/help exists already" in report.message
