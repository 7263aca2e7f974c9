"""The signature of an agent's request: four headers, and the checks that need no state. Pure.

Source: agent wire protocol, section 2. The signature covers neither address nor body, so the headers of one request
could be replayed with other content while their time is accepted. That is why each signature is accepted once, and
remembered for as long as its time would be accepted.

The signed text has no separators: instance, machine, time and request id follow each other. So that it can be read in
one way only, the time has exactly 13 digits; a text with the boundary elsewhere would be another request under the same
signature. What is remembered is the time and the id together, as they were signed.

A host's clock may be wrong: the server's clock decides, and the difference is written down. A time within the window is
ordinary. A time outside it is accepted if it cannot be a replay of an ordinary one: before the host enrolled, beyond
the server's own future, or newer than everything that the host has signed. Its request id is then remembered for long.
"""

import base64
import binascii
import functools
import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from backfleet.fleet import AgentIdentity, request_fingerprint
from backfleet.values import value_object

LONGEST_ID = 64  # characters
_TIMESTAMP = re.compile(r"[1-9][0-9]{12}")  # milliseconds from 2001 to 2286
DISORDER_MS = 60_000  # requests of one host may arrive out of order by so much
KEYS_KEPT = 20_000  # of 2 KiB each, in every process; one that is not kept costs its request 10 us more
REMEMBERED_LONG = timedelta(days=30)  # request ids of hosts whose clocks are wrong
_PADDING, _MD5 = padding.PKCS1v15(), hashes.MD5()  # noqa: S303 -- the protocol's


class NotAuthenticated(Exception):
    """The request is not from the instance that it names. The text is for the log and is never sent back."""


@value_object
class AgentSignature:
    """The identity headers of one request."""

    instance_id: str
    timestamp: str  # as it was signed: milliseconds of the host's clock, decimal
    request_id: str
    signature: bytes
    is_spent: bool = False  # its request id was used up for all nodes when it was authenticated

    @property
    def fingerprint(self) -> int:
        """The signed text as it is remembered. An RSA signature and its text belong to each other one to one."""
        return request_fingerprint(self.instance_id, f"{self.timestamp}{self.request_id}")

    @property
    def milliseconds(self) -> int:
        """The time by the host's clock, in Unix milliseconds."""
        return int(self.timestamp)

    def skew_ms(self, now: datetime) -> int:
        """Return the host's clock minus ours, in milliseconds."""
        return self.milliseconds - round(now.timestamp() * 1000)


def read_signature(headers: Mapping[str, str]) -> AgentSignature | None:
    """Read the identity headers. Return None if there are none: the agent is not registered.

    Raises:
        NotAuthenticated: they are incomplete or malformed.
    """
    instance_id = headers.get("x-acs-instance-id")
    if instance_id is None:
        return None
    timestamp, request_id = headers.get("x-acs-timestamp", ""), headers.get("x-acs-request-id", "")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise NotAuthenticated("x-acs-timestamp is not a Unix time in milliseconds of 13 digits")
    if not all(0 < len(text) <= LONGEST_ID and text.isascii() for text in (instance_id, request_id)):
        raise NotAuthenticated("x-acs-request-id or x-acs-instance-id is missing, too long or not ASCII")
    try:
        signature = base64.b64decode(headers.get("x-acs-signature", ""), validate=True)
    except (binascii.Error, ValueError):
        raise NotAuthenticated("x-acs-signature is not base64") from None
    return AgentSignature(instance_id, timestamp, request_id, signature)


def check(
    signature: AgentSignature, known: AgentIdentity | None, *, now: datetime, window_ms: int, may_be_gone: bool = False
) -> None:
    """Check a signature against the identity of its instance. Its request id is not checked here.

    Args:
        signature: What the request carries.
        known: The instance's identity; None if there is no such instance.
        now: The server's time.
        window_ms: How far an ordinary time may differ from the server's, either way.
        may_be_gone: Also accept an instance that is deregistered.

    Raises:
        NotAuthenticated: no such instance, deregistered, a time that may be a replay, or another key.
    """
    if known is None or (known.deregistered and not may_be_gone):
        raise NotAuthenticated("no such instance is enrolled")
    if not is_ordinary(signature, now=now, window_ms=window_ms) and not _is_new(signature, known, now, window_ms):
        raise NotAuthenticated(
            f"its clock differs from ours by {signature.skew_ms(now) / 1000:.0f} s, and was set back"
        )
    signed = f"{signature.instance_id}{known.machine_id}{signature.timestamp}{signature.request_id}"
    try:
        # What MD5 must resist here is forging a signature over a text we compose ourselves.
        _key(known.public_key).verify(signature.signature, signed.encode(), _PADDING, _MD5)
    except InvalidSignature:
        raise NotAuthenticated("the signature is not that of its key") from None


def is_ordinary(signature: AgentSignature, *, now: datetime, window_ms: int) -> bool:
    """Return whether the request's time is within the window."""
    return abs(signature.skew_ms(now)) <= window_ms


def remembered_until(signature: AgentSignature, *, now: datetime, window_ms: int) -> datetime:
    """Return until when the request id must be remembered."""
    ordinary = is_ordinary(signature, now=now, window_ms=window_ms)
    return now + (timedelta(milliseconds=2 * window_ms) if ordinary else REMEMBERED_LONG)


def _is_new(signature: AgentSignature, known: AgentIdentity, now: datetime, window_ms: int) -> bool:
    """Return whether a time outside the window cannot be a replay of one that was inside it once."""
    at = signature.milliseconds
    if at < known.registered_ms - window_ms or at > round(now.timestamp() * 1000) + window_ms:
        return True
    was_ordinary = known.skew_ms is not None and abs(known.skew_ms) <= window_ms  # and its last ids may be forgotten
    return at > (known.signed_ms or 0) - (0 if was_ordinary else DISORDER_MS)


@functools.lru_cache(maxsize=KEYS_KEPT)
def _key(pem: str) -> rsa.RSAPublicKey:
    key = serialization.load_pem_public_key(pem.encode())
    if not isinstance(key, rsa.RSAPublicKey):
        raise NotAuthenticated("its key is not an RSA key")
    return key
