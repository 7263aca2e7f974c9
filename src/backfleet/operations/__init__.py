"""Hold what can be asked, in the API's words; decide whether, and hand it to the modules.

Owns the audit trail. Verbs: `perform.admit` and `perform.run`, the only way in; `run_housekeeping` deletes
what is over.
"""

from datetime import datetime, timedelta

from backfleet import assistant, identity, upgrades
from backfleet.operations import _store, backfleet, ecs, hbr, ram, sts
from backfleet.operations.catalogue import Services

__all__ = ["backfleet", "ecs", "hbr", "ram", "run_housekeeping", "sts"]


def run_housekeeping(services: Services, *, now: datetime) -> bool:
    """Forget nonces, tasks and audit rows that are older than they need be kept. Safe in any number of replicas."""
    with services.database.transaction() as tx:
        identity.purge_nonces(tx, now=now)
        upgrades.purge(tx, before=now - timedelta(days=services.settings.task_days))
        assistant.purge(tx, now=now)
        return _store.drop_before(tx, now - timedelta(days=services.settings.audit_days))
