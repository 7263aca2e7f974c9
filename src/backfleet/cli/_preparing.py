"""backfleet client precheck and stage: what an upgrade would be refused for, and all of it on the hosts before."""

import click

from backfleet.cli._acting import Switches, Verb, acting_options, carry_out
from backfleet.cli._choosing import Wanted
from backfleet.cli._client import Client
from backfleet.cli._expiring import expires_option, expiry
from backfleet.cli._options import calls_the_api
from backfleet.cli._starting import Order
from backfleet.cli._tables import Output
from backfleet.cli._targets import client_targets

MOST = 100  # ids in one call: the API's maximum

_version = click.option("--version", metavar="VERSION", help="Of an upgrade to this version. Default: the newest.")


@click.command()
@client_targets
@_version
@expires_option
@acting_options
@calls_the_api
def precheck(
    api: Client, wanted: Wanted, version: str | None, expires: int | None, output: Output, **flags: bool
) -> None:
    """Find out what an upgrade would be refused for. Nothing is touched on the hosts."""
    order = Order("backfleet", "PrecheckClients", MOST, {"ReleaseVersion": version, **expiry(expires)})
    carry_out(
        api, Verb("precheck", order, lambda _target: "as it is", preview="upgrade"), wanted, Switches(**flags), output
    )


@click.command()
@client_targets
@_version
@expires_option
@acting_options
@calls_the_api
def stage(api: Client, wanted: Wanted, version: str | None, expires: int | None, output: Output, **flags: bool) -> None:
    """Download and verify a version ahead, for a week: an upgrade then only switches."""
    order = Order("backfleet", "StageClients", MOST, {"ReleaseVersion": version, **expiry(expires)})
    then = f"{version or 'the newest'} beside what runs"
    carry_out(api, Verb("stage", order, lambda _target: then, preview="upgrade"), wanted, Switches(**flags), output)
