"""backfleet client pin, unpin and pins: clients that stay at a version, for a reason, until a moment."""

from typing import Any

import click

from backfleet.cli._client import Client
from backfleet.cli._durations import Moment
from backfleet.cli._options import calls_the_api, fail, json_option
from backfleet.cli._print import moment, print_json, say
from backfleet.cli._tables import Output, output_options

PAGE = 200  # pins per call: the API's maximum
NAMES = "NAME: a client's or an instance's id, an instance's name, or a tag as KEY=VALUE."

_package = click.option("--package", help="Only the client of this package. Default: every client there.")


@click.command(epilog=NAMES)
@click.argument("name")
@_package
@click.option("--reason", required=True, help="Why, for whoever is refused.")
@click.option("--until", required=True, type=Moment(), help="A day, a moment (UTC) or a duration such as 30d.")
@click.option("--versions", help="The version, or the range, that they may move to. Default: they move nowhere.")
@json_option
@calls_the_api
def pin(
    api: Client, name: str, package: str | None, reason: str, until: str, versions: str | None, as_json: bool
) -> None:
    """Keep clients at their version until a moment: those on an instance, or all with a tag."""
    asked = {"PackageName": package, "Reason": reason, "Until": until, "Versions": versions}
    found = api.call("backfleet", "PutPin", **_place(api, name), **asked)
    if as_json:
        print_json(found)
        return
    again = "pinned anew" if found["Replaced"] else "pinned"
    say(f"{name}: {again} to {_versions(found)} until {moment(found['ExpiresTime'])}")


@click.command(epilog=NAMES)
@click.argument("name")
@_package
@click.option("--reason", help="Why; the audit trail keeps it.")
@json_option
@calls_the_api
def unpin(api: Client, name: str, package: str | None, reason: str | None, as_json: bool) -> None:
    """Delete a pin, named as it was put."""
    found = api.call("backfleet", "DeletePin", **_place(api, name), PackageName=package, Reason=reason)
    if as_json:
        print_json(found)
        return
    say(f"{name}: no longer pinned; it was put by {found['Owner']}: {found['Reason']}")


@click.command()
@output_options
@calls_the_api
def pins(api: Client, output: Output) -> None:
    """List the pins, those first that end first."""
    found: list[dict[str, Any]] = []
    while True:
        answer = api.call("backfleet", "ListPins", PageNumber=len(found) // PAGE + 1, PageSize=PAGE)
        found += answer["Pins"]
        if len(answer["Pins"]) < PAGE:
            break
    output.show(
        ("ON", "PACKAGE", "VERSIONS", "STATE", "UNTIL", "OWNER", "REASON"),
        [
            (
                _on(p),
                p["PackageName"] or "every",
                _versions(p),
                p["State"].lower(),
                moment(p["ExpiresTime"]),
                p["Owner"],
                p["Reason"],
            )
            for p in found
        ],
        found,
    )


def pinned(found: dict[str, Any]) -> str:
    """Return what a list says of a client that pins hold; the one that ends last counts."""
    held = found.get("Pins") or []
    return f", pinned until {moment(max(pin['ExpiresTime'] for pin in held))}" if held else ""


def _place(api: Client, name: str) -> dict[str, str]:
    """Return what a name means, as parameters."""
    if name.startswith("c-"):
        return {"ClientId": name}
    if name.startswith(("i-", "mi-")):
        return {"InstanceId": name}
    key, is_tag, value = name.partition("=")
    if is_tag:
        return {"TagKey": key, "TagValue": value}
    region = api.call("backfleet", "DescribeServer")["RegionId"]
    found = api.call("ecs", "DescribeManagedInstances", RegionId=region, InstanceName=name, PageSize=2)["Instances"]
    if len(found) != 1:
        fail(f"{len(found) or 'no'} instances are called {name}; `backfleet instance list` shows their ids: name one")
    return {"InstanceId": found[0]["InstanceId"]}


def _on(found: dict[str, Any]) -> str:
    if "TagKey" in found:
        return f"{found['TagKey']}={found['TagValue']}"
    name = found.get("InstanceName")
    return f"{found['InstanceId']} ({name})" if name else str(found["InstanceId"])


def _versions(found: dict[str, Any]) -> str:
    return found["Versions"] or "the version that it has"
