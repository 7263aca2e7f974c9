"""backfleet client: backup clients on hosts."""

from collections.abc import Callable
from typing import Any

import click

from backfleet.cli._acting import Switches, Verb, acting_options, can_be_sent_as_it_is, carry_out
from backfleet.cli._choosing import Target, Wanted, fields_of
from backfleet.cli._client import CallFailed, Client
from backfleet.cli._confirming import Plan, confirm, show_plan, yes_option
from backfleet.cli._expiring import expires_option, expiry
from backfleet.cli._listing import list_clients as all_clients
from backfleet.cli._options import PARTLY, WholeNumber, calls_the_api, fail
from backfleet.cli._pins import pinned
from backfleet.cli._print import moment, say
from backfleet.cli._starting import Order
from backfleet.cli._tables import Output, output_options
from backfleet.cli._targets import NOTHING_NAMED, chosen_clients, client_targets, host_targets
from backfleet_host.versions import SCHEMES, scheme_of

MOST_UPGRADES = 100  # ids in one call: the API's maximum
MOST_OTHERS = 20
FURTHER = (
    "channel",
    "platform",
    "os",
    "address",
    "offer",
    "host_version",
)  # columns of a list that are shown where they are named


@click.group()
def client() -> None:
    """Backup clients on hosts."""


@client.command(name="list")
@client_targets
@click.option("--limit", type=WholeNumber(1), metavar="N", help="No more than N of them.")
@output_options
@calls_the_api
def list_clients(api: Client, wanted: Wanted, limit: int | None, output: Output) -> None:
    """List backup clients, their versions and the newest ones for them: all, or those that are chosen."""
    if wanted.is_empty or wanted == Wanted(everything=True):
        found = all_clients(api, limit)
    else:
        chosen = {target.client_id for target in chosen_clients(api, wanted)}
        found = [each for each in all_clients(api) if each["ClientId"] in chosen][:limit]
    output.show(
        ("CLIENT", "INSTANCE", "NAME", "HOSTNAME", "PACKAGE", "VERSION", "NEWEST", "STATUS", *map(str.upper, FURTHER)),
        [
            (
                c["ClientId"],
                c["InstanceId"],
                c.get("InstanceName"),
                c.get("Hostname"),
                c.get("PackageName"),
                c.get("ClientVersion"),
                c.get("MaxClientVersion"),
                c["Status"] + _offered(c) + _unconfirmed(c) + pinned(c),
                *map(fields_of(c).get, FURTHER),
            )
            for c in found
        ],
        found,
        further=len(FURTHER),
    )


def _offered(found: dict[str, Any]) -> str:
    """Return what is said of a client whose version is not offered any more, or below the minimum."""
    withdrawn = ", behind what is offered (withdrawn)" if found.get("OfferState") == "Withdrawn" else ""
    minimum = found.get("BelowMinimumVersion")
    return f"{withdrawn}, below the minimum {minimum}" if minimum else withdrawn


def _unconfirmed(found: dict[str, Any]) -> str:
    """Return what is said of a client whose host has not said lately which version it has."""
    if found.get("Confirmed", True):  # a server from before this field does not say
        return ""
    since = moment(found.get("ConfirmedTime"))
    return f", not confirmed since {since}" if since else ", never confirmed"


_try_again = click.option(
    "--try-again", is_flag=True, help="Also try a version that a host rolled back within the last day."
)
_version = click.option("--version", metavar="VERSION", help="Go to this version. Default: the newest.")


@client.command(name="set")
@client_targets
@click.option("--channel", required=True, help="The channel whose newest release they get from now on.")
@yes_option
@output_options
@calls_the_api
def set_(api: Client, wanted: Wanted, channel: str, yes: bool, dry_run: bool, output: Output) -> None:
    """Have clients follow another channel. Their next upgrade goes by it; nothing is sent to their hosts now."""
    if wanted.is_empty:
        raise click.UsageError(NOTHING_NAMED)
    if can_be_sent_as_it_is(wanted, Switches(False, yes, dry_run), removes=False) and _are_clients(wanted):
        ids = wanted.texts
    else:
        targets = chosen_clients(api, wanted)
        plan = Plan(f"set channel {channel} of", targets, lambda _target: f"channel {channel}")
        if dry_run:
            show_plan(plan, output)
            return
        confirm(plan, has_yes=yes, is_by_id=wanted.is_by_id)
        ids = [target.client_id for target in targets]
    found: list[dict[str, Any]] = []
    for client_id in ids:
        try:
            found.append(api.call("backfleet", "SetClientChannel", ClientId=client_id, Channel=channel))
        except CallFailed as problem:
            if not found:
                raise
            fail(
                f"{client_id}: {problem.message}; {len(found)} of {len(ids)} were set before",
                code=str(problem.answer.get("Code", "")), exit_code=PARTLY, done=ids[: len(found)],
            )  # fmt: skip
        if output.form == "table":
            say(f"client {client_id} follows {channel}; before it was {found[-1]['PreviousChannel']}")
    if output.form != "table":
        rows = [(client_id, each["PreviousChannel"], channel) for client_id, each in zip(ids, found, strict=True)]
        output.show(("CLIENT", "BEFORE", "CHANNEL"), rows, found[0] if len(found) == 1 else found)


def _are_clients(wanted: Wanted) -> bool:
    return all(text.startswith("c-") for text in wanted.texts)


@client.command()
@client_targets
@_version
@_try_again
@expires_option
@acting_options
@calls_the_api
def upgrade(
    api: Client,
    wanted: Wanted,
    version: str | None,
    try_again: bool,
    expires: int | None,
    output: Output,
    **flags: bool,
) -> None:
    """Upgrade clients to their newest release, or to a named one."""
    parameters = {"ReleaseVersion": version, **_flag("TryAgain", try_again), **expiry(expires)}
    order = Order("hbr", "UpgradeBackupClients", MOST_UPGRADES, parameters)
    then = _after_upgrade(version)
    verb = Verb("upgrade", order, then, is_current=lambda target: _is_current(target, version), preview="upgrade")
    carry_out(api, verb, wanted, Switches(**flags), output)


@client.command(name="roll-back")
@client_targets
@click.option(
    "--version", metavar="VERSION", help="Go down to this version. Default: what each host had before, verified."
)
@expires_option
@acting_options
@calls_the_api
def roll_back(
    api: Client, wanted: Wanted, version: str | None, expires: int | None, output: Output, **flags: bool
) -> None:
    """Take clients back to an older version. Each host decides whether it goes down."""
    order = Order("backfleet", "RollBackClients", MOST_UPGRADES, {"ReleaseVersion": version, **expiry(expires)})
    then = version or "the version before"
    carry_out(
        api, Verb("roll back", order, lambda _target: then, preview="roll-back"), wanted, Switches(**flags), output
    )


@client.command()
@host_targets
@click.option("--package", help="The backup client. Default: the only one, or the server's setting.")
@click.option("--channel", help="The channel that they follow. Default: the server's; one that is there keeps its own.")
@_version
@_try_again
@expires_option
@acting_options
@calls_the_api
def install(
    api: Client,
    wanted: Wanted,
    package: str | None,
    channel: str | None,
    version: str | None,
    try_again: bool,
    expires: int | None,
    output: Output,
    **flags: bool,
) -> None:
    """Install a backup client on hosts: its newest release, or a named one."""
    named = {"PackageName": package, "Channel": channel, "ReleaseVersion": version}
    parameters = {**named, **_flag("TryAgain", try_again), **expiry(expires)}
    order = Order("hbr", "InstallBackupClients", MOST_OTHERS, parameters, takes_clients=False)
    newest = f"(newest of {channel})" if channel else "(newest)"
    then = f"{package or 'the default package'} {version or newest}"
    carry_out(api, Verb("install on", order, lambda _target: then), wanted, Switches(**flags), output)


@client.command()
@client_targets
@click.option(
    "--remove-state", is_flag=True, help="Remove their configuration and state, too. They cannot be restored."
)
@expires_option
@acting_options
@calls_the_api
def uninstall(
    api: Client, wanted: Wanted, remove_state: bool, expires: int | None, output: Output, **flags: bool
) -> None:
    """Uninstall backup clients from hosts. Their preserved state (configuration, data) stays.

    A host that is named stands for all of its clients: they are listed, and you are asked.
    """
    order = Order(
        "hbr", "UninstallBackupClients", MOST_OTHERS, {**_flag("RemoveState", remove_state), **expiry(expires)}
    )
    then = "removed, with its state" if remove_state else "removed"
    verb = Verb("uninstall", order, lambda _target: then, removes=True, preview="uninstall")
    carry_out(api, verb, wanted, Switches(**flags), output)


def _flag(name: str, given: bool) -> dict[str, object]:
    """Return a boolean parameter, only if its flag was given."""
    return {name: True} if given else {}


def _is_current(target: Target, version: str | None) -> bool:
    """Return whether a client has the version already that an upgrade goes to, as far as is known here."""
    goal, now = version or target.fields.get("newest", ""), target.fields.get("version", "")
    if not goal or not now:
        return False
    return now == goal if version or target.scheme not in SCHEMES else not scheme_of(target.scheme).is_newer(goal, now)


def _after_upgrade(version: str | None) -> Callable[[Target], str]:
    """Return what tells the version that a client has after an upgrade, as far as is known here."""

    def then(target: Target) -> str:
        newest, now = target.fields.get("newest", ""), target.fields.get("version", "")
        if version or not newest:
            return version or "no release"
        if _is_current(target, version):
            return f"{now} (the newest)"
        return newest

    return then
