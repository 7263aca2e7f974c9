"""backfleet doctor: what is wrong with an installation, seen from here, and what to do.

It asks the server what it found (GetServerHealth), and adds what only a caller can see: the address, the certificate,
the clocks of both, the key and its permissions. A server of this machine that does not answer is looked at from here.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click

from backfleet.checks import Finding, Severity, worst
from backfleet.cli._client import CallFailed, CallRefusedHere, Client
from backfleet.cli._credentials import (
    Connection,
    ConnectionFlags,
    NoConnection,
    connect,
    data_folder,
    local_address,
    server_address,
    trust_of,
)
from backfleet.cli._doctor_network import check_address, check_clock, check_served_certificate
from backfleet.cli._options import json_option
from backfleet.cli._print import print_json, say
from backfleet.clock import utc_now

CALL_SECONDS: Final = 15.0  # for the server's own checks
LABELS: Final = {Severity.OK: "ok  ", Severity.NOTE: "note", Severity.WARNING: "WARN", Severity.ERROR: "BAD "}
EXIT_CODES: Final = {Severity.OK: 0, Severity.NOTE: 0, Severity.WARNING: 3, Severity.ERROR: 1}
OLDER: Final = ("InvalidAction.NotFound", "InvalidVersion")


@click.command()
@click.option("--endpoint", metavar="HOST:PORT")
@click.option("--profile", metavar="NAME")
@click.option("--ca", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--data", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--quiet", is_flag=True, help="Print only what somebody should see to.")
@json_option
def doctor(
    endpoint: str | None, profile: str | None, ca: Path | None, data: Path | None, quiet: bool, as_json: bool
) -> None:
    """Check server, hosts and this machine, and say what to do.

    Exits with 0 if all is well, 3 if there are only warnings, 1 if something does not work.
    """
    findings = list(examine(ConnectionFlags(endpoint, profile, data, ca)))
    severity = worst(findings)
    if as_json:
        print_json({"Severity": severity.value, "Findings": [_as_json(each) for each in findings]})
    for each in [] if as_json else findings:
        if not (quiet and each.is_healthy):
            say(f"{LABELS[each.severity]} {each.code}: {each.found}")
            for line in [each.advice] if each.advice else []:
                say(f"     -> {line}")
    raise SystemExit(EXIT_CODES[severity])


def _as_json(found: Finding) -> dict[str, Any]:
    return {
        "Code": found.code,
        "Severity": found.severity.value,
        "Found": found.found,
        "Advice": found.advice,
        "Subjects": list(found.subjects),
    }


def examine(flags: ConnectionFlags, environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Return what is found, as it is found: first the way to the server, then what the server says."""
    folder = data_folder(flags.data, environment)
    try:
        address = server_address(flags, environment)[0]
    except NoConnection as problem:
        yield Finding("Profile", Severity.ERROR, str(problem), "see `backfleet configure --help`")
        if folder.is_dir():
            yield from _local(folder)
        return
    is_local = address == local_address(folder)
    reached = check_address(address)
    yield reached
    if not reached.is_healthy:
        yield from _local(folder) if is_local else ()
        return
    yield from _over_the_network(address, flags, environment)
    yield from _by_calling(flags, environment, folder if is_local else None)


def _local(folder: Path) -> Iterator[Finding]:
    """Look at the data folder of this machine's server, which does not answer."""
    from backfleet.checks.machine import check_authority, check_certificate, check_folder  # late: few calls need it

    yield from check_folder(folder)
    if folder.is_dir():
        yield check_certificate(folder, utc_now())
        yield check_authority(folder, utc_now())


def _over_the_network(address: str, flags: ConnectionFlags, environment: Mapping[str, str]) -> Iterator[Finding]:
    try:
        trust = trust_of(flags, environment)
    except NoConnection as problem:
        yield Finding("ServedCertificate", Severity.ERROR, str(problem), "name the right file with --ca")
        return
    if address.startswith("https:"):
        yield check_served_certificate(address, trust, utc_now())
    yield check_clock(address, utc_now)


def _by_calling(flags: ConnectionFlags, environment: Mapping[str, str], local: Path | None) -> Iterator[Finding]:
    try:
        connection = connect(flags, environment)
    except NoConnection as problem:
        yield Finding("Key", Severity.ERROR, str(problem), "see `backfleet configure --help`")
        return
    try:
        answer = Client(connection, utc_now, CALL_SECONDS).call("backfleet", "GetServerHealth")
    except CallFailed as problem:
        yield _refused(connection, problem)
        yield from _local(local) if local is not None else ()
        return
    found = f"{connection.endpoint}, version {answer['ServerVersion']}, key {connection.key_origin}"
    yield Finding.ok("Server", found)
    for each in answer["Findings"]:
        yield Finding(each["Code"], Severity(each["Severity"]), each["Found"], each["Advice"], each["Subjects"])


def _refused(connection: Connection, problem: CallFailed) -> Finding:
    """Return why the server did not answer the question, and what to do."""
    code = str(problem.answer.get("Code", ""))
    found = f"{code}: {problem.message}" if code else problem.message
    if code in OLDER:
        advice = "upgrade the server: it is older than this command, and checks nothing by itself"
        return Finding("Server", Severity.WARNING, "the server does not know GetServerHealth", advice)
    if code.startswith(("Forbidden", "NoPermission")):
        advice = (
            "attach that policy, or use another key: `backfleet policy attach BackfleetReadOnlyAccess USER --system`"
        )
        return Finding("Permissions", Severity.ERROR, found, advice)
    if code.startswith(("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSecurityToken")):
        return Finding("Key", Severity.ERROR, found, "`backfleet configure` again, or ask for a new key")
    is_ours = isinstance(problem, CallRefusedHere)
    advice = "correct --endpoint, or the profile that names it" if is_ours else "see /readyz and the server's log"
    return Finding("Server", Severity.ERROR, found, advice)
