"""The host's RSA key: made once, signs every request (protocol page, section 2)."""

from __future__ import annotations

import base64
import functools
import hashlib
import secrets
from typing import List

import rsa

BITS = 2048
_MD5_DIGEST_INFO = bytes.fromhex("3020300c06082a864886f70d020505000410")  # RFC 8017, 9.2, note 1
_RSA_ENCRYPTION = bytes.fromhex("300d06092a864886f70d0101010500")  # RFC 3279, 2.3.1
_SPAN = 4096  # odd numbers sieved at a time: about 12 primes of 1,024 bits lie among them


class WrongResult(ArithmeticError):
    """A signature that does not verify: faulty memory or processor. It must not leave the host (it betrays the key)."""


def make_key(bits: int = BITS) -> rsa.PrivateKey:
    """A fresh key, in about half a second."""
    # The library's own search tests every odd number in full and takes 3 to 7 seconds.
    p, q, e, d = rsa.key.gen_keys(bits, _prime)
    return rsa.PrivateKey(p * q, e, d, p, q)


def private_pem(key: rsa.PrivateKey) -> bytes:
    """PKCS#1, as the official agent keeps it."""
    return bytes(key.save_pkcs1("PEM"))


def read_private_pem(content: bytes) -> rsa.PrivateKey:
    """The key in this PEM text.

    Raises:
        ValueError: there is none.
    """
    from pyasn1.error import PyAsn1Error

    try:
        return rsa.PrivateKey.load_pkcs1(content, "PEM")
    except (PyAsn1Error, TypeError, LookupError, ArithmeticError) as problem:
        raise ValueError(str(problem)[:200]) from None


def public_pem(key: rsa.PrivateKey) -> bytes:
    """The public half as PKIX PEM text (SubjectPublicKeyInfo, RFC 5280)."""
    pkcs1 = rsa.PublicKey(key.n, key.e).save_pkcs1("DER")
    document = base64.b64encode(_der(0x30, _RSA_ENCRYPTION + _der(0x03, b"\0" + pkcs1))).decode()
    lines = [document[at : at + 64] for at in range(0, len(document), 64)]
    return "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""]).encode()


def sign(key: rsa.PrivateKey, message: bytes) -> str:
    """RSASSA-PKCS1-v1_5 with MD5, base64: what the protocol asks for.

    Raises:
        WrongResult: the machine computed it wrongly.
    """
    # usedforsecurity=False: hosts in FIPS mode refuse MD5 otherwise, and the wire leaves no choice.
    digest = _MD5_DIGEST_INFO + hashlib.md5(message, usedforsecurity=False).digest()
    length = (key.n.bit_length() + 7) // 8
    padded = int.from_bytes(b"\0\1" + b"\xff" * (length - len(digest) - 3) + b"\0" + digest, "big")
    # blinded_decrypt is the private operation by way of the two primes: 3 times as fast as rsa.sign.
    signature = key.blinded_decrypt(padded)
    if pow(signature, key.e, key.n) != padded:
        raise WrongResult("a signature does not verify; is the memory of this machine sound?")
    return base64.b64encode(signature.to_bytes(length, "big")).decode()


def _prime(bits: int) -> int:
    """A random prime of exactly this many bits, its two highest bits set."""
    while True:
        first = secrets.randbits(bits) | (3 << (bits - 2)) | 1
        for candidate in _sieved(first):
            # The cheap test first: it weeds out all but the primes, which the library then tests in earnest.
            if (
                candidate.bit_length() == bits
                and pow(2, candidate - 1, candidate) == 1
                and rsa.prime.is_prime(candidate)
            ):
                return candidate


def _sieved(first: int) -> List[int]:
    """Of `_SPAN` odd numbers from `first` on, those without a small divisor."""
    composite = bytearray(_SPAN)
    for prime in _odd_primes_below(8192):
        start = -first * pow(2, -1, prime) % prime  # first + 2 * start is a multiple
        composite[start::prime] = b"\1" * len(range(start, _SPAN, prime))
    return [first + 2 * at for at in range(_SPAN) if not composite[at]]


@functools.lru_cache(maxsize=1)
def _odd_primes_below(limit: int) -> List[int]:
    prime = bytearray([1]) * limit
    for number in range(3, int(limit**0.5) + 1, 2):
        prime[number * number :: number] = bytes(len(range(number * number, limit, number)))
    return [number for number in range(3, limit, 2) if prime[number]]


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + content
