"""Backups run all the time, through the shim, while the host is upgraded and rolled back, over and over.

bench/host.py does it 200 times with the real client.
"""

import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

Host = Any
Shop = Any

ROUNDS = 16
CLIENT = """#!/bin/sh
here=$(dirname "$0")
case "$1" in
  version) echo "{package} {version}"; exit {health} ;;
  backup) cp "$2" "$3.partial" && sleep 0.05 && [ -x "$here/courier" ] && mv "$3.partial" "$3" ;;
  check) cmp "$2" "$3" ;;
esac
"""


class Load:
    """Runs backups one after the other, each checked by the client itself."""

    def __init__(self, shim: Path, folder: Path) -> None:
        self._shim, self._folder = shim, folder
        self.done, self.failures = 0, list[str]()
        self._stop = threading.Event()
        folder.mkdir()
        (folder / "data").write_bytes(b"precious" * 1000)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            for word in ("backup", "check"):
                words = [self._shim, word, self._folder / "data", self._folder / "copy"]
                ran = subprocess.run(words, capture_output=True, text=True, check=False)
                if ran.returncode:
                    self.failures.append(f"{word}: {ran.returncode} {ran.stderr}")
            self.done += 1
            (self._folder / "copy").unlink(missing_ok=True)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.parametrize("switch", ["anytime", "idle"])
def test_no_backup_is_lost_to_upgrades_and_rollbacks(shop: Shop, host: Host, tmp_path: Path, switch: str) -> None:
    """Healthy and unhealthy versions alternate: no backup fails or is interrupted, and each is verified."""
    shop.add("0.1", client=CLIENT, switch=switch)
    assert host.carry("install", "0.1").outcome == "succeeded"
    loads = [Load(host.shim, tmp_path / name) for name in ("one", "two")]
    expected = "0.1"
    try:  # each version has its program elsewhere, as wheels do
        for number in range(1, ROUNDS + 1):
            unhealthy = number % 2
            shop.add(f"1.{number}", client=CLIENT, switch=switch, health=unhealthy, folder=f"data-1.{number}/bin")
            report = host.carry("upgrade", f"1.{number}")
            expected = expected if unhealthy else f"1.{number}"
            assert (report.code, report.current_version) == ("RolledBack" if unhealthy else "", expected)
    finally:
        for load in loads:
            load.stop()
    assert [failure for load in loads for failure in load.failures] == []
    assert all(load.done > ROUNDS / 2 for load in loads)
    assert host.leftovers() == []
