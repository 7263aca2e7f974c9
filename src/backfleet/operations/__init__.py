"""The operations of every product: decide whether a caller may, and do it through the modules.

Owns the tables audit_events and call_buckets. Each product is a package; importing it enters its operations into
`catalogue`.

- `perform` is the only way to an operation: it finds it, authorises the caller, runs it, and writes the audit trail
- `Housekeeping` deletes nonces, tasks, results and audit rows that are too old
- `Watcher` says what people are notified of
"""

from backfleet.operations import backfleet, ecs, hbr, ram, sts
from backfleet.operations.backfleet.notifications import unseal_secret
from backfleet.operations.backfleet.rollouts import Judge as RolloutJudge
from backfleet.operations.backfleet.rollouts import witness
from backfleet.operations.housekeeping import Housekeeping
from backfleet.operations.noticing import Watcher

__all__ = [
    "Housekeeping",
    "RolloutJudge",
    "Watcher",
    "backfleet",
    "ecs",
    "hbr",
    "ram",
    "sts",
    "unseal_secret",
    "witness",
]
