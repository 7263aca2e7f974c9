"""The operations of every product: decide whether a caller may, and do it through the modules.

Owns the tables audit_events and call_buckets. Each product is a package; importing it enters its operations into
`catalogue`.

- `perform` is the only way to an operation: it finds it, authorises the caller, runs it, and writes the audit trail
- `run_housekeeping` deletes nonces, tasks, results and audit rows that are too old
"""

from datetime import datetime, timedelta

from backfleet import assistant, identity, upgrades
from backfleet.operations import _store, backfleet, ecs, hbr, ram, sts
from backfleet.operations.backfleet.rollouts import Judge as RolloutJudge
from backfleet.operations.catalogue import Services

__all__ = ["RolloutJudge", "backfleet", "ecs", "hbr", "ram", "run_housekeeping", "sts"]


def run_housekeeping(services: Services, *, now: datetime) -> bool:
    """Delete nonces, tasks, results and audit rows that are too old; return whether there may be more.

    Any number of replicas may run it at once.
    """
    with services.database.transaction() as tx:
        identity.purge_nonces(tx, now=now)
        upgrades.purge(tx, before=now - timedelta(days=services.settings.task_days))
        assistant.purge(tx, now=now)
        return _store.delete_before(tx, now - timedelta(days=services.settings.audit_days))
