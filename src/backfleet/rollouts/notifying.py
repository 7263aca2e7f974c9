"""Which rollouts notify a destination: it cannot be deleted before they have ended."""

from backfleet.rollouts import _calendars
from backfleet.rollouts.policy.lenient import destination_names
from backfleet.storage import Transaction


def notifying(tx: Transaction, account_id: str, destination: str) -> list[str]:
    """Return an account's rollouts whose policies name a destination and that have not ended."""
    return [
        rollout_id
        for rollout_id, policy in _calendars.policies_in_use(tx, account_id)
        if destination in destination_names(policy)
    ]
