"""Enrolment of a root that is enrolled already: whether its identity stays, or the host is to get a new one."""

from __future__ import annotations

import contextlib
from typing import Callable, Optional

from backfleet_host.agent import machine
from backfleet_host.agent.protocol.address import BadAddress, read_address
from backfleet_host.agent.protocol.request_signature import read_request_signer
from backfleet_host.agent.protocol.server import Server, Unreachable, proxy_of, tls_towards
from backfleet_host.agent.setup.enrolment_errors import CannotEnrol
from backfleet_host.agent.setup.registration import EnrolmentOptions
from backfleet_host.identity import Identity, NotEnrolled, read_identity
from backfleet_host.layout import Places

REFUSED = (401, 403)


def known_identity(places: Places, options: EnrolmentOptions) -> Optional[Identity]:
    """Return the identity of a root that is enrolled with the same server; None if it is not enrolled.

    Raises:
        CannotEnrol: it belongs to another server or to another agent, or cannot be read.
    """
    if not places.identity.exists():
        return None
    remove = f"stop its agent and remove {places.agent}, then run this command again"
    try:
        known = read_identity(places)
    except NotEnrolled as problem:
        raise CannotEnrol(str(problem)) from None
    if not known.instance_id:
        raise CannotEnrol(f"{places.root} takes its orders through another agent; to give it our own, {remove}")
    if not _is_same_server(known.server, options):
        text = f"{places.root} is already enrolled with {known.server}, as {known.instance_id}"
        raise CannotEnrol(f"{text}; to enrol it with {options.server}, {remove}")
    return known


def _is_same_server(server: str, options: EnrolmentOptions) -> bool:
    try:
        return str(read_address(server)) == str(options.server)
    except BadAddress:
        return False


def needs_new_identity(
    places: Places, known: Identity, options: EnrolmentOptions, progress: Callable[[str], None]
) -> bool:
    """Return whether this enrolled host must get a new identity, and say why or why not.

    It must if its administrator asks for it, if the root was copied from another machine, or if the server does not
    accept the identity any more. If the server cannot be asked, the identity stays.
    """
    if options.new_identity:
        progress(f"{known.instance_id} stays with the other host; this one gets a new identity")
        return True
    here = machine.stored_machine_id()
    if here and known.machine_id and here != known.machine_id:
        other = f"{known.instance_id} was enrolled on another machine, {known.machine_id}"
        progress(f"{other}; this one gets a new identity")
        return True
    if _is_refused(places, known, options, progress):
        progress(f"{options.server} does not accept {known.instance_id} any more; this host gets a new identity")
        return True
    progress(f"{places.root} is already enrolled; nothing was changed")
    return False


def _is_refused(places: Places, known: Identity, options: EnrolmentOptions, progress: Callable[[str], None]) -> bool:
    """Return whether the server refuses this identity. A broken key counts as refused: nothing can be signed by it."""
    try:
        signer = read_request_signer(places, known)
    except NotEnrolled:
        return True
    try:
        tls, proxy = tls_towards(options.authority), proxy_of(places.root)
        with contextlib.closing(Server(options.server, tls, signer=signer, proxy=proxy)) as server:
            return server.get("/luban/api/heart-beat").status in REFUSED
    except (Unreachable, BadAddress) as problem:
        progress(f"whether the server still accepts {known.instance_id} is not known: {problem}")
        return False
