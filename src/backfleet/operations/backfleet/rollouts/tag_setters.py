"""Which policies allow setting tags: where a selector is dynamic, whoever has one decides what is moved."""

from typing import Final

from backfleet import identity
from backfleet.identity.policy import Effect, parse_document
from backfleet.storage import Transaction

ACTIONS: Final = ("ecs:TagResources", "ecs:UntagResources")
MOST: Final = 1000  # policies that are read


def tag_setters(tx: Transaction, account_id: str) -> list[str]:
    """Return the policies of an account that somebody has and that allow setting tags, as Custom/<name>.

    Root may always. Conditions and resources are not judged: it is said who may set any tag.
    """
    found = identity.list_policies(tx, account_id, kind=None, after=None, limit=MOST)
    return [f"{policy.kind}/{policy.name}" for policy in found if policy.attached and _allows(policy.document)]


def _allows(document: str) -> bool:
    return any(
        statement.effect is Effect.ALLOW and any(statement.is_about(action) for action in ACTIONS)
        for statement in parse_document(document)
    )
