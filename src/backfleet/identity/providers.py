"""Identity providers: who else may say who somebody is, by signed tokens (OpenID Connect).

The keys a provider signs with are registered with it; nothing is fetched from anywhere.
"""

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt
import sqlalchemy as sa

from backfleet.identity import _store
from backfleet.identity.errors import AlreadyExists, LimitReached, NotFound
from backfleet.identity.users import digits
from backfleet.ids import Draw
from backfleet.storage import Transaction

PROVIDERS_PER_ACCOUNT: Final = 100
KEYS_PER_PROVIDER: Final = 10
CLIENT_IDS: Final = 50
SMALLEST_RSA: Final = 2048  # bits
LONGEST_KEYS: Final = 16_384  # characters of the registered key set
LONGEST_TOKEN: Final = 20_000  # characters
LEEWAY: Final = timedelta(seconds=60)  # between the provider's clock and ours
OLDEST: Final = timedelta(hours=12)  # since a token was issued: what leaked long ago opens nothing
ALGORITHMS: Final = {"RSA": "RS256", "EC": "ES256"}
"""A key's kind decides how signatures are checked; what a token says of its own algorithm never does."""


class BadKeys(ValueError):
    """The key set is not one we can verify with; the text says why."""


class BadToken(Exception):
    """The token proves nothing; `fault` is Malformed, Expired, Issuer, Audience or Signature."""

    def __init__(self, fault: str, why: str) -> None:
        super().__init__(why)
        self.fault, self.why = fault, why


@dataclass(frozen=True, slots=True)
class Provider:
    """An identity provider of an account."""

    id: str
    account_id: str
    name: str
    issuer: str
    client_ids: tuple[str, ...]
    keys: str  # a JSON Web Key Set
    description: str
    created_at: datetime
    updated_at: datetime

    @property
    def arn(self) -> str:
        """How trust policies name it."""
        return f"acs:ram::{self.account_id}:oidc-provider/{self.name}"


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What a provider's token says, verified."""

    subject: str
    issuer: str
    audiences: tuple[str, ...]
    issued: datetime
    expires: datetime


def create_provider(
    tx: Transaction,
    account_id: str,
    name: str,
    *,
    issuer: str,
    client_ids: tuple[str, ...],
    keys: str,
    description: str = "",
    now: datetime,
    draw: Draw,
) -> Provider:
    """A new identity provider. No role trusts it yet.

    Raises:
        BadKeys: the key set cannot be used.
        AlreadyExists: the name is taken.
        LimitReached: the account has PROVIDERS_PER_ACCOUNT, or there are too many client ids.
    """
    read_keys(keys)
    _check_client_ids(client_ids)
    _store.lock_account(tx, account_id)
    if _store.provider(tx, account_id, name) is not None:
        raise AlreadyExists("OIDCProvider", name)
    if _store.count_providers(tx, account_id) >= PROVIDERS_PER_ACCOUNT:
        raise LimitReached("OIDCProvider", PROVIDERS_PER_ACCOUNT)
    made = Provider("5" + digits(draw, 17), account_id, name, issuer, client_ids, keys, description, now, now)
    row = {"id": made.id, "account_id": account_id, "name": name, "issuer": issuer, "keys": keys}
    rest = {"client_ids": json.dumps(client_ids), "description": description, "created_at": now, "updated_at": now}
    _store.add_provider(tx, **row, **rest)
    return made


def find_provider(tx: Transaction, account_id: str, name: str) -> Provider:
    """A provider by name.

    Raises:
        NotFound: the account has none of that name.
    """
    row = _store.provider(tx, account_id, name)
    if row is None:
        raise NotFound("OIDCProvider", name)
    return _from_row(row)


def list_providers(tx: Transaction, account_id: str) -> list[Provider]:
    """Every provider of the account, by name."""
    return [_from_row(row) for row in _store.providers_of(tx, account_id)]


def update_provider(
    tx: Transaction,
    account_id: str,
    name: str,
    *,
    client_ids: tuple[str, ...] | None = None,
    keys: str | None = None,
    description: str | None = None,
    now: datetime,
) -> Provider:
    """Change client ids, keys or description; None leaves one as it is. The issuer stays what roles trust.

    Raises:
        NotFound: no such provider.
        BadKeys: the key set cannot be used.
        LimitReached: too many client ids.
    """
    found = find_provider(tx, account_id, name)
    changes: dict[str, Any] = {"updated_at": now}
    if keys is not None:
        read_keys(keys)
        changes["keys"] = keys
    if client_ids is not None:
        _check_client_ids(client_ids)
        changes["client_ids"] = json.dumps(client_ids)
    if description is not None:
        changes["description"] = description
    _store.change_provider(tx, found.id, **changes)
    return find_provider(tx, account_id, name)


def delete_provider(tx: Transaction, account_id: str, name: str) -> None:
    """Delete a provider. Sessions that began with its tokens end.

    Raises:
        NotFound: no such provider.
    """
    _store.drop_provider(tx, find_provider(tx, account_id, name).id)


# --- Tokens: pure ---------------------------------------------------------------------------------------------------


def verify_token(provider: Provider, token: str, now: datetime) -> VerifiedToken:
    """What a token (JWT, RS256 or ES256) of this provider says, if it may be believed. Pure.

    Raises:
        BadToken: it may not; which of the checks failed.
    """
    if len(token) > LONGEST_TOKEN or not token.isascii():
        raise BadToken("Malformed", "it is not a JSON Web Token")
    try:
        name = jwt.get_unverified_header(token).get("kid")
    except jwt.InvalidTokenError:
        raise BadToken("Malformed", "it is not a JSON Web Token that we read") from None
    for key in read_keys(provider.keys):
        if name is None or key.key_id in (None, name):
            with suppress(jwt.InvalidTokenError):
                return _believed(provider, _claims(jwt.PyJWS().decode(token, key)), now)
    raise BadToken("Signature", "no registered key made its signature")


def _believed(provider: Provider, claims: dict[str, Any], now: datetime) -> VerifiedToken:
    issuer, subject, audience = claims.get("iss"), claims.get("sub"), claims.get("aud")
    audiences = tuple(audience) if isinstance(audience, list) else (audience,)
    if issuer != provider.issuer:
        raise BadToken("Issuer", "its issuer is not the provider's")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        raise BadToken("Malformed", "it has no subject")
    # Each: a token that is made for somebody else too could have been handed on by them.
    if not audiences or not all(one in provider.client_ids for one in audiences):
        raise BadToken("Audience", "it was made for others than the provider's client ids")
    issued, expires = _moment(claims, "iat"), _moment(claims, "exp")
    not_before = _moment(claims, "nbf") if "nbf" in claims else issued
    if now >= expires + LEEWAY or now - issued > OLDEST:
        raise BadToken("Expired", "its time is over")
    if max(issued, not_before) > now + LEEWAY:
        raise BadToken("Expired", "its time has not come")
    return VerifiedToken(subject, provider.issuer, audiences, issued, expires)


def read_keys(keys: str) -> list[jwt.PyJWK]:
    """The public keys of a JSON Web Key Set.

    Raises:
        BadKeys: something in it is not an RSA key of 2048 bits or more, or an EC key on P-256.
    """
    if len(keys) > LONGEST_KEYS:
        raise BadKeys(f"the key set has {len(keys)} characters; at most {LONGEST_KEYS} are taken")
    try:
        found = json.loads(keys)
    except (ValueError, RecursionError):
        raise BadKeys("the key set is not JSON") from None
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list) or not 0 < len(listed) <= KEYS_PER_PROVIDER:
        raise BadKeys(f'it must be {{"keys": [...]}} with 1 to {KEYS_PER_PROVIDER} keys')
    return [_key(key) for key in listed]


def _key(found: Any) -> jwt.PyJWK:
    if not isinstance(found, dict) or "d" in found:
        raise BadKeys("a key must be an object, and public")
    kind = str(found.get("kty"))
    if kind not in ALGORITHMS or found.get("crv", "P-256") != "P-256":
        raise BadKeys("a key must be of kty RSA, or EC on P-256")
    try:
        key = jwt.PyJWK(found, ALGORITHMS[kind])
    except jwt.PyJWTError:
        raise BadKeys("the numbers of a key are not a key") from None
    if kind == "RSA" and key.key.key_size < SMALLEST_RSA:
        raise BadKeys(f"an RSA key has {key.key.key_size} bits; {SMALLEST_RSA} are needed")
    return key


def _claims(payload: bytes) -> dict[str, Any]:
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadToken("Malformed", "what it holds is not a JSON object")
    return found


def _moment(claims: dict[str, Any], name: str) -> datetime:
    found = claims.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found < 1e11:
        raise BadToken("Malformed", f"its {name} is no moment")
    return datetime.fromtimestamp(found, UTC)


def _check_client_ids(client_ids: tuple[str, ...]) -> None:
    if not 0 < len(client_ids) <= CLIENT_IDS:
        raise LimitReached("OIDCProvider.ClientId", CLIENT_IDS)


def _from_row(row: sa.Row[Any]) -> Provider:
    facts = (row.id, row.account_id, row.name, row.issuer, tuple(json.loads(row.client_ids)), row.keys)
    return Provider(*facts, row.description, row.created_at, row.updated_at)
