"""The command line's API client: V3 signatures over HTTP or TLS, like those of official clients."""

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3

from backfleet.cli._credentials import Connection
from backfleet.clock import Clock
from backfleet.wire import signing

CONNECT_SECONDS = 5
READ_SECONDS = 60
UPLOAD_SECONDS = 3600
LONGEST_QUERY = 4000  # characters of parameters in an address; more travel as a body
FORM = "application/x-www-form-urlencoded"
PIECE = 1 << 20  # bytes read from a file at a time

VERSIONS = {
    "hbr": "2017-09-08",
    "ecs": "2014-05-26",
    "sts": "2015-04-01",
    "ram": "2015-05-01",
    "backfleet": "2026-11-01",
}


class CallFailed(Exception):
    """The server refused a call, or could not be reached: then `answer` is empty."""

    def __init__(self, message: str, answer: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message, self.answer = message, dict(answer or {})


@dataclass(frozen=True, slots=True)
class Client:
    """Calls the operations of one server with one key."""

    connection: Connection
    clock: Clock

    def call(self, product: str, action: str, **parameters: object) -> dict[str, Any]:
        """Call an operation and return its answer.

        Args:
            product: The product's code, such as `hbr`.
            action: The operation's name.
            parameters: By their names on the wire. None is left out; lists and dicts travel as JSON text.

        Raises:
            CallFailed: the server refused the call or did not answer.
        """
        values = _as_text(parameters)
        if len(urlencode(values)) <= LONGEST_QUERY:
            return self._send(product, action, values, hashlib.sha256(b"").hexdigest(), body=None, seconds=READ_SECONDS)
        form = _Form(values)
        return self._send(product, action, {}, form.digest, body=form, seconds=READ_SECONDS)

    def upload(self, action: str, file: Path, sent: Callable[[int], None], **parameters: object) -> dict[str, Any]:
        """Call an operation of the Backfleet API that takes a file. The file is streamed.

        Args:
            action: The operation's name.
            file: What is uploaded.
            sent: Called with the number of bytes that were sent since the last call.
            parameters: By their names on the wire.

        Raises:
            CallFailed: the server refused the call or did not answer.
        """
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        return self._send(
            "backfleet", action, _as_text(parameters), digest, body=_Pieces(file, sent), seconds=UPLOAD_SECONDS
        )

    def _send(
        self,
        product: str,
        action: str,
        query: Mapping[str, str],
        digest: str,
        body: "_Pieces | _Form | None",
        seconds: float,
    ) -> dict[str, Any]:
        content = {"content-type": FORM} if isinstance(body, _Form) else {}
        headers = self._headers(product, action, query, digest, self.clock(), content)
        if body is not None:
            headers["content-length"] = str(body.size)
        address = f"{self.connection.endpoint}/?{urlencode(query)}"
        try:
            answer = self._pool().request(
                "POST",
                address,
                headers=headers,
                body=iter(body) if body is not None else None,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=seconds),
                retries=False,
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as problem:
            raise CallFailed(f"{self.connection.endpoint} does not answer: {_reason(problem)}") from None
        return _read(answer.status, answer.data)

    def _headers(
        self,
        product: str,
        action: str,
        query: Mapping[str, str],
        digest: str,
        now: datetime,
        content: Mapping[str, str],
    ) -> dict[str, str]:
        headers = {
            **content,
            "host": self.connection.host,
            "x-acs-action": action,
            "x-acs-version": VERSIONS[product],
            "x-acs-date": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "x-acs-signature-nonce": uuid.uuid4().hex,
            "x-acs-content-sha256": digest,
        }
        key = self.connection.credentials
        if key.security_token:
            headers |= {"x-acs-security-token": key.security_token, "x-acs-accesskey-id": key.access_key_id}
        headers["authorization"] = signing.authorize_v3(
            key.access_key_id, key.access_key_secret, method="POST", query=query, headers=headers, payload_hash=digest
        )
        return headers

    def _pool(self) -> urllib3.PoolManager:
        return urllib3.PoolManager(ssl_context=self.connection.trust())


class _Form:
    """Parameters as a body: more than proxies take in an address."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.content = urlencode(values).encode()
        self.size, self.digest = len(self.content), hashlib.sha256(self.content).hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        yield self.content


class _Pieces:
    """A file in pieces. Calls `sent` with the size of each after it was sent."""

    def __init__(self, file: Path, sent: Callable[[int], None]) -> None:
        self.file, self.size, self.sent = file, file.stat().st_size, sent

    def __iter__(self) -> Iterator[bytes]:
        with self.file.open("rb") as opened:
            while piece := opened.read(PIECE):
                yield piece
                self.sent(len(piece))


def _as_text(parameters: Mapping[str, object]) -> dict[str, str]:
    def text(value: object) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))

    return {name: text(value) for name, value in parameters.items() if value is not None}


def _read(status: int, body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise CallFailed(f"the answer (HTTP {status}) is not from a Backfleet server; check --endpoint")
    if status >= 300 or answer.get("Success") is False:
        raise CallFailed(str(answer.get("Message", f"HTTP {status}")), answer)
    return answer


def _reason(problem: Exception) -> str:
    text = str(problem)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "its certificate is not signed by a trusted authority; name the right one with --ca FILE"
    if "Connection refused" in text:
        return "connection refused; is `backfleet serve` running there?"
    return text[:300]
