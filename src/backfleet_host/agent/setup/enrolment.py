"""Enrolment: the host makes a key, spends an activation, and stores what it trusts from then on.

The identity is written last, and until it exists the host is not enrolled. A second attempt uses the same key, so that
a registration whose answer was lost is answered with the same instance.

A host that is enrolled keeps its identity, unless its server does not accept it any more or it is a copy of another
host. Then it gets a new one, with a key of its own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from datetime import datetime
from pathlib import Path
from typing import Callable, Iterator, List

from backfleet_host.agent.protocol.address import BadAddress
from backfleet_host.agent.protocol.request_signature import read_request_signer
from backfleet_host.agent.protocol.server import Server, Unreachable, proxy_of, tls_towards
from backfleet_host.agent.protocol.signing import SigningKey, make_key, private_pem, read_private_pem
from backfleet_host.agent.setup.enrolment_errors import CannotEnrol, EnrolmentRefused
from backfleet_host.agent.setup.reenrolment import known_identity, needs_new_identity
from backfleet_host.agent.setup.registration import EnrolmentOptions, Registration, register
from backfleet_host.agent.setup.release_root import fetch_release_root, read_release_root
from backfleet_host.agent.setup.systemd_unit import unit_name
from backfleet_host.files import hold_lock, make_folder, set_mode, write_file
from backfleet_host.identity import Identity, NotEnrolled, keep_identity
from backfleet_host.layout import Places

ENROLLED = "/luban/api/backfleet/enrolled"

__all__ = ["CannotEnrol", "EnrolmentOptions", "enrol"]


def enrol(
    places: Places, options: EnrolmentOptions, *, mode: str, now: datetime, progress: Callable[[str], None]
) -> Identity:
    """Register this host with the server and store its identity. One that is enrolled with it already keeps its own.

    Args:
        mode: the mode that the server is told of: restricted or shell.
        progress: receives a line for people when something takes a while.

    Raises:
        CannotEnrol: nothing has changed, except that a key may be kept for the next attempt.
    """
    authority = _read_authority(options.authority)
    given_root = None if options.release_root is None else read_release_root(options.release_root)
    known = known_identity(places, options)
    if known is not None and not needs_new_identity(places, known, options, progress):
        return known
    key_file = places.key if known is None else places.next_key
    with _agent_folder(places, key_file):
        with contextlib.closing(Server(options.server, tls_towards(options.authority), proxy=_proxy(places))) as server:
            # Before the activation is spent: without a release root the host could trust no release.
            root = given_root or fetch_release_root(server)
            registration = register(server, options, _key(key_file, progress), mode)
        if server.clock_trouble:
            progress(server.clock_trouble)
        identity = _identity(registration, options, now)
        if known is not None:
            os.replace(key_file, places.key)
        _store(places, identity, authority, root)
        _confirm(places, identity, options)
    return identity


def _confirm(places: Places, identity: Identity, options: EnrolmentOptions) -> None:
    """Sign a first request, by which the server knows that its answer arrived, whenever the agent is started.

    One that was never heard of may have to give its place up. One try: the agent's first heartbeat does it too.
    """
    with contextlib.suppress(Unreachable, NotEnrolled, OSError):
        signer, tls = read_request_signer(places, identity), tls_towards(options.authority)
        with contextlib.closing(Server(options.server, tls, signer=signer, proxy=_proxy(places))) as server:
            server.post(ENROLLED)


def _read_authority(path: Path) -> bytes:
    try:
        tls_towards(path)
        return path.read_bytes()
    except FileNotFoundError:
        raise CannotEnrol(f"--ca {path}: there is no such file; fetch the server's ca.pem first") from None
    except OSError as problem:  # an SSLError is one
        raise CannotEnrol(f"--ca {path} cannot be used: {problem.strerror or problem}; it must be PEM") from None


def _proxy(places: Places) -> str:
    try:
        return proxy_of(places.root)
    except BadAddress as problem:
        raise CannotEnrol(str(problem)) from None


def _key(file: Path, progress: Callable[[str], None]) -> SigningKey:
    """Return the key of an earlier attempt, or a new one that is on disk before it is used."""
    try:
        return read_private_pem(file.read_bytes())
    except (OSError, ValueError):
        progress("making a key ...")
    key = make_key()
    write_file(file, private_pem(key), is_only_writer=True)
    return key


def _identity(registration: Registration, options: EnrolmentOptions, now: datetime) -> Identity:
    server = str(options.server)
    return Identity(registration.instance_id, registration.machine_id, server, options.name, now.isoformat())


def _store(places: Places, identity: Identity, authority: bytes, root: bytes) -> None:
    write_file(places.authority, authority)
    make_folder(places.trusted_root.parent, mode=0o755, parents_mode=0o755)
    write_file(places.trusted_root, root, mode=0o644)
    shutil.rmtree(places.tasks, ignore_errors=True)  # of an instance that this host was before
    keep_identity(places, identity)


@contextlib.contextmanager
def _agent_folder(places: Places, key_file: Path) -> Iterator[None]:
    """Make and lock the agent's folder; remove it again if the attempt left nothing worth keeping."""
    made = _make_folders(places)
    try:
        with _lock(places):
            yield
    except BaseException as problem:
        # The host may be registered with the key although the answer was lost; then the next attempt needs it.
        if isinstance(problem, EnrolmentRefused) or not key_file.exists():
            _remove([key_file] if places.identity.exists() else [key_file, places.lock], made)
        raise


def _make_folders(places: Places) -> List[Path]:
    """Make the agent's folder; return the folders that did not exist before, the deepest first."""
    try:
        missing = [path for path in (places.agent, *places.agent.parents) if not path.exists()]
        make_folder(places.agent, parents_mode=0o755)
        set_mode(places.agent, 0o700)  # an older program may have left it with another
    except OSError as problem:
        raise _unwritable(places, problem) from None
    return missing


@contextlib.contextmanager
def _lock(places: Places) -> Iterator[None]:
    try:
        lock = hold_lock(places.lock)
        if lock is None:
            stop = f"wait until it has ended, or stop it (under systemd: systemctl stop {unit_name(places.root)})"
            raise CannotEnrol(f"another backfleet-host uses {places.root}; {stop}")
        try:
            yield
        finally:
            os.close(lock)
    except OSError as problem:
        raise _unwritable(places, problem) from None


def _unwritable(places: Places, problem: OSError) -> CannotEnrol:
    reason = problem.strerror or str(problem)
    return CannotEnrol(f"{places.root} cannot be written to: {reason}; run as root, or choose another --root")


def _remove(files: List[Path], folders: List[Path]) -> None:
    for path in files:
        with contextlib.suppress(OSError):
            path.unlink()
    for path in folders:
        with contextlib.suppress(OSError):
            path.rmdir()
