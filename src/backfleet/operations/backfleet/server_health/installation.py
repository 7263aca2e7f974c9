"""Checks of what belongs to all accounts: the machine, keys, certificates, signed metadata, copies."""

import contextlib
import ipaddress
import socket
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from backfleet import copies, hold, identity, object_store, releases
from backfleet.certificates import server_file
from backfleet.checks import Finding, Severity, in_time, named_some
from backfleet.checks.certificates import is_for, names_in
from backfleet.checks.finding import MOST_NAMED
from backfleet.checks.machine import (
    check_authority,
    check_certificate,
    check_descriptors,
    check_disk,
    check_host_program,
    check_keys,
    check_modes,
    check_processes,
    check_reports,
)
from backfleet.operations.backfleet.server import agent_address
from backfleet.operations.backfleet.server_health.deltas import check_deltas
from backfleet.operations.catalogue import Call
from backfleet.settings import Settings
from backfleet.storage import Transaction

MOST_SKEW: Final = timedelta(seconds=5)  # between the clocks of a server and its database
RESOLVE_SECONDS: Final = 2.0
STORE_SECONDS: Final = 5.0
ENDS_SOON: Final = {"root": timedelta(days=60), "targets": timedelta(days=21)}
"""When people should have signed: a server that has the keys itself signs long before."""


def check_installation(call: Call) -> Iterator[Finding]:
    """Check the machine, the data folder and the process that answer, and what belongs to all accounts."""
    data = call.services.settings.data
    yield check_disk(data)
    yield check_descriptors()
    yield check_processes(call.services.settings.processes)
    yield check_keys(data)
    yield check_modes(data)
    yield check_certificate(data, call.now)
    yield check_authority(data, call.now)
    yield check_names(call.services.settings)
    yield check_host_program()
    yield check_reports(data, call.now)
    yield from _check_object_store(call.services.repository.stored)
    yield check_clock(call.services.skew())
    with call.services.database.reading() as tx:
        yield _check_hold(tx)
        yield from _check_metadata(tx, call.now)
        yield check_deltas(tx, call)
        yield _check_copies(tx, call)


def _check_object_store(stored: releases.Stored | None) -> Iterator[Finding]:
    """Check that artifacts can be written to the object store of the settings, listed and read again."""
    if stored is None:
        return
    advice = "mend it, or the `artifacts_...` settings: no release can be added, and hosts of other replicas may wait"
    try:
        in_time(stored.bucket.check, STORE_SECONDS)
    except TimeoutError:
        found = f"{stored.bucket.place} does not answer within {STORE_SECONDS:.0f} s"
        yield Finding("ObjectStore", Severity.ERROR, found, advice)
    except object_store.Trouble as problem:
        yield Finding("ObjectStore", Severity.ERROR, str(problem), advice)
    else:
        yield Finding.ok("ObjectStore", f"{stored.bucket.place} can be written, listed and read")


def check_clock(ahead: timedelta) -> Finding:
    """Check that the server's machine has the database's time."""
    seconds = ahead.total_seconds()
    if abs(ahead) <= MOST_SKEW:
        return Finding.ok("ServerClock", f"that of the server and that of its database differ by {abs(seconds):.1f} s")
    found = f"the server's is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} that of its database"
    advice = "deadlines go by the database's; set whichever is wrong, for example with `timedatectl set-ntp true`"
    return Finding("ServerClock", Severity.WARNING, found, advice)


def check_names(settings: Settings) -> Finding:
    """Check that the name under which hosts connect is in the certificate, and that the name service knows it."""
    host = agent_address(settings).rpartition(":")[0].strip("[]")
    advice = "set `public_host` to the name or address under which hosts reach this server, and restart it"
    with contextlib.suppress(OSError, ValueError):  # that the file cannot be read is another finding
        certificate = x509.load_pem_x509_certificate(server_file(settings.data).read_bytes())
        if not is_for(certificate, host):
            found = f"hosts connect to {host}, which the certificate does not name: {named_some(names_in(certificate))}"
            return Finding("Names", Severity.ERROR, found, advice)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        try:
            in_time(lambda: socket.getaddrinfo(host, None), RESOLVE_SECONDS)
        except OSError as problem:
            found = f"the name service of the server does not know {host}: {problem}"
            return Finding("Names", Severity.WARNING, found, f"enter it there; or {advice}")
    return Finding.ok("Names", f"hosts connect to {host}, which the certificate names")


def _check_hold(tx: Transaction) -> Finding:
    restore = hold.state(tx)
    if restore is None or not restore.is_held:
        return Finding.ok("Hold", "the server is not held")
    found = f"HELD since {restore.restored_at:%Y-%m-%d %H:%M} UTC, after a restore: nothing is moved"
    advice = "look at clients, users and keys (revoked ones are back), then run `backfleet server release-hold`"
    return Finding("Hold", Severity.ERROR, found, advice)


def _check_metadata(tx: Transaction, now: datetime) -> Iterator[Finding]:
    sign = "`backfleet release pending`, sign that file, `backfleet release publish`"
    waiting = releases.unsigned(tx)
    if releases.needs_signature(tx):
        found = "hosts may have seen newer targets than the restored ones, and answer RolledBackMetadata"
        yield Finding("Signatures", Severity.ERROR, found, sign)
    elif waiting:
        found = f"{len(waiting)} release(s) wait for a signature of the targets key: {named_some(waiting)}"
        yield Finding("Signatures", Severity.WARNING, found, sign, waiting[:MOST_NAMED])
    else:
        yield Finding.ok("Signatures", "every release is signed")
    for role, ends in sorted(releases.endings(tx).items()):
        code = f"{role.capitalize()}Metadata"
        if ends <= now:
            found = f"the signed {role} ended on {ends:%Y-%m-%d}: hosts refuse every order"
            yield Finding(code, Severity.ERROR, found, sign)
        elif ends - now < ENDS_SOON[role]:
            yield Finding(code, Severity.WARNING, f"the signed {role} ends on {ends:%Y-%m-%d}", sign)
        else:
            yield Finding.ok(code, f"the signed {role} is valid until {ends:%Y-%m-%d}")


def _check_copies(tx: Transaction, call: Call) -> Finding:
    days = call.services.settings.backup_days
    if not days:
        return Finding.ok("PlaneBackup", "made by other means (backup_days is 0)")
    copy, advice = copies.last_copy(tx), "run `backfleet backup FILE` daily, and keep the file on another machine"
    last = None if copy is None else copy.made_at
    restored = hold.state(tx)
    if restored is not None and (last is None or last < restored.copied_at):
        last = restored.copied_at  # a copy does not know of itself
        found = f"none since the restore on {restored.restored_at:%Y-%m-%d}, from the copy of {last:%Y-%m-%d}"
    elif last is not None:
        found = f"the last `backfleet backup` was on {last:%Y-%m-%d}, {(call.now - last).days} days ago"
        if copy is not None and copy.lacking:
            found = f"{found}, and lacks {copy.lacking} artifact(s)"
            return Finding("PlaneBackup", Severity.WARNING, found, "run it again: it says which, and why")
    if last is not None:
        age = (call.now - last).days
        return (
            Finding("PlaneBackup", Severity.WARNING, found, advice) if age >= days else Finding.ok("PlaneBackup", found)
        )
    first = min((account.created_at for account in identity.list_accounts(tx)), default=call.now)
    if (call.now - first).days < days:
        return Finding.ok("PlaneBackup", "none yet; the installation is new")
    return Finding("PlaneBackup", Severity.WARNING, "`backfleet backup` was never run", advice)
