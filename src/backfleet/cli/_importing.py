"""backfleet instance import: hosts without an agent. backfleet ssh-key: what the server logs in to them with."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from backfleet.cli._client import Client
from backfleet.cli._host_files import (
    BadHosts,
    FoundHost,
    Hop,
    ask_ansible,
    ask_ssh,
    names_in_config,
    read_hosts_file,
    read_inventory,
    with_known_keys,
)
from backfleet.cli._options import PARTLY, WholeNumber, calls_the_api, fail, json_option, read_text
from backfleet.cli._print import print_json, say
from backfleet.cli._tables import Output, output_options

AT_ONCE: Final = 50  # hosts of one call: the API's maximum
SCANNED_AT_ONCE: Final = 20
POLL_SECONDS: Final = 1.0

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(name="import")
@click.argument("names", nargs=-1, metavar="[HOST]...")
@click.option("--carrier", type=click.Choice(["ssh"]), required=True, help="How orders reach these hosts.")
@click.option("--file", "hosts_file", type=_FILE, help="A TOML file with a table [[hosts]] for each.")
@click.option("--inventory", type=_FILE, help="An Ansible inventory, or what `ansible-inventory --list` printed.")
@click.option("--ssh-config", type=_FILE, help="The SSH client's configuration; its hosts, or those named.")
@click.option("--key", "key_name", required=True, metavar="NAME", help="The key to log in with: `backfleet ssh-key`.")
@click.option("--known-hosts", type=_FILE, help="Host keys, as in ~/.ssh/known_hosts.")
@click.option("--scan", is_flag=True, help="Let the server ask hosts without a known key for one, and show it.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask whether scanned keys are the right ones.")
@click.option("--sudo/--no-sudo", default=None, help="Become root by `sudo -n`, where the file does not say.")
@click.option("--wait", "seconds", type=WholeNumber(0), default=60, show_default=True, metavar="SECONDS",
              help="How long to wait until each host was visited.")  # fmt: skip
@output_options
@calls_the_api
def import_hosts(
    client: Client,
    names: tuple[str, ...],
    carrier: str,
    hosts_file: Path | None,
    inventory: Path | None,
    ssh_config: Path | None,
    key_name: str,
    known_hosts: Path | None,
    scan: bool,
    yes: bool,
    sudo: bool | None,
    seconds: int,
    output: Output,
) -> None:
    """Register hosts that have no agent: the server goes to them by SSH.

    A host is known by its host keys: from the file, from --known-hosts, or scanned now and compared by you. Imported
    again, a host is the same instance, reached as given now.
    """
    try:
        hosts = _chosen(names, hosts_file, inventory, ssh_config)
        if known_hosts is not None:
            hosts = [with_known_keys(host, known_hosts) for host in hosts]
    except BadHosts as problem:
        fail(str(problem))
    hosts = [replace(host, sudo=sudo if host.sudo is None else host.sudo) for host in hosts]
    if scan:
        hosts = _scanned(client, hosts, has_yes=yes)
    _refuse_unknown(hosts)
    imported: list[dict[str, Any]] = []
    for at in range(0, len(hosts), AT_ONCE):
        given = _flat(hosts[at : at + AT_ONCE])
        imported += client.call("backfleet", "ImportSshHosts", KeyName=key_name, **given)["Hosts"]
    _show(imported, _visited(client, imported, seconds), output)


def _chosen(
    names: tuple[str, ...], hosts_file: Path | None, inventory: Path | None, ssh_config: Path | None
) -> list[FoundHost]:
    if len([each for each in (hosts_file, inventory, ssh_config) if each is not None]) != 1:
        raise click.UsageError("give one of --file, --inventory and --ssh-config")
    if ssh_config is not None:
        return list(ask_ssh(ssh_config, names or names_in_config(read_text(ssh_config))))
    if hosts_file is not None:
        found = read_hosts_file(read_text(hosts_file), str(hosts_file))
    else:
        file = Path(inventory or "")
        text = read_text(file)
        found = read_inventory(text, str(file)) if text.lstrip().startswith("{") else ask_ansible(file)
    missing = sorted(set(names) - {host.name for host in found})
    if missing:
        raise BadHosts(f"there is no host {missing[0]!r} in the file")
    return [host for host in found if not names or host.name in names]


def _refuse_unknown(hosts: list[FoundHost]) -> None:
    for host in hosts:
        for hop in (*host.jumps, host.target):
            if not hop.host_keys:
                fail(
                    f"{hop.address}:{hop.port} has no known host key: give host_keys in the file, --known-hosts FILE, "
                    "or --scan to have the server ask for it and compare it yourself"
                )


def _scanned(client: Client, hosts: list[FoundHost], *, has_yes: bool) -> list[FoundHost]:
    """Return hosts with the keys that they show, after somebody has compared them. Jump hosts are scanned, too."""
    direct = [hop for host in hosts for hop in (host.jumps or (host.target,))[:1] if not hop.host_keys]
    places = list(dict.fromkeys((hop.address, hop.port) for hop in direct))
    keys: dict[tuple[str, int], tuple[str, ...]] = {}
    rows = []
    for at in range(0, len(places), SCANNED_AT_ONCE):
        some = places[at : at + SCANNED_AT_ONCE]
        given: dict[str, object] = {}
        for number, (address, port) in enumerate(some, 1):
            given |= {f"Hosts.{number}.Address": address, f"Hosts.{number}.Port": port}
        answer = client.call("backfleet", "ScanSshHosts", **given)["Hosts"]
        for place, found in zip(some, answer, strict=True):
            keys[place] = tuple(found["HostKeys"])
            rows += [(f"{place[0]}:{place[1]}", text) for text in found["Fingerprints"] or [found.get("Problem", "")]]
    for where, shown in rows:
        say(f"{where}  {shown}", err=True)
    if rows and not has_yes:
        click.confirm("Are these the keys of these hosts?", abort=True, err=True)

    def keyed(hop: Hop) -> Hop:
        return hop if hop.host_keys else replace(hop, host_keys=keys.get((hop.address, hop.port), ()))

    return [replace(host, target=keyed(host.target), jumps=tuple(map(keyed, host.jumps))) for host in hosts]


def _flat(hosts: list[FoundHost]) -> dict[str, object]:
    found: dict[str, object] = {}
    for number, host in enumerate(hosts, 1):
        prefix = f"Hosts.{number}"
        found |= {f"{prefix}.{name}": value for name, value in (("Name", host.name), ("Root", host.root)) if value}
        if host.sudo is not None:
            found[f"{prefix}.Sudo"] = "true" if host.sudo else "false"
        found |= _flat_hop(prefix, host.target)
        for at, hop in enumerate(host.jumps, 1):
            found |= _flat_hop(f"{prefix}.Jumps.{at}", hop)
    return found


def _flat_hop(prefix: str, hop: Hop) -> dict[str, object]:
    keys = {f"{prefix}.HostKeys.{number}": key for number, key in enumerate(hop.host_keys, 1)}
    user = {f"{prefix}.User": hop.user} if hop.user else {}
    return {f"{prefix}.Address": hop.address, f"{prefix}.Port": hop.port, **user, **keys}


def _visited(client: Client, imported: list[dict[str, Any]], seconds: int) -> dict[str, str]:
    """Return what the first visit found of each host: "" where it is in order."""
    found: dict[str, str] = {}
    until = time.monotonic() + seconds
    while True:
        for each in imported:
            if found.get(each["InstanceId"]) == "":
                continue
            way = client.call("backfleet", "DescribeInstance", InstanceId=each["InstanceId"])["Ssh"]
            pending = "not visited yet" if not way.get("VisitedTime") else ""
            found[each["InstanceId"]] = f"{way['ProblemCode']}: {way['Problem']}" if way["ProblemCode"] else pending
        if "not visited yet" not in found.values() or time.monotonic() > until:
            return found
        time.sleep(POLL_SECONDS)


def _show(imported: list[dict[str, Any]], found: dict[str, str], output: Output) -> None:
    rows = []
    for each in imported:
        state = found[each["InstanceId"]] or "in order"
        rows.append((each["InstanceId"], each["Name"], "new" if each["Created"] else "known", state))
    output.show(
        ("INSTANCE", "NAME", "IS", "FOUND"),
        rows,
        [{**each, "Problem": found[each["InstanceId"]]} for each in imported],
    )
    if any(found.values()):
        raise SystemExit(PARTLY)


@click.group(name="ssh-key")
def ssh_key() -> None:
    """Keys that the server logs in with to hosts that have no agent."""


@ssh_key.command()
@click.argument("name")
@click.option("--private-key", "file", type=_FILE, help="A private key without a passphrase. Without it one is made.")
@json_option
@calls_the_api
def create(client: Client, name: str, file: Path | None, as_json: bool) -> None:
    """Make a key on the server, and print its public half for the hosts' authorized_keys."""
    given = {"PrivateKey": read_text(file)} if file else {}
    found = client.call("backfleet", "CreateSshKey", Name=name, **given)
    if as_json:
        print_json(found)
        return
    say(found["PublicKey"])


@ssh_key.command(name="list")
@output_options
@calls_the_api
def list_keys(client: Client, output: Output) -> None:
    """List the keys."""
    found = client.call("backfleet", "ListSshKeys")["Keys"]
    rows = [(each["Name"], each["Fingerprint"], each["PublicKey"]) for each in found]
    output.show(("NAME", "FINGERPRINT", "PUBLIC KEY"), rows, found)


@ssh_key.command()
@click.argument("name")
@json_option
@calls_the_api
def delete(client: Client, name: str, as_json: bool) -> None:
    """Delete a key that no host is logged in to with."""
    client.call("backfleet", "DeleteSshKey", Name=name)
    if as_json:
        print_json({"Name": name})
        return
    say(f"key {name} deleted")
