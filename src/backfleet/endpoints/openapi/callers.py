"""Authentication of callers: steps 6 to 8 of the pipeline, against the keys and sessions in the database. Blocks."""

from datetime import datetime, timedelta

from backfleet import identity
from backfleet.endpoints.openapi.authentication import SignedRequest
from backfleet.failpoints import failpoint
from backfleet.operations.catalogue import Services
from backfleet.values import value_object
from backfleet.wire.errors import (
    ApiError,
    DatedBeforeRestore,
    KeyInactive,
    KeyNotFound,
    TokenExpired,
    TokenMalformed,
    TokenOfAnotherKey,
)


@value_object
class Signer:
    """Who signed a request, and with which key: what was read of it must still hold when the nonce is spent."""

    caller: identity.Caller
    key: identity.SealedKey | None = None  # None: nothing was read before


def authenticate(services: Services, known: identity.KeyCache, signed: SignedRequest, now: datetime) -> Signer:
    """Return whose key or session signed the request.

    Args:
        services: where keys are.
        known: the keys that requests were signed with lately.
        signed: what the request states.
        now: the time.

    Raises:
        ApiError: no such key or session, one that is not valid now, a time outside the window, or another signature.
    """
    restored = services.hold
    if restored is not None and restored.restore is not None and restored.covers(signed.moment):
        raise DatedBeforeRestore(restored.restore.restored_at)  # the copy does not know its nonce
    window = timedelta(seconds=services.settings.time_window_seconds)
    if signed.security_token:
        return Signer(_authenticate_session(services, signed, now, window))
    found = known.get(signed.access_key_id)
    if found is not None and _is_good(known.secret_of(found), signed, now, window):
        failpoint("signature held")
        return Signer(found.key.caller, found.key)
    with services.database.reading() as tx:
        key = identity.find_key(tx, services.vault, signed.access_key_id)
        sealed = identity.find_sealed_key(tx, signed.access_key_id) if key is not None else None
    if key is None:
        raise KeyNotFound
    if not key.active:
        raise KeyInactive
    signed.check_time(now, window)
    signed.check_signature(key.secret)
    if sealed is not None:
        known.put(sealed, services.vault.unseal(sealed.sealed_secret))
    failpoint("signature held")
    return Signer(key.caller)


def _is_good(secret: str, signed: SignedRequest, now: datetime, window: timedelta) -> bool:
    """Return whether time and signature hold. If they do not, the key is read anew, and what that says is answered."""
    try:
        signed.check_time(now, window)
        signed.check_signature(secret)
    except ApiError:
        return False
    return True


def _authenticate_session(
    services: Services, signed: SignedRequest, now: datetime, window: timedelta
) -> identity.Caller:
    """Return the caller of a session.

    Opening the token needs no database; whether the session still exists is read only after the signature was checked.
    """
    try:
        token = identity.open_token(services.vault, signed.security_token)
    except identity.TokenNotOurs:
        raise TokenMalformed from None
    if token.access_key_id != signed.access_key_id:
        raise TokenOfAnotherKey
    if token.is_over(now):
        raise TokenExpired
    signed.check_time(now, window)
    signed.check_signature(token.secret)
    with services.database.reading() as tx:
        caller = identity.session_caller(tx, token, now=now)
    if caller is None:
        raise TokenExpired
    return caller
