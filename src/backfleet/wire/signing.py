"""Canonical strings and signatures of the RPC protocol, both directions, every version in one table (`SCHEMES`).

Pure functions over plain values: no key is looked up here, no clock is read.
Source: RPC request structure and signature, V1 (SignatureVersion 1.0) and V3 (ACS3-...).
"""

import base64
import hashlib
import hmac
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol
from urllib.parse import quote

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives import hmac as crypto_hmac
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from backfleet.values import value_object

Parameters = Mapping[str, str]

MUST_BE_SIGNED: Final = frozenset(
    {"x-acs-action", "x-acs-version", "x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256"}
)
"""Headers that a V3 signature must cover: one that is left out could be changed or added on the way.

`host` is not among them: the Java core never signs it, and the cloud takes that.
"""

UNRESERVED: Final = string.ascii_letters.encode() + string.digits.encode() + b"-_.~"
PERCENT: Final = ord("%")
FEW_KINDS: Final = 16

EMPTY_HASH: Final = hashlib.sha256(b"").hexdigest()
"""The value of x-acs-content-sha256 for an empty body."""


class MalformedSignature(ValueError):
    """A signature, or the header that carries it, does not have the protocol's form; the text says why."""


class UnknownScheme(MalformedSignature):
    """A scheme that is not in the table; `found` is its name."""

    def __init__(self, found: str) -> None:
        super().__init__(f"{found[:64]!r} is not one of {', '.join(SCHEMES)}")
        self.found = found


def percent_encode(text: str) -> str:
    """Encode a text by RFC 3986: unreserved characters stay, every other byte of the UTF-8 becomes %XX.

    The library does it byte by byte. A list of a hundred ids has thousands of bytes, but only a few kinds of them.
    """
    encoded = text.encode()
    others = set(encoded.translate(None, UNRESERVED))
    if len(others) > FEW_KINDS:  # each costs a pass over the text
        return quote(text, safe="-_.~")
    if PERCENT in others:  # first, for the others bring more
        encoded = encoded.replace(b"%", b"%25")
    for byte in others - {PERCENT}:
        encoded = encoded.replace(bytes((byte,)), b"%%%02X" % byte)
    return encoded.decode("ascii")


def canonical_query(parameters: Parameters) -> str:
    """Return `name=value` pairs in byte order of the names, each side percent-encoded. An empty value keeps its `=`."""
    ordered = sorted(parameters.items(), key=lambda pair: pair[0].encode())
    return "&".join(f"{percent_encode(name)}={percent_encode(value)}" for name, value in ordered)


# --- The table ------------------------------------------------------------------------------------------------------


class Digest(Protocol):
    """A hash of bytes that arrive in pieces."""

    def update(self, piece: bytes, /) -> None:
        """Add more bytes."""

    def hexdigest(self) -> str:
        """Return the hash of all bytes so far, in lower-case hex."""


@value_object
class Scheme:
    """One way to sign. A key is the access key's secret, or PEM: the private key to sign, the public one to verify."""

    version: int  # of the signature: 1 or 3
    sign: Callable[[str, bytes], bytes]
    verify: Callable[[str, bytes, bytes], bool]
    digest: Callable[[], Digest]  # of the body and of the canonical request; V1 has neither

    def write(self, signature: bytes) -> str:
        """Encode a signature for the wire: base64 in V1, lower-case hex in V3."""
        return base64.b64encode(signature).decode() if self.version == 1 else signature.hex()

    def read(self, text: str) -> bytes:
        """Decode a signature from the wire. Raises ValueError."""
        return base64.b64decode(text, validate=True) if self.version == 1 else bytes.fromhex(text)


def sign(scheme: str, key: str, text: str) -> str:
    """Return the signature of a string to sign, encoded for the wire.

    Raises:
        UnknownScheme: `scheme` is not in the table.
    """
    row = scheme_named(scheme)
    return row.write(row.sign(key, text.encode()))


def verify(scheme: str, key: str, text: str, signature: str) -> bool:
    """Return whether `signature` is that of the string to sign `text`. The comparison takes constant time.

    Raises:
        UnknownScheme: `scheme` is not in the table.
    """
    row = scheme_named(scheme)
    try:
        given = row.read(signature)
    except ValueError:
        return False
    return row.verify(key, text.encode(), given)


def scheme_named(name: str) -> Scheme:
    """Return a row of the table. Raises UnknownScheme."""
    if name not in SCHEMES:
        raise UnknownScheme(name)
    return SCHEMES[name]


def _by_hmac(version: int, mac: Callable[[bytes, bytes], bytes], digest: Callable[[], Digest]) -> Scheme:
    ending = "&" if version == 1 else ""

    def sign(secret: str, text: bytes) -> bytes:
        return mac(f"{secret}{ending}".encode(), text)

    return Scheme(version, sign, lambda key, text, given: hmac.compare_digest(sign(key, text), given), digest)


def _by_rsa(version: int) -> Scheme:
    return Scheme(version, _sign_rsa, _verify_rsa, hashlib.sha256)


def _sign_rsa(private_key_pem: str, text: bytes) -> bytes:
    key = serialization.load_pem_private_key(private_key_pem.encode(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise MalformedSignature("the key is not an RSA key")
    return key.sign(text, padding.PKCS1v15(), hashes.SHA256())


def _verify_rsa(public_key_pem: str, text: bytes, given: bytes) -> bool:
    try:
        key = serialization.load_pem_public_key(public_key_pem.encode())
        if not isinstance(key, rsa.RSAPublicKey):
            return False
        key.verify(given, text, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True


class _Sm3:
    """SM3 from the cryptography library, since only some builds of hashlib have it."""

    def __init__(self) -> None:
        self._hash = hashes.Hash(hashes.SM3())

    def update(self, piece: bytes, /) -> None:
        self._hash.update(piece)

    def hexdigest(self) -> str:
        return self._hash.copy().finalize().hex()


def _mac_sm3(key: bytes, text: bytes) -> bytes:
    mac = crypto_hmac.HMAC(key, hashes.SM3())
    mac.update(text)
    return mac.finalize()


def _has_sm3() -> bool:
    """Return whether this build of the cryptography library has SM3. Without it the table lacks that row."""
    try:
        _Sm3()
    except UnsupportedAlgorithm:
        return False
    return True


SCHEMES: Final[dict[str, Scheme]] = {
    "HMAC-SHA1": _by_hmac(1, lambda key, text: hmac.digest(key, text, "sha1"), hashlib.sha256),
    "SHA256withRSA": _by_rsa(1),
    "ACS3-HMAC-SHA256": _by_hmac(3, lambda key, text: hmac.digest(key, text, "sha256"), hashlib.sha256),
    "ACS3-RSA-SHA256": _by_rsa(3),
} | ({"ACS3-HMAC-SM3": _by_hmac(3, _mac_sm3, _Sm3)} if _has_sm3() else {})
"""Every scheme, by its name on the wire."""


# --- V1 -------------------------------------------------------------------------------------------------------------


def v1_string_to_sign(method: str, parameters: Parameters) -> str:
    """Return the string to sign of V1: every parameter of query and form but the signature itself."""
    signed = {name: value for name, value in parameters.items() if name != "Signature"}
    return f"{method}&%2F&{percent_encode(canonical_query(signed))}"


def sign_v1(key: str, method: str, parameters: Parameters) -> str:
    """Return the signature of parameters, by the SignatureMethod among them (HMAC-SHA1 if there is none)."""
    return sign(parameters.get("SignatureMethod", "HMAC-SHA1"), key, v1_string_to_sign(method, parameters))


# --- V3 -------------------------------------------------------------------------------------------------------------


@value_object
class Authorization:
    """The parts of a V3 Authorization header."""

    algorithm: str
    access_key_id: str
    signed_headers: tuple[str, ...]
    signature: str

    def __str__(self) -> str:
        names = ";".join(self.signed_headers)
        return f"{self.algorithm} Credential={self.access_key_id},SignedHeaders={names},Signature={self.signature}"


def read_authorization(header: str) -> Authorization:
    """Parse an Authorization header.

    Raises:
        UnknownScheme: the algorithm is not one of V3.
        MalformedSignature: the header does not have the form.
    """
    algorithm, _, rest = header.strip().partition(" ")
    if scheme_named(algorithm).version != 3:
        raise UnknownScheme(algorithm)
    parts = [part.strip().partition("=") for part in rest.split(",")]
    values = {name: value for name, _, value in parts}
    if sorted(name for name, _, value in parts if value) != ["Credential", "Signature", "SignedHeaders"]:
        raise MalformedSignature("the Authorization header needs Credential, SignedHeaders and Signature, once each")
    names = tuple(values["SignedHeaders"].split(";"))
    if len(set(names)) != len(names) or any(name != name.strip().lower() or not name for name in names):
        raise MalformedSignature("SignedHeaders must be lower-case names, once each")
    return Authorization(algorithm, values["Credential"], names, values["Signature"])


def payload_hash(algorithm: str, body: bytes) -> str:
    """Return the value of x-acs-content-sha256 for a body; with SM3 it is an SM3 hash in spite of its name."""
    digest = scheme_named(algorithm).digest()
    digest.update(body)
    return digest.hexdigest()


def v3_canonical_request(
    method: str, query: Parameters, headers: Mapping[str, str], signed_headers: Sequence[str], body_hash: str
) -> str:
    """Return the canonical request.

    Values of headers are trimmed at their ends only. The path of RPC operations is always `/`.

    Args:
        method: GET or POST.
        query: The parameters of the query.
        headers: By lower-case name. A signed header that is absent counts as empty.
        signed_headers: The names of the headers that the signature covers.
        body_hash: Hash of the body, as by `payload_hash`.
    """
    names = sorted(signed_headers)
    lines = "".join(f"{name}:{headers.get(name, '').strip()}\n" for name in names)
    return "\n".join((method, "/", canonical_query(query), lines, ";".join(names), body_hash))


def v3_string_to_sign(algorithm: str, canonical_request: str) -> str:
    """Return the string to sign of V3: the algorithm, and the hash of the canonical request."""
    return f"{algorithm}\n{payload_hash(algorithm, canonical_request.encode())}"


def authorize_v3(
    access_key_id: str,
    secret: str,
    *,
    method: str,
    query: Parameters,
    headers: Mapping[str, str],
    payload_hash: str,
    algorithm: str = "ACS3-HMAC-SHA256",
) -> str:
    """Return the Authorization header; it signs host, content-type and every x-acs-* of these (lower-case) headers."""
    names = tuple(sorted(n for n in headers if n in ("host", "content-type") or n.startswith("x-acs-")))
    canonical = v3_canonical_request(method, query, headers, names, payload_hash)
    signature = sign(algorithm, secret, v3_string_to_sign(algorithm, canonical))
    return str(Authorization(algorithm, access_key_id, names, signature))
