"""backfleet doctor: look at an installation from where its clients stand, and say what to do."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
from cryptography import x509

from backfleet.cli._client import CallFailed, Client
from backfleet.cli._credentials import Asked, NoConnection, connect, data_folder
from backfleet.clock import utc_now

LITTLE_DISK = 2 << 30  # bytes; two releases and a database fit in more
SOON_DAYS = 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: well or not, and what to do."""

    what: str
    well: bool
    text: str


@click.command()
@click.option("--endpoint", metavar="HOST:PORT")
@click.option("--profile", metavar="NAME")
@click.option("--ca", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path))
def doctor(endpoint: str | None, profile: str | None, ca: Path | None, data: Path | None) -> None:
    """Check the installation and say what to do. Exit 0 only if all is well."""
    folder = data_folder(data)
    checks: list[Callable[[], Finding]] = [
        lambda: check_folder(folder),
        lambda: check_disk(folder),
        lambda: check_certificate(folder / "tls" / "server.pem", utc_now()),
        lambda: _check_server(Asked(endpoint, profile, data, ca)),
    ]
    findings = [check() for check in checks]
    for finding in findings:
        click.echo(f"{'ok ' if finding.well else 'BAD'}  {finding.what}: {finding.text}")
    raise SystemExit(0 if all(finding.well for finding in findings) else 1)


def check_folder(folder: Path) -> Finding:
    """The data folder is there and closed to others."""
    if not folder.is_dir():
        return Finding("data folder", False, f"{folder} does not exist; `backfleet serve` makes it")
    for name in ("admin.json", "keys"):
        kept = folder / name
        if kept.exists() and kept.stat().st_mode & 0o077:
            return Finding("data folder", False, f"others can read {kept}; run chmod go-rwx {kept}")
    return Finding("data folder", True, str(folder))


def check_disk(folder: Path) -> Finding:
    """There is room for further releases."""
    free = shutil.disk_usage(folder if folder.is_dir() else folder.anchor).free
    text = f"{free / (1 << 30):.1f} GiB free"
    return Finding(
        "disk", free >= LITTLE_DISK, text if free >= LITTLE_DISK else f"{text}; make room before the next release"
    )


def check_certificate(file: Path, now: datetime) -> Finding:
    """The server's certificate will live a while."""
    try:
        ends = x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return Finding("certificate", False, f"{file} cannot be read; `backfleet serve` makes it")
    left = (ends - now).days
    text = f"valid until {ends.astimezone(UTC):%Y-%m-%d}"
    if left < SOON_DAYS:
        return Finding("certificate", False, f"{text}; restart `backfleet serve`, it makes a new one")
    return Finding("certificate", True, text)


def _check_server(asked: Asked) -> Finding:
    try:
        connection = connect(asked)
        found = Client(connection, utc_now).call("backfleet", "DescribeServer")
    except NoConnection as problem:
        return Finding("server", False, str(problem))
    except CallFailed as problem:
        return Finding("server", False, problem.message)
    return Finding(
        "server",
        True,
        f"{connection.endpoint}, version {found['ServerVersion']}, region {found['RegionId']}, "
        f"{found['Instances']} instance(s), {found['Releases']} release(s)",
    )
