"""Machines, and the backup clients on them. Knows nothing of who may act on them.

Owns the tables activations, instances, inventories, agent_requests and clients. Verbs: `create_activation` and
`register`; `identity_of` for an agent's signature and `first_use` for its request ids; `heard` and `shut_down` for
signs of life and `fitness` for what they mean; `put_inventory` for what a host tells of itself; `resolve` for ids;
`ensure_client` and `set_clients` for what is known of backup clients; `find_*` for lists.
"""

from backfleet.fleet.activations import Activation, create_activation, find_activations
from backfleet.fleet.clients import (
    Change,
    Client,
    ClientFilter,
    ClientStatus,
    Resolved,
    ensure_client,
    find_clients,
    resolve,
    set_clients,
)
from backfleet.fleet.instances import (
    AgentIdentity,
    Beat,
    Fitness,
    Instance,
    InstanceFilter,
    Registration,
    RegistrationRefused,
    count_instances,
    deregister,
    find_instances,
    fitness,
    gone_among,
    heard,
    identity_of,
    instance,
    is_heard,
    other_agents,
    read_registration,
    register,
    shut_down,
)
from backfleet.fleet.inventory import (
    Inventory,
    InventoryItem,
    InventoryMissing,
    InventoryRefused,
    find_inventory,
    put_inventory,
    read_inventory,
)
from backfleet.fleet.pages import Found, Page
from backfleet.fleet.uses import first_use, forget_uses, mark_of, note_uses

__all__ = [
    "Activation",
    "AgentIdentity",
    "Beat",
    "Change",
    "Client",
    "ClientFilter",
    "ClientStatus",
    "Fitness",
    "Found",
    "Instance",
    "InstanceFilter",
    "Inventory",
    "InventoryItem",
    "InventoryMissing",
    "InventoryRefused",
    "Page",
    "Registration",
    "RegistrationRefused",
    "Resolved",
    "count_instances",
    "create_activation",
    "deregister",
    "ensure_client",
    "find_activations",
    "find_clients",
    "find_instances",
    "find_inventory",
    "first_use",
    "fitness",
    "forget_uses",
    "gone_among",
    "heard",
    "identity_of",
    "instance",
    "is_heard",
    "mark_of",
    "note_uses",
    "other_agents",
    "put_inventory",
    "read_inventory",
    "read_registration",
    "register",
    "resolve",
    "set_clients",
    "shut_down",
]
