"""backfleet minimum and channels, against a real server and host."""

import json
from collections.abc import Callable
from pathlib import Path

from backfleet_host.platforms import platform_here
from cli.conftest import Cli, reasons
from journeys.installation import Installation


def add(cli: Cli, file: Path, version: str, channel: str) -> None:
    words = ("--package", "courier", "--version", version, "--platform", platform_here(), "--channel", channel)
    added = cli("release", "add", str(file), *words)
    assert added.exit_code == 0, added.output


def test_a_client_follows_its_channel_and_is_below_the_minimum_until_it_is_upgraded(
    cli: Cli, server: Installation, program: Callable[[str], Path]
) -> None:
    """Installed from `beta` it gets the beta; a minimum counts it, names what moves it, and goes as it came."""
    add(cli, program("1.0"), "1.0", "stable")
    add(cli, program("1.1"), "1.1", "beta")
    host = server.hosts[0].instance_id
    installed = cli("client", "install", "--instance", host, "--channel", "beta", "--wait")
    assert installed.exit_code == 0, installed.output
    (client,) = json.loads(cli("client", "list", "--json").stdout)
    assert (client["Channel"], client["ClientVersion"]) == ("beta", "1.1")

    put = cli("minimum", "set", "courier", "1.2", "--due", "30d", "--reason", "a hole in the old ones")
    assert (put.exit_code, "courier: at least 1.2 by " in put.stdout) == (0, True), put.output
    assert "1 of 1 clients are below" in put.stdout
    assert "below_minimum = true" in put.stdout
    head, row = cli("minimum", "list").stdout.splitlines()
    assert (head.split()[:4], row.split()[:2]) == (["PACKAGE", "MINIMUM", "STATE", "BELOW"], ["courier", "1.2"])

    add(cli, program("1.2"), "1.2", "beta")
    assert cli("client", "upgrade", "--instance", host, "--wait").exit_code == 0
    (found,) = json.loads(cli("minimum", "list", "--json").stdout)
    assert (found["ClientsBelow"], found["Clients"], found["Reason"]) == (0, 1, "a hole in the old ones")
    gone = cli("minimum", "remove", "courier", "--reason", "the old ones are sold")
    assert (gone.exit_code, "it was 1.2 (a hole in the old ones)" in gone.stdout) == (0, True), gone.output
    assert json.loads(cli("minimum", "list", "--json").stdout) == []
    assert reasons(cli, "DeleteMinimumVersion") == ["the old ones are sold"]


def test_minimum_versions_that_cannot_be_are_refused(cli: Cli) -> None:
    """Wrong arguments end with 2, everything else with 1, each with what to do."""
    words = ("--reason", "a hole", "--due")
    soon = cli("minimum", "set", "courier", "1.2", *words, "soon")
    assert (soon.exit_code, "duration" in soon.output) == (2, True)
    unknown = cli("minimum", "set", "no-such-package", "1.2", *words, "30d")
    assert (unknown.exit_code, "no-such-package" in unknown.output) == (1, True), unknown.output
    nothing = cli("minimum", "remove", "courier")
    assert (nothing.exit_code, "MinimumVersionNotFound" in nothing.output) == (1, True), nothing.output
    assert json.loads(cli("minimum", "list", "--json").stdout) == []
