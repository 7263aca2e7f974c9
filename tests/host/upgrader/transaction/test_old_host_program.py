"""The way back of the host program: whether the old one runs again is found out without the server."""

import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.files import is_locked
from backfleet_host.layout import HOST_PACKAGE, Places
from backfleet_host.upgrader.transaction import rollback

Host = Any
Shop = Any

# A program whose server is away from the moment when 2.0 starts: since then no version can rehearse.
PROGRAM = """#!/bin/sh
case "$1" in
  rehearse) [ ! -e FOLDER/away ] || exit 75; echo ready ;;
  start)
    if [ VERSION = 2.0 ]; then touch FOLDER/away; fi
    if [ -e FOLDER/no-agent-VERSION ]; then sleep 0 & echo $! > FOLDER/pid; exit 0; fi
    flock --no-fork LOCK sleep 1000 >FOLDER/out 2>&1 & echo $! > FOLDER/pid ;;
  stop) kill "$(cat FOLDER/pid)"; rm FOLDER/pid; exit 0 ;;
  ready) [ -e FOLDER/pid ] ;;
esac
"""


def offer(shop: Shop, host: Host, folder: Path, version: str) -> None:
    """Offer a host program whose agent does nothing but hold the lock of its root."""
    lock = Places(host.root).lock
    lock.parent.mkdir(parents=True, exist_ok=True)
    text = PROGRAM.replace("FOLDER", str(folder)).replace("VERSION", version).replace("LOCK", str(lock)).encode()
    file = folder / f"{version}.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        info = tarfile.TarInfo(f"bin/{HOST_PACKAGE}")
        info.mode, info.size = 0o755, len(text)
        archive.addfile(info, io.BytesIO(text))
    service = {name: [HOST_PACKAGE, name] for name in ("start", "stop", "ready")}
    health = {"command": [HOST_PACKAGE, "rehearse"], "expect": "ready", "seconds": 2}
    given = {"bin": [f"bin/{HOST_PACKAGE}"], "service": service, "health": health}
    shop.offer(file, HOST_PACKAGE, version, "tar", given)


@pytest.fixture
def serving(shop: Shop, host: Host, tmp_path: Path) -> Iterator[Path]:
    """Move a host over to the package, and start its agent; return the folder of what the programs note."""
    folder = tmp_path / "noted"
    folder.mkdir()
    for version in ("1.0", "2.0"):
        offer(shop, host, folder, version)
    report = host.carry("install", "1.0", package=HOST_PACKAGE)
    assert report.outcome == "succeeded", report
    program = host.root / HOST_PACKAGE / "current" / "bin" / HOST_PACKAGE
    subprocess.run([program, "start"], check=True)
    yield folder
    subprocess.run([program, "stop"], check=False, capture_output=True)


def test_the_old_program_is_proved_without_the_server(serving: Path, host: Host) -> None:
    """Its own health command would fail, as the new one's does."""
    report = host.carry("upgrade", "2.0", package=HOST_PACKAGE)
    assert (report.code, report.current_version) == ("RolledBack", "1.0"), report
    assert (serving / "away").exists()
    assert is_locked(Places(host.root).lock)


def test_an_old_program_whose_agent_does_not_run_again_is_a_failed_rollback(
    serving: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service alone says that it runs."""
    monkeypatch.setattr(rollback, "AGENT_SECONDS", 0.5)
    (serving / "no-agent-1.0").touch()
    report = host.carry("upgrade", "2.0", package=HOST_PACKAGE)
    assert (report.code, report.current_version) == ("RollbackFailed", "1.0"), report
    assert "no agent of this host ran" in report.message
