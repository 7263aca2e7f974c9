"""What proves a host's identity, request by request (protocol page, section 2)."""

from __future__ import annotations

from typing import Any, Dict

from backfleet_host.agent.protocol.signing_key import read_private_pem, sign
from backfleet_host.identity import Identity, NotEnrolled
from backfleet_host.layout import Places


class Proof:
    """Makes the identity headers of one request. Holds the private key; prints without it."""

    def __init__(self, identity: Identity, key: Any) -> None:
        self._identity, self._key = identity, key

    def __repr__(self) -> str:
        return f"Proof({self._identity.instance_id})"

    def headers(self, now_ms: int, request_id: str) -> Dict[str, str]:
        """Headers for one attempt; a retry needs new ones (protocol page, section 2)."""
        signed = f"{self._identity.instance_id}{self._identity.machine_id}{now_ms}{request_id}"
        return {
            "x-acs-instance-id": self._identity.instance_id,
            "x-acs-timestamp": str(now_ms),
            "x-acs-request-id": request_id,
            "x-acs-signature": sign(self._key, signed.encode()),
        }


def read_proof(places: Places, identity: Identity) -> Proof:
    """What proves this identity.

    Raises:
        NotEnrolled: the key is missing or broken.
    """
    try:
        return Proof(identity, read_private_pem(places.key.read_bytes()))
    except (OSError, ValueError) as problem:
        raise NotEnrolled(f"{places.key} cannot be used ({problem}); remove {places.agent} and enrol again") from None
