"""Who an agent is: the four headers, and the signature in them.

Source: agent wire protocol, section 2. The signature covers neither address nor body, so a set of headers could be used
again with other content while it is accepted: a request id is taken once, and is remembered for as long as its time
would be accepted.

A host's clock may be wrong: ours decides, and its difference is written down. A time within the window is ordinary. One
outside is taken where it cannot be a repetition of an ordinary one: before the host had enrolled, beyond our own
future, or newer than all that the host has signed; its request id is then remembered for long.
"""

import base64
import binascii
import functools
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from backfleet.fleet import AgentIdentity, request_fingerprint

MOST_REMEMBERED = 1_000_000  # request ids; at one request a second from 1,000 agents this is the whole window
LONGEST_ID = 64  # characters
DISORDER_MS = 60_000  # requests of one host may overtake each other by so much
REMEMBERED_LONG = timedelta(days=30)  # request ids of hosts whose clocks are wrong
MOST_KNOWN = 50_000  # identities kept for when the database is away


class NotProved(Exception):
    """The request does not show who it is from; the text is for our log, never for the stranger."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What the headers say."""

    instance_id: str
    timestamp: str  # as it was signed: milliseconds of the host's clock, decimal
    request_id: str
    signature: bytes

    @property
    def mark(self) -> int:
        """What is kept of its request id."""
        return request_fingerprint(self.instance_id, self.request_id)

    @property
    def milliseconds(self) -> int:
        """The host's clock."""
        return int(self.timestamp)

    def skew_ms(self, now: datetime) -> int:
        """The host's clock minus ours."""
        return self.milliseconds - round(now.timestamp() * 1000)


def read_claim(headers: Mapping[str, str]) -> Claim | None:
    """The claim in the headers; None if there is none at all (an agent that is not registered).

    Raises:
        NotProved: incomplete or malformed.
    """
    instance_id = headers.get("x-acs-instance-id")
    if instance_id is None:
        return None
    timestamp, request_id = headers.get("x-acs-timestamp", ""), headers.get("x-acs-request-id", "")
    if not (timestamp.isdecimal() and timestamp.isascii() and len(timestamp) <= 16):
        raise NotProved("x-acs-timestamp is no number of milliseconds")
    if not all(0 < len(text) <= LONGEST_ID and text.isascii() for text in (instance_id, request_id)):
        raise NotProved("x-acs-request-id or x-acs-instance-id is missing, too long or not ASCII")
    try:
        signature = base64.b64decode(headers.get("x-acs-signature", ""), validate=True)
    except (binascii.Error, ValueError):
        raise NotProved("x-acs-signature is not base64") from None
    return Claim(instance_id, timestamp, request_id, signature)


def check(claim: Claim, known: AgentIdentity | None, *, now: datetime, window_ms: int) -> None:
    """Whether the claim holds, apart from its request id.

    Raises:
        NotProved: no such instance, deregistered, a time that may be a repetition, or another key.
    """
    if known is None or known.deregistered:
        raise NotProved("no such instance is enrolled")
    if not is_ordinary(claim, now=now, window_ms=window_ms) and not _is_new(claim, known, now, window_ms):
        raise NotProved(f"its clock differs from ours by {claim.skew_ms(now) / 1000:.0f} s, and was set back")
    signed = f"{claim.instance_id}{known.machine_id}{claim.timestamp}{claim.request_id}"
    try:
        # MD5 is the protocol's; what it must resist here is forging a signature over a text we compose ourselves.
        _key(known.public_key).verify(claim.signature, signed.encode(), padding.PKCS1v15(), hashes.MD5())  # noqa: S303
    except InvalidSignature:
        raise NotProved("the signature is not that of its key") from None


def is_ordinary(claim: Claim, *, now: datetime, window_ms: int) -> bool:
    """Whether its time is near ours."""
    return abs(claim.skew_ms(now)) <= window_ms


def until(claim: Claim, *, now: datetime, window_ms: int) -> datetime:
    """How long its request id is remembered."""
    ordinary = is_ordinary(claim, now=now, window_ms=window_ms)
    return now + (timedelta(milliseconds=2 * window_ms) if ordinary else REMEMBERED_LONG)


def _is_new(claim: Claim, known: AgentIdentity, now: datetime, window_ms: int) -> bool:
    """Whether a time outside the window can be no repetition of one that was inside it once."""
    at = claim.milliseconds
    if at < known.registered_ms - window_ms or at > round(now.timestamp() * 1000) + window_ms:
        return True
    return at > (known.signed_ms or 0) - DISORDER_MS


class Known:
    """Identities of the hosts that were here last. Bounded.

    They spare the database a question for each request, and stand in for it while it is away. Whether one of them has
    been deregistered since is asked when its signs of life are written, every few seconds, and told by a bell.
    """

    def __init__(self, most: int = MOST_KNOWN) -> None:
        self._known: OrderedDict[str, tuple[AgentIdentity, float]] = OrderedDict()
        self._most = most

    def remember(self, identity: AgentIdentity, at: float) -> None:
        """It was asked for at this moment (seconds), and is this."""
        self._known[identity.instance_id] = identity, at
        self._known.move_to_end(identity.instance_id)
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def forget(self, instance_id: str) -> None:
        """It is enrolled no more."""
        self._known.pop(instance_id, None)

    def recall(self, instance_id: str, since: float = 0.0) -> AgentIdentity | None:
        """As it was when it was last asked for, if that was not before this moment."""
        identity, at = self._known.get(instance_id, (None, 0.0))
        return identity if at >= since else None


@functools.lru_cache(maxsize=20_000)
def _key(pem: str) -> rsa.RSAPublicKey:
    key = serialization.load_pem_public_key(pem.encode())
    if not isinstance(key, rsa.RSAPublicKey):
        raise NotProved("its key is not an RSA key")
    return key


class Once:
    """Request ids of this node, each taken once within the window. Bounded: the oldest is forgotten first."""

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._seen: OrderedDict[str, int] = OrderedDict()
        self._most = most

    def take(self, claim: Claim, *, now: datetime, window_ms: int) -> None:
        """Raises NotProved for a request id that was there before."""
        key = f"{claim.instance_id} {claim.request_id}"
        oldest = round(now.timestamp() * 1000) - 2 * window_ms
        while self._seen and (len(self._seen) >= self._most or next(iter(self._seen.values())) < oldest):
            self._seen.popitem(last=False)
        if key in self._seen:
            raise NotProved("its request id was used before")
        self._seen[key] = round(now.timestamp() * 1000)
