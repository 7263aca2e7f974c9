"""Enrolment at the first start: for disks that are copied, whose copies must each be a host of their own.

`backfleet-host prepare` writes what such a disk needs to know, and no identity. When an agent starts on a copy, it
enrols as soon as `activation` is in the host's policy folder, with a key that is made there. A disk that was copied
after it had enrolled gets a new identity in the same way, if its machine id is another one.
"""

from __future__ import annotations

import contextlib
import json
import logging
import random
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Callable, Dict, Optional, Tuple

from backfleet_host.agent import machine
from backfleet_host.agent.protocol.address import Address, BadAddress, read_address
from backfleet_host.agent.protocol.server import tls_towards
from backfleet_host.agent.setup.enrolment import enrol
from backfleet_host.agent.setup.enrolment_errors import CannotEnrol, EnrolmentRefused
from backfleet_host.agent.setup.registration import EnrolmentOptions
from backfleet_host.agent.setup.release_root import read_release_root
from backfleet_host.files import make_folder, write_file
from backfleet_host.identity import NotEnrolled, read_identity
from backfleet_host.layout import Places
from backfleet_host.retries import backoff_seconds
from backfleet_host.trusted_files import Unreadable, read_toml

log = logging.getLogger(__name__)

CHECK_AGAIN = 2.0  # seconds from one check for an activation to the next
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0  # seconds between tries while the server is away

Activation = Tuple[str, str]


def prepare(
    places: Places, server: Address, authority: Path, *, name: str = "", release_root: Optional[Path] = None
) -> None:
    """Have this root enrol when its agent is started and an activation is there.

    Raises:
        CannotEnrol: it has an identity, which every copy would have too; or a file cannot be read or written.
    """
    if places.identity.exists():
        found = f"{places.root} is enrolled, and all copies of this disk would be one host"
        raise CannotEnrol(f"{found}; stop its agent and remove {places.agent}, then run this command again")
    root = None if release_root is None else read_release_root(release_root)
    try:
        tls_towards(authority)
        trusted = authority.read_bytes()
    except OSError as problem:
        raise CannotEnrol(f"--ca {authority} cannot be used: {problem.strerror or problem}; it must be PEM") from None
    try:
        make_folder(places.agent, mode=0o700, parents_mode=0o755)
        write_file(places.prepared_authority, trusted)
        if root is not None:
            write_file(places.prepared_root, root)
        known = {"server": str(server), "name": name, "has_release_root": root is not None}
        write_file(places.prepared, json.dumps(known, indent=1, sort_keys=True).encode() + b"\n")
    except OSError as problem:
        raise CannotEnrol(f"{places.root} cannot be written to: {problem.strerror}; run as root") from None


def write_activation(places: Places, activation_id: str, code: str) -> None:
    """Put an activation where the next start finds it.

    Raises:
        CannotEnrol: the file cannot be written.
    """
    text = f"id = {json.dumps(activation_id)}\ncode = {json.dumps(code)}\n"
    try:
        make_folder(places.activation.parent, parents_mode=0o755)
        write_file(places.activation, text.encode())
    except OSError as problem:
        raise CannotEnrol(f"{places.activation} cannot be written: {problem.strerror}; run as root") from None


def enrol_if_prepared(places: Places, *, mode: str, pause: Callable[[float], None] = time.sleep) -> None:
    """Enrol a root that was prepared, unless it has an identity of its own. Waits until that is possible.

    Args:
        mode: the mode that the server is told of: restricted or shell.
    """
    known = _prepared(places)
    if known is None or not _needs_identity(places):
        return
    _forget_key_of_another_boot(places)
    refused: Optional[Activation] = None
    attempt, is_waiting = 0, False
    while True:
        activation = _activation(places)
        if activation is None or activation == refused:
            if not is_waiting:
                log.warning(
                    "not enrolled; waiting for %sactivation in %s", "another " if refused else "", places.activation
                )
            is_waiting = True
            pause(CHECK_AGAIN)
            continue
        is_waiting = False
        try:
            _enrol(places, known, activation, mode)
            return
        except EnrolmentRefused as problem:
            log.error("%s", problem)
            refused, attempt = activation, 0
        except CannotEnrol as problem:
            log.warning("not enrolled yet: %s", problem)
            pause(backoff_seconds(attempt, FIRST_PAUSE, LONGEST_PAUSE, random.random()))  # noqa: S311 -- spreads tries
            attempt += 1


def _enrol(places: Places, known: Dict[str, object], activation: Activation, mode: str) -> None:
    try:
        address = read_address(str(known["server"]))
    except (BadAddress, KeyError) as problem:
        raise CannotEnrol(f"{places.prepared} cannot be used: {problem}") from None
    root = places.prepared_root if known.get("has_release_root") else None
    name = str(known.get("name") or "")
    options = EnrolmentOptions(address, places.prepared_authority, *activation, name, release_root=root)
    made = enrol(places, options, mode=mode, now=datetime.now(timezone.utc), progress=lambda line: log.info("%s", line))
    log.info("enrolled as %s", made.instance_id)
    with contextlib.suppress(OSError):
        places.activation.unlink()  # it is a secret, and of no more use here


def _prepared(places: Places) -> Optional[Dict[str, object]]:
    try:
        found = json.loads(places.prepared.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as problem:
        log.error("%s cannot be used (%s); run `backfleet-host prepare` again", places.prepared, problem)
        return None
    return found if isinstance(found, dict) else None


def _needs_identity(places: Places) -> bool:
    """Return whether there is no identity, or one that was made on another machine and an activation for a new one."""
    try:
        known = read_identity(places)
    except NotEnrolled:
        return not places.identity.exists()
    here = machine.stored_machine_id()
    return bool(here and known.machine_id and here != known.machine_id and places.activation.exists())


def _forget_key_of_another_boot(places: Places) -> None:
    """Remove a key of a try that did not end. The disk may have been copied since, and two hosts must not share it."""
    boot, marker = machine.boot_id().encode(), places.agent / "first_start"
    with contextlib.suppress(OSError):
        if not (marker.exists() and marker.read_bytes() == boot):
            for key in (places.key,) if not places.identity.exists() else (places.next_key,):
                key.unlink(missing_ok=True)
            write_file(marker, boot)


def _activation(places: Places) -> Optional[Activation]:
    try:
        found = read_toml(places.activation)
    except Unreadable as problem:
        log.warning("%s", problem)
        return None
    activation_id, code = found.get("id"), found.get("code")
    if isinstance(activation_id, str) and isinstance(code, str) and activation_id and code:
        return activation_id, code
    return None
