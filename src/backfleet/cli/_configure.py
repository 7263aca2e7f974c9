"""backfleet configure: profiles for the command line on machines without a server, such as laptops."""

import sys
from pathlib import Path

import click

from backfleet.cli import _profiles as profiles
from backfleet.cli._client import CallFailed, Client
from backfleet.cli._credentials import Connection, NoConnection
from backfleet.cli._options import fail
from backfleet.cli._print import say
from backfleet.cli._profiles import BadProfiles, Profile
from backfleet.cli._tables import Output, output_options
from backfleet.clock import utc_now
from backfleet.wire.credentials import Credentials

MOST_BYTES = 1 << 20  # of a certificate file


@click.command()
@click.option("--profile", "name", default=profiles.DEFAULT, show_default=True, metavar="NAME", help="Its name.")
@click.option("--endpoint", metavar="HOST:PORT", help="The server.")
@click.option(
    "--ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Certificate of the authority that signed the server's. It is copied.",
)
@click.option("--key-id", metavar="ID", help="The access key's id. Its secret is asked for, or read from stdin.")
@click.option("--region", default="", metavar="ID", help="Default: the server's own.")
@click.option("--check/--no-check", default=True, show_default=True, help="Call the server with it first.")
@click.option("--list", "is_list", is_flag=True, help="Instead: list the profiles, without their secrets.")
@click.option("--delete", "is_delete", is_flag=True, help="Instead: delete the profile.")
@output_options
def configure(
    name: str,
    endpoint: str | None,
    ca: Path | None,
    key_id: str | None,
    region: str,
    check: bool,
    is_list: bool,
    is_delete: bool,
    output: Output,
) -> None:
    """Store a server, its authority and a key under a name that --profile takes; `default` needs no --profile.

    The file is readable by you alone. The secret is never an argument: others could see it in the list of processes.
    """
    if not profiles.NAME.fullmatch(name):
        raise click.UsageError(f"{name!r} is no name of a profile: letters, digits, dots, dashes, at most 64")
    try:
        if is_list:
            _show(output)
            return
        if is_delete:
            _delete(name)
            return
        made = _ask(endpoint, key_id, region)
        if check:
            _check(made, ca)
        profiles.write(name, made, ca.read_bytes()[:MOST_BYTES] if ca else None)
    except BadProfiles as problem:
        fail(str(problem))
    use = "" if name == profiles.DEFAULT else f"; use it with --profile {name}"
    say(f"profile {name}: {made.endpoint} with key {made.access_key_id}, in {profiles.file_of()}{use}")


def _ask(endpoint: str | None, key_id: str | None, region: str) -> Profile:
    """Return a profile; what no option names is asked for on a terminal."""
    is_terminal = sys.stdin.isatty()
    if not is_terminal and not (endpoint and key_id):
        raise click.UsageError("give --endpoint and --key-id, and the secret on stdin")
    address = endpoint or click.prompt("Server (HOST:PORT)", err=True)
    key = key_id or click.prompt("Access key id", err=True)
    if is_terminal:
        secret = click.prompt("Access key secret", hide_input=True, err=True)
    else:
        secret = sys.stdin.readline(1000).strip()
    if not secret:
        raise click.UsageError("the secret is empty; it is asked for on a terminal, or read from stdin")
    scheme = "" if "://" in address else "https://"
    return Profile(f"{scheme}{address}".rstrip("/"), key.strip(), secret, region=region)


def _check(made: Profile, ca: Path | None) -> None:
    """Call the server. What is wrong ends the command before anything is stored."""
    credentials = Credentials(access_key_id=made.access_key_id, access_key_secret=made.access_key_secret)
    try:
        found = Client(Connection(made.endpoint, ca, credentials), utc_now).call("sts", "GetCallerIdentity")
    except (CallFailed, NoConnection) as problem:
        fail(f"{problem}; nothing was stored (--no-check stores it all the same)")
    say(f"the server answers: you are {found['Arn']}", err=True)


def _show(output: Output) -> None:
    known = profiles.read()
    rows = [(name, found.endpoint, found.access_key_id, found.region, found.ca_file) for name, found in known.items()]
    documents = [
        {"Name": name, "Endpoint": found.endpoint, "AccessKeyId": found.access_key_id, "Region": found.region,
         "CaFile": found.ca_file}
        for name, found in known.items()
    ]  # fmt: skip
    output.show(("NAME", "SERVER", "KEY", "REGION", "CA"), rows, documents)


def _delete(name: str) -> None:
    if name not in profiles.read():
        fail(f"there is no profile {name!r} in {profiles.file_of()}")
    profiles.write(name, None, None)
    say(f"profile {name}: deleted")
