"""ID tokens of identity providers, and the keys that verify them. Pure.

Source: OpenID Connect Core, ID Token validation; RFC 7517, JSON Web Key.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt

from backfleet.identity.model import Provider
from backfleet.values import value_object

KEYS_PER_PROVIDER: Final = 10
SMALLEST_RSA: Final = 2048  # bits
LONGEST_KEYS: Final = 16_384  # characters of the registered key set
LONGEST_TOKEN: Final = 20_000  # characters
LEEWAY: Final = timedelta(seconds=60)  # allowed between the provider's clock and ours
OLDEST: Final = timedelta(hours=12)  # since a token was issued: one that leaked long ago is refused
ALGORITHMS: Final = {"RSA": "RS256", "EC": "ES256"}
"""The signature algorithm of each kind of key. The algorithm that a token names is never used."""


class BadKeys(ValueError):
    """The key set cannot be used to verify tokens. The message says why."""


class BadToken(Exception):
    """The token is refused. `fault` is Malformed, Expired, Issuer, Audience or Signature."""

    def __init__(self, fault: str, why: str) -> None:
        super().__init__(why)
        self.fault, self.why = fault, why


@value_object
class VerifiedToken:
    """The claims of a token that was verified."""

    subject: str
    issuer: str
    audiences: tuple[str, ...]
    issued: datetime
    expires: datetime
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)  # all of them


def verify_token(provider: Provider, token: str, now: datetime) -> VerifiedToken:
    """Verify a token of a provider and return its claims.

    Args:
        provider: the provider that should have signed it.
        token: a JSON Web Token, signed with RS256 or ES256.
        now: the time of the call.

    Raises:
        BadToken: a check failed; `fault` says which.
    """
    if len(token) > LONGEST_TOKEN or not token.isascii():
        raise BadToken("Malformed", "it is not a JSON Web Token")
    try:
        name = jwt.get_unverified_header(token).get("kid")
    except jwt.InvalidTokenError:
        raise BadToken("Malformed", "it is not a JSON Web Token that we can read") from None
    for key in read_keys(provider.keys):
        if name is None or key.key_id in (None, name):
            with suppress(jwt.InvalidTokenError):
                return _check_claims(provider, _claims(jwt.PyJWS().decode(token, key)), now)
    raise BadToken("Signature", "no registered key made its signature")


def _check_claims(provider: Provider, claims: dict[str, Any], now: datetime) -> VerifiedToken:
    issuer, subject, audience = claims.get("iss"), claims.get("sub"), claims.get("aud")
    audiences = tuple(audience) if isinstance(audience, list) else (audience,)
    if issuer != provider.issuer:
        raise BadToken("Issuer", "its issuer is not the provider's")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        raise BadToken("Malformed", "it has no subject")
    # OpenID Connect Core 1.0, section 3.1.3.7: one audience must be ours, and of several the authorized party, too.
    ours = tuple(one for one in audiences if one in provider.client_ids)
    if not ours:
        raise BadToken("Audience", "it was made for others than the provider's client ids")
    if len(audiences) > 1 and claims.get("azp", ours[0]) not in provider.client_ids:
        raise BadToken("Audience", "it was issued to another client (azp) than the provider's client ids")
    issued, expires = _moment(claims, "iat"), _moment(claims, "exp")
    not_before = _moment(claims, "nbf") if "nbf" in claims else issued
    if now >= expires + LEEWAY or now - issued > OLDEST:
        raise BadToken("Expired", "it has expired")
    if max(issued, not_before) > now + LEEWAY:
        raise BadToken("Expired", "it is not valid yet")
    return VerifiedToken(subject, provider.issuer, ours, issued, expires, claims)


def read_keys(keys: str) -> list[jwt.PyJWK]:
    """Return the public keys of a JSON Web Key Set.

    Raises:
        BadKeys: an entry is neither an RSA key of SMALLEST_RSA bits or more nor an EC key on P-256.
    """
    if len(keys) > LONGEST_KEYS:
        raise BadKeys(f"the key set has {len(keys)} characters; at most {LONGEST_KEYS} are allowed")
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
        raise BadKeys("a key must be an object, and a public key")
    kind = str(found.get("kty"))
    if kind not in ALGORITHMS or found.get("crv", "P-256") != "P-256":
        raise BadKeys("a key must be of kty RSA, or EC on P-256")
    try:
        key = jwt.PyJWK(found, ALGORITHMS[kind])
    except jwt.PyJWTError:
        raise BadKeys("the numbers of a key do not form a key") from None
    if kind == "RSA" and key.key.key_size < SMALLEST_RSA:
        raise BadKeys(f"an RSA key has {key.key.key_size} bits; at least {SMALLEST_RSA} are needed")
    return key


def _claims(payload: bytes) -> dict[str, Any]:
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadToken("Malformed", "its content is not a JSON object")
    return found


def _moment(claims: dict[str, Any], name: str) -> datetime:
    found = claims.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found < 1e11:
        raise BadToken("Malformed", f"its {name} is not a time")
    return datetime.fromtimestamp(found, UTC)
