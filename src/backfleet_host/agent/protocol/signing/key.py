"""An RSA private key as numbers and as PEM text, and the check of a signature.

The file form is PKCS#1 ("RSA PRIVATE KEY", RFC 8017, appendix A.1.2), as the official agent keeps its key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from backfleet_host.agent.protocol.signing import der

BITS = 2048
PUBLIC_EXPONENT = 65537

_RSA_ENCRYPTION = bytes.fromhex("300d06092a864886f70d0101010500")  # AlgorithmIdentifier; RFC 3279, section 2.3.1
_MD5_DIGEST_INFO = bytes.fromhex("3020300c06082a864886f70d020505000410")  # RFC 8017, section 9.2, note 1
_PEM = re.compile(r"-----BEGIN ((?:RSA )?PRIVATE KEY)-----\s+([A-Za-z0-9+/=\s]+)-----END \1-----")


class Unavailable(Exception):
    """An implementation of signing does not work on this host; the text says why."""


class WrongSignature(ArithmeticError):
    """A signature that does not verify. It must not leave the host: it may betray the key."""


@dataclass(frozen=True)
class SigningKey:
    """The numbers of an RSA private key, named as in RFC 8017. Prints without them."""

    n: int
    e: int
    d: int
    p: int
    q: int

    def __repr__(self) -> str:
        return f"SigningKey({self.n.bit_length()} bits)"

    @property
    def size(self) -> int:
        """The length of a signature in bytes."""
        return (self.n.bit_length() + 7) // 8


def read_private_pem(content: bytes) -> SigningKey:
    """Return the key in this PEM text, PKCS#1 or (as newer `openssl` writes it) PKCS#8.

    Raises:
        ValueError: there is none, or its numbers do not belong together.
    """
    found = _PEM.search(content.decode("ascii", "replace"))
    if found is None:
        raise ValueError("the file holds no PEM text of an RSA private key")
    try:
        document = base64.b64decode("".join(found[2].split()), validate=True)
    except binascii.Error as problem:
        raise ValueError(f"the key is not base64: {problem}") from None
    return _read_pkcs1(document if found[1].startswith("RSA") else _in_pkcs8(document))


def _in_pkcs8(document: bytes) -> bytes:
    """Return the PKCS#1 document in a PKCS#8 one (RFC 5208, section 5)."""
    elements = der.read_sequence(document)
    if len(elements) < 3 or der.element(*elements[1]) != _RSA_ENCRYPTION or elements[2][0] != der.OCTET_STRING:
        raise ValueError("the key is not an RSA key")
    return elements[2][1]


def _read_pkcs1(document: bytes) -> SigningKey:
    elements = der.read_sequence(document)
    if len(elements) != 9 or any(tag != der.INTEGER for tag, _ in elements):
        raise ValueError("the key is not an RSA key of two primes")
    version, n, e, d, p, q, dp, dq, coefficient = (int.from_bytes(content, "big") for _, content in elements)
    is_sound = (
        version == 0
        and p > 2 < q
        and n == p * q
        and e * d % (p - 1) == 1 == e * d % (q - 1)
        and (dp, dq) == (d % (p - 1), d % (q - 1))
        and coefficient * q % p == 1
    )
    if not is_sound:
        raise ValueError("the numbers of the key do not belong together: the file is damaged")
    return SigningKey(n, e, d, p, q)


def private_pem(key: SigningKey) -> bytes:
    """Return the key as PKCS#1 PEM text."""
    numbers = (0, key.n, key.e, key.d, key.p, key.q, key.d % (key.p - 1), key.d % (key.q - 1), pow(key.q, -1, key.p))
    return _pem("RSA PRIVATE KEY", der.integers(*numbers))


def public_pem(key: SigningKey) -> bytes:
    """Return the public half as PEM text (SubjectPublicKeyInfo, RFC 5280, section 4.1)."""
    bits = der.element(der.BIT_STRING, b"\0" + der.integers(key.n, key.e))
    return _pem("PUBLIC KEY", der.element(der.SEQUENCE, _RSA_ENCRYPTION + bits))


def _pem(label: str, document: bytes) -> bytes:
    text = base64.b64encode(document).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()


def digest_info(message: bytes) -> bytes:
    """Return the DigestInfo of the message's MD5, which is what gets padded and signed.

    Source: RFC 8017, section 9.2.
    """
    # usedforsecurity=False: hosts in FIPS mode refuse MD5 otherwise, and the wire leaves no choice.
    return _MD5_DIGEST_INFO + hashlib.md5(message, usedforsecurity=False).digest()


def padded_digest(message: bytes, size: int) -> int:
    """Return the number that a signature of `size` bytes must give back (EMSA-PKCS1-v1_5, RFC 8017, section 9.2)."""
    digest = digest_info(message)
    return int.from_bytes(b"\0\1" + b"\xff" * (size - len(digest) - 3) + b"\0" + digest, "big")


def check(key: SigningKey, message: bytes, signature: bytes) -> None:
    """Verify a signature with the public half of the key.

    Raises:
        WrongSignature: it does not verify.
    """
    given_back = pow(int.from_bytes(signature, "big"), key.e, key.n)
    if len(signature) != key.size or given_back != padded_digest(message, key.size):
        raise WrongSignature("a signature does not verify with the host's own key; is this machine's memory sound?")
