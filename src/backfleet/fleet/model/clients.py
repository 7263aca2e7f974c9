"""Backup clients, and what is set for them."""

from collections.abc import Mapping, Sequence
from dataclasses import field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

from backfleet.fleet.model.instances import Instance
from backfleet.fleet.model.tags import TagFilter
from backfleet.values import value_object


class ClientStatus(StrEnum):
    """The status of a client, in the words of the API."""

    REGISTERED = "REGISTERED"
    ACTIVATED = "ACTIVATED"
    DEACTIVATED = "DEACTIVATED"
    INSTALLING = "INSTALLING"
    INSTALL_FAILED = "INSTALL_FAILED"
    NOT_INSTALLED = "NOT_INSTALLED"
    UPGRADING = "UPGRADING"
    UPGRADE_FAILED = "UPGRADE_FAILED"
    UNINSTALLING = "UNINSTALLING"
    UNINSTALL_FAILED = "UNINSTALL_FAILED"
    STOPPED = "STOPPED"
    UNKNOWN = "UNKNOWN"


MOVING: Final = (ClientStatus.UPGRADING, ClientStatus.INSTALLING, ClientStatus.UNINSTALLING)
"""The statuses of a client that an order is changing now."""


@value_object
class Failure:
    """The last order for a client that failed: how, at which version, and what that printed."""

    code: str
    message: str
    version: str  # that was tried; "" for an uninstall
    at: datetime
    output: str = ""  # first and last lines
    quarantined_until: datetime | None = None


@value_object
class Client:
    """One backup client on one instance. `version` is the last one its host reported; "" means none is installed."""

    id: str
    account_id: str
    region: str
    instance_id: str
    package: str
    version: str
    channel: str
    status: ClientStatus
    created_at: datetime
    updated_at: datetime
    checked_at: datetime  # when its host last reported its state or was asked for it; CHECK_NEXT = ask it first
    drift: str = ""  # what differs on the host from what the upgrade left there, as last reported, one sentence a line
    confirmed_at: datetime | None = None  # when its host last said which version it has
    in_doubt: bool = False  # an order ended since, and nobody knows what is on the host
    failure: Failure | None = None  # of the last order, if it failed

    @property
    def is_moving(self) -> bool:
        """True while an order for it is being carried out."""
        return self.status in MOVING

    @property
    def is_installed(self) -> bool:
        """True if a version is on the host."""
        return self.version != ""

    def is_confirmed(self, *, since: datetime) -> bool:
        """Return whether its host has said since this moment which version it has, and nothing put that in doubt."""
        return not self.in_doubt and self.confirmed_at is not None and self.confirmed_at >= since


@value_object
class ClientFilter:
    """Selects clients. None and empty select all; several conditions must all be met."""

    ids: Sequence[str] | None = None
    instance_ids: Sequence[str] | None = None
    instance_tags: TagFilter = ()
    having: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Accepted values of status, version, package, channel, instance_name and hostname."""


@value_object
class Change:
    """What is newly known of a client; None leaves a field as it is."""

    client_id: str
    status: ClientStatus | None = None
    version: str | None = None
    drift: str | None = None
    unsure: bool = False  # its host has not reported its present state, and is asked for it soon
    confirmed: bool = False  # its host has the version that we know: no news, but a proof
    checked_at: datetime | None = None  # decides when its host is asked next
    failure: Failure | None = None  # of an order
    has_succeeded: bool = False  # an order has: no failure is the last one any more


@value_object
class Resolved:
    """The clients and instances that ids name: only those of the account and region that are not deregistered."""

    instances: dict[str, Instance]
    clients: dict[str, Client]
    clients_on: dict[str, list[Client]]  # every client of each instance found, by instance id


class ClientName(NamedTuple):
    """Which client it is, and where."""

    id: str
    instance_id: str
    package: str


@value_object
class ResolvedNames:
    """Which clients ids name, and which are on the instances that they name, as in `Resolved`."""

    clients: dict[str, ClientName]
    clients_on: dict[str, list[ClientName]]  # by instance id; an instance without clients is left out


@value_object
class Preferences:
    """How one client reaches its data, and how much of the host it may use. None means that nothing was set."""

    network: str | None = None
    proxy_kind: str | None = None
    proxy_host: str | None = None
    proxy_port: int | None = None
    proxy_user: str | None = None
    most_cores: int | None = None  # 0 = no limit; the same holds for the next two
    most_workers: int | None = None
    most_memory: int | None = None  # bytes
    https: bool | None = None
    alert_on_partial: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the preferences that were set, by field name."""
        return {name: value for name in _PREFERENCES if (value := getattr(self, name)) is not None}


_PREFERENCES: Final = [field.name for field in fields(Preferences)]
