"""Enrolment of hosts.

Source: agent wire protocol, registration.
"""

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from backfleet.fleet import _store
from backfleet.fleet.model import Activation, Instance, Registration, agent_kind_of
from backfleet.ids import Draw, new_id
from backfleet.storage import Transaction
from backfleet_host.platforms import platform_of

KEY_BITS: Final = (2048, 4096)  # the smallest and the largest RSA key


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
    again. The same machine id with another key is another host, because cloned images share a machine id.

    Raises:
        RegistrationRefused: the activation is wrong, disabled, expired, used up, or not for this address.
    """
    activation = _store.activations.find(tx, request.activation_id, lock=True)
    # An unknown id is refused like a wrong code, so that outsiders cannot find out which activations exist.
    refusal = activation.refusal(request.code, source_ip, now) if activation else "the activation id or code is wrong"
    if activation is None or refusal:
        raise RegistrationRefused(refusal)
    known = _store.instances.find_with_key(tx, activation.id, request.machine_id, request.public_key)
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


def _new_instance(request: Registration, activation: Activation, source_ip: str, now: datetime, draw: Draw) -> Instance:
    number = activation.registered_count + 1
    return Instance(
        id=new_id("mi", draw),
        account_id=activation.account_id,
        region=activation.region,
        activation_id=activation.id,
        name=activation.instance_name(number, request.instance_name, request.hostname)[:128],
        hostname=request.hostname,
        machine_id=request.machine_id,
        os_type=request.os_type,
        os_version=request.os_version,
        platform=request.platform,
        agent_version=request.agent_version,
        agent_kind=agent_kind_of(request.agent_version),
        agent_mode=request.agent_mode,
        intranet_ip=request.intranet_ip,
        internet_ip=source_ip,
        registered_at=now,
        last_heard_at=now,
        clock_skew_ms=None,
        stopped_at=None,
        deregistered_at=None,
        public_key=request.public_key,
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
