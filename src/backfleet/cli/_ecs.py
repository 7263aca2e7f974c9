"""backfleet ecs-account: accounts of Alibaba Cloud. backfleet ecs-import: which of their instances are imported."""

import sys
import time
from pathlib import Path
from typing import Any, Final

import click

from backfleet.cli._client import Client
from backfleet.cli._options import PARTLY, WholeNumber, calls_the_api, fail, json_option, read_text
from backfleet.cli._print import print_json, say
from backfleet.cli._tables import Output, output_options

POLL_SECONDS: Final = 1.0
FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(name="ecs-account")
def ecs_account() -> None:
    """Accounts of Alibaba Cloud, whose instances are reached through the cloud's own Cloud Assistant."""


@ecs_account.command()
@click.argument("name")
@click.option("--key-id", metavar="ID", help="An access key of the cloud account; its secret comes on standard input.")
@click.option("--server-credentials", type=click.Choice(["chain", "profile", "machine-role"]),
              help="Use what the server finds where it runs, instead of a key.")  # fmt: skip
@click.option("--server-name", metavar="NAME", help="The name of that profile, or of the machine's role.")
@click.option("--role-arn", metavar="ARN", help="A role that these credentials take on, also of another account.")
@click.option("--external-id-file", type=FILE, help="A file with the external id that this role asks for.")
@click.option("--cloud-endpoint", metavar="HOST[:PORT]", help="Of ECS. Default: that of the region.")
@click.option("--sts-endpoint", metavar="HOST[:PORT]", help="Of STS. Default: sts.aliyuncs.com.")
@click.option("--authority", type=FILE, help="Certificates that vouch for these endpoints, where no public one does.")
@click.option("--downloads-address", metavar="HOST[:PORT]", help="How the instances reach this server's downloads.")
@click.option("--downloads-url", metavar="URL", help="A copy of the server's downloads that the instances ask first.")
@click.option("--downloads-authority", type=FILE, help="Certificates for that URL, where their systems have none.")
@json_option
@calls_the_api
def create(
    client: Client,
    name: str,
    key_id: str | None,
    server_credentials: str | None,
    server_name: str | None,
    role_arn: str | None,
    external_id_file: Path | None,
    cloud_endpoint: str | None,
    sts_endpoint: str | None,
    authority: Path | None,
    downloads_address: str | None,
    downloads_url: str | None,
    downloads_authority: Path | None,
    as_json: bool,
) -> None:
    """Store how a cloud account is asked. The secret of its key is read from standard input."""
    if (key_id is None) == (server_credentials is None):
        raise click.UsageError("give --key-id or --server-credentials")
    given: dict[str, Any] = {
        "CredentialSource": server_credentials, "SourceName": server_name, "RoleArn": role_arn,
        "Endpoint": cloud_endpoint, "StsEndpoint": sts_endpoint, "DownloadsAddress": downloads_address,
        "DownloadsUrl": downloads_url,
        "KeyId": key_id,
    }  # fmt: skip
    if key_id is not None:
        given["KeySecret"] = read_secret()
    if external_id_file is not None:
        given["ExternalId"] = read_text(external_id_file).strip()
    if authority is not None:
        given["Authority"] = read_text(authority)
    if downloads_authority is not None:
        given["DownloadsAuthority"] = read_text(downloads_authority)
    words = {field: value for field, value in given.items() if value is not None}
    found = client.call("backfleet", "CreateEcsAccount", Name=name, **words)
    if as_json:
        print_json(found)
        return
    say(f"cloud account {name} stored")


def read_secret() -> str:
    """Return the secret from standard input: on a command line everybody on this machine could read it."""
    stream = sys.stdin
    asking = stream.isatty()
    secret: str = click.prompt("KeySecret", hide_input=True, err=True) if asking else stream.readline()
    if not secret.strip():
        fail("standard input is empty; the secret of the access key comes there, in one line")
    return secret.strip()


@ecs_account.command(name="list")
@output_options
@calls_the_api
def list_accounts(client: Client, output: Output) -> None:
    """List the cloud accounts, and what is wrong with each."""
    show_accounts(client.call("backfleet", "ListEcsAccounts")["Accounts"], output)


def show_accounts(found: list[dict[str, Any]], output: Output) -> None:
    """Print cloud accounts."""
    rows = [
        (each["Name"], each["KeyId"] or each["CredentialSource"], each["RoleArn"], _state(each, "AskedTime"))
        for each in found
    ]
    output.show(("NAME", "CREDENTIALS", "ROLE", "FOUND"), rows, found)


@ecs_account.command()
@click.argument("name")
@json_option
@calls_the_api
def delete(client: Client, name: str, as_json: bool) -> None:
    """Delete a cloud account that no instance is reached through."""
    client.call("backfleet", "DeleteEcsAccount", Name=name)
    if as_json:
        print_json({"Name": name})
        return
    say(f"cloud account {name} deleted")


@click.group(name="ecs-import")
def ecs_import() -> None:
    """Which instances of cloud accounts are imported, and kept up to date."""


@ecs_import.command(name="create")
@click.argument("account")
@click.option("--cloud-region", required=True, metavar="REGION", help="The region of the cloud, such as cn-beijing.")
@click.option("--instance", "instances", multiple=True, metavar="ID", help="An instance; several are given one by one.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="A tag that the instances must have.")
@click.option("--resource-group", metavar="ID", help="The resource group that they must be in.")
@click.option("--wait", "seconds", type=WholeNumber(0), default=60, show_default=True, metavar="SECONDS",
              help="How long to wait until the instances are registered.")  # fmt: skip
@output_options
@calls_the_api
def create_import(
    client: Client,
    account: str,
    cloud_region: str,
    instances: tuple[str, ...],
    tags: tuple[str, ...],
    resource_group: str | None,
    seconds: int,
    output: Output,
) -> None:
    """Import the instances of a region that meet all conditions; without any, all of them."""
    given: dict[str, Any] = {f"InstanceIds.{n}": each for n, each in enumerate(instances, 1)}
    given |= tag_words(tags)
    if resource_group:
        given["ResourceGroupId"] = resource_group
    made = client.call("backfleet", "ImportEcsInstances", AccountName=account, CloudRegionId=cloud_region, **given)
    found = synced(client, "ListEcsImports", made["ImportId"], seconds)
    show_imports([found], output)
    if found["ProblemCode"] or not found.get("SyncedTime"):
        raise SystemExit(PARTLY)


def tag_words(tags: tuple[str, ...]) -> dict[str, str]:
    """Return tags, KEY=VALUE each, as parameters of a call."""
    pairs = [tag.partition("=") for tag in tags]
    return {f"Tag.{n}.{name}": text for n, (key, _, value) in enumerate(pairs, 1)
            for name, text in (("Key", key), ("Value", value))}  # fmt: skip


def synced(client: Client, operation: str, import_id: str, seconds: int) -> dict[str, Any]:
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


@ecs_import.command(name="list")
@output_options
@calls_the_api
def list_imports(client: Client, output: Output) -> None:
    """List what is imported, when it was last read, and what was wrong then."""
    show_imports(client.call("backfleet", "ListEcsImports")["Imports"], output)


@ecs_import.command(name="delete")
@click.argument("import_id")
@json_option
@calls_the_api
def delete_import(client: Client, import_id: str, as_json: bool) -> None:
    """Import nothing more for a selection. Its instances stay until they are deregistered or released."""
    client.call("backfleet", "DeleteEcsImport", ImportId=import_id)
    if as_json:
        print_json({"ImportId": import_id})
        return
    say(f"import {import_id} deleted")
