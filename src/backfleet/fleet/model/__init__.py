"""The values that fleet works with: value objects, without I/O. The store fills them, the verbs return them."""

from backfleet.fleet.model.activations import Activation, hash_code
from backfleet.fleet.model.clients import (
    MOVING,
    Change,
    Client,
    ClientFilter,
    ClientName,
    ClientStatus,
    Failure,
    Preferences,
    Resolved,
    ResolvedNames,
)
from backfleet.fleet.model.instances import (
    GONE,
    AgentIdentity,
    AgentKind,
    CarrierKind,
    Heartbeat,
    Instance,
    InstanceFilter,
    Reachability,
    Registration,
    Watched,
    agent_kind_of,
    new_instance,
)
from backfleet.fleet.model.inventory import Inventory, InventoryItem, StoredKind
from backfleet.fleet.model.minimums import MinimumVersion, is_below
from backfleet.fleet.model.overview import FleetGroup, FleetRow, FleetSearch
from backfleet.fleet.model.pins import Hold, Pin, PinKind
from backfleet.fleet.model.runs import BEFORE_BOOT, AgentRun
from backfleet.fleet.model.tags import ResourceTag, TagFilter

__all__ = [
    "BEFORE_BOOT",
    "GONE",
    "MOVING",
    "Activation",
    "AgentIdentity",
    "AgentKind",
    "AgentRun",
    "CarrierKind",
    "Change",
    "Client",
    "ClientFilter",
    "ClientName",
    "ClientStatus",
    "Failure",
    "FleetGroup",
    "FleetRow",
    "FleetSearch",
    "Heartbeat",
    "Hold",
    "Instance",
    "InstanceFilter",
    "Inventory",
    "InventoryItem",
    "MinimumVersion",
    "Pin",
    "PinKind",
    "Preferences",
    "Reachability",
    "Registration",
    "Resolved",
    "ResolvedNames",
    "ResourceTag",
    "StoredKind",
    "TagFilter",
    "Watched",
    "agent_kind_of",
    "hash_code",
    "is_below",
    "new_instance",
]
