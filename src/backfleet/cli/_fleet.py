"""backfleet instance: hosts that have enrolled."""

from collections import defaultdict
from typing import Any

import click

from backfleet.cli._choosing import Named, Target, Wanted, host_version_in
from backfleet.cli._client import CallFailed, Client
from backfleet.cli._confirming import Plan, confirm, show_plan, yes_option
from backfleet.cli._listing import list_clients, list_hosts
from backfleet.cli._options import PARTLY, WholeNumber, calls_the_api, fail, json_option
from backfleet.cli._print import print_json, say
from backfleet.cli._tables import Output, output_options
from backfleet.cli._targets import chosen_hosts, host_targets

MOST_IDS = 100  # in one call: the API's maximum


@click.group()
def instance() -> None:
    """Hosts that have enrolled."""


@instance.command(name="list")
@host_targets
@click.option("--limit", type=WholeNumber(1), metavar="N", help="No more than N of them.")
@output_options
@calls_the_api
def list_instances(client: Client, wanted: Wanted, limit: int | None, output: Output) -> None:
    """List hosts, and whether their agents are connected: all, or those that are chosen."""
    if wanted.is_empty or wanted == Wanted(everything=True):
        found = list_hosts(client, limit)
    else:
        chosen = {target.instance_id for target in chosen_hosts(client, wanted)}
        found = [each for each in list_hosts(client) if each["InstanceId"] in chosen][:limit]
    output.show(
        ("INSTANCE", "NAME", "HOSTNAME", "OS", "ADDRESS", "AGENT", "HOST_PROGRAM", "CONNECTED", "REGISTERED"),
        [
            (
                i["InstanceId"],
                i.get("InstanceName"),
                i.get("Hostname"),
                i.get("OsType"),
                i.get("IntranetIp"),
                i.get("AgentVersion"),
                host_version_in(i),
                "yes" if i.get("Connected") else "no",
                i.get("RegistrationTime"),
            )
            for i in found
        ],
        found,
    )


@instance.command()
@click.argument("name")
@json_option
@calls_the_api
def show(client: Client, name: str, as_json: bool) -> None:
    """Show one host, by id or name, and its backup clients. It is JSON in any case."""
    instance_id = _id_of(client, name)
    found = list_hosts(client, filters={"InstanceId.1": instance_id})
    if not found:
        fail(f"there is no instance {instance_id}; `backfleet instance list` lists those of your account")
    clients = list_clients(client, filters={"InstanceIds": [instance_id]})
    more = client.call("backfleet", "DescribeInstance", InstanceId=instance_id)
    print_json({**found[0], **more, "Clients": clients})


def _id_of(client: Client, name: str) -> str:
    """Return the id of a host that is named by id or by name."""
    if name.startswith(("i-", "mi-")):
        return name
    return chosen_hosts(client, Wanted((Named(name),)))[0].instance_id


@instance.command()
@click.argument("name")
@click.option("--type", "kind", default="ACS:Application", show_default=True, help="The kind of inventory.")
@output_options
@calls_the_api
def inventory(client: Client, name: str, kind: str, output: Output) -> None:
    """Show what is installed on a host, as its agent reported last. Other kinds than programs are JSON."""
    instance_id = _id_of(client, name)
    rows: list[dict[str, Any]] = []
    page = 1
    while True:
        answer = client.call(
            "backfleet", "ListInventory", InstanceId=instance_id, Type=kind, PageNumber=page, PageSize=500
        )
        rows += answer["Rows"]
        if not answer["Rows"] or len(rows) >= answer["TotalCount"]:
            break
        page += 1
    if kind != "ACS:Application":
        print_json(rows)
        return
    cells = [(row.get("Name"), row.get("Version"), row.get("Architecture")) for row in rows]
    output.show(("NAME", "VERSION", "ARCHITECTURE"), cells, rows)


@instance.command()
@click.argument("name")
@json_option
@calls_the_api
def stopped(client: Client, name: str, as_json: bool) -> None:
    """Record that a host was shut down, so that nothing waits for it until its agent reports again."""
    instance_id = _id_of(client, name)
    client.call("backfleet", "NoteInstanceStopped", InstanceId=instance_id)
    if as_json:
        print_json({"InstanceId": instance_id})
        return
    say(f"{instance_id}: stopped, until its agent reports again")


@instance.command()
@host_targets
@yes_option
@output_options
@calls_the_api
def deregister(client: Client, wanted: Wanted, yes: bool, dry_run: bool, output: Output) -> None:
    """Remove hosts: their agents' keys are not accepted any more.

    Their backup clients stay installed, and nobody upgrades them any more: they are listed, and you are asked.
    """
    is_sure = yes and wanted.is_by_id and not dry_run  # then no host has to be listed
    hosts = [Target(each, "", "") for each in wanted.texts] if is_sure else chosen_hosts(client, wanted)
    left = _clients_on(client, hosts)
    plan = Plan("deregister", hosts, lambda host: _what_stays(left[host.instance_id]), removes=True)
    if dry_run:
        show_plan(plan, output)
        return
    confirm(plan, has_yes=yes, is_by_id=wanted.is_by_id)
    region = client.region()
    done: list[dict[str, Any]] = []
    for host in hosts:
        try:
            client.call("ecs", "DeregisterManagedInstance", RegionId=region, InstanceId=host.instance_id)
        except CallFailed as problem:
            if not done:
                raise
            fail(
                f"{host.instance_id}: {problem.message}; {len(done)} of {len(hosts)} were deregistered before",
                code=str(problem.answer.get("Code", "")), exit_code=PARTLY, done=done,
            )  # fmt: skip
        done.append({"InstanceId": host.instance_id, "LeftClients": left[host.instance_id]})
        if output.form == "table":
            stays = left[host.instance_id]
            say(f"{host.instance_id}: deregistered{f'; left on it: {_named(stays)}' if stays else ''}")
    if output.form != "table":
        output.show(("INSTANCE", "LEFT"), [(d["InstanceId"], _named(d["LeftClients"])) for d in done], done)


def _clients_on(client: Client, hosts: list[Target]) -> dict[str, list[dict[str, Any]]]:
    """Return the clients of each host; none, with a note, where the caller may not list clients."""
    ids = [host.instance_id for host in hosts]
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    try:
        for at in range(0, len(ids), MOST_IDS):
            for each in list_clients(client, filters={"InstanceIds": ids[at : at + MOST_IDS]}):
                found[each["InstanceId"]].append(each)
    except CallFailed as problem:
        say(f"note: clients that stay are not known: {problem.message}", err=True)
    return found


def _what_stays(clients: list[dict[str, Any]]) -> str:
    return f"leaves {_named(clients)}" if clients else "leaves no client"


def _named(clients: list[dict[str, Any]]) -> str:
    return ", ".join(f"{each['PackageName']} {each['ClientVersion']}".strip() for each in clients)
