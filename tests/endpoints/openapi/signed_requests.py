"""Requests made byte by byte, so that each can be wrong in one way."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from backfleet.wire import signing
from backfleet.wire.credentials import Credentials
from endpoints.openapi.server import Server

_NONCES = itertools.count()
FORM = "application/x-www-form-urlencoded"
TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Raw:
    """A request as bytes on the wire. `headers` are pairs, because a name may occur twice."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""

    def __bytes__(self) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.headers)
        return f"{self.method} {self.target} HTTP/1.1\r\n{lines}\r\n".encode() + self.body

    def with_header(self, name: str, value: str) -> "Raw":
        """Return it with one more header, even if there is one of that name already."""
        return replace(self, headers=(*self.headers, (name, value)))

    def changed_header(self, name: str, value: str | None) -> "Raw":
        """Return it with one header changed or removed after the signature was made."""
        kept = tuple((n, v if n != name else value) for n, v in self.headers if n != name or value is not None)
        return replace(self, headers=kept)  # type: ignore[arg-type]


@dataclass(frozen=True)
class V3:
    """What a V3 client sends; `raw` signs it."""

    server: Server
    action: str = "Echo"
    version: str = "2017-09-08"
    key: Credentials | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    content_type: str = ""
    method: str = "POST"
    algorithm: str = "ACS3-HMAC-SHA256"
    nonce: str = ""
    date: str = ""
    digest: str = ""
    unsigned: frozenset[str] = frozenset()  # headers that the signature does not cover
    extra: Mapping[str, str] = field(default_factory=dict)  # signed with the rest if they are x-acs headers

    def raw(self) -> Raw:
        key = self.key or self.server.root
        digest = self.digest or signing.payload_hash(self.algorithm, self.body)
        headers = {
            "host": self.server.host,
            "x-acs-action": self.action,
            "x-acs-version": self.version,
            "x-acs-date": self.date or self.server.clock().strftime(TIME),
            "x-acs-signature-nonce": self.nonce or f"nonce-{next(_NONCES)}",
            "x-acs-content-sha256": digest,
            **({"content-type": self.content_type} if self.content_type else {}),
            **self.extra,
        }
        headers["authorization"] = signing.authorize_v3(
            key.access_key_id,
            key.access_key_secret,
            method=self.method,
            query=self.query,
            headers={name: value for name, value in headers.items() if name not in self.unsigned},
            payload_hash=digest,
            algorithm=self.algorithm,
        )
        headers["content-length"] = str(len(self.body))
        return Raw(self.method, f"/?{urlencode(self.query)}", tuple(headers.items()), self.body)


@dataclass(frozen=True)
class V1:
    """What a V1 client sends; `raw` signs it. Parameters of None are left out."""

    server: Server
    key: Credentials | None = None
    method: str = "POST"
    parameters: Mapping[str, str | None] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)

    def raw(self) -> Raw:
        key = self.key or self.server.root
        asked: dict[str, Any] = {
            "Action": "Echo",
            "Version": "2017-09-08",
            "AccessKeyId": key.access_key_id,
            "SignatureMethod": "HMAC-SHA1",
            "SignatureVersion": "1.0",
            "SignatureNonce": f"nonce-{next(_NONCES)}",
            "Timestamp": self.server.clock().strftime(TIME),
            **self.parameters,
        }
        query = {name: value for name, value in asked.items() if value is not None}
        text = signing.v1_string_to_sign(self.method, query | self.form)
        if "Signature" not in asked:
            query["Signature"] = signing.sign("HMAC-SHA1", key.access_key_secret, text)
        body = urlencode(self.form).encode()
        headers = [("host", self.server.host), ("content-length", str(len(body)))]
        if body:
            headers.append(("content-type", f"{FORM}; charset=utf-8"))
        return Raw(self.method, f"/?{urlencode(query)}", tuple(headers), body)
