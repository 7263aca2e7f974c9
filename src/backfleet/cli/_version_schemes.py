"""backfleet release scheme: how the versions of a package compare."""

from typing import Any

import click

from backfleet.cli._client import Client
from backfleet.cli._options import calls_the_api, fail, json_option
from backfleet.cli._print import print_json, say
from backfleet.cli._tables import print_table
from backfleet_host.versions import SCHEMES


@click.command()
@click.argument("package")
@click.argument("name", required=False, type=click.Choice(SCHEMES))
@click.option("--yes", is_flag=True, help="Change it without asking.")
@json_option
@calls_the_api
def scheme(client: Client, package: str, name: str | None, yes: bool, as_json: bool) -> None:
    """Show how the versions of PACKAGE compare; with NAME, show the order by that scheme and change to it.

    NAME is deb, rpm, semver, pep440, calendar or natural. The first release of a package fixes its scheme.
    """
    now = client.call("backfleet", "GetVersionScheme", PackageName=package)
    if name is None:
        print_json(now) if as_json else _show(now)
        return
    then = client.call("backfleet", "GetVersionScheme", PackageName=package, Scheme=name)
    if not as_json:
        _show_both(now, then)
    if then["Problems"]:
        fail(f"{package} cannot have the scheme {name}: {'; '.join(then['Problems'])}")
    if now["Scheme"] == name:
        say(f"{package} has the scheme {name} already")
        return
    if not yes:
        click.confirm(f"Change {package} from {now['Scheme']} to {name}?", abort=True, err=True)
    answer = client.call("backfleet", "SetVersionScheme", PackageName=package, Scheme=name)
    if as_json:
        print_json(answer)
        return
    say(f"{package}: its versions compare by {name} from now on")
    if not answer["Published"]:
        say("note: hosts know it once it is signed: run backfleet release pending, release sign and release publish")


def _show(now: dict[str, Any]) -> None:
    say(f"{now['PackageName']}: scheme {now['Scheme']}; newest first:")
    for version in now["Versions"]:
        say(f"  {version}")
    for problem in now["Problems"]:
        say(f"note: {problem}")


def _show_both(now: dict[str, Any], then: dict[str, Any]) -> None:
    """Print both orders side by side, the newest first."""
    rows = max(len(now["Versions"]), len(then["Versions"]))
    columns = [found["Versions"] + [""] * (rows - len(found["Versions"])) for found in (now, then)]
    print_table((f"NOW ({now['Scheme']})", f"THEN ({then['Scheme']})"), list(zip(*columns, strict=True)))
