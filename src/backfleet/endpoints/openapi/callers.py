"""Authentication of callers: steps 6 to 8 of the pipeline, against the keys and sessions in the database. Blocks."""

from datetime import datetime, timedelta

from backfleet import identity
from backfleet.endpoints.openapi.authentication import SignedRequest
from backfleet.failpoints import failpoint
from backfleet.operations.catalogue import Services
from backfleet.wire.errors import (
    DatedBeforeRestore,
    KeyInactive,
    KeyNotFound,
    TokenExpired,
    TokenMalformed,
    TokenOfAnotherKey,
)


def authenticate(services: Services, signed: SignedRequest, now: datetime) -> identity.Caller:
    """Return the caller whose key or session signed the request.

    Raises:
        ApiError: no such key or session, one that is not valid now, a time outside the window, or another signature.
    """
    restored = services.hold
    if restored is not None and restored.restore is not None and restored.covers(signed.moment):
        raise DatedBeforeRestore(restored.restore.restored_at)  # the copy does not know its nonce
    window = timedelta(seconds=services.settings.time_window_seconds)
    if signed.security_token:
        return _authenticate_session(services, signed, now, window)
    with services.database.reading() as tx:
        key = identity.find_key(tx, services.vault, signed.access_key_id)
    if key is None:
        raise KeyNotFound
    if not key.active:
        raise KeyInactive
    signed.check_time(now, window)
    signed.check_signature(key.secret)
    failpoint("signature held")
    return key.caller


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
