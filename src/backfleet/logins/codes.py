"""Codes that log their maker in once: for the link at the end of a command, so that nobody types a secret."""

from datetime import datetime, timedelta
from typing import Final

from backfleet import identity
from backfleet.ids import Draw
from backfleet.logins import _store
from backfleet.logins.sessions import hash_of
from backfleet.storage import Transaction

CODE_LENGTH: Final = 32  # characters of [a-z0-9]: 165 bits
CODE_LIFE: Final = timedelta(minutes=10)
CODES_EACH: Final = 20  # of a key, that wait to be used


def make_code(tx: Transaction, access_key_id: str, *, now: datetime, draw: Draw) -> str:
    """Return a code that begins one session of this key's owner, within CODE_LIFE.

    Raises:
        LimitReached: CODES_EACH wait to be used.
    """
    if _store.count_codes(tx, access_key_id, now) >= CODES_EACH:
        raise identity.LimitReached("Console.LoginCode", CODES_EACH)
    code = draw(CODE_LENGTH)
    _store.add_code(tx, hash_of(code), access_key_id, now + CODE_LIFE)
    return code


def use_code(tx: Transaction, code: str, *, now: datetime) -> str | None:
    """Return the id of the key that a code stands for, once; None if it is not known, used or too old."""
    return _store.take_code(tx, hash_of(code.strip()), now)
