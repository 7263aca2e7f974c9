"""Persons: who approves. One person counts once, through whatever roles they come."""

from typing import Final

from backfleet import identity
from backfleet.identity import Caller
from backfleet.storage import Transaction

NOBODY: Final = ""


def person_of(tx: Transaction, caller: Caller) -> str:
    """Return the person behind a caller: a RAM user, the account itself, or who an identity provider authenticated.

    A session counts as whoever's key or sign-in it began with; its own name is its owner's choice. NOBODY where that is
    not known any more: nobody approves anything.
    """
    if caller.user_id:
        return f"user/{caller.account_id}/{caller.user_id}"
    if caller.session is None:
        return f"account/{caller.account_id}"
    if caller.session.provider:
        return f"oidc/{caller.session.person}" if caller.session.person else NOBODY
    owner = identity.owner_of_key(tx, caller.access_key_id)
    return NOBODY if owner is None else person_of(tx, owner)


def may_be_same(tx: Transaction, approver: Caller, other: Caller) -> bool:
    """Return whether two callers are one person, or may be.

    Sessions of an identity provider that began before their tokens named the person may be anybody whom it knows.
    """
    person = person_of(tx, other)
    if person != NOBODY:
        return person == person_of(tx, approver)
    provider = "" if other.session is None else other.session.provider
    return bool(provider) and approver.session is not None and approver.session.provider == provider
