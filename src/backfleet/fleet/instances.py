"""Machines: how they enrol, whether they are heard, whether they are fit for work."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from backfleet.fleet import _store
from backfleet.fleet.activations import Activation
from backfleet.ids import Draw, new_id
from backfleet.paging import Listing, Page
from backfleet.storage import Transaction
from backfleet_host.platforms import platform_of

OWN_AGENT = "backfleet-"  # how our own agent's version begins
KEY_BITS = (2048, 4096)
SKEWED_MS = 60_000


class RegistrationRefused(Exception):
    """A host may not enrol, or asked in a form we do not know; the text says why."""


class Reachability(StrEnum):
    """Whether an instance can be given work; the words are those of the API."""

    REACHABLE = ""
    NOT_EXISTS = "InstanceNotExists"
    NOT_RUNNING = "InstanceNotRunning"
    AGENT_NOT_RUNNING = "CloudAssistNotRunningOnInstance"


class AgentKind(StrEnum):
    """Whose agent an instance has."""

    BACKFLEET = "backfleet"  # ours: it takes orders as they are
    OFFICIAL = "official"  # the cloud's, or any other that is not ours: it runs shell commands


def agent_kind_of(version: str) -> AgentKind:
    """Return the kind of the agent that reports this version of itself."""
    return AgentKind.BACKFLEET if version.startswith(OWN_AGENT) else AgentKind.OFFICIAL


@dataclass(frozen=True, slots=True)
class Instance:
    """One enrolled machine."""

    id: str
    account_id: str
    region: str
    activation_id: str
    name: str
    hostname: str
    machine_id: str
    os_type: str
    os_version: str
    platform: str  # linux-amd64; "" if its agent did not say
    agent_version: str
    agent_kind: AgentKind
    agent_mode: str  # restricted, shell, "" of the official agent
    intranet_ip: str
    internet_ip: str
    registered_at: datetime
    last_heard_at: datetime | None
    clock_skew_ms: int | None
    stopped_at: datetime | None
    deregistered_at: datetime | None
    public_key: str = field(repr=False)
    signed_ms: int | None = field(default=None, repr=False)

    @property
    def is_skewed(self) -> bool:
        """Whether its clock is so wrong that people should know."""
        return self.clock_skew_ms is not None and abs(self.clock_skew_ms) > SKEWED_MS


@dataclass(frozen=True, slots=True)
class Registration:
    """What a host says of itself when it enrols. Lengths are bounded by `read_registration`."""

    activation_id: str
    code: str = field(repr=False)
    machine_id: str
    instance_name: str
    hostname: str
    intranet_ip: str
    os_type: str
    os_version: str
    agent_version: str
    agent_mode: str
    platform: str
    public_key: str  # PEM


@dataclass(frozen=True, slots=True)
class AgentIdentity:
    """What an agent's signature is checked with."""

    instance_id: str
    machine_id: str
    public_key: str  # PEM
    deregistered: bool
    registered_ms: int = 0
    signed_ms: int | None = None  # the newest time it signed, by its own clock; None if not written down yet


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One sign of life: when we heard it, and what it told of its agent."""

    instance_id: str
    at: datetime
    agent_version: str | None = None
    agent_mode: str | None = None
    clock_skew_ms: int | None = None
    signed_ms: int | None = None
    stopping: bool = False  # the last one for now: its host goes down

    @property
    def agent_kind(self) -> AgentKind | None:
        """The kind of agent that the reported version belongs to; None if none was reported."""
        return None if self.agent_version is None else agent_kind_of(self.agent_version)


@dataclass(frozen=True, slots=True)
class InstanceFilter:
    """Which instances are meant; None and empty mean all."""

    ids: Sequence[str] | None = None
    name: str | None = None  # `*` stands for any characters
    ip: str | None = None  # of either side
    ips: Sequence[str] | None = None  # of the inner side
    activation_id: str | None = None
    os_type: str | None = None
    machine_id: str | None = None
    connected: bool | None = None
    stopped: bool | None = None
    own_agent: bool | None = None
    tags: Sequence[tuple[str, str | None]] = ()  # all of them; None stands for any value


def read_registration(said: Mapping[str, object]) -> Registration:
    """A registration from the agent's JSON, every field checked.

    Raises:
        RegistrationRefused: a field is missing, of another type, too long, or no RSA key.
    """
    version = _text(said, "osVersion", 255)
    os_type = _text(said, "osType", 32)
    return Registration(
        activation_id=_text(said, "activationId", 64),
        code=_text(said, "activationCode", 128),
        machine_id=_text(said, "machineId", 64),
        instance_name=_text(said, "instanceName", 128),
        hostname=_text(said, "hostname", 255),
        intranet_ip=_text(said, "intranetIp", 64),
        os_type=os_type,
        os_version=version,
        agent_version=_text(said, "agentVersion", 64),
        agent_mode=_text(said, "agentMode", 16) if said.get("agentMode") in ("restricted", "shell") else "",
        platform=platform_of(str(said.get("platform") or ""), os_type, version),
        public_key=_public_key(_text(said, "publicKey", 4096)),
    )


def register(tx: Transaction, asked: Registration, *, source_ip: str, now: datetime, draw: Draw) -> Instance:
    """Enrol a host.

    The same activation, machine id and key again is the same host whose answer was lost: it gets its instance again.
    Another key is another host, for cloned images send equal machine ids.

    Raises:
        RegistrationRefused: wrong, disabled, expired, used up, or not for this address.
    """
    activation = _store.activation(tx, asked.activation_id, lock=True)
    # An unknown id is judged like a wrong code: strangers learn nothing about which activations exist.
    refusal = activation.refuses(asked.code, source_ip, now) if activation else "the activation id or code is wrong"
    if activation is None or refusal:
        raise RegistrationRefused(refusal)
    known = _store.instance_with_key(tx, activation.id, asked.machine_id, asked.public_key)
    if known is not None:
        return known
    if activation.registered_count >= activation.instance_count:
        raise RegistrationRefused(f"the activation was for {activation.instance_count} instance(s) and is used up")
    made = _new_instance(asked, activation, source_ip, now, draw)
    _store.add_instance(tx, made)
    _store.count_registered(tx, activation.id)
    return made


def _new_instance(asked: Registration, activation: Activation, source_ip: str, now: datetime, draw: Draw) -> Instance:
    return Instance(
        id=new_id("mi", draw),
        account_id=activation.account_id,
        region=activation.region,
        activation_id=activation.id,
        name=activation.name_of(activation.registered_count + 1, asked.instance_name, asked.hostname)[:128],
        hostname=asked.hostname,
        machine_id=asked.machine_id,
        os_type=asked.os_type,
        os_version=asked.os_version,
        platform=asked.platform,
        agent_version=asked.agent_version,
        agent_kind=agent_kind_of(asked.agent_version),
        agent_mode=asked.agent_mode,
        intranet_ip=asked.intranet_ip,
        internet_ip=source_ip,
        registered_at=now,
        last_heard_at=now,
        clock_skew_ms=None,
        stopped_at=None,
        deregistered_at=None,
        public_key=asked.public_key,
    )


def rename(tx: Transaction, instance_id: str, name: str) -> None:
    """Call a host something else."""
    _store.rename(tx, instance_id, name)


def note_boot(tx: Transaction, instance_id: str, *, now: datetime) -> None:
    """The host has booted: news for whoever waits for that."""
    _store.note_boot(tx, instance_id, now)


def has_boots(tx: Transaction) -> bool:
    """Whether a host booted since `take_boots` was asked last."""
    return _store.has_boots(tx)


def take_boots(tx: Transaction, *, limit: int) -> dict[str, datetime]:
    """Hosts that booted since this was asked last, and when we heard of it. They are news no more."""
    return _store.take_boots(tx, limit)


def deregister(tx: Transaction, instance_id: str, *, now: datetime) -> bool:
    """Forget a host: its agent's signatures are refused from now on. False if it was forgotten before."""
    tx.publish(f"gone/{instance_id}")
    _store.drop_tags(tx, "instance", [instance_id], None)
    return _store.deregister(tx, instance_id, now)


def deregistered_among(tx: Transaction, instance_ids: Sequence[str]) -> list[str]:
    """Those of these that are enrolled no more."""
    return _store.deregistered_among(tx, instance_ids)


def agent_identity(tx: Transaction, instance_id: str) -> AgentIdentity | None:
    """What this instance's signatures are checked with."""
    return _store.identity(tx, instance_id)


def note_heartbeats(tx: Transaction, beats: Sequence[Heartbeat]) -> None:
    """Write down many signs of life at once. Whoever is heard is not stopped, unless it said just that."""
    _store.note_beats(tx, beats)


def note_shutdown(tx: Transaction, instance_id: str, *, now: datetime) -> None:
    """The host is stopped, says somebody who knows. As soon as it is heard again it runs."""
    _store.set_stopped(tx, instance_id, now)


def reachability(instance: Instance | None, *, now: datetime, reachable_within: timedelta) -> Reachability:
    """Whether this instance can be given work now.

    Its agent counts as running if it was heard within `reachable_within`. Pings on an open socket count, too.
    """
    if instance is None or instance.deregistered_at is not None:
        return Reachability.NOT_EXISTS
    if instance.stopped_at is not None:
        return Reachability.NOT_RUNNING
    return (
        Reachability.REACHABLE
        if is_connected(instance, now=now, reachable_within=reachable_within)
        else Reachability.AGENT_NOT_RUNNING
    )


def is_connected(instance: Instance, *, now: datetime, reachable_within: timedelta) -> bool:
    """Whether its agent is there."""
    return instance.last_heard_at is not None and now - instance.last_heard_at <= reachable_within


def find_instances(
    tx: Transaction, account_id: str, region: str, wanted: InstanceFilter, page: Page, *, heard_since: datetime
) -> Listing[Instance]:
    """An account's instances that are not deregistered, oldest first; `heard_since` decides who is connected."""
    return _store.instances_page(tx, account_id, region, wanted, page, heard_since)


def instance(tx: Transaction, account_id: str, instance_id: str) -> Instance | None:
    """One instance of the account, None if it has none of this id or has deregistered it."""
    return _store.instances_by_id(tx, account_id, None, [instance_id]).get(instance_id)


def agent_kinds(tx: Transaction, instance_ids: Sequence[str]) -> dict[str, AgentKind]:
    """Return whose agent each of these instances has, those of any account. Unknown ids are not in the answer."""
    return _store.agent_kinds(tx, instance_ids)


def count_instances(tx: Transaction, account_id: str) -> int:
    """How many hosts the account has enrolled."""
    return _store.count_instances(tx, account_id)


def _text(said: Mapping[str, object], name: str, longest: int) -> str:
    value = said.get(name, "")
    if not isinstance(value, str) or len(value) > longest or "\0" in value:
        raise RegistrationRefused(f"{name} must be text of at most {longest} characters")
    return value


def _public_key(encoded: str) -> str:
    """The PEM text in it: the agent sends the whole document in base64."""
    try:
        pem = base64.b64decode(encoded, validate=True)
        key = serialization.load_pem_public_key(pem)
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        raise RegistrationRefused("publicKey is not a public key in PEM, in base64") from None
    if not isinstance(key, rsa.RSAPublicKey) or not KEY_BITS[0] <= key.key_size <= KEY_BITS[1]:
        raise RegistrationRefused(f"publicKey must be an RSA key of {KEY_BITS[0]} to {KEY_BITS[1]} bits")
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
