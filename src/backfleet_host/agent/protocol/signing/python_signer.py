"""RSA keys and signatures in Python alone: for a host that has neither `cryptography` nor `openssl`.

Slower than the other two, and Python's arithmetic takes a time that depends on its numbers. Blinding keeps that time
from telling an observer about the key.
"""

from __future__ import annotations

import functools
import math
import secrets

from backfleet_host.agent.protocol.signing.key import BITS, PUBLIC_EXPONENT, SigningKey, padded_digest

ROUNDS = 16  # of Miller-Rabin: more than FIPS 186-5, appendix B.3 asks for
_SMALL_PRIMES = 2000  # candidates with a divisor below this are dropped before the costly test


def make_key(bits: int = BITS) -> SigningKey:
    """Return a fresh key of exactly `bits` bits. Source: FIPS 186-5, appendix A.1.3."""
    while True:
        p, q = _prime(bits // 2), _prime(bits // 2)
        if abs(p - q) >> (bits // 2 - 100):  # primes that are close to each other are easily found
            d = pow(PUBLIC_EXPONENT, -1, math.lcm(p - 1, q - 1))
            return SigningKey(p * q, PUBLIC_EXPONENT, d, max(p, q), min(p, q))


def _prime(bits: int) -> int:
    """Return a random prime of exactly `bits` bits, its two highest set, that goes with the public exponent."""
    while True:
        candidate = secrets.randbits(bits) | (3 << (bits - 2)) | 1
        if _is_worth_a_test(candidate) and is_probable_prime(candidate):
            return candidate


def _is_worth_a_test(candidate: int) -> bool:
    return math.gcd(candidate, _small_primes_product()) == 1 and candidate % PUBLIC_EXPONENT != 1


@functools.lru_cache(maxsize=1)
def _small_primes_product() -> int:
    odd = range(3, _SMALL_PRIMES, 2)
    return math.prod(number for number in odd if all(number % below for below in range(3, math.isqrt(number) + 1, 2)))


def is_probable_prime(number: int, rounds: int = ROUNDS) -> bool:
    """Tell whether an odd number above 3 passes Miller-Rabin for random bases. Source: FIPS 186-5, appendix B.3.1."""
    twos = ((number - 1) & -(number - 1)).bit_length() - 1
    return all(_passes(number, secrets.randbelow(number - 3) + 2, twos) for _ in range(rounds))


def _passes(number: int, base: int, twos: int) -> bool:
    power = pow(base, (number - 1) >> twos, number)
    if power in (1, number - 1):
        return True
    for _ in range(twos - 1):
        power = power * power % number
        if power == number - 1:
            return True
    return False


class PythonSigner:
    """Signs with one key."""

    def __init__(self, key: SigningKey) -> None:
        self._key = key
        self._dp, self._dq = key.d % (key.p - 1), key.d % (key.q - 1)
        self._coefficient = pow(key.q, -1, key.p)

    def sign(self, message: bytes) -> bytes:
        """Return the signature. Source: RFC 8017, section 5.1.2 (by way of the two primes)."""
        key = self._key
        blind = self._unit()
        blinded = padded_digest(message, key.size) * pow(blind, key.e, key.n) % key.n
        by_p, by_q = pow(blinded, self._dp, key.p), pow(blinded, self._dq, key.q)
        power = by_q + key.q * ((by_p - by_q) * self._coefficient % key.p)
        return (power * pow(blind, -1, key.n) % key.n).to_bytes(key.size, "big")

    def _unit(self) -> int:
        """Return a random number that has an inverse modulo n: nearly every one has."""
        while math.gcd(number := secrets.randbelow(self._key.n - 2) + 2, self._key.n) != 1:
            pass
        return number
