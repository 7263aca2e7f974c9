"""Requests to the server: HTTPS that trusts one certificate authority, with every answer limited in size and time."""

from __future__ import annotations

import contextlib
import http.client
import os
import ssl
import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, Iterator, Mapping, Optional
from urllib.parse import urlsplit

import urllib3

from backfleet_host import VERSION
from backfleet_host.agent import machine
from backfleet_host.agent.protocol.address import Address, BadAddress
from backfleet_host.agent.protocol.request_signature import RequestSigner
from backfleet_host.agent.protocol.wall_clock import certificate_advice, clock_trouble, server_time
from backfleet_host.contract import OWN_AGENT
from backfleet_host.layout import DEFAULT_ROOT, policy_folder
from backfleet_host.platforms import architecture_here
from backfleet_host.proxy import BadProxy, bare, proxy_authorization, proxy_for
from backfleet_host.web import connections, readable

REQUEST_SECONDS = 5.0  # protocol page, section 14
LIST_SECONDS = 8.0
LARGEST_ANSWER = 1 << 20  # bytes
USER_AGENT = f"linux_{architecture_here()}/{OWN_AGENT}{VERSION}"

_TIME_REASONS = ("certificate is not yet valid", "certificate has expired")  # of OpenSSL
_READ_AT_ONCE = 64 * 1024  # bytes


class Unreachable(Exception):
    """There is no answer: no connection, none in time, or one that is too long. The text says which and where."""


class WrongAuthority(Unreachable):
    """What answered has no certificate of the trusted authority for this address."""


class WrongClock(Unreachable):
    """The server's certificate is not valid at the time that this host's clock shows."""


@dataclass(frozen=True)
class Answer:
    """The status and body of an answer."""

    status: int
    body: bytes

    @property
    def is_final(self) -> bool:
        """Whether a report need not be sent again: the server has it, or (400) will never take it (section 1.4)."""
        return 200 <= self.status < 300 or self.status == 400


def tls_towards(authority: Path) -> ssl.SSLContext:
    """Return a client context that trusts this authority and no other, for TLS 1.2 or newer.

    Raises:
        OSError: the file cannot be read, or (ssl.SSLError) holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cafile=str(authority))
    return context


def proxy_of(root: Path = DEFAULT_ROOT, environment: Mapping[str, str] = os.environ) -> str:
    """Return the proxy that all requests of this root go through, or "" for none.

    Raises:
        BadAddress: it is another kind of proxy, or cannot be read. The text does not show it: it may hold a password.
    """
    try:
        return proxy_for(policy_folder(root), environment)
    except BadProxy as problem:
        raise BadAddress(str(problem)) from None


class Server:
    """A client of one server. Threads may share it. With a signer, each request carries identity headers of its own."""

    def __init__(
        self, address: Address, tls: ssl.SSLContext, *, signer: Optional[RequestSigner] = None, proxy: str = ""
    ) -> None:
        self.address, self.tls, self.proxy = address, tls, proxy
        self._signer = signer
        self.clock_trouble = ""  # how this host's clock differed from the server's at the last answer; "" if it did not
        self._client_address = machine.address_towards(address.host, address.port)
        settings: Dict[str, Any] = {"ssl_context": tls, "retries": False, "maxsize": 4}
        self._pool = connections(proxy, **settings)

    def __repr__(self) -> str:
        return f"Server({self.address})"

    def close(self) -> None:
        """Close the connections that are kept for the next request."""
        self._pool.clear()

    def url(self, scheme: str, path: str) -> str:
        """Return the URL of a path on this server."""
        return f"{scheme}://{self.address}{path}"

    def headers(self) -> Dict[str, str]:
        """Return the headers of one attempt: the program and, once enrolled, the signed identity of the host."""
        headers = {"User-Agent": USER_AGENT}
        if self._signer is not None:
            if self._client_address:
                headers["X-Client-Ip"] = self._client_address
            headers.update(self._signer.headers(int(time.time() * 1000), str(uuid.uuid4())))
        return headers

    def get(self, path: str, *, seconds: float = REQUEST_SECONDS, largest: int = LARGEST_ANSWER) -> Answer:
        """Make one GET request.

        Raises:
            Unreachable: there was no complete answer of at most `largest` bytes within `seconds`.
        """
        return self._request("GET", path, None, "", seconds, largest)

    def post(
        self,
        path: str,
        body: bytes = b"",
        *,
        content_type: str = "text/plain; charset=utf-8",
        seconds: float = REQUEST_SECONDS,
        largest: int = LARGEST_ANSWER,
    ) -> Answer:
        """Make one POST request; as `get`."""
        return self._request("POST", path, body, content_type, seconds, largest)

    def _request(
        self, method: str, path: str, body: Optional[bytes], content_type: str, seconds: float, largest: int
    ) -> Answer:
        until = time.monotonic() + seconds
        headers = {**self.headers(), **({"Content-Type": content_type} if content_type else {})}
        with self._failures_named():
            response = self._pool.request(
                method,
                self.url("https", path),
                body=body,
                headers=headers,
                redirect=False,  # a redirected POST would lose its body
                preload_content=False,
                timeout=urllib3.Timeout(connect=seconds, read=seconds),
            )
            self.clock_trouble = clock_trouble(_now(), server_time(response.headers.get("Date", "")))
            try:
                return Answer(response.status, _read(response, largest, until))
            except BaseException:
                response.close()  # else the next request on this connection would read the rest of this answer
                raise
            finally:
                response.release_conn()

    @contextlib.contextmanager
    def _failures_named(self) -> Iterator[None]:
        try:
            yield
        except urllib3.exceptions.SSLError as problem:
            raise self._tls_failure(problem) from None
        except urllib3.exceptions.HTTPError as problem:
            raise Unreachable(f"{self.address} cannot be reached{self._through_proxy()}: {readable(problem)}") from None

    def _tls_failure(self, problem: Exception) -> Unreachable:
        if "CERTIFICATE_VERIFY_FAILED" not in str(problem):
            return Unreachable(f"{self.address} does not speak TLS as expected: {readable(problem)}")
        reason = str(problem).split("certificate verify failed:", 1)[-1].split("(_ssl", 1)[0].strip(" '\"),")
        if not any(words in reason for words in _TIME_REASONS):
            return WrongAuthority(f"{self.address} does not have the certificate that it must have: {reason}")
        there = self._unverified_time()
        advice = clock_trouble(_now(), there) or certificate_advice(_now(), is_clock_right=there is not None)
        return WrongClock(f"{self.address} has a certificate that is not valid now by this host's clock: {advice}")

    def _unverified_time(self) -> Optional[datetime]:
        """Return the time that the server shows, for a message only: nobody has proved that it is the server."""
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        through = urlsplit(self.proxy or f"//{self.address}")
        connection = http.client.HTTPSConnection(
            through.hostname or "", through.port, context=tls, timeout=REQUEST_SECONDS
        )
        try:
            if self.proxy:
                headers = proxy_authorization(self.proxy)
                connection.set_tunnel(self.address.host, self.address.port, headers=headers)
            connection.request("GET", "/luban/api/connection_detect", headers={"User-Agent": USER_AGENT})
            return server_time(connection.getresponse().headers.get("Date", ""))
        except (http.client.HTTPException, OSError):
            return None
        finally:
            connection.close()

    def _through_proxy(self) -> str:
        return f" through the proxy {bare(self.proxy)}" if self.proxy else ""


def _read(response: Any, largest: int, until: float) -> bytes:
    found = bytearray()
    while piece := response.read1(_READ_AT_ONCE):  # read() would wait for all of it, and a slow server could hold us
        found += piece
        if len(found) > largest:
            raise Unreachable(f"the answer is longer than {largest} bytes")
        if time.monotonic() > until:
            raise Unreachable("the answer did not end in time")
    return bytes(found)


def _now() -> datetime:
    return datetime.now(timezone.utc)


def advice_on(status: int, trouble: str = "") -> str:
    """Return what a log line adds to a status that the server answered a signed request with.

    Args:
        status: the status.
        trouble: how the clocks differ, "" if they do not.
    """
    if status in {401, 403}:
        advice = trouble or "check that the clock is right and the instance registered"
        return f": it does not accept this host's identity; {advice}"
    return ""
