"""backfleet server: what this server is, and the end of its held state."""

from collections.abc import Mapping
from typing import Any

import click

from backfleet.cli._client import Client
from backfleet.cli._options import Done, calls_the_api, json_option, prints_the_answer
from backfleet.cli._print import moment, print_json, say


@click.group()
def server() -> None:
    """The server itself."""


@server.command()
@calls_the_api
@json_option
def show(client: Client, as_json: bool) -> None:
    """Show version, address, and whether the server is held after a restore."""
    found = client.call("backfleet", "DescribeServer")
    if as_json:
        print_json(found)
        return
    say(f"version {found['ServerVersion']}, region {found['RegionId']}, agents connect to {found['AgentAddress']}")
    if found.get("Processes", 1) > 1:
        say(f"{found['Processes']} processes answer calls")
    if found.get("RestoredTime"):
        say(f"restored {moment(found['RestoredTime'])} from a backup of {moment(found['CopiedTime'])}")
    say(held_text(found) if found.get("Held") else "not held")


@server.command("release-hold")
@prints_the_answer
@calls_the_api
def release_hold(client: Client) -> Done:
    """After a restore: let hosts be given work again, and every account act."""
    found = client.call("backfleet", "ReleaseServerHold")
    return found, (
        "released: hosts get orders again" if found["Released"] else "the server was not held; nothing changed"
    )


def held_text(server: Mapping[str, Any]) -> str:
    """Return what the held state means, from the answer of DescribeServer."""
    adopted = server.get("AdoptedInstances", 0)
    also = (
        f", {adopted} host(s) that the backup did not know were taken in (`backfleet instance list`)" if adopted else ""
    )
    return (
        f"HELD since {moment(server.get('RestoredTime'))}, after a restore: nothing is moved, and other accounts wait"
        f"{also}. Look at clients, users and keys (revoked ones are back), then run `backfleet server release-hold`"
    )
