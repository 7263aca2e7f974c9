"""Enrolment of hosts.

Source: agent wire protocol, registration.
"""

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from backfleet.fleet import _store
from backfleet.fleet.model import GONE, Activation, AgentKind, Instance, Registration, agent_kind_of, new_instance
from backfleet.ids import Draw, new_id
from backfleet.storage import Transaction
from backfleet_host.platforms import platform_of

KEY_BITS: Final = (2048, 4096)  # the smallest and the largest RSA key

UNHEARD_LASTS: Final = timedelta(minutes=10)  # for which an enrolled host that was never heard of keeps its place
UNHEARD_AT_ONCE: Final = 1000  # instances of one host that go


class RegistrationRefused(Exception):
    """A host may not enrol, or its request has an unknown form. The message says why."""


def read_registration(body: Mapping[str, object]) -> Registration:
    """Return the registration in an agent's JSON, after checking every field.

    Raises:
        RegistrationRefused: a field is missing, has another type or is too long, or the key is not an RSA key.
    """
    version = _text(body, "osVersion", 255)
    os_type = _text(body, "osType", 32)
    return Registration(
        activation_id=_text(body, "activationId", 64),
        code=_text(body, "activationCode", 128),
        machine_id=_text(body, "machineId", 64),
        instance_name=_text(body, "instanceName", 128),
        hostname=_text(body, "hostname", 255),
        intranet_ip=_text(body, "intranetIp", 64),
        os_type=os_type,
        os_version=version,
        agent_version=_text(body, "agentVersion", 64),
        agent_mode=_text(body, "agentMode", 16) if body.get("agentMode") in ("restricted", "shell") else "",
        platform=platform_of(str(body.get("platform") or ""), os_type, version),
        public_key=_public_key(_text(body, "publicKey", 4096)),
    )


def register(tx: Transaction, request: Registration, *, source_ip: str, now: datetime, draw: Draw) -> Instance:
    """Enrol a host.

    A host that did not get the answer asks again with the same activation, machine id and key: it gets its instance
    again. The same machine id with another key is another host, because cloned images share a machine id. What a lost
    answer has left then is gone, if `forget_unheard` was called before in the same transaction.

    Raises:
        RegistrationRefused: the activation is wrong, disabled, expired, used up, or not for this address.
    """
    activation = _activation_of(tx, request, source_ip, now)
    known = _store.enrolling.find_with_key(tx, activation.id, request.machine_id, request.public_key)
    if known is not None:
        return known
    if activation.registered_count >= activation.instance_count:
        raise RegistrationRefused(
            f"the activation was for {activation.instance_count} instance(s) and is used up; create another"
        )
    made = _new_instance(request, activation, source_ip, now, draw)
    _store.instances.add(tx, made)
    _store.activations.count_registered(tx, activation.id)
    return made


def forget_unheard(tx: Transaction, request: Registration, *, source_ip: str, now: datetime) -> list[str]:
    """Deregister what answers that were lost have left, before a host enrols: it takes no place of the activation.

    An instance is unheard until its key has signed a request, which is moments after its host got the answer. It goes
    if its host asks again with another key, as the official agent does: same machine, name and addresses. Of other
    hosts it goes after UNHEARD_LASTS, if its place is needed. Our own agent keeps its key, and gets its instance again.

    Returns:
        The instances that this has deregistered.

    Raises:
        RegistrationRefused: see `register`.
    """
    activation = _activation_of(tx, request, source_ip, now)
    if _store.enrolling.find_with_key(tx, activation.id, request.machine_id, request.public_key) is not None:
        return []
    gone = _unheard_from_same_host(tx, request, source_ip)
    if not gone and activation.registered_count >= activation.instance_count:
        gone = _store.enrolling.unheard_since(tx, activation.id, now - UNHEARD_LASTS, limit=1)
    for each in gone:
        tx.publish(GONE + each)
        _store.tags.drop(tx, "instance", [each], None)
        _store.instances.deregister(tx, each, now)
    _store.activations.give_back(tx, activation.id, len(gone))
    return gone


def _unheard_from_same_host(tx: Transaction, request: Registration, source_ip: str) -> list[str]:
    if agent_kind_of(request.agent_version) is AgentKind.BACKFLEET:
        return []  # our own agent would have the same key; on one machine there may be several roots of it
    place = {"machine_id": request.machine_id, "hostname": request.hostname, "intranet_ip": request.intranet_ip}
    place["internet_ip"] = source_ip
    return _store.enrolling.unheard_from(tx, request.activation_id, place, UNHEARD_AT_ONCE)


def _activation_of(tx: Transaction, request: Registration, source_ip: str, now: datetime) -> Activation:
    """Return the activation that the request may use, locked."""
    activation = _store.activations.find(tx, request.activation_id, lock=True)
    # An unknown id is refused like a wrong code, so that outsiders cannot find out which activations exist.
    refusal = activation.refusal(request.code, source_ip, now) if activation else "the activation id or code is wrong"
    if activation is None or refusal:
        raise RegistrationRefused(refusal)
    return activation


def _new_instance(request: Registration, activation: Activation, source_ip: str, now: datetime, draw: Draw) -> Instance:
    number = activation.registered_count + 1
    return new_instance(
        request,
        instance_id=new_id("mi", draw),
        account_id=activation.account_id,
        region=activation.region,
        activation_id=activation.id,
        name=activation.instance_name(number, request.instance_name, request.hostname),
        source_ip=source_ip,
        now=now,
    )


def _text(body: Mapping[str, object], name: str, longest: int) -> str:
    value = body.get(name, "")
    if not isinstance(value, str) or len(value) > longest or "\0" in value:
        raise RegistrationRefused(f"{name} must be text of at most {longest} characters")
    return value


def _public_key(encoded: str) -> str:
    """Return the key in PEM. The agent sends the whole PEM document in base64."""
    try:
        pem = base64.b64decode(encoded, validate=True)
        key = serialization.load_pem_public_key(pem)
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        raise RegistrationRefused("publicKey is not a public key in PEM, in base64") from None
    if not isinstance(key, rsa.RSAPublicKey) or not KEY_BITS[0] <= key.key_size <= KEY_BITS[1]:
        raise RegistrationRefused(f"publicKey must be an RSA key of {KEY_BITS[0]} to {KEY_BITS[1]} bits")
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
