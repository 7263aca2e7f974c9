"""backfleet ssm-account: accounts of AWS. backfleet ssm-import: which of their instances are imported."""

from pathlib import Path
from typing import Any

import click

from backfleet.cli._client import Client
from backfleet.cli._ecs import FILE, read_secret, show_accounts, show_imports, synced, tag_words
from backfleet.cli._options import PARTLY, WholeNumber, calls_the_api, json_option, read_text
from backfleet.cli._print import print_json, say
from backfleet.cli._tables import Output, output_options


@click.group(name="ssm-account")
def ssm_account() -> None:
    """Accounts of AWS, whose EC2 instances and hybrid hosts are reached through Systems Manager."""


@ssm_account.command()
@click.argument("name")
@click.option("--key-id", metavar="ID", help="An access key of the account; its secret comes on standard input.")
@click.option("--server-credentials", type=click.Choice(["chain", "profile", "machine-role"]),
              help="Use what the server finds where it runs, instead of a key.")  # fmt: skip
@click.option("--server-name", metavar="NAME", help="The name of that profile.")
@click.option("--role-arn", metavar="ARN", help="A role that these credentials take on, also of another account.")
@click.option("--external-id-file", type=FILE, help="A file with the external id that this role asks for.")
@click.option("--cloud-endpoint", metavar="HOST[:PORT]", help="For SSM and EC2. Default: those of the region.")
@click.option("--sts-endpoint", metavar="HOST[:PORT]", help="Of STS. Default: that of the region.")
@click.option("--authority", type=FILE, help="Certificates that vouch for these endpoints, where no public one does.")
@click.option("--downloads-address", metavar="HOST[:PORT]", help="How the instances reach this server's downloads.")
@click.option("--downloads-url", metavar="URL", help="A copy of the server's downloads that the instances ask first.")
@click.option("--downloads-authority", type=FILE, help="Certificates for that URL, where their systems have none.")
@json_option
@calls_the_api
def create(client: Client, name: str, as_json: bool, **given: Any) -> None:
    """Store how an account of AWS is asked. The secret of its key is read from standard input."""
    if (given["key_id"] is None) == (given["server_credentials"] is None):
        raise click.UsageError("give --key-id or --server-credentials")
    words: dict[str, Any] = {
        "CredentialSource": given["server_credentials"], "SourceName": given["server_name"],
        "RoleArn": given["role_arn"], "Endpoint": given["cloud_endpoint"], "StsEndpoint": given["sts_endpoint"],
        "DownloadsAddress": given["downloads_address"], "DownloadsUrl": given["downloads_url"],
        "KeyId": given["key_id"],
    }  # fmt: skip
    if given["key_id"] is not None:
        words["KeySecret"] = read_secret()
    files: dict[str, Path | None] = {
        "ExternalId": given["external_id_file"], "Authority": given["authority"],
        "DownloadsAuthority": given["downloads_authority"],
    }  # fmt: skip
    for field, path in files.items():
        content = read_text(path) if path is not None else None
        words[field] = content.strip() if content is not None and field == "ExternalId" else content
    asked = {field: value for field, value in words.items() if value is not None}
    found = client.call("backfleet", "CreateSsmAccount", Name=name, **asked)
    if as_json:
        print_json(found)
        return
    say(f"account {name} of AWS stored")


@ssm_account.command(name="list")
@output_options
@calls_the_api
def list_accounts(client: Client, output: Output) -> None:
    """List the accounts of AWS, and what is wrong with each."""
    show_accounts(client.call("backfleet", "ListSsmAccounts")["Accounts"], output)


@ssm_account.command()
@click.argument("name")
@json_option
@calls_the_api
def delete(client: Client, name: str, as_json: bool) -> None:
    """Delete an account of AWS that no instance is reached through."""
    client.call("backfleet", "DeleteSsmAccount", Name=name)
    if as_json:
        print_json({"Name": name})
        return
    say(f"account {name} of AWS deleted")


@click.group(name="ssm-import")
def ssm_import() -> None:
    """Which instances of accounts of AWS are imported, and kept up to date."""


@ssm_import.command(name="create")
@click.argument("account")
@click.option("--cloud-region", required=True, metavar="REGION", help="The region of AWS, such as eu-central-1.")
@click.option("--instance", "instances", multiple=True, metavar="ID", help="i-... or mi-...; several one by one.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="A tag that the instances must have.")
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
    seconds: int,
    output: Output,
) -> None:
    """Import the managed instances of a region that meet all conditions; without any, all of them."""
    given = {f"InstanceIds.{n}": each for n, each in enumerate(instances, 1)} | tag_words(tags)
    made = client.call("backfleet", "ImportSsmInstances", AccountName=account, CloudRegionId=cloud_region, **given)
    found = synced(client, "ListSsmImports", made["ImportId"], seconds)
    show_imports([found], output)
    if found["ProblemCode"] or not found.get("SyncedTime"):
        raise SystemExit(PARTLY)


@ssm_import.command(name="list")
@output_options
@calls_the_api
def list_imports(client: Client, output: Output) -> None:
    """List what is imported, when it was last read, and what was wrong then."""
    show_imports(client.call("backfleet", "ListSsmImports")["Imports"], output)


@ssm_import.command(name="delete")
@click.argument("import_id")
@json_option
@calls_the_api
def delete_import(client: Client, import_id: str, as_json: bool) -> None:
    """Import nothing more for a selection. Its instances stay until they are deregistered or terminated."""
    client.call("backfleet", "DeleteSsmImport", ImportId=import_id)
    if as_json:
        print_json({"ImportId": import_id})
        return
    say(f"import {import_id} deleted")
