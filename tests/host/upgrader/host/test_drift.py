"""F77: every status reports what somebody changed, and which other package managers have the same client."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Host = Any
Shop = Any


@pytest.fixture
def system(shop: Shop, host: Host, tmp_path: Path) -> Path:
    """Return a host with 1.0 and a file system of its own around it."""
    system = tmp_path / "system"
    (system / "usr" / "bin").mkdir(parents=True)
    (system / "usr" / "local" / "bin").mkdir(parents=True)
    host.installation = dataclasses.replace(host.installation, system=system)
    shop.add("1.0")
    return system


def drift(host: Host) -> list[str]:
    (package,) = host.carry("status").details["packages"]
    found: list[str] = package["drift"]
    return found


def shim_removed(host: Host) -> None:
    host.shim.unlink()


def shim_replaced(host: Host) -> None:
    host.shim.unlink()
    host.shim.write_text("#!/bin/sh\nexec /usr/bin/courier\n")


def shim_edited(host: Host) -> None:
    content = host.shim.read_bytes()
    host.shim.unlink()
    host.shim.write_bytes(content + b"mine")


def shim_is_a_link(host: Host) -> None:
    host.shim.unlink()
    host.shim.symlink_to("/usr/bin/courier")


def program_changed(host: Host) -> None:
    program = host.folder / "versions" / "1.0" / "bin" / "courier"
    program.chmod(0o755)
    program.write_text("other")


def program_writable(host: Host) -> None:
    (host.folder / "versions" / "1.0" / "bin" / "courier").chmod(0o755)


def program_gone(host: Host) -> None:
    (host.folder / "versions" / "1.0" / "bin" / "courier").unlink()


def current_by_hand(host: Host) -> None:
    (host.folder / "current").unlink()
    (host.folder / "current").symlink_to("versions/0.9")


def current_elsewhere(host: Host) -> None:
    (host.root / "elsewhere").mkdir()
    (host.folder / "current").unlink()
    (host.folder / "current").symlink_to(host.root / "elsewhere")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(shim_removed, "our shim, is gone", id="the shim is removed"),
        pytest.param(shim_replaced, "is not our shim", id="the shim is replaced"),
        pytest.param(shim_edited, "was changed", id="the shim is edited"),
        pytest.param(shim_is_a_link, "is a link to /usr/bin/courier", id="a hand-made link"),
        pytest.param(program_changed, "was changed", id="the program is changed"),
        pytest.param(program_writable, "made writable", id="the program is writable"),
        pytest.param(program_gone, "is gone", id="the program is gone"),
        pytest.param(current_by_hand, "missing or unreadable", id="current points to nothing"),
        pytest.param(current_elsewhere, "which is not one of our versions", id="current points elsewhere"),
    ],
)
def test_f77_drift_is_reported(host: Host, system: Path, change: Callable[[Host], None], expected: str) -> None:
    """In one sentence each, and status itself changes nothing."""
    host.carry("install", "1.0")
    assert drift(host) == []
    change(host)
    found = drift(host)
    assert len(found) == 1
    assert expected in found[0]


def by_dpkg(system: Path) -> None:
    (system / "usr/bin/courier").write_text("deb")
    (system / "var/lib/dpkg/info").mkdir(parents=True)
    (system / "var/lib/dpkg/info/courier-backup:amd64.list").write_text("/.\n/usr/bin\n/usr/bin/courier\n")


def by_pip(system: Path) -> None:
    (system / "usr/local/bin/courier").write_text("#!/usr/bin/python3\n")
    record = system / "usr/local/lib/python3.11/dist-packages/courier-1.2.dist-info/RECORD"
    record.parent.mkdir(parents=True)
    record.write_text("courier/__init__.py,,\n../../../bin/courier,sha256=abc,12\n")


def by_link(system: Path) -> None:
    (system / "usr/local/bin/courier").symlink_to("/home/somebody/courier")


def by_nobody(system: Path) -> None:
    (system / "usr/bin/courier").write_text("?")


OTHERS = [
    pytest.param(by_dpkg, "dpkg has it in courier-backup", id="dpkg"),
    pytest.param(by_pip, "pip has it in courier-1.2", id="pip"),
    pytest.param(by_link, "a link to /home/somebody/courier", id="a link"),
    pytest.param(by_nobody, "its owner is unknown", id="nobody"),
]


@pytest.mark.parametrize(("other", "expected"), OTHERS)
def test_f77_another_package_manager_is_named(
    host: Host, system: Path, other: Callable[[Path], None], expected: str
) -> None:
    """It came later: the upgrade goes on, and every status reports it."""
    host.carry("install", "1.0")
    other(system)
    (found,) = drift(host)
    assert expected in found


@pytest.mark.parametrize(("other", "expected"), OTHERS)
def test_f77_nothing_is_installed_beside_another_package_manager(
    host: Host, system: Path, other: Callable[[Path], None], expected: str
) -> None:
    """It must remove its client first."""
    other(system)
    report = host.carry("install", "1.0")
    assert (report.code, host.version()) == ("ManagedElsewhere", "")
    assert expected in report.message
