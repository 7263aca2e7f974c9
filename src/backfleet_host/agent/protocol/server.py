"""The server as this host reaches it: HTTPS against the pinned authority, every answer bounded in size and time."""

from __future__ import annotations

import contextlib
import os
import ssl
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, Mapping, Optional
from urllib.parse import urlsplit

import urllib3

from backfleet_host import VERSION
from backfleet_host.agent import machine
from backfleet_host.agent.protocol.request_signature import RequestSigner
from backfleet_host.layout import DEFAULT_ROOT
from backfleet_host.proxy import BadProxy, bare, proxy_for
from backfleet_host.proxy import proxy_authorization as proxy_authorization  # noqa: PLC0414 - the socket asks for it here
from backfleet_host.web import connections, plainly

REQUEST_SECONDS = 5.0  # protocol page, section 14
LIST_SECONDS = 8.0
LARGEST_ANSWER = 1 << 20  # bytes
USER_AGENT = f"linux_{machine.architecture()}/backfleet-{VERSION}"

_READ_AT_ONCE = 64 * 1024  # bytes


class Unreachable(Exception):
    """No answer: no connection, none in time, or an endless one. The text says which and where."""


class WrongAuthority(Unreachable):
    """Somebody answered who is not signed by the pinned authority."""


class BadAddress(ValueError):
    """Not HOST:PORT; the text shows what was found."""


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    body: bytes

    @property
    def taken(self) -> bool:
        """Whether the server has a report: a 400 too is never answered better by sending it again (section 1.4)."""
        return 200 <= self.status < 300 or self.status == 400


@dataclass(frozen=True)
class Address:
    """HOST:PORT, with a path if the server stands under one."""

    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}{self.path}"


def read_address(text: str) -> Address:
    """An address from its text; port 443 if it names none.

    Raises:
        BadAddress: a scheme, a blank, a name and password, or a port that is none.
    """
    parts = urlsplit(f"//{text}")
    try:
        port = parts.port or 443
    except ValueError:
        port = -1
    plain = not (parts.query or parts.fragment or "@" in parts.netloc or "//" in text or text.split() != [text])
    if not parts.hostname or port < 0 or not plain:
        raise BadAddress(f"the server must be HOST:PORT (for example backfleet.example.com:8443), not {text!r}")
    return Address(parts.hostname, port, parts.path.rstrip("/"))


def tls_towards(authority: Path) -> ssl.SSLContext:
    """A client context that trusts this authority and no other; TLS 1.2 or newer.

    Raises:
        OSError: the file cannot be read, or holds no certificate (ssl.SSLError).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cafile=str(authority))
    return context


def proxy_of(root: Path = DEFAULT_ROOT, environment: Mapping[str, str] = os.environ) -> str:
    """The proxy that everything of this root goes through, "" for none.

    Raises:
        BadAddress: another kind of proxy, or none that can be read. The text does not show it: it may hold a password.
    """
    try:
        return proxy_for(_etc_of(root), environment)
    except BadProxy as problem:
        raise BadAddress(str(problem)) from None


def _etc_of(root: Path) -> Path:
    """As Site.etc, for a root that may not be enrolled yet."""
    return (Path("/") if root == DEFAULT_ROOT else root) / "etc" / "backfleet"


class Server:
    """Requests to one server. Threads may share it. With a signer, every request carries fresh identity headers."""

    def __init__(
        self, address: Address, tls: ssl.SSLContext, *, signer: Optional[RequestSigner] = None, proxy: str = ""
    ) -> None:
        self.address, self.tls, self.proxy = address, tls, proxy
        self._signer = signer
        self._client_address = machine.address_towards(address.host, address.port)
        settings: Dict[str, Any] = {"ssl_context": tls, "retries": False, "maxsize": 4}
        self._pool = connections(proxy, **settings)

    def __repr__(self) -> str:
        return f"Server({self.address})"

    def close(self) -> None:
        """End the connections that are kept for the next request."""
        self._pool.clear()

    def url(self, scheme: str, path: str) -> str:
        """The address of a path on this server."""
        return f"{scheme}://{self.address}{path}"

    def headers(self) -> Dict[str, str]:
        """Headers of one attempt: who we are and, once enrolled, the signer of it."""
        said = {"User-Agent": USER_AGENT}
        if self._signer is not None:
            if self._client_address:
                said["X-Client-Ip"] = self._client_address
            said.update(self._signer.headers(int(time.time() * 1000), str(uuid.uuid4())))
        return said

    def get(self, path: str, *, seconds: float = REQUEST_SECONDS, largest: int = LARGEST_ANSWER) -> Answer:
        """One attempt.

        Raises:
            Unreachable: no whole answer of at most `largest` bytes within `seconds`.
        """
        return self._ask("GET", path, None, "", seconds, largest)

    def post(
        self,
        path: str,
        body: bytes = b"",
        *,
        kind: str = "text/plain; charset=utf-8",
        seconds: float = REQUEST_SECONDS,
        largest: int = LARGEST_ANSWER,
    ) -> Answer:
        """One attempt, like `get`, with a body."""
        return self._ask("POST", path, body, kind, seconds, largest)

    def _ask(self, method: str, path: str, body: Optional[bytes], kind: str, seconds: float, largest: int) -> Answer:
        until = time.monotonic() + seconds
        headers = {**self.headers(), **({"Content-Type": kind} if kind else {})}
        with self._troubles_named():
            response = self._pool.request(
                method,
                self.url("https", path),
                body=body,
                headers=headers,
                redirect=False,  # a redirected POST would lose its body
                preload_content=False,
                timeout=urllib3.Timeout(connect=seconds, read=seconds),
            )
            try:
                return Answer(response.status, _read(response, largest, until))
            except BaseException:
                response.close()  # what is left of the answer must not be taken for the next one's
                raise
            finally:
                response.release_conn()

    @contextlib.contextmanager
    def _troubles_named(self) -> Iterator[None]:
        try:
            yield
        except urllib3.exceptions.SSLError as problem:
            raise _tls_trouble(self.address, problem) from None
        except urllib3.exceptions.HTTPError as problem:
            raise Unreachable(f"{self.address} cannot be reached{self._by_way()}: {plainly(problem)}") from None

    def _by_way(self) -> str:
        return f" through the proxy {bare(self.proxy)}" if self.proxy else ""


def _read(response: Any, largest: int, until: float) -> bytes:
    found = bytearray()
    while piece := response.read1(_READ_AT_ONCE):  # what there is: a byte now and then must not hold us
        found += piece
        if len(found) > largest:
            raise Unreachable(f"the answer is longer than {largest} bytes")
        if time.monotonic() > until:
            raise Unreachable("the answer did not end in time")
    return bytes(found)


def _tls_trouble(address: Address, problem: Exception) -> Unreachable:
    if "CERTIFICATE_VERIFY_FAILED" in str(problem):
        reason = str(problem).split("certificate verify failed:", 1)[-1].split("(_ssl", 1)[0].strip(" '\"),")
        return WrongAuthority(f"{address} is not who it must be: {reason}")
    return Unreachable(f"{address} does not speak TLS as it must: {plainly(problem)}")
