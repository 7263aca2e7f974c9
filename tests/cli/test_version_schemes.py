"""Versions of Debian from the command line to a host, and the order that is shown before it is changed."""

import json
from collections.abc import Callable
from pathlib import Path

from backfleet_host.platforms import platform_here
from cli.conftest import Cli
from journeys.installation import Installation


def add_arguments(file: Path, version: str, *more: str) -> list[str]:
    """Return the arguments that add a file as a release."""
    named = ["--package", "courier", "--version", version, "--platform", platform_here(), *more]
    return ["release", "add", str(file), *named]


def test_a_version_with_an_epoch_reaches_a_host(cli: Cli, server: Installation, program: Callable[[str], Path]) -> None:
    """Added, installed, listed, upgraded to the rebuild that is newer to Debian, and shown."""
    first, second = "1:1.0-1+b9", "1:1.0-1+b10"
    added = cli(*add_arguments(program(first), first, "--scheme", "deb"))
    assert added.exit_code == 0, added.output
    host = server.hosts[0]
    installed = cli("client", "install", "--instance", host.instance_id, "--wait")
    assert installed.exit_code == 0, installed.output
    assert cli(*add_arguments(program(second), second)).exit_code == 0
    (client,) = json.loads(cli("client", "list", "--json").stdout)
    assert (client["ClientVersion"], client["MaxClientVersion"]) == (first, second)
    upgraded = cli("client", "upgrade", "--client", client["ClientId"], "--wait", "--json")
    assert upgraded.exit_code == 0, upgraded.output
    (item,) = json.loads(upgraded.stdout)["Task"]["Result"]
    assert (item["fromVersion"], item["toVersion"], item["errorCode"]) == (first, second, "")
    assert host.runs() == f"courier {second}"
    again = cli("client", "upgrade", "--client", client["ClientId"], "--wait", "--json")
    (item,) = json.loads(again.stdout)["Task"]["Result"]
    assert (item["errorCode"] or item["message"], item["currentVersion"]) != ("", first)
    assert json.loads(cli("instance", "show", host.instance_id).stdout)["Clients"][0]["ClientVersion"] == second


def test_the_new_order_is_shown_before_it_is_changed(cli: Cli, program: Callable[[str], Path]) -> None:
    """Asked without an answer, nothing changes."""
    for version in ("3.0.9", "3.0.9c", "3.0.10"):
        arguments = ["release", "add", str(program(version)), "--package", "parcel", "--version", version]
        assert cli(*arguments, "--platform", platform_here(), "--manifest", str(_manifest(program))).exit_code == 0
    shown = cli("release", "scheme", "parcel")
    assert shown.stdout.split() == ["parcel:", "scheme", "pep440;", "newest", "first:", "3.0.10", "3.0.9", "3.0.9c"]
    asked = cli("release", "scheme", "parcel", "deb")
    assert (asked.exit_code, "NOW (pep440)" in asked.stdout, "THEN (deb)" in asked.stdout) == (1, True, True)
    assert [line.split() for line in asked.stdout.splitlines()[1:4]] == [
        ["3.0.10", "3.0.10"],
        ["3.0.9", "3.0.9c"],
        ["3.0.9c", "3.0.9"],
    ]
    assert json.loads(cli("release", "scheme", "parcel", "--json").stdout)["Scheme"] == "pep440"
    changed = cli("release", "scheme", "parcel", "deb", "--yes")
    assert (changed.exit_code, "compare by deb from now on" in changed.stdout) == (0, True), changed.output
    assert json.loads(cli("release", "scheme", "parcel", "--json").stdout)["Scheme"] == "deb"
    assert "has the scheme deb already" in cli("release", "scheme", "parcel", "deb").stdout
    refused = cli("release", "scheme", "parcel", "calendar", "--yes")
    assert (refused.exit_code, "version 3.0.10 cannot be compared" in refused.stderr) == (1, True), refused.output
    missing = cli("release", "scheme", "nothing")
    assert (missing.exit_code, "PackageNotFound" in missing.stderr) == (1, True)


def _manifest(program: Callable[[str], Path]) -> Path:
    file = program("3.0.9").with_name("parcel.toml")
    file.write_text('bin = ["bin/courier"]\n')
    return file
