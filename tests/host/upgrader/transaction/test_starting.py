"""Upgrades to releases without a health command: a version whose commands do not start is rolled back."""

import subprocess
from pathlib import Path
from typing import Any

from releases.artifacts import file, tar

Host = Any  # the fixtures' classes live in conftest.py
Shop = Any

STARTS = "#!/bin/sh\necho {version}\n"
CANNOT_START = "#!/bin/sh\nexit 127\n"


def offer(shop: Shop, version: str, **commands: str) -> None:
    """Offer a release of these commands without a manifest."""
    texts = {name: text.format(version=version).encode() for name, text in commands.items()}
    artifact = shop.folder / f"courier-{version}.tar"
    artifact.write_bytes(tar(*(file(f"bin/{name}", text, 0o755) for name, text in texts.items())))
    shop.offer(artifact, "courier", version, "tar", {"bin": [f"bin/{name}" for name in texts]})


def printed(host: Host) -> str:
    return subprocess.run([host.shim], capture_output=True, text=True, check=True).stdout.strip()


def test_a_version_that_cannot_start_is_rolled_back(shop: Shop, host: Host) -> None:
    """The version that worked runs again, and the report says what did not start."""
    offer(shop, "1.0", courier=STARTS, tool=STARTS)
    offer(shop, "2.0", courier=STARTS, tool=CANNOT_START)
    assert host.carry("install", "1.0").outcome == "succeeded"
    report = host.carry("upgrade", "2.0")
    assert (report.code, report.current_version, printed(host)) == ("RolledBack", "1.0", "1.0")
    assert "`tool --version` ended with exit code 127" in report.message


def test_an_install_that_cannot_start_leaves_nothing(shop: Shop, host: Host) -> None:
    """There is no version to roll back to."""
    offer(shop, "1.0", courier=CANNOT_START)
    report = host.carry("install", "1.0")
    assert (report.code, report.current_version) == ("RolledBack", "")
    assert not host.shim.exists()


def test_a_command_that_never_started_may_go_on_so(shop: Shop, host: Host) -> None:
    """It is reported as unhealthy before; other commands must start as before."""
    broken_here: Path = shop.folder / "broken"
    for version in ("1.0", "2.0"):
        offer(shop, version, courier=STARTS, tool=f"#!/bin/sh\n[ ! -e {broken_here} ] || exit 127\n")
    offer(shop, "3.0", courier=CANNOT_START, tool=STARTS)
    assert host.carry("install", "1.0").outcome == "succeeded"
    broken_here.touch()
    report = host.carry("upgrade", "2.0")
    assert (report.outcome, report.current_version) == ("succeeded", "2.0")
    assert "`tool --version` ended with exit code 127" in report.details["unwell_before"]
    report = host.carry("upgrade", "3.0")
    assert (report.code, report.current_version) == ("RolledBack", "2.0")
    assert "`courier --version`" in report.message
