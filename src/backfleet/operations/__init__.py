"""The operations of every product: decide whether a caller may, and do it through the modules.

Owns the tables audit_events and call_buckets. Each product is a package; importing it enters its operations into
`catalogue`.

- `perform` is the only way to an operation: it finds it, authorises the caller, runs it, and writes the audit trail
- `Measuring` writes figures of rollouts and fleets for `/metrics`
- `note_adoption` writes down that a host was taken in after a restore
- `Housekeeping` deletes nonces, tasks, results and audit rows that are too old
- `Watcher` says what people are notified of
"""

from backfleet.operations import backfleet, ecs, hbr, ram, sts
from backfleet.operations.backfleet.clouds import cloud_clients
from backfleet.operations.backfleet.rollouts import Judge as RolloutJudge
from backfleet.operations.backfleet.rollouts import witness
from backfleet.operations.backfleet.ssh_hosts import open_ssh_key, ssh_destinations
from backfleet.operations.held import note_adoption
from backfleet.operations.housekeeping import Housekeeping
from backfleet.operations.measuring import Measuring
from backfleet.operations.noticing import Watcher, sender_of
from backfleet.operations.waiting import still_may

__all__ = [
    "Housekeeping",
    "Measuring",
    "RolloutJudge",
    "Watcher",
    "backfleet",
    "cloud_clients",
    "ecs",
    "hbr",
    "note_adoption",
    "open_ssh_key",
    "ram",
    "sender_of",
    "ssh_destinations",
    "still_may",
    "sts",
    "witness",
]
