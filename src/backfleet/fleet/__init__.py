"""Hosts, and the backup clients on them. Knows nothing of who may act on them.

Owns the tables activations, instances, inventories, agent_requests, clients, client_preferences, boots, agent_runs and
resource_tags. Publishes `gone/<id>` when an instance is deregistered. Every verb takes a transaction.

- Enrolment: `create_activation` makes a code, `read_registration` checks a host's request, `register` enrols the host
  after `forget_unheard` has removed what lost answers left, and `deregister` ends that; `keep_registered` has it wait;
  `adopt` takes in a host that enrolled after the copy was made that the installation was restored from.
- Turns: `take_turn` has transactions about one instance wait for each other.
- Agents: `agent_identity` returns what a signature is verified with, `agent_kinds` whose agent an instance has;
  `remember_request` is the replay cache.
- Presence: `note_heartbeats` and `note_shutdown` record whether a host is there, `reachability` says whether it can be
  given work, `next_dial` when it can be again, `count_presence` how many can; `note_boot` and `take_boots` pass on
  boots, `put_inventory` stores what a host reports of itself.
- Clones: `note_run` notes an agent's process, `clones_of` finds hosts that share one identity, `count_cloned` counts.
- Clients: `resolve` turns ids into clients and instances; `ensure_client`, `set_clients` and `forget_client` maintain
  what is known of them, `doubt_clients` has their host asked, `set_preferences` their settings; `oldest_readers`
  returns the lowest version that must read a client's backups.
- Tags of resources of any kind: `set_tags`, `remove_tags`, `tags_of`, `has_tags`.
- Lists: `find_activations`, `find_instances`, `find_clients`, `find_inventory`, `find_tags`.
"""

from backfleet.fleet.activations import (
    activation,
    create_activation,
    delete_activation,
    disable_activation,
    find_activations,
)
from backfleet.fleet.adoption import adopt
from backfleet.fleet.clients import (
    clients_for_update,
    clients_of_package,
    clients_on,
    count_by_release,
    count_changed,
    doubt_all_clients,
    doubt_clients,
    ensure_client,
    find_clients,
    forget_client,
    ids_of_package,
    resolve,
    set_channel,
    set_clients,
    take_unchecked,
)
from backfleet.fleet.clones import REFRESH, clones_of, count_cloned, note_run
from backfleet.fleet.instances import (
    agent_identity,
    agent_kinds,
    connects_for_the_first_time,
    count_instances,
    count_presence,
    deregister,
    deregistered_among,
    find_instances,
    has_boots,
    instance,
    is_connected,
    keep_registered,
    next_dial,
    note_boot,
    note_heartbeats,
    note_shutdown,
    out_of_reach,
    reachability,
    rename,
    take_boots,
    take_turn,
)
from backfleet.fleet.inventory import InventoryMissing, InventoryRefused, find_inventory, put_inventory, read_inventory
from backfleet.fleet.model import (
    GONE,
    Activation,
    AgentIdentity,
    AgentKind,
    AgentRun,
    Change,
    Client,
    ClientFilter,
    ClientStatus,
    Failure,
    Heartbeat,
    Instance,
    InstanceFilter,
    Inventory,
    InventoryItem,
    Preferences,
    Reachability,
    Registration,
    Resolved,
    ResourceTag,
    TagFilter,
)
from backfleet.fleet.preferences import preferences_of, set_preferences
from backfleet.fleet.readers import oldest_readers
from backfleet.fleet.registration import RegistrationRefused, forget_unheard, read_registration, register
from backfleet.fleet.replay_cache import forget_requests, remember_request, remember_requests, request_fingerprint
from backfleet.fleet.tagging import MOST_TAGS, TooManyTags, find_tags, has_tags, remove_tags, set_tags, tags_of

__all__ = [
    "GONE",
    "MOST_TAGS",
    "REFRESH",
    "Activation",
    "AgentIdentity",
    "AgentKind",
    "AgentRun",
    "Change",
    "Client",
    "ClientFilter",
    "ClientStatus",
    "Failure",
    "Heartbeat",
    "Instance",
    "InstanceFilter",
    "Inventory",
    "InventoryItem",
    "InventoryMissing",
    "InventoryRefused",
    "Preferences",
    "Reachability",
    "Registration",
    "RegistrationRefused",
    "Resolved",
    "ResourceTag",
    "TagFilter",
    "TooManyTags",
    "activation",
    "adopt",
    "agent_identity",
    "agent_kinds",
    "clients_for_update",
    "clients_of_package",
    "clients_on",
    "clones_of",
    "connects_for_the_first_time",
    "count_by_release",
    "count_changed",
    "count_cloned",
    "count_instances",
    "count_presence",
    "create_activation",
    "delete_activation",
    "deregister",
    "deregistered_among",
    "disable_activation",
    "doubt_all_clients",
    "doubt_clients",
    "ensure_client",
    "find_activations",
    "find_clients",
    "find_instances",
    "find_inventory",
    "find_tags",
    "forget_client",
    "forget_requests",
    "forget_unheard",
    "has_boots",
    "has_tags",
    "ids_of_package",
    "instance",
    "is_connected",
    "keep_registered",
    "next_dial",
    "note_boot",
    "note_heartbeats",
    "note_run",
    "note_shutdown",
    "oldest_readers",
    "out_of_reach",
    "preferences_of",
    "put_inventory",
    "reachability",
    "read_inventory",
    "read_registration",
    "register",
    "remember_request",
    "remember_requests",
    "remove_tags",
    "rename",
    "request_fingerprint",
    "resolve",
    "set_channel",
    "set_clients",
    "set_preferences",
    "set_tags",
    "tags_of",
    "take_boots",
    "take_turn",
    "take_unchecked",
]
