"""Signed statements: DSSE envelopes, signed with Ed25519."""

import json
from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import FormatError, VerificationError
from securesystemslib.signer import CryptoSigner, Key, SSlibKey

PAYLOAD_TYPE: Final = "application/vnd.backfleet.rollout-evidence+json"


class Unsigned(Exception):
    """An envelope is malformed, or was not signed with this key."""


class EvidenceKey:
    """The key that an installation signs evidence with. Its text shows nothing of it."""

    def __init__(self, seed: bytes) -> None:
        """Take the key that these 32 bytes are."""
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.signer = CryptoSigner(self._private)

    @property
    def public(self) -> str:
        """The public key, as PEM."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._private.public_key().public_bytes(serialization.Encoding.PEM, form).decode()

    def __repr__(self) -> str:
        return f"EvidenceKey({self.signer.public_key.keyid})"


def read_public_key(pem: bytes) -> Key:
    """Return the public key of a file.

    Raises:
        ValueError: it holds no public key of the kind that signs evidence.
    """
    try:
        found = serialization.load_pem_public_key(pem)
    except Exception as problem:  # cryptography raises several, also for other kinds of keys
        raise ValueError("it holds no public key (PEM)") from problem
    if not isinstance(found, Ed25519PublicKey):
        raise ValueError("it holds a public key of another kind; evidence is signed with Ed25519")
    return SSlibKey.from_crypto(found)


def sign(key: EvidenceKey, statement: Mapping[str, Any]) -> dict[str, Any]:
    """Return a statement in a signed envelope."""
    payload = json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()
    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    envelope.sign(key.signer)
    found: dict[str, Any] = envelope.to_dict()
    return found


def opened(envelope: Any, key: Key) -> dict[str, Any]:
    """Return the statement in an envelope.

    Raises:
        Unsigned: it is none, or it was not signed with this key.
    """
    try:
        found = Envelope.from_dict(json.loads(json.dumps(envelope)))  # it changes what it is given
        if found.payload_type != PAYLOAD_TYPE or len(found.signatures) != 1 or found.to_dict() != envelope:
            raise Unsigned("it is a statement of another kind, or something was added to it")
        found.verify([key], 1)
        statement = json.loads(found.payload)
    except VerificationError:
        raise Unsigned("its signature is not of this key") from None
    except (KeyError, TypeError, ValueError, AttributeError, FormatError):
        raise Unsigned("it is no signed statement") from None
    if not isinstance(statement, dict):
        raise Unsigned("it is no signed statement")
    return statement
