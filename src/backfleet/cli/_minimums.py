"""backfleet minimum: no client of a package is to be below a version after a moment."""

from typing import Any

import click

from backfleet.cli._client import Client
from backfleet.cli._durations import Moment
from backfleet.cli._options import calls_the_api, json_option
from backfleet.cli._print import moment, print_json, say
from backfleet.cli._tables import Output, output_options


@click.group()
def minimum() -> None:
    """Minimum versions: below which no client of a package is to be after a moment."""


@minimum.command("set")
@click.argument("package")
@click.argument("version")
@click.option("--due", required=True, type=Moment(), help="A day, a moment (UTC) or a duration such as 30d.")
@click.option("--reason", required=True, help="Why, for whoever has to upgrade.")
@json_option
@calls_the_api
def set_(api: Client, package: str, version: str, due: str, reason: str, as_json: bool) -> None:
    """Ask for at least VERSION of PACKAGE everywhere. Nothing is moved by it: a rollout does that."""
    found = api.call(
        "backfleet", "PutMinimumVersion", PackageName=package, MinimumVersion=version, Due=due, Reason=reason
    )
    if as_json:
        print_json(found)
        return
    say(f"{package}: at least {version} by {moment(found['DueTime'])}; {_clients(found)}")
    if found["ClientsBelow"]:
        say("a rollout with `below_minimum = true` in its [select] moves them; or `backfleet client upgrade`")


@minimum.command("list")
@output_options
@calls_the_api
def list_(api: Client, output: Output) -> None:
    """List the minimum versions, and how many clients are below."""
    found = api.call("backfleet", "ListMinimumVersions")["MinimumVersions"]
    rows = [
        (m["PackageName"], m["MinimumVersion"], m["State"].lower(), f"{m['ClientsBelow']} of {m['Clients']}",
         moment(m["DueTime"]), m["Owner"], m["Reason"])
        for m in found
    ]  # fmt: skip
    output.show(("PACKAGE", "MINIMUM", "STATE", "BELOW", "DUE", "OWNER", "REASON"), rows, found)


@minimum.command()
@click.argument("package")
@click.option("--reason", help="Why; the audit trail keeps it.")
@json_option
@calls_the_api
def remove(api: Client, package: str, reason: str | None, as_json: bool) -> None:
    """Ask for no minimum version of PACKAGE any more."""
    found = api.call("backfleet", "DeleteMinimumVersion", PackageName=package, Reason=reason)
    if as_json:
        print_json(found)
        return
    say(f"{package}: no minimum version any more; it was {found['MinimumVersion']} ({found['Reason']})")


def _clients(found: dict[str, Any]) -> str:
    return f"{found['ClientsBelow']} of {found['Clients']} clients are below"
