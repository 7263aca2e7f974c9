"""Checks of one data folder, and of the process and the machine that serve it. They read, and change nothing."""

import os
import resource
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from backfleet import host_program, installation
from backfleet.certificates import authority_file, server_file
from backfleet.checks.certificates import check_times
from backfleet.checks.finding import MOST_NAMED, Finding, Severity, named_some

LEAST_FREE: Final = 2 << 30  # bytes; two releases and a database need less
FULL: Final = 256 << 20  # bytes; below it nothing can be relied on
FEW_INODES: Final = 0.02  # of all
MANY_DESCRIPTORS: Final = 0.8  # of those that the process may open
WAITING: Final = timedelta(minutes=5)  # for which a report may wait on the disk: so long a failover takes
AUTHORITY_SOON: Final = timedelta(days=180)
DESCRIPTORS: Final = Path("/proc/self/fd")


def check_folder(data: Path) -> Iterator[Finding]:
    """Check everything that a data folder holds, without its server."""
    if not data.is_dir():
        yield Finding("DataFolder", Severity.ERROR, f"{data} does not exist", "`backfleet serve` makes it; see --data")
        return
    yield check_keys(data)
    yield check_modes(data)
    yield check_disk(data)


def check_keys(data: Path) -> Finding:
    """Check that no key of an installation is missing or unreadable."""
    missing = [str(path) for path in installation.missing_keys(data)]
    advice = "bring it back from a backup; with a new one no host trusts this server"
    if missing:
        found = f"{named_some(missing)} is missing"
        return Finding("Keys", Severity.ERROR, found, advice, missing[:MOST_NAMED])
    unreadable = [str(path) for path in sorted((data / "keys").iterdir()) if not os.access(path, os.R_OK)]
    if unreadable:
        advice = "run as the user who owns the data folder, or give the files to this one"
        found = f"{named_some(unreadable)} cannot be read"
        return Finding("Keys", Severity.ERROR, found, advice, unreadable[:MOST_NAMED])
    return Finding.ok("Keys", f"all are in {data / 'keys'}")


def check_modes(data: Path) -> Finding:
    """Check that other users cannot read what is secret."""
    secrets = [data / "admin.json", data / "keys", *sorted((data / "keys").glob("*")), *data.glob("*.db")]
    open_to_all = [str(path) for path in secrets if _mode(path) & 0o077 and not path.name.startswith(".")]
    if open_to_all:
        advice = f"run chmod go-rwx {' '.join(open_to_all[:3])}; and change keys that somebody may have read"
        found = f"others can read {named_some(open_to_all)}"
        return Finding("SecretFiles", Severity.ERROR, found, advice, open_to_all[:MOST_NAMED])
    return Finding.ok("SecretFiles", "only their owner can read them")


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def check_disk(folder: Path) -> Finding:
    """Check that the disk has space and inodes for more releases."""
    try:
        free, counts = shutil.disk_usage(folder).free, os.statvfs(folder)
    except OSError as problem:
        advice = "mount the disk, or correct --data"
        return Finding("Disk", Severity.ERROR, f"{folder} cannot be looked at: {problem.strerror}", advice)
    found, advice = f"{free / (1 << 30):.1f} GiB free on the disk of {folder}", "free some before the next release"
    if counts.f_files and counts.f_favail < FEW_INODES * counts.f_files:
        advice = "delete small files there: each needs an inode"
        return Finding("Disk", Severity.ERROR, f"{counts.f_favail} inodes free on the disk of {folder}", advice)
    if free >= LEAST_FREE:
        return Finding.ok("Disk", found)
    if free >= FULL:
        return Finding("Disk", Severity.WARNING, found, advice)
    return Finding("Disk", Severity.ERROR, f"full: {free >> 20} MiB free on the disk of {folder}", "free some now")


def check_descriptors() -> Finding:
    """Check that this process is not near its limit of open files."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        used = len(os.listdir(DESCRIPTORS))
    except OSError:
        return Finding.ok("Descriptors", "not counted on this system")
    found = f"{used} of {limit} files and connections are open"
    if limit == resource.RLIM_INFINITY or used < MANY_DESCRIPTORS * limit:
        return Finding.ok("Descriptors", found)
    advice = "raise LimitNOFILE of the unit (or `ulimit -n`), and restart; new connections are refused soon"
    return Finding("Descriptors", Severity.ERROR, found, advice)


def check_processes(wanted: int) -> Finding:
    """Check that all serving processes of this server run: each is a child of the parent that starts it again.

    Args:
        wanted: How many there should be.
    """
    if wanted == 1:
        return Finding.ok("Processes", "one process answers calls")
    parent = os.getppid()
    try:
        running = len(Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
    except OSError:
        return Finding.ok("Processes", f"{wanted}, not counted on this system")
    found = f"{running} of {wanted} serving processes run"
    if running >= wanted:
        return Finding.ok("Processes", found)
    advice = "the parent starts those that ended again, later each time: its log says with which exit codes they ended"
    return Finding("Processes", Severity.WARNING, found, advice)


def check_certificate(data: Path, now: datetime) -> Finding:
    """Check the server's certificate: its time, and that its key belongs to it."""
    file, key_file = server_file(data), data / "keys" / "server.key"
    advice = "restart `backfleet serve`, which renews it"
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as problem:
        return Finding("Certificate", Severity.ERROR, f"{file} or its key cannot be read: {problem}", advice)
    if certificate.public_key() != key.public_key():
        return Finding("Certificate", Severity.ERROR, f"{key_file} is not the key of {file}", advice)
    return check_times("Certificate", certificate, now, advice)


def check_authority(data: Path, now: datetime) -> Finding:
    """Check the certificate of the authority that hosts trust."""
    file, advice = authority_file(data), "enrol hosts with a new authority before that: see docs/operations.md"
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
    except (OSError, ValueError) as problem:
        return Finding("Authority", Severity.ERROR, f"{file} cannot be read: {problem}", "bring it from a backup")
    return check_times("Authority", certificate, now, advice, AUTHORITY_SOON)


def check_host_program() -> Finding:
    """Check that the server has the program that hosts enrol with and get their orders with."""
    digest = host_program.sha256()
    if digest:
        return Finding.ok("HostProgram", f"SHA-256 {digest[:16]}...")
    return Finding("HostProgram", Severity.ERROR, f"{host_program.MISSING}", "then restart `backfleet serve`")


def _in_folder(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:  # none was ever written
        return []


def check_reports(data: Path, now: datetime) -> Finding:
    """Check that agents' reports do not wait on the disk for long, and that all of them can be read."""
    try:
        paths = [path for folder in (data / "reports", *data.glob("reports-*")) for path in _in_folder(folder)]
        began = [path.stat().st_mtime for path in paths if not path.name.startswith(".")]
    except FileNotFoundError:  # none was ever written; or one was delivered just now, so that all is well
        paths, began = [], []
    unreadable = [str(path) for path in paths if path.name.endswith(".bad")]
    if unreadable:
        found = f"{len(unreadable)} cannot be read, such as {unreadable[0]}"
        return Finding("Reports", Severity.ERROR, found, "keep them, and report a fault", unreadable[:MOST_NAMED])
    waited = timedelta(seconds=now.timestamp() - min(began, default=now.timestamp()))
    if waited >= WAITING:
        found = f"{len(began)} wait on the disk, for up to {waited // timedelta(minutes=1)} minutes"
        return Finding("Reports", Severity.ERROR, found, "see /readyz and the server's log for why")
    return Finding.ok("Reports", f"{len(began)} wait on the disk")
