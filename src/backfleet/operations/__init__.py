"""What can be asked, in the API's words; decides whether, and hands to the rooms.

Owns the audit trail. Verbs: `perform.admit` and `perform.run`, the only way in; `keep_house` forgets what is over.
"""

from datetime import datetime, timedelta

from backfleet import assistant, identity, upgrades
from backfleet.operations import _store, ecs, hbr, own, ram, sts
from backfleet.operations.catalogue import House

__all__ = ["ecs", "hbr", "keep_house", "own", "ram", "sts"]


def keep_house(house: House, *, now: datetime) -> bool:
    """Forget nonces, tasks and audit rows that are older than they need be kept. Safe in any number of replicas."""
    with house.database.transaction() as tx:
        identity.purge_nonces(tx, now=now)
        upgrades.purge(tx, before=now - timedelta(days=house.settings.task_days))
        assistant.purge(tx, now=now)
        return _store.drop_before(tx, now - timedelta(days=house.settings.audit_days))
