"""Sessions: begun with a key, found by what the browser shows, over with the key."""

import hashlib
import hmac
from datetime import datetime, timedelta
from typing import Final

from backfleet import identity
from backfleet.ids import Draw
from backfleet.logins import _store
from backfleet.logins.model import Credential, Lifetime, Session
from backfleet.storage import Transaction

SECRET_LENGTH: Final = 40  # characters of [a-z0-9]: 206 bits
SESSIONS_EACH: Final = 20  # of a key; the oldest one ends when another begins
NOTED_EVERY: Final = timedelta(minutes=1)  # how exactly it is known when a session was last used


def check_secret(tx: Transaction, vault: identity.Vault, access_key_id: str, secret: str) -> identity.Caller | None:
    """Return the caller behind an active key if the secret is the key's; None otherwise, without saying why.

    The comparison takes the same time for a key that does not exist.
    """
    key = identity.find_key(tx, vault, access_key_id.strip())
    known = "" if key is None else key.secret
    same = hmac.compare_digest(hash_of(known), hash_of(secret.strip()))
    return key.caller if key is not None and key.active and same and known else None


def begin(tx: Transaction, credential: Credential, lifetime: Lifetime, *, now: datetime, draw: Draw) -> str:
    """Begin a session and return what its browser shows from now on. Only the hash of that is stored."""
    secret = draw(SECRET_LENGTH)
    _store.add(
        tx,
        {
            "id_hash": hash_of(secret),
            "access_key_id": credential.access_key_id,
            "security_token": credential.security_token,
            "began_at": now,
            "used_at": now,
            "ends_at": now + lifetime.longest,
        },
    )
    if credential.access_key_id:
        _store.drop_oldest(tx, credential.access_key_id, SESSIONS_EACH)
    return secret


def find(
    tx: Transaction, vault: identity.Vault, secret: str, lifetime: Lifetime, *, now: datetime, uses: bool
) -> Session | None:
    """Return the session that a browser shows, with its caller as they are now; None if there is none, or it is over.

    It is over when its time is, or when its key is inactive or deleted, or its token is over.

    Args:
        uses: Whether its person asked for something; what a page fetches by itself does not keep a session alive.
    """
    if len(secret) != SECRET_LENGTH:
        return None
    row = _store.by_hash(tx, hash_of(secret))
    if row is None or now >= row.ends_at or now >= row.used_at + lifetime.idle:
        return None
    credential = Credential(row.access_key_id, row.security_token)
    caller = _caller(tx, vault, credential, now)
    if caller is None:
        return None
    used_at = row.used_at
    if uses and now - used_at >= NOTED_EVERY:
        _store.set_used(tx, row.id_hash, now)
        used_at = now
    return Session(caller, credential, row.began_at, used_at, row.ends_at)


def end(tx: Transaction, secret: str) -> bool:
    """End a session. Return False if there was none."""
    return _store.drop(tx, hash_of(secret))


def purge(tx: Transaction, *, now: datetime, idle: timedelta) -> None:
    """Delete sessions and codes that are over."""
    _store.drop_expired(tx, now, now - idle)


def hash_of(secret: str) -> str:
    """Return what is stored of a secret. It has too many bits to be found from that."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _caller(tx: Transaction, vault: identity.Vault, credential: Credential, now: datetime) -> identity.Caller | None:
    if not credential.security_token:
        return identity.owner_of_active_key(tx, credential.access_key_id)
    try:
        token = identity.open_token(vault, credential.security_token)
    except identity.TokenNotOurs:
        return None
    return identity.session_caller(tx, token, now=now)


def end_all(tx: Transaction) -> None:
    """End every session, and take back every code: some of them ended after the copy was made that has them."""
    _store.drop_all(tx)
