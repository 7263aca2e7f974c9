"""A request as it arrived, with nothing in it checked yet."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import parse_qsl

from backfleet.wire import parameters, signing
from backfleet.wire.errors import (
    ContentMd5Mismatch,
    IncompleteSignature,
    InvalidParameter,
    MissingField,
    UnsupportedMethod,
)

METHODS = ("GET", "POST")
FORM = "application/x-www-form-urlencoded"
MOST_PARAMETERS = 2000


@dataclass(frozen=True)
class Received:
    """The parts of one request. `headers` has lower-case names; `repeated` holds those that occurred twice or more."""

    method: str
    query: Mapping[str, str]
    form: Mapping[str, str]
    headers: Mapping[str, str]
    repeated: frozenset[str]
    body: bytes

    @property
    def is_v3(self) -> bool:
        """Whether it is signed with V3. Newer clients send x-acs headers with V1 too, so only Authorization tells."""
        return signed_by_v3(self.headers)

    @cached_property
    def flat(self) -> dict[str, str]:
        """Every parameter of query and form. Raises InvalidParameter for a name that occurs twice."""
        return parameters.merge(self.query.items(), self.form.items())

    @property
    def version(self) -> str:
        """The product's version. Raises ApiError if it is not where the signature covers it."""
        return self._common("Version")

    @property
    def action(self) -> str:
        """The operation's name. Raises ApiError if it is not where the signature covers it."""
        return self._common("Action")

    @property
    def wants_xml(self) -> bool:
        """Whether the answer is XML: only if a V1 request asks for it. V3 answers are always JSON."""
        return not self.is_v3 and self.flat.get("Format", "").upper() == "XML"

    def _common(self, name: str) -> str:
        found = named_in_header(self.headers, name) if self.is_v3 else self.flat.get(name)
        if not found and not self.is_v3 and "Signature" not in self.flat and f"x-acs-{name.lower()}" in self.headers:
            raise IncompleteSignature(
                "there is neither an Authorization header that begins with ACS3- nor a parameter Signature"
            )
        if not found:
            raise MissingField(name)
        return found


def signed_by_v3(headers: Mapping[str, str]) -> bool:
    """Return whether headers (with lower-case names) carry a V3 signature."""
    return headers.get("authorization", "").startswith("ACS3-")


def named_in_header(headers: Mapping[str, str], name: str) -> str:
    """Return Version or Action of a V3 request. Raises MissingField."""
    found = headers.get(f"x-acs-{name.lower()}")
    if not found:
        raise MissingField(name)
    return found


def check_method(method: str) -> None:
    """Raise UnsupportedMethod unless the method is GET or POST."""
    if method not in METHODS:
        raise UnsupportedMethod


def read_headers(raw: Sequence[tuple[bytes, bytes]]) -> tuple[dict[str, str], frozenset[str]]:
    """Return headers by lower-case name with their exact text, and the names that occurred more than once."""
    headers: dict[str, str] = {}
    repeated = set()
    for raw_name, raw_value in raw:
        name = raw_name.decode("latin-1").lower()
        if name in headers:
            repeated.add(name)
        headers[name] = _header_text(raw_value)
    return headers, frozenset(repeated)


def receive(method: str, raw_query: str, raw_headers: Sequence[tuple[bytes, bytes]], body: bytes) -> Received:
    """Parse the exact bytes of a request.

    Raises:
        ApiError: a method, encoding or parameter that the protocol does not have.
    """
    check_method(method)
    headers, repeated = read_headers(raw_headers)
    return receive_under(headers, repeated, method, raw_query, body)


def receive_under(
    headers: dict[str, str], repeated: frozenset[str], method: str, raw_query: str, body: bytes
) -> Received:
    """Parse the rest of a request whose method was checked and whose headers `read_headers` read. Raises ApiError."""
    _check_md5(headers, body)
    form = _pairs(_utf8(body, "the form body"), "the form body") if _is_form(headers) else {}
    return Received(method, _pairs(raw_query, "the query"), form, headers, repeated, body)


def _is_form(headers: Mapping[str, str]) -> bool:
    """Return whether the body has parameters. Where V3 does not sign the content-type, anybody can have added it.

    Every official client signs it with a body; V1 signs the parameters themselves.
    """
    if headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        return False
    if not signed_by_v3(headers):
        return True
    try:
        return "content-type" in signing.read_authorization(headers["authorization"]).signed_headers
    except (signing.UnknownScheme, signing.MalformedSignature):
        return False  # refused later, for that


def _header_text(value: bytes) -> str:
    """Decode a header as its client signed it: most clients send UTF-8, some libraries Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _utf8(body: bytes, where: str) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise InvalidParameter(f"{where} is not UTF-8.") from None


def _pairs(text: str, where: str) -> dict[str, str]:
    """Return decoded names and values. Both `+` and `%20` are a space."""
    try:
        found = parse_qsl(
            text, keep_blank_values=True, encoding="utf-8", errors="strict", max_num_fields=MOST_PARAMETERS
        )
    except UnicodeDecodeError:
        raise InvalidParameter(f"{where} is not UTF-8.") from None
    except ValueError:
        raise InvalidParameter(f"{where} has more than {MOST_PARAMETERS} parameters.") from None
    return parameters.merge(found)


def _check_md5(headers: Mapping[str, str], body: bytes) -> None:
    claimed = headers.get("content-md5")
    if not claimed or not body:
        return
    if claimed != base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode():
        raise ContentMd5Mismatch
