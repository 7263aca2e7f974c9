"""backfleet doctor: check an installation as its clients see it, and say what to do."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from cryptography import x509

from backfleet.certificates import server_file
from backfleet.cli._client import CallFailed, Client
from backfleet.cli._credentials import ConnectionFlags, NoConnection, connect, data_folder
from backfleet.cli._print import say
from backfleet.cli._server import held_text
from backfleet.clock import utc_now
from backfleet.host_program import MISSING

LEAST_FREE = 2 << 30  # bytes; two releases and a database need less
WAITING_MINUTES = 5  # for which a report may wait on the disk: so long a failover takes
MOST_SKEW = 5.0  # seconds between the clocks of a server and its database
SOON_DAYS = 30  # a certificate that ends within this time is reported


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    what: str
    healthy: bool
    text: str  # what was found; if not healthy, what to do


@click.command()
@click.option("--endpoint", metavar="HOST:PORT")
@click.option("--profile", metavar="NAME")
@click.option("--ca", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path))
def doctor(endpoint: str | None, profile: str | None, ca: Path | None, data: Path | None) -> None:
    """Check the installation and say what to do. Exits with 0 only if everything is healthy."""
    folder = data_folder(data)
    checks: list[Callable[[], Finding]] = [
        lambda: check_folder(folder),
        lambda: check_disk(folder),
        lambda: check_certificate(server_file(folder), utc_now()),
        lambda: check_reports(folder / "reports", utc_now()),
    ]
    findings = [check() for check in checks] + _check_server(ConnectionFlags(endpoint, profile, data, ca))
    for finding in findings:
        say(f"{'ok ' if finding.healthy else 'BAD'}  {finding.what}: {finding.text}")
    raise SystemExit(0 if all(finding.healthy for finding in findings) else 1)


def check_folder(folder: Path) -> Finding:
    """Check that the data folder exists and that other users cannot read its secrets."""
    if not folder.is_dir():
        return Finding("data folder", False, f"{folder} does not exist; `backfleet serve` makes it")
    for name in ("admin.json", "keys"):
        secret = folder / name
        if secret.exists() and secret.stat().st_mode & 0o077:
            return Finding("data folder", False, f"others can read {secret}; run chmod go-rwx {secret}")
    return Finding("data folder", True, str(folder))


def check_disk(folder: Path) -> Finding:
    """Check that enough disk is free for more releases."""
    free = shutil.disk_usage(folder if folder.is_dir() else folder.anchor).free
    text = f"{free / (1 << 30):.1f} GiB free"
    return Finding(
        "disk", free >= LEAST_FREE, text if free >= LEAST_FREE else f"{text}; free some before the next release"
    )


def check_certificate(file: Path, now: datetime) -> Finding:
    """Check that the server's certificate is valid for at least 30 more days."""
    try:
        ends = x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return Finding("certificate", False, f"{file} cannot be read; `backfleet serve` makes it")
    left = (ends - now).days
    text = f"valid until {ends.astimezone(UTC):%Y-%m-%d}"
    if left < SOON_DAYS:
        return Finding("certificate", False, f"{text}; restart `backfleet serve` to renew it")
    return Finding("certificate", True, text)


def check_reports(folder: Path, now: datetime) -> Finding:
    """Check that agents' reports do not wait on the disk for long, and that all of them can be read."""
    try:
        paths = list(folder.iterdir())
        began = [path.stat().st_mtime for path in paths if not path.name.startswith(".")]
    except FileNotFoundError:  # none was ever written; or one was delivered just now, so that all is well
        paths, began = [], []
    unreadable = [path.name for path in paths if path.name.endswith(".bad")]
    if unreadable:
        text = f"{len(unreadable)} cannot be read, such as {folder / unreadable[0]}; keep them, and report a fault"
        return Finding("reports", False, text)
    minutes = int((now.timestamp() - min(began, default=now.timestamp())) // 60)
    if minutes >= WAITING_MINUTES:
        text = f"{len(began)} wait on the disk, for up to {minutes} minutes; see /readyz and the server's log for why"
        return Finding("reports", False, text)
    return Finding("reports", True, f"{len(began)} wait on the disk")


def _check_server(flags: ConnectionFlags) -> list[Finding]:
    try:
        connection = connect(flags)
        found = Client(connection, utc_now).call("backfleet", "DescribeServer")
    except NoConnection as problem:
        return [Finding("server", False, str(problem))]
    except CallFailed as problem:
        return [Finding("server", False, problem.message)]
    text = (
        f"{connection.endpoint}, version {found['ServerVersion']}, region {found['RegionId']}, "
        f"{found['Instances']} instance(s), {found['Releases']} release(s)"
    )
    machines = (check_hold, check_signatures, check_host_program, check_agents, check_clones, check_clock)
    checks = (*machines, check_changes, check_withdrawn, check_backups)
    return [Finding("server", True, text), *(check(found) for check in checks)]


def check_hold(server: Mapping[str, Any]) -> Finding:
    """Check that the server is not held after a restore. Older servers never are."""
    return Finding("restore", not server.get("Held"), held_text(server) if server.get("Held") else "not held")


def check_signatures(server: Mapping[str, Any]) -> Finding:
    """Check that hosts accept the signed targets, which a restore may have made older than what they have seen."""
    needed = server.get("TargetsNeedSignature", False)
    text = (
        "a host that has seen newer targets than the restored ones answers RolledBackMetadata. Signatures of the "
        "targets key are missing: `backfleet release pending`, sign that file, `backfleet release publish`"
    )
    return Finding("signed targets", not needed, text if needed else "go on above what hosts have seen")


def check_clock(server: Mapping[str, Any]) -> Finding:
    """Check that the server's machine has the database's time. Older servers do not measure it."""
    ahead = server.get("ClockSkewMilliseconds", 0) / 1000
    if abs(ahead) <= MOST_SKEW:
        return Finding("clock", True, f"that of the server and that of its database differ by {abs(ahead):.1f} s")
    side = "ahead of" if ahead > 0 else "behind"
    text = (
        f"the server's is {abs(ahead):.0f} s {side} that of its database. Deadlines go by the database's; set "
        "whichever is wrong, for example with `timedatectl set-ntp true`"
    )
    return Finding("clock", False, text)


def check_host_program(server: Mapping[str, Any]) -> Finding:
    """Check that the server has the program that hosts enrol with and get their orders with.

    Args:
        server: The answer of DescribeServer. Older servers do not tell.
    """
    digest = server.get("HostProgramSha256")
    if digest == "":
        return Finding("host program", False, f"on the server, {MISSING}; then restart `backfleet serve`")
    return Finding("host program", True, f"SHA-256 {digest[:16]}..." if digest else "the server does not tell")


def check_agents(server: Mapping[str, Any]) -> Finding:
    """Check that no agent sends heartbeats without a connection over which it can be told of work.

    Args:
        server: The answer of DescribeServer. Older servers do not count connections.
    """
    deaf, text = server.get("DeafInstances", 0), f"{server.get('ConnectedInstances', 'an unknown number')} connected"
    if deaf:
        text += (
            f"; {deaf} send heartbeats but have no connection, and cannot be given work. An official agent connects "
            "again within 30 minutes: see ConnectsTime in `backfleet instance show`, or restart the agent on the host"
        )
    return Finding("agents", not deaf, text)


def check_clones(server: Mapping[str, Any]) -> Finding:
    """Check that no two hosts use one identity, as after a copy of a disk. Older servers do not count them."""
    cloned = server.get("ClonedInstances", 0)
    text = (
        f"{cloned} instance(s) are used by several hosts, and get no work: see Clones in `backfleet instance show`, "
        "and run `backfleet-host enrol --new-identity` on the copies"
    )
    return Finding("identities", not cloned, text if cloned else "each instance is one host")


def check_changes(server: Mapping[str, Any]) -> Finding:
    """Check that clients and their modes are what the last order left. Older servers do not count them."""
    changed = server.get("ChangedClients", 0)
    text = (
        f"{changed} client(s) differ from what their last order left, in files or modes: see Drift in `backfleet "
        "instance show`, or run `backfleet-host status` on the host; the next order mends what is ours"
    )
    return Finding("clients", not changed, text if changed else "as their last orders left them, modes too")


def check_withdrawn(server: Mapping[str, Any]) -> Finding:
    """Check that no client has a version that was withdrawn. Older servers do not count them."""
    behind = server.get("WithdrawnClients", 0)
    text = (
        f"{behind} client(s) have a version that was withdrawn, and are behind what is offered: see `backfleet client "
        "list`; `backfleet client upgrade` takes them to the newest version that is offered, `client roll-back` back"
    )
    return Finding("withdrawn versions", not behind, text if behind else "no client has one")


def check_backups(server: Mapping[str, Any]) -> Finding:
    """Check that backups began when they usually do. Older servers do not keep runs."""
    late = server.get("OverdueBackups", 0)
    text = f"of {late} client(s) the next one did not begin when it usually does: see `backfleet client runs --overdue`"
    return Finding("backups", not late, text if late else "none overdue, of those whose rhythm is known")
