"""The headers that authenticate a host's requests (protocol page, section 2)."""

from __future__ import annotations

from typing import Dict

from backfleet_host.agent.protocol.signing import Signer, SigningKey, read_private_pem
from backfleet_host.identity import Identity, NotEnrolled
from backfleet_host.layout import Places


class RequestSigner:
    """Makes the identity headers of requests. Holds the private key; prints without it."""

    def __init__(self, identity: Identity, key: SigningKey) -> None:
        self._identity, self._signer = identity, Signer(key)

    def __repr__(self) -> str:
        return f"RequestSigner({self._identity.instance_id})"

    def headers(self, now_ms: int, request_id: str) -> Dict[str, str]:
        """Return the headers of one attempt; a retry needs new ones, since the server takes each request id once."""
        signed = f"{self._identity.instance_id}{self._identity.machine_id}{now_ms}{request_id}"
        return {
            "x-acs-instance-id": self._identity.instance_id,
            "x-acs-timestamp": str(now_ms),
            "x-acs-request-id": request_id,
            "x-acs-signature": self._signer.sign(signed.encode()),
        }


def read_request_signer(places: Places, identity: Identity) -> RequestSigner:
    """Return the signer for this identity.

    Raises:
        NotEnrolled: the key is missing or broken.
    """
    try:
        return RequestSigner(identity, read_private_pem(places.key.read_bytes()))
    except (OSError, ValueError) as problem:
        raise NotEnrolled(f"{places.key} cannot be used ({problem}); remove {places.agent} and enrol again") from None
