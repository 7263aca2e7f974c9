"""backfleet ecs-account: accounts of Alibaba Cloud. backfleet ecs-import: which of their instances are imported."""

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


@click.group(name="ecs-account")
def ecs_account() -> None:
    """Accounts of Alibaba Cloud, whose instances are reached through the cloud's own Cloud Assistant."""


@ecs_account.command()
@account_options(
    server_name="The name of that profile, or of the machine's role.",
    cloud_endpoint="Of ECS. Default: that of the region.",
    sts_endpoint="Of STS. Default: sts.aliyuncs.com.",
)
@prints_the_answer
@calls_the_api
def create(client: Client, name: str, **given: Any) -> Done:
    """Store how a cloud account is asked. The secret of its key is read from standard input."""
    return store_account(client, "CreateEcsAccount", name, given), f"cloud account {name} stored"


@ecs_account.command(name="list")
@output_options
@calls_the_api
def list_accounts(client: Client, output: Output) -> None:
    """List the cloud accounts, and what is wrong with each."""
    show_accounts(client.call("backfleet", "ListEcsAccounts")["Accounts"], output)


@ecs_account.command()
@click.argument("name")
@prints_the_answer
@calls_the_api
def delete(client: Client, name: str) -> Done:
    """Delete a cloud account that no instance is reached through."""
    client.call("backfleet", "DeleteEcsAccount", Name=name)
    return {"Name": name}, f"cloud account {name} deleted"


@click.group(name="ecs-import")
def ecs_import() -> None:
    """Which instances of cloud accounts are imported, and kept up to date."""


@ecs_import.command(name="create")
@import_options(
    region="The region of the cloud, such as cn-beijing.",
    instance="An instance; several are given one by one.",
)
@click.option("--resource-group", metavar="ID", help="The resource group that they must be in.")
@output_options
@calls_the_api
def create_import(client: Client, output: Output, **given: Any) -> None:
    """Import the instances of a region that meet all conditions; without any, all of them."""
    import_instances(client, "Ecs", given, output)


@ecs_import.command(name="list")
@output_options
@calls_the_api
def list_imports(client: Client, output: Output) -> None:
    """List what is imported, when it was last read, and what was wrong then."""
    show_imports(client.call("backfleet", "ListEcsImports")["Imports"], output)


@ecs_import.command(name="delete")
@click.argument("import_id")
@prints_the_answer
@calls_the_api
def delete_import(client: Client, import_id: str) -> Done:
    """Import nothing more for a selection. Its instances stay until they are deregistered or released."""
    client.call("backfleet", "DeleteEcsImport", ImportId=import_id)
    return {"ImportId": import_id}, f"import {import_id} deleted"
