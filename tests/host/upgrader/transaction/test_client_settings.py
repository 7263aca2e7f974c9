"""An order of kind `settings` saves what was set for a client, and touches no version."""

import json
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.upgrader import disk

Host = Any
Shop = Any


def settings_of(host: Host) -> dict[str, Any]:
    """Return what is saved on a host."""
    found: dict[str, Any] = json.loads((host.folder / "settings.json").read_text())
    return found


def test_settings_are_saved_and_the_version_stays(installed: Host) -> None:
    """The same ones again are known; others replace them."""
    first = installed.carry("settings", settings={"most_cores": 2})
    assert (first.outcome, first.code, first.current_version) == ("succeeded", "", "1.0")
    again = installed.carry("settings", settings={"most_cores": 2})
    assert (again.outcome, again.code) == ("succeeded", "AlreadyCurrent")
    assert installed.carry("settings", settings={"https": True}).code == ""
    assert settings_of(installed) == {"https": True}
    assert installed.version() == "1.0"
    assert installed.leftovers() == []


def test_a_host_without_the_client_refuses_settings(host: Host, shop: Shop) -> None:
    shop.add("1.0")
    assert host.carry("settings", settings={"most_cores": 2}).code == "ClientNotInstalled"


def test_a_host_whose_administrator_switched_changes_off_keeps_its_settings(installed: Host) -> None:
    """As it keeps its version."""
    installed.write_policy("changes = false\n", "host")
    report = installed.carry("settings", settings={"most_cores": 2})
    assert (report.outcome, report.code) == ("failed", "ManagedElsewhere")
    assert not (installed.folder / "settings.json").exists()


def test_settings_that_cannot_be_written_are_a_failure(installed: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was there stays: an order that only brings settings must not succeed without them."""
    installed.carry("settings", settings={"most_cores": 2})
    written = disk.write_json

    def full(path: Path, value: Any) -> None:
        if path.name == "settings.json":
            raise OSError(28, "No space left on device", str(path))
        written(path, value)

    monkeypatch.setattr("backfleet_host.upgrader.transaction.client_settings.disk.write_json", full)
    assert installed.carry("settings", settings={"most_cores": 9}).code == "DiskFull"
    assert settings_of(installed) == {"most_cores": 2}
