"""RSA keys and signatures by the package `cryptography`, on hosts that have it. The host program does not bring it."""

from __future__ import annotations

import contextlib
from typing import Iterator

from backfleet_host.agent.protocol.signing.key import (
    BITS,
    PUBLIC_EXPONENT,
    SigningKey,
    Unavailable,
    private_pem,
    read_private_pem,
)


def make_key(bits: int = BITS) -> SigningKey:
    """Return a fresh key.

    Raises:
        Unavailable: this host has no `cryptography` that works.
    """
    with _failures_named():
        from cryptography.hazmat.primitives import serialization as forms
        from cryptography.hazmat.primitives.asymmetric import rsa

        made = rsa.generate_private_key(PUBLIC_EXPONENT, bits)
        form = forms.PrivateFormat.TraditionalOpenSSL  # PKCS#1
        return read_private_pem(made.private_bytes(forms.Encoding.PEM, form, forms.NoEncryption()))


class CryptographySigner:
    """Signs with one key.

    Raises:
        Unavailable: this host has no `cryptography` that works, or it refuses the key.
    """

    def __init__(self, key: SigningKey) -> None:
        with _failures_named():
            from cryptography.hazmat.primitives import hashes
            from cryptography.hazmat.primitives.asymmetric import padding, rsa
            from cryptography.hazmat.primitives.serialization import load_pem_private_key

            loaded = load_pem_private_key(private_pem(key), password=None)
            if not isinstance(loaded, rsa.RSAPrivateKey):
                raise Unavailable("cryptography does not take the key for an RSA key")
            self._key, self._padding, self._hash = loaded, padding.PKCS1v15(), hashes.MD5()  # noqa: S303 - the wire's

    def sign(self, message: bytes) -> bytes:
        """Return the signature.

        Raises:
            Unavailable: the package refuses, as in FIPS mode, where it has no MD5.
        """
        with _failures_named():
            return self._key.sign(message, self._padding, self._hash)


@contextlib.contextmanager
def _failures_named() -> Iterator[None]:
    try:
        yield
    except (Unavailable, KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as problem:  # noqa: BLE001 - a panic of its compiled half is no Exception
        raise Unavailable(f"cryptography: {type(problem).__name__}: {problem}") from None
