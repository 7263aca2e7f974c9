"""Nonces: each request is accepted once. All replicas share them."""

import hashlib
import re
from datetime import datetime, timedelta
from typing import Final

from backfleet.identity import _store
from backfleet.identity.key_cache import check_key
from backfleet.identity.model import SealedKey
from backfleet.storage import Transaction

PURGED_AT_ONCE: Final = 20_000  # rows; one purge must not hold up the requests beside it
_STORED_AS_IS: Final = re.compile(r"[!-~]{1,64}")


def spend_nonce(tx: Transaction, access_key_id: str, nonce: str, *, now: datetime, keep: timedelta) -> bool:
    """Return True exactly once for a key and a nonce, at least until `now + keep`.

    Call it only after the signature was verified, so that no outsider can spend a nonce of somebody else.
    """
    return _store.nonces.add(tx, access_key_id, _short(nonce), now + keep)


def spend_nonce_of(tx: Transaction, key: SealedKey, nonce: str, *, now: datetime, keep: timedelta) -> bool:
    """The same for a key that was read before, in one statement with the question whether it is as it was.

    Raises:
        KeyChanged: it is not; then nothing is written.
    """
    if _store.nonces.add_of_key(tx, key, _short(nonce), now + keep):
        return True
    check_key(tx, key)
    return False


def purge_nonces(tx: Transaction, now: datetime) -> int:
    """Delete expired nonces, at most PURGED_AT_ONCE, and return how many. Any number of replicas may call it."""
    return _store.nonces.drop_expired(tx, now, PURGED_AT_ONCE)


def _short(nonce: str) -> str:
    """Return what is stored of a nonce. A long or odd one is hashed; the hash is longer than any that is not hashed."""
    if _STORED_AS_IS.fullmatch(nonce):
        return nonce
    return f"sha256:{hashlib.sha256(nonce.encode(errors='surrogatepass')).hexdigest()}"
