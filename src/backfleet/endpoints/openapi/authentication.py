"""Signed requests: what they state about their caller, and the checks of time and signature. Pure."""

import re
from datetime import UTC, datetime, timedelta

from backfleet.endpoints.openapi.received import Received
from backfleet.values import value_object
from backfleet.wire import signing
from backfleet.wire.errors import (
    IncompleteSignature,
    InvalidParameter,
    InvalidSignatureMethod,
    InvalidSignatureVersion,
    MissingField,
    SignatureDoesNotMatch,
    TimestampExpired,
    TimestampMalformed,
    TokenOfAnotherKey,
)

TIME_FORM = "%Y-%m-%dT%H:%M:%SZ"
LONGEST_EXPLANATION = 4096  # characters of the canonical request that a refusal shows
V1_FIELDS = ("AccessKeyId", "Signature", "SignatureMethod", "SignatureVersion", "SignatureNonce", "Timestamp")
TEMPORARY = "STS."  # prefix of the ids of temporary keys
WRONG_SECRET = SignatureDoesNotMatch.advice
BODY_CHANGED = "x-acs-content-sha256 is not the hash of the request body."

_USUAL_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z", re.ASCII)


@value_object
class SignedRequest:
    """What a request states about its caller, with its signature. Nothing of it is checked yet."""

    access_key_id: str
    moment: datetime
    nonce: str
    scheme: str  # SignatureMethod of V1, algorithm of V3
    string_to_sign: str
    signature: str
    security_token: str = ""  # of temporary credentials, not opened yet; "" for none
    body_hash_holds: bool = True
    explanation: str = ""  # for people: the canonical request, if the string to sign is only its hash

    def check_time(self, now: datetime, window: timedelta) -> None:
        """Raise TimestampExpired if the request's time differs from ours by more than `window`."""
        if abs(now - self.moment) > window:
            raise TimestampExpired(self.moment, now)

    def check_signature(self, secret: str) -> None:
        """Raise SignatureDoesNotMatch, with the text that we signed, unless the signature is made with `secret`."""
        if not self.body_hash_holds:
            raise SignatureDoesNotMatch(self.string_to_sign, BODY_CHANGED)
        if not signing.verify(self.scheme, secret, self.string_to_sign, self.signature):
            # Clients of V1 compare the whole rest of the text with their own: there is no place for more in it.
            why = WRONG_SECRET if self.explanation else ""
            raise SignatureDoesNotMatch(self.string_to_sign + self.explanation, why)


def read_signed_request(request: Received, *, body_follows: bool = False) -> SignedRequest:
    """Read what a signed request states about its caller.

    Args:
        request: The request as it arrived.
        body_follows: The body is read later; the hash in its header is used instead.

    Raises:
        ApiError: a part of every signed request is missing or malformed, or the way to sign is not known here.
    """
    return _read_v3(request, body_follows=body_follows) if request.is_v3 else _read_v1(request)


def is_signed(request: Received) -> bool:
    """Return whether a request carries a signature of either kind, or a part of one."""
    return request.is_v3 or "Signature" in request.flat or "AccessKeyId" in request.flat


def refuse_bearer(request: Received) -> None:
    """Raise IncompleteSignature for a request with a bearer token, which is not accepted here.

    Called first: such requests carry no signature, so another check would report a missing field instead.
    """
    flat = request.flat
    if "x-acs-bearer-token" in request.headers or "BearerToken" in flat or flat.get("SignatureType") == "BEARERTOKEN":
        raise IncompleteSignature("bearer tokens are not accepted here; sign with an access key")


def _read_v1(request: Received) -> SignedRequest:
    flat = request.flat
    for name in V1_FIELDS:
        if not flat.get(name):
            raise MissingField(name)
    if flat["SignatureVersion"] != "1.0":
        raise InvalidSignatureVersion
    if flat.get("SignatureType", "") not in ("", "PRIVATEKEY"):
        raise InvalidParameter("SignatureType is not one that is accepted here; leave it out.")
    # RSA signatures need a registered key pair; none can be registered here yet.
    if flat["SignatureMethod"] != "HMAC-SHA1":
        raise InvalidSignatureMethod(flat["SignatureMethod"])
    return SignedRequest(
        access_key_id=flat["AccessKeyId"],
        moment=_moment(flat["Timestamp"]),
        nonce=flat["SignatureNonce"],
        scheme=flat["SignatureMethod"],
        string_to_sign=signing.v1_string_to_sign(request.method, flat),
        signature=flat["Signature"],
        security_token=_token(flat["AccessKeyId"], flat.get("SecurityToken")),
    )


def _read_v3(request: Received, *, body_follows: bool) -> SignedRequest:
    headers = request.headers
    authorization = _authorization(request)
    for name, shown in (("x-acs-date", "Timestamp"), ("x-acs-signature-nonce", "SignatureNonce")):
        if not headers.get(name):
            raise MissingField(shown)
    _check_signed_headers(request, authorization)
    if headers.get("x-acs-accesskey-id", authorization.access_key_id) != authorization.access_key_id:
        raise TokenOfAnotherKey
    token = _token(authorization.access_key_id, headers.get("x-acs-security-token"))
    algorithm, claimed = authorization.algorithm, headers["x-acs-content-sha256"]
    # The hash of the body; if the body is read later, the hash that it must have then.
    body_hash = claimed if body_follows else signing.payload_hash(algorithm, request.body)
    canonical = signing.v3_canonical_request(
        request.method, request.query, headers, authorization.signed_headers, body_hash
    )
    return SignedRequest(
        access_key_id=authorization.access_key_id,
        moment=_moment(headers["x-acs-date"]),
        nonce=headers["x-acs-signature-nonce"],
        scheme=algorithm,
        string_to_sign=signing.v3_string_to_sign(algorithm, canonical),
        signature=authorization.signature,
        security_token=token,
        body_hash_holds=body_hash == claimed,
        explanation=f" server canonical request is {canonical[:LONGEST_EXPLANATION]}",
    )


def _authorization(request: Received) -> signing.Authorization:
    if "authorization" in request.repeated:
        raise IncompleteSignature("the Authorization header occurs twice")
    try:
        found = signing.read_authorization(request.headers["authorization"])
    except signing.UnknownScheme as problem:
        raise InvalidSignatureMethod(problem.found) from None
    except signing.MalformedSignature as problem:
        raise IncompleteSignature(str(problem)) from None
    if found.algorithm == "ACS3-RSA-SHA256":
        raise InvalidSignatureMethod(found.algorithm)  # no key pair can be registered yet
    return found


def _check_signed_headers(request: Received, authorization: signing.Authorization) -> None:
    signed = set(authorization.signed_headers)
    # Every x-acs header must be signed: one that is not could have been added on the way.
    needed = signing.MUST_BE_SIGNED | {name for name in request.headers if name.startswith("x-acs-")}
    if missing := needed - signed:
        raise IncompleteSignature(f"SignedHeaders lacks {', '.join(sorted(missing))}")
    if absent := signed - set(request.headers):
        raise IncompleteSignature(f"the signed header {min(absent)} did not arrive")
    if twice := signed & request.repeated:
        raise IncompleteSignature(f"the signed header {min(twice)} occurs twice")


def _token(access_key_id: str, token: str | None) -> str:
    """Return the security token, "" for none. Raise MissingField if a temporary key comes without one."""
    if not token and access_key_id.startswith(TEMPORARY):
        raise MissingField("SecurityToken")
    return token or ""


def _moment(text: str) -> datetime:
    if not text.isascii():  # strptime takes the digits of every script
        raise TimestampMalformed
    try:
        if usual := _USUAL_TIME.fullmatch(text):  # a fifth of the time; strptime takes single digits and spaces too
            year, month, day, hour, minute, second = map(int, usual.groups())
            return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        return datetime.strptime(text, TIME_FORM).replace(tzinfo=UTC)
    except ValueError:
        raise TimestampMalformed from None
