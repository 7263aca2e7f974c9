"""A request is taken once: nonces of requests that held, shared by every replica."""

import hashlib
import re
from datetime import datetime, timedelta
from typing import Final

from backfleet.identity import _store
from backfleet.storage import Transaction

PURGED_AT_ONCE: Final = 20_000  # rows; one purge must not hold up the requests beside it
_AS_IT_IS: Final = re.compile(r"[!-~]{1,64}")


def spend_nonce(tx: Transaction, access_key_id: str, nonce: str, *, now: datetime, keep: timedelta) -> bool:
    """True exactly once for a key and a nonce, until `now + keep` at the least.

    Call it only after the signature held, so that no stranger can spend a nonce for somebody else.
    """
    return _store.add_nonce(tx, access_key_id, _short(nonce), now + keep)


def purge_nonces(tx: Transaction, now: datetime) -> int:
    """Forget nonces whose time is over; how many, PURGED_AT_ONCE at the most. Any number of replicas may do it."""
    return _store.drop_nonces(tx, now, PURGED_AT_ONCE)


def _short(nonce: str) -> str:
    """Clients choose it freely: long or odd ones are kept as their hash, which is longer than any kept as it is."""
    if _AS_IT_IS.fullmatch(nonce):
        return nonce
    return f"sha256:{hashlib.sha256(nonce.encode(errors='surrogatepass')).hexdigest()}"
