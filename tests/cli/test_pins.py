"""backfleet client pin, unpin and pins, against a real server."""

import json
from collections.abc import Callable
from pathlib import Path

from backfleet_host.platforms import platform_here
from cli.conftest import Cli, reasons
from journeys.installation import Installation


def test_a_client_is_pinned_by_the_name_of_its_host(
    cli: Cli, server: Installation, program: Callable[[str], Path]
) -> None:
    """It is shown as pinned, an upgrade says why it is refused, and the pin goes as it came."""
    for version in ("1.0", "1.1"):
        added = ("release", "add", str(program(version)), "--package", "courier", "--version", version)
        assert cli(*added, "--platform", platform_here()).exit_code == 0
        if version == "1.0":
            assert cli("client", "install", "--instance", server.hosts[0].instance_id, "--wait").exit_code == 0
    host = json.loads(cli("instance", "list", "--json").stdout)[0]
    put = cli("client", "pin", host["InstanceName"], "--package", "courier", "--reason", "the audit", "--until", "30d")
    assert (put.exit_code, "pinned to the version that it has until" in put.stdout) == (0, True), put.output
    listed = cli("client", "list").stdout
    assert ", pinned until " in listed
    refused = cli("client", "upgrade", "--instance", host["InstanceId"], "--wait", "--json")
    (item,) = json.loads(refused.stdout)["Task"]["Result"]
    assert (refused.exit_code, item["errorCode"], "the audit" in item["message"]) == (1, "Pinned", True)
    assert cli("client", "pin", "site=berlin", "--reason", "a move", "--until", "2d").exit_code == 0
    shown = cli("client", "pins").stdout.splitlines()
    assert [line.split()[0] for line in shown] == ["ON", "site=berlin", host["InstanceId"]]
    assert ("expiring" in shown[1], "active" in shown[2]) == (True, True)
    assert len(json.loads(cli("client", "pins", "--json").stdout)) == 2
    gone = cli("client", "unpin", host["InstanceName"], "--package", "courier", "--reason", "the books are closed")
    assert (gone.exit_code, "the audit" in gone.stdout) == (0, True), gone.output
    assert reasons(cli, "DeletePin") == ["the books are closed"]
    assert cli("client", "unpin", "site=berlin").exit_code == 0, "scripts need not say why"
    assert reasons(cli, "DeletePin") == [None, "the books are closed"]
    assert cli("client", "upgrade", "--instance", host["InstanceId"], "--wait").exit_code == 0


def test_what_cannot_be_pinned_is_refused(cli: Cli) -> None:
    """Wrong arguments end with 2, everything else with 1, each with what to do."""
    asked = ("--reason", "a", "--until")
    wrong = cli("client", "pin", "web", *asked, "soon")
    assert (wrong.exit_code, "or duration (30d)" in wrong.output) == (2, True)
    unknown = cli("client", "pin", "no-such-host", *asked, "2d")
    assert (unknown.exit_code, "no instances are called no-such-host" in unknown.output) == (1, True)
    assert "PinNotFound" in cli("client", "unpin", "site=nowhere").output
