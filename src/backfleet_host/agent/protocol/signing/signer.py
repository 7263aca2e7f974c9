"""The choice among the implementations, and the check of what they return."""

from __future__ import annotations

import base64
import logging
from typing import Callable, List, Protocol, Sequence

from backfleet_host.agent.protocol.signing import cryptography_signer, openssl_signer, python_signer
from backfleet_host.agent.protocol.signing.cryptography_signer import CryptographySigner
from backfleet_host.agent.protocol.signing.key import SigningKey, Unavailable, check
from backfleet_host.agent.protocol.signing.openssl_signer import OpensslSigner
from backfleet_host.agent.protocol.signing.python_signer import PythonSigner

log = logging.getLogger(__name__)


class Implementation(Protocol):
    """One way to sign. All of them give the identical signature."""

    def sign(self, message: bytes) -> bytes:
        """Return the signature, or raise Unavailable."""


Implementations = Sequence[Callable[[SigningKey], Implementation]]

IMPLEMENTATIONS: Implementations = (CryptographySigner, OpensslSigner, PythonSigner)
"""In the order in which they are tried. The last one works everywhere."""


def make_key() -> SigningKey:
    """Return a fresh key, made by the first implementation that works here."""
    for maker in (cryptography_signer.make_key, openssl_signer.make_key):
        try:
            return maker()
        except Unavailable as problem:
            log.debug("a key cannot be made this way: %s", problem)
    return python_signer.make_key()


class Signer:
    """Signs with one key. Threads may share it; it prints without the key.

    An implementation that fails is not used again.
    """

    def __init__(self, key: SigningKey, implementations: Implementations = IMPLEMENTATIONS) -> None:
        self._key = key
        self._left = _working(key, implementations)

    def __repr__(self) -> str:
        return f"Signer({self._key})"

    def sign(self, message: bytes) -> str:
        """Return the signature in base64, verified.

        Raises:
            WrongSignature: it does not verify.
            Unavailable: no implementation works; not with the default ones.
        """
        for implementation in self._left:
            try:
                signature = implementation.sign(message)
            except Unavailable as problem:
                log.warning("signing falls back to the next implementation: %s", problem)
                self._left = [other for other in self._left if other is not implementation]
                continue
            check(self._key, message, signature)
            return base64.b64encode(signature).decode()
        raise Unavailable("no implementation of RSA signatures works on this host")


def _working(
    key: SigningKey, implementations: Sequence[Callable[[SigningKey], Implementation]]
) -> List[Implementation]:
    found: List[Implementation] = []
    for implementation in implementations:
        try:
            found.append(implementation(key))
        except Unavailable as problem:
            log.debug("signing does without one implementation: %s", problem)
    return found
