"""Destinations and messages as tables, as CSV, and sorted."""

import csv
import io
from collections.abc import Callable
from typing import Any

Cli = Callable[..., Any]


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_destinations_and_messages_are_listed_as_csv(cli: Cli, server: Any) -> None:
    for name in ("oncall", "office"):
        assert cli("notify", "add", name, "--mail", f"{name}@example.com").exit_code == 0
    listed = rows(cli("notify", "list", "--csv", "--columns", "name,address", "--sort=-name").stdout)
    assert listed == [["name", "address"], ["oncall", "oncall@example.com"], ["office", "office@example.com"]]
    assert cli("notify", "test", "office").exit_code == 0
    messages = rows(cli("notify", "log", "--destination", "office", "--csv", "--columns", "destination,subject").stdout)
    assert messages[0] == ["destination", "subject"]
    assert ["office", "This is a test of Backfleet."] in messages
    assert "excl" in cli("notify", "list", "--csv", "--json").output
