"""Keys of an identity provider, and tokens signed with them."""

import base64
import json
from datetime import UTC, datetime
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
AT = int(NOW.timestamp())
ISSUER = "https://tokens.example.com"
CLAIMS = {"iss": ISSUER, "sub": "repo:fleet/deploy", "aud": "backfleet", "iat": AT - 60, "exp": AT + 600}


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def head_of(algorithm: str) -> str:
    return base64url(json.dumps({"alg": algorithm}).encode())


def number(value: int) -> str:
    return base64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))


@cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def public(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, kid: str | None = None) -> dict[str, Any]:
    """Return a key as key sets have it, built by hand: the code that reads it must not also write it."""
    named = {} if kid is None else {"kid": kid}
    if isinstance(key, rsa.RSAPrivateKey):
        parts = key.public_key().public_numbers()
        return {"kty": "RSA", "n": number(parts.n), "e": number(parts.e), **named}
    point = key.public_key().public_numbers()
    x, y = point.x.to_bytes(32, "big"), point.y.to_bytes(32, "big")
    return {"kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y), **named}


def token(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, claims: Any = CLAIMS, **header: Any) -> str:
    is_rsa = isinstance(key, rsa.RSAPrivateKey)
    head = {"typ": "JWT", "alg": "RS256" if is_rsa else "ES256", **header}
    signed = f"{base64url(json.dumps(head).encode())}.{base64url(json.dumps(claims).encode())}"
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    else:
        r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return f"{signed}.{base64url(signature)}"
