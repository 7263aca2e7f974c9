"""backfleet ssm-account: accounts of AWS. backfleet ssm-import: which of their instances are imported."""

from typing import Any

import click

from backfleet.cli._client import Client
from backfleet.cli._clouds import (
    account_options,
    import_instances,
    import_options,
    show_accounts,
    show_imports,
    store_account,
)
from backfleet.cli._options import Done, calls_the_api, prints_the_answer
from backfleet.cli._tables import Output, output_options


@click.group(name="ssm-account")
def ssm_account() -> None:
    """Accounts of AWS, whose EC2 instances and hybrid hosts are reached through Systems Manager."""


@ssm_account.command()
@account_options(
    server_name="The name of that profile.",
    cloud_endpoint="For SSM and EC2. Default: those of the region.",
    sts_endpoint="Of STS. Default: that of the region.",
)
@prints_the_answer
@calls_the_api
def create(client: Client, name: str, **given: Any) -> Done:
    """Store how an account of AWS is asked. The secret of its key is read from standard input."""
    return store_account(client, "CreateSsmAccount", name, given), f"account {name} of AWS stored"


@ssm_account.command(name="list")
@output_options
@calls_the_api
def list_accounts(client: Client, output: Output) -> None:
    """List the accounts of AWS, and what is wrong with each."""
    show_accounts(client.call("backfleet", "ListSsmAccounts")["Accounts"], output)


@ssm_account.command()
@click.argument("name")
@prints_the_answer
@calls_the_api
def delete(client: Client, name: str) -> Done:
    """Delete an account of AWS that no instance is reached through."""
    client.call("backfleet", "DeleteSsmAccount", Name=name)
    return {"Name": name}, f"account {name} of AWS deleted"


@click.group(name="ssm-import")
def ssm_import() -> None:
    """Which instances of accounts of AWS are imported, and kept up to date."""


@ssm_import.command(name="create")
@import_options(
    region="The region of AWS, such as eu-central-1.",
    instance="i-... or mi-...; several one by one.",
)
@output_options
@calls_the_api
def create_import(client: Client, output: Output, **given: Any) -> None:
    """Import the managed instances of a region that meet all conditions; without any, all of them."""
    import_instances(client, "Ssm", given, output)


@ssm_import.command(name="list")
@output_options
@calls_the_api
def list_imports(client: Client, output: Output) -> None:
    """List what is imported, when it was last read, and what was wrong then."""
    show_imports(client.call("backfleet", "ListSsmImports")["Imports"], output)


@ssm_import.command(name="delete")
@click.argument("import_id")
@prints_the_answer
@calls_the_api
def delete_import(client: Client, import_id: str) -> Done:
    """Import nothing more for a selection. Its instances stay until they are deregistered or terminated."""
    client.call("backfleet", "DeleteSsmImport", ImportId=import_id)
    return {"ImportId": import_id}, f"import {import_id} deleted"
