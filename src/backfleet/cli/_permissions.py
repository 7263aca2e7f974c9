"""backfleet policy test: may somebody do something, and which statement decides?"""

import json
import sys
from collections.abc import Sequence

import click

from backfleet.cli._client import Client
from backfleet.cli._options import FAILED, calls_the_api, fail, json_option
from backfleet.cli._print import print_json, say


@click.command()
@click.argument("action")
@click.option("--user", metavar="NAME", help="Whose policies decide. Default: your own.")
@click.option("--role", metavar="NAME", help="A role instead of a user.")
@click.option("--on", "resource", metavar="ARN", help="The resource. Default: every resource of the action's product.")
@click.option("--condition", "conditions", metavar="KEY=VALUE", multiple=True, help="Such as acs:SourceIp=10.0.0.1.")
@json_option
@calls_the_api
def test(
    api: Client,
    action: str,
    user: str | None,
    role: str | None,
    resource: str | None,
    conditions: Sequence[str],
    as_json: bool,
) -> None:
    """Say whether policies allow ACTION, such as hbr:UpgradeBackupClients, and why. Nothing is called.

    Exits with 0 if they allow it, and with 1 if they do not.
    """
    names = {"UserName": user, "RoleName": role, "Resource": resource}
    found = api.call(
        "ram",
        "GetPermissionDecision",
        ActionName=action,
        **{name: value for name, value in names.items() if value is not None},
        **({"Conditions": json.dumps(_pairs(conditions))} if conditions else {}),
    )
    if as_json:
        print_json(found)
    else:
        say(f"{'allowed' if found['Allowed'] else 'denied'}: {found['Reason']}")
        if found.get("Warning"):
            say(found["Warning"])
        if found["MissingConditionKeys"]:
            say(f"not given, and compared by statements: {', '.join(found['MissingConditionKeys'])} (--condition)")
    sys.exit(0 if found["Allowed"] else FAILED)


def _pairs(conditions: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for one in conditions:
        key, is_pair, value = one.partition("=")
        if not key or not is_pair:
            fail(f"--condition takes KEY=VALUE, such as acs:SourceIp=10.0.0.1, not {one!r}")
        pairs[key] = value
    return pairs
