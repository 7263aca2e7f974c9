"""A client of dpkg's is diverted as dpkg-divert(1) has it: its package is upgraded and removed beside ours.

The real dpkg installs real packages into a folder.
"""

import dataclasses
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.agent.status import lines_of
from backfleet_host.upgrader import adopt, give_back
from backfleet_host.upgrader.errors import OrderFailed
from backfleet_host.upgrader.status import status_of
from host.upgrader.conftest import CLIENT
from host.upgrader.test_adopting import PACKAGE, says

Host = Any
Shop = Any

pytestmark = pytest.mark.skipif(shutil.which("dpkg-divert") is None, reason="this machine has no dpkg")


class System:
    """A folder into which dpkg installs packages."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.program = folder, folder / "usr/bin/courier"
        for part in ("var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers"):
            (folder / part).mkdir(parents=True)
        (folder / "var/lib/dpkg/status").touch()

    def run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [program, f"--root={self.folder}", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def install(self, version: str) -> None:
        """Install or upgrade the package, as apt does."""
        tree = self.folder.parent / f"package-{version}"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "usr/bin").mkdir(parents=True)
        control = {"Package": PACKAGE, "Version": version, "Architecture": "all", "Maintainer": "Us <us@example.org>"}
        lines = [f"{key}: {value}\n" for key, value in {**control, "Description": "a backup client"}.items()]
        (tree / "DEBIAN/control").write_text("".join(lines))
        (tree / "usr/bin/courier").write_text(CLIENT.format(package=PACKAGE, version=version, health=0))
        (tree / "usr/bin/courier").chmod(0o755)
        subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, f"{tree}.deb"], check=True, capture_output=True)
        self.run("dpkg", "--force-not-root", "--force-bad-path", "--log=/dev/null", "-i", f"{tree}.deb")

    def diversions(self) -> list[str]:
        return self.run("dpkg-divert", "--list").splitlines()


@pytest.fixture
def debian(shop: Shop, host: Host, tmp_path: Path) -> System:
    """Return a system with the package in version 0.9; releases 1.0 and 2.0 are offered to the host."""
    system = System(tmp_path / "system")
    system.install("0.9")
    host.installation = dataclasses.replace(host.installation, system=system.folder)
    shop.add("1.0")
    shop.add("2.0")
    return system


def test_a_package_is_diverted_upgraded_beside_us_and_given_back(host: Host, debian: System) -> None:
    distrib = debian.program.with_name("courier.distrib")
    report = host.carry("install", "2.0")
    assert (report.code, "dpkg has it in courier" in report.message) == ("ManagedElsewhere", True)
    adoption = adopt(host.installation, PACKAGE)
    assert [place.aside for place in adoption.places] == [str(distrib)]
    assert debian.diversions() == ["local diversion of /usr/bin/courier to /usr/bin/courier.distrib"]
    assert (says(debian.program), says(distrib)) == ("0.9", "0.9")
    assert host.carry("install", "2.0", order_id="i").outcome == "succeeded"
    debian.install("0.9.5")
    assert (says(debian.program), says(distrib)) == ("2.0", "0.9.5")
    assert host.carry("status").details["packages"][0]["drift"] == []
    assert host.carry("upgrade", "2.0", order_id="u").code == "AlreadyCurrent"
    give_back(host.installation, PACKAGE, "back")
    assert (debian.program.is_symlink(), says(debian.program), distrib.exists()) == (False, "0.9.5", False)
    assert (debian.diversions(), host.version(), host.shim.exists()) == ([], "", False)
    debian.install("0.9.6")
    assert (says(debian.program), os.listdir(debian.program.parent)) == ("0.9.6", ["courier"])


def test_a_package_that_was_removed_meanwhile_leaves_nothing_to_give_back(host: Host, debian: System) -> None:
    """Until then the client goes on running."""
    adopt(host.installation, PACKAGE)
    debian.run("dpkg", "--force-not-root", "--force-bad-path", "--log=/dev/null", "--purge", PACKAGE)
    assert says(debian.program) == "0.9"
    give_back(host.installation, PACKAGE, "back")
    assert (os.path.lexists(debian.program), debian.diversions()) == (False, [])


def test_a_diversion_of_somebody_else_is_respected(host: Host, debian: System) -> None:
    """What was begun is undone."""
    name = str(debian.program.relative_to(debian.folder))
    debian.run("dpkg-divert", "--local", "--no-rename", "--divert", f"/{name}.theirs", "--add", f"/{name}")
    theirs = debian.diversions()
    with pytest.raises(OrderFailed, match="dpkg-divert does not divert"):
        adopt(host.installation, PACKAGE)
    assert (debian.diversions(), says(debian.program), host.version(), host.leftovers()) == (theirs, "0.9", "", [])
    assert (debian.program.is_symlink(), host.shim.exists()) == (False, False)
    assert host.carry("install", "2.0").code == "ManagedElsewhere"


def test_a_refusal_of_dpkg_is_in_the_status_until_it_is_mended(host: Host, debian: System) -> None:
    """With what dpkg says, and what to do."""
    name = f"/{debian.program.relative_to(debian.folder)}"
    debian.run("dpkg-divert", "--local", "--no-rename", "--divert", f"{name}.theirs", "--add", name)
    with pytest.raises(OrderFailed):
        adopt(host.installation, PACKAGE)
    (package,) = status_of(host.installation)["packages"]
    assert (package["current"], package["versions"], package["adopted"]) == ("", [], [])
    lines = lines_of({"agent": AGENT, "version": "1", "packages": [package]})
    (line,) = (each for each in lines if "not taken over" in each)
    assert all(part in line for part in ("runs as before", "dpkg-divert --list", "adopt courier again")), line
    debian.run("dpkg-divert", "--no-rename", "--remove", name)
    adopt(host.installation, PACKAGE)
    (package,) = status_of(host.installation)["packages"]
    assert (package["current"], package["adoption_refused"]) == ("0.9", "")


AGENT = {
    "enrolled": True, "instance_id": "mi-1", "name": "", "server": "localhost", "running": True,
    "tasks_open": [], "reports_waiting": [],
}  # fmt: skip


def test_a_diversion_that_somebody_ended_is_drift_and_mended_by_the_same_command(host: Host, debian: System) -> None:
    adopt(host.installation, PACKAGE)
    debian.run("dpkg-divert", "--no-rename", "--remove", "/usr/bin/courier")
    (package,) = host.carry("status").details["packages"]
    assert [each for each in package["drift"] if "dpkg does not divert" in each]
    debian.install("0.9.5")  # writes over our link
    adopt(host.installation, PACKAGE)
    assert (says(debian.program), len(debian.diversions())) == ("0.9", 1)
    assert host.carry("status").details["packages"][0]["drift"] == []
    give_back(host.installation, PACKAGE, "back")
    assert (says(debian.program), debian.diversions()) == ("0.9.5", [])
