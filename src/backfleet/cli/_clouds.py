"""What the commands for accounts of every cloud have in common, and those for what is imported from them."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from backfleet.cli._client import Client
from backfleet.cli._options import PARTLY, WholeNumber, fail, read_text
from backfleet.cli._tables import Output

POLL_SECONDS: Final = 1.0
FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)

Decorator = Callable[[Any], Any]


def options(*some: Decorator) -> Decorator:
    """Return a decorator that gives a command these options, in this order."""

    def decorate(command: Any) -> Any:
        for one in reversed(some):
            command = one(command)
        return command

    return decorate


def account_options(*, server_name: str, cloud_endpoint: str, sts_endpoint: str) -> Decorator:
    """Give a command the options of a cloud account, for `store_account`. The texts are this cloud's own help."""
    return options(
        click.argument("name"),
        click.option("--key-id", metavar="ID",
                     help="An access key of the account; its secret comes on standard input."),
        click.option("--server-credentials", type=click.Choice(["chain", "profile", "machine-role"]),
                     help="Use what the server finds where it runs, instead of a key."),
        click.option("--server-name", metavar="NAME", help=server_name),
        click.option("--role-arn", metavar="ARN",
                     help="A role that these credentials take on, also of another account."),
        click.option("--external-id-file", type=FILE, help="A file with the external id that this role asks for."),
        click.option("--cloud-endpoint", metavar="HOST[:PORT]", help=cloud_endpoint),
        click.option("--sts-endpoint", metavar="HOST[:PORT]", help=sts_endpoint),
        click.option("--authority", type=FILE,
                     help="Certificates that vouch for these endpoints, where no public one does."),
        click.option("--downloads-address", metavar="HOST[:PORT]",
                     help="How the instances reach this server's downloads."),
        click.option("--downloads-url", metavar="URL",
                     help="A copy of the server's downloads that the instances ask first."),
        click.option("--downloads-authority", type=FILE,
                     help="Certificates for that URL, where their systems have none."),
    )  # fmt: skip


def store_account(client: Client, operation: str, name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Store a cloud account; return the server's answer.

    Args:
        client: of the server.
        operation: that stores accounts of this cloud.
        name: of the account.
        given: what `account_options` were given.
    """
    if (given["key_id"] is None) == (given["server_credentials"] is None):
        raise click.UsageError("give --key-id or --server-credentials")
    words: dict[str, Any] = {
        "CredentialSource": given["server_credentials"], "SourceName": given["server_name"],
        "RoleArn": given["role_arn"], "Endpoint": given["cloud_endpoint"], "StsEndpoint": given["sts_endpoint"],
        "DownloadsAddress": given["downloads_address"], "DownloadsUrl": given["downloads_url"],
        "KeyId": given["key_id"],
    }  # fmt: skip
    if given["key_id"] is not None:
        words["KeySecret"] = _read_secret()
    files: dict[str, Path | None] = {
        "ExternalId": given["external_id_file"], "Authority": given["authority"],
        "DownloadsAuthority": given["downloads_authority"],
    }  # fmt: skip
    for field, path in files.items():
        content = read_text(path) if path is not None else None
        words[field] = content.strip() if content is not None and field == "ExternalId" else content
    asked = {field: value for field, value in words.items() if value is not None}
    return client.call("backfleet", operation, Name=name, **asked)


def _read_secret() -> str:
    """Return the secret from standard input: on a command line everybody on this machine could read it."""
    stream = sys.stdin
    asking = stream.isatty()
    secret: str = click.prompt("KeySecret", hide_input=True, err=True) if asking else stream.readline()
    if not secret.strip():
        fail("standard input is empty; the secret of the access key comes there, in one line")
    return secret.strip()


def show_accounts(found: list[dict[str, Any]], output: Output) -> None:
    """Print cloud accounts."""
    rows = [
        (each["Name"], each["KeyId"] or each["CredentialSource"], each["RoleArn"], _state(each, "AskedTime"))
        for each in found
    ]
    output.show(("NAME", "CREDENTIALS", "ROLE", "FOUND"), rows, found)


def import_options(*, region: str, instance: str) -> Decorator:
    """Give a command the options of an import, for `import_instances`. The texts are this cloud's own help."""
    return options(
        click.argument("account"),
        click.option("--cloud-region", required=True, metavar="REGION", help=region),
        click.option("--instance", "instances", multiple=True, metavar="ID", help=instance),
        click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="A tag that the instances must have."),
        click.option("--wait", "seconds", type=WholeNumber(0), default=60, show_default=True, metavar="SECONDS",
                     help="How long to wait until the instances are registered."),
    )  # fmt: skip


def import_instances(client: Client, cloud: str, given: dict[str, Any], output: Output) -> None:
    """Import instances, wait until they are registered, and print what became of it.

    Args:
        client: of the server.
        cloud: as the operations call it: `Ecs`.
        given: what `import_options` were given; `resource_group` where the cloud has that.
        output: how it is printed.
    """
    words: dict[str, Any] = {f"InstanceIds.{n}": each for n, each in enumerate(given["instances"], 1)}
    words |= _tag_words(given["tags"])
    if given.get("resource_group"):
        words["ResourceGroupId"] = given["resource_group"]
    made = client.call(
        "backfleet", f"Import{cloud}Instances",
        AccountName=given["account"], CloudRegionId=given["cloud_region"], **words,
    )  # fmt: skip
    found = _synced(client, f"List{cloud}Imports", made["ImportId"], given["seconds"])
    show_imports([found], output)
    if found["ProblemCode"] or not found.get("SyncedTime"):
        raise SystemExit(PARTLY)


def _tag_words(tags: tuple[str, ...]) -> dict[str, str]:
    """Return tags, KEY=VALUE each, as parameters of a call."""
    pairs = [tag.partition("=") for tag in tags]
    return {f"Tag.{n}.{name}": text for n, (key, _, value) in enumerate(pairs, 1)
            for name, text in (("Key", key), ("Value", value))}  # fmt: skip


def _synced(client: Client, operation: str, import_id: str, seconds: int) -> dict[str, Any]:
    """Return an import once its selection was read, or when the time is over. `operation` lists imports."""
    until = time.monotonic() + seconds
    while True:
        imports = client.call("backfleet", operation)["Imports"]
        found: dict[str, Any] | None = next((each for each in imports if each["ImportId"] == import_id), None)
        if found is None:
            fail(f"the import {import_id} was deleted meanwhile")
        if found.get("SyncedTime") or found["ProblemCode"] or time.monotonic() > until:
            return found
        time.sleep(POLL_SECONDS)


def show_imports(found: list[dict[str, Any]], output: Output) -> None:
    """Print imports."""
    rows = []
    for each in found:
        chosen = [*each["InstanceIds"], *(f"{tag['Key']}={tag['Value']}" for tag in each["Tags"])]
        chosen += filter(None, [each.get("ResourceGroupId")])
        what = " ".join(chosen) or "all"
        rows.append((each["ImportId"], each["AccountName"], each["RegionId"], what, each["Found"],
                     _state(each, "SyncedTime")))  # fmt: skip
    output.show(("IMPORT", "ACCOUNT", "REGION", "SELECTS", "INSTANCES", "FOUND"), rows, found)


def _state(each: dict[str, Any], time_field: str) -> str:
    if each["ProblemCode"]:
        return f"{each['ProblemCode']}: {each['Problem']}"
    return "in order" if each.get(time_field) else "not asked yet"
