"""Persons: who approves. One person counts once, through whatever roles they come."""

from typing import Final

from backfleet import identity
from backfleet.identity import Caller
from backfleet.storage import Transaction

NOBODY: Final = ""


def person_of(tx: Transaction, caller: Caller) -> str:
    """Return the person behind a caller: a RAM user, the account itself, or who an identity provider authenticated.

    A session counts as whoever's key it began with. NOBODY where that is not known any more: nobody approves anything.
    """
    if caller.user_id:
        return f"user/{caller.account_id}/{caller.user_id}"
    if caller.session is None:
        return f"account/{caller.account_id}"
    if caller.session.provider:
        # Everybody who comes by one provider counts as one person: a session's name is its owner's choice.
        return f"provider/{caller.session.provider}"
    owner = identity.owner_of_key(tx, caller.access_key_id)
    return NOBODY if owner is None else person_of(tx, owner)
