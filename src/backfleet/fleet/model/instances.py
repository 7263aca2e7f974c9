"""Instances, and what their agents report."""

from collections.abc import Sequence
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from typing import Final

from backfleet.fleet.model.tags import TagFilter
from backfleet.values import value_object
from backfleet_host.contract import OWN_AGENT

GONE: Final = "gone/"  # how a topic begins, before the id of an instance that was deregistered
SKEWED_MS: Final = 60_000  # a clock that is wrong by more than this is shown to people


class Reachability(StrEnum):
    """Whether an instance can be given work. The values are the API's error codes."""

    REACHABLE = ""
    NOT_EXISTS = "InstanceNotExists"
    NOT_RUNNING = "InstanceNotRunning"
    AGENT_NOT_RUNNING = "CloudAssistNotRunningOnInstance"


class CarrierKind(StrEnum):
    """How orders reach an instance. It is fixed when the instance is registered."""

    ASSIST = "assist"  # its agent comes to our gateway
    SSH = "ssh"  # it has no agent: the server goes to it
    ECS = "ecs"  # its agent belongs to Alibaba Cloud: the server asks that cloud
    SSM = "ssm"  # its agent belongs to AWS: the server asks Systems Manager


class AgentKind(StrEnum):
    """Whose agent an instance has."""

    BACKFLEET = "backfleet"  # ours: it takes orders as they are
    OFFICIAL = "official"  # the cloud's, or any other that is not ours: it runs shell commands


def agent_kind_of(version: str) -> AgentKind:
    """Return the kind of the agent that reports this version of itself."""
    return AgentKind.BACKFLEET if version.startswith(OWN_AGENT) else AgentKind.OFFICIAL


def host_version_of(agent_version: str) -> str:
    """Return the version of the host program whose agent reports this; "" if it is the agent of others."""
    return agent_version.removeprefix(OWN_AGENT) if agent_version.startswith(OWN_AGENT) else ""


@value_object
class Instance:
    """One enrolled host."""

    id: str
    account_id: str
    region: str
    activation_id: str
    name: str
    hostname: str
    machine_id: str
    os_type: str
    os_version: str
    platform: str  # such as linux-amd64; "" if it is unknown
    agent_version: str
    agent_kind: AgentKind
    agent_mode: str  # restricted or shell; "" for the official agent
    intranet_ip: str
    internet_ip: str
    registered_at: datetime
    last_heard_at: datetime | None
    clock_skew_ms: int | None
    stopped_at: datetime | None
    deregistered_at: datetime | None
    public_key: str = field(repr=False)
    signed_ms: int | None = field(default=None, repr=False)
    reachable_at: datetime | None = None  # when its agent last used its socket, or asked for its tasks
    left_at: datetime | None = None  # when its agent closed its socket, and did not come back within seconds
    agent_started_at: datetime | None = None  # by our clock; None if its agent has not reported it
    time_zone: str = ""  # a name such as Europe/Berlin; "" if its agent has not reported one
    carrier: CarrierKind = CarrierKind.ASSIST

    @property
    def host_version(self) -> str:
        """The version of the host program; "" for the agents of others, which report versions of their own."""
        return host_version_of(self.agent_version)

    @property
    def is_skewed(self) -> bool:
        """True if its clock is wrong by more than SKEWED_MS."""
        return self.clock_skew_ms is not None and abs(self.clock_skew_ms) > SKEWED_MS


@value_object
class Registration:
    """A host's request to enrol. `read_registration` bounds the lengths of its texts."""

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


def new_instance(
    request: Registration, *, instance_id: str, account_id: str, region: str, activation_id: str, name: str,
    source_ip: str, now: datetime,
) -> Instance:  # fmt: skip
    """Return the instance that a host becomes which has just been heard for the first time.

    Args:
        request: what the host says of itself.
        instance_id: its id.
        account_id: whose it is.
        region: where it is.
        activation_id: what it enrolled with.
        name: what it is called; a long one is cut.
        source_ip: the address that it was heard from.
        now: the time.
    """
    return Instance(
        id=instance_id,
        account_id=account_id,
        region=region,
        activation_id=activation_id,
        name=name[:128],
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


@value_object
class AgentIdentity:
    """What an agent's signatures are verified with."""

    instance_id: str
    machine_id: str
    public_key: str  # PEM
    deregistered: bool
    registered_ms: int = 0
    signed_ms: int | None = None  # the newest time it signed, by its own clock; None if none is stored yet
    skew_ms: int | None = None  # its clock minus ours, as of its last request that is stored


@value_object
class Heartbeat:
    """One heartbeat: when it arrived, and what it reported of the agent. None means that it was not reported."""

    instance_id: str
    at: datetime
    agent_version: str | None = None
    agent_mode: str | None = None
    clock_skew_ms: int | None = None
    signed_ms: int | None = None
    stopping: bool = False  # the last one for now: its host shuts down
    reachable_at: datetime | None = None  # when the agent could be given work: it used its socket, or asked for tasks
    agent_started_at: datetime | None = None
    time_zone: str | None = None  # a name such as Europe/Berlin

    @property
    def agent_kind(self) -> AgentKind | None:
        """The kind of agent that the reported version belongs to; None if no version was reported."""
        return None if self.agent_version is None else agent_kind_of(self.agent_version)


@value_object
class InstanceFilter:
    """Selects instances. None and empty `tags` select all; several conditions must all be met."""

    ids: Sequence[str] | None = None
    name: str | None = None  # `*` matches any characters
    ip: str | None = None  # intranet or internet address
    ips: Sequence[str] | None = None  # intranet addresses
    activation_id: str | None = None
    os_type: str | None = None
    machine_id: str | None = None
    connected: bool | None = None  # it can be given work now
    stopped: bool | None = None
    own_agent: bool | None = None
    tags: TagFilter = ()


@value_object
class Watched:
    """A host or a client that somebody should look at."""

    id: str
    name: str
    what: str  # that differs, or ""
    at: datetime | None  # when it was last heard of
