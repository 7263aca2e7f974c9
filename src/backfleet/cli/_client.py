"""The command line's API client: V3 signatures over HTTP or TLS, like those of official clients."""

import contextlib
import functools
import hashlib
import json
import random
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from backfleet.cli._credentials import Connection
from backfleet.cli._print import say, wants_json
from backfleet.cli._repeats import Repeats, how_to_find_out, repeats_of, with_token
from backfleet.cli._schemes import wrong_scheme
from backfleet.clock import Clock, utc_now
from backfleet.values import value_object
from backfleet.wire import signing
from backfleet.wire.errors import SignatureDoesNotMatch
from backfleet_host.retries import backoff_seconds, retry_after_seconds

CONNECT_SECONDS = 5  # until the server accepts the connection
WRITE_SECONDS = 60  # without one piece of an upload getting on its way: slow lines are slow, not broken
READ_SECONDS = 60
UPLOAD_SECONDS = 3600  # for the answer, after the last byte was sent: the server reads the file through
PIECE = 64 << 10  # bytes sent at a time: Python's limit is for a piece as a whole, so even 2 KB/s suffices
UPLOAD_TRIES = 4
BUSY_TRIES = 4  # of a call that may be made again
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 15.0  # seconds between them
MILLISECONDS = re.compile(r"[0-9]{1,9}")
LONGEST_QUERY = 4000  # characters of parameters in an address; more travel as a body
HELD = "x-backfleet-held"  # a header of answers while the server is held after a restore
FORM = "application/x-www-form-urlencoded"
ABOUT_THE_KEY = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSecurityToken", "MissingSecurityToken")
"""How codes begin of refusals of a key: which one it was, people want to know."""

VERSIONS = {
    "hbr": "2017-09-08",
    "ecs": "2014-05-26",
    "sts": "2015-04-01",
    "ram": "2015-05-01",
    "backfleet": "2026-11-01",
}


_THROTTLED = 429  # refused before anything was done
_BUSY = (_THROTTLED, 502, 503, 504)
_INTERRUPTIONS = (
    urllib3.exceptions.ProtocolError,  # reset, closed, or a write that took too long
    urllib3.exceptions.ReadTimeoutError,
)
_FOR_GOOD = (urllib3.exceptions.LocationValueError, urllib3.exceptions.URLSchemeUnknown)


class CallFailed(Exception):
    """The server refused a call, or could not be reached: then `answer` is empty and `status` 0."""

    def __init__(self, message: str, answer: Mapping[str, Any] | None = None, status: int = 0) -> None:
        super().__init__(message)
        self.message, self.answer, self.status = message, dict(answer or {}), status
        self.retry_after = 0.0  # seconds that the server asks to wait; 0 = it does not say
        self.may_be_scheme = False  # the listener may speak the other one

    @property
    def is_busy(self) -> bool:
        """Whether the server, or a balancer in front of it, asks to come again later."""
        return self.status in _BUSY

    @property
    def may_pass(self) -> bool:
        """Whether the same call may succeed later, although nothing is changed here."""
        return self.is_busy or (not self.status and not self.answer)


class CallRefusedHere(CallFailed):
    """The call cannot be made from here: a wrong address or scheme, or the server's certificate is not trusted."""

    @property
    def may_pass(self) -> bool:
        """Never: somebody has to correct it."""
        return False


@functools.cache
def note_held() -> None:
    """Say on stderr, once, that the server is held after a restore."""
    say("backfleet: the server is HELD after a restore, and moves nothing: see `backfleet server show`", err=True)


@functools.lru_cache(maxsize=32)
def note_busy(message: str) -> None:
    """Say on stderr, once, that a busy server is asked again. Under --json there is nothing but JSON."""
    if not wants_json():
        say(f"{message.rstrip('.')}; trying again", err=True)


_is_once: ContextVar[bool] = ContextVar("is_once", default=False)


@contextlib.contextmanager
def once() -> Iterator[None]:
    """Make each call once only: who uses this tries again by itself, and says so."""
    before = _is_once.set(True)
    try:
        yield
    finally:
        _is_once.reset(before)


class CallInterrupted(CallFailed):
    """The connection was made, and broke or went silent before there was an answer: the call may be made again."""


class _PlainConnection(HTTPConnection):
    """A connection with one time-out for connecting and another for each write; urllib3 has one for both."""

    def connect(self) -> None:
        super().connect()
        _set_write_timeout(self)


class _TlsConnection(HTTPSConnection):
    """As `_PlainConnection`, over TLS."""

    def connect(self) -> None:
        super().connect()
        _set_write_timeout(self)


def _set_write_timeout(connection: HTTPConnection) -> None:
    if connection.sock is not None:
        connection.sock.settimeout(WRITE_SECONDS)


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


@value_object
class Client:
    """Calls the operations of one server with one key."""

    connection: Connection
    clock: Clock
    read_seconds: float = READ_SECONDS  # until a call is answered

    def region(self) -> str:
        """Return the region to name in calls: the profile's, else the server's own."""
        return self.connection.region or str(self.call("backfleet", "DescribeServer")["RegionId"])

    def call(self, product: str, action: str, **parameters: object) -> dict[str, Any]:
        """Call an operation and return its answer.

        Args:
            product: The product's code, such as `hbr`.
            action: The operation's name.
            parameters: By their names on the wire. None is left out; lists and dicts travel as JSON text.

        A call that may be made again is, a few times, where the server is busy or the connection breaks. It may if it
        changes nothing, leads to the same state again, or has a ClientToken: it is given one where its operation takes
        one. Any other is made again only where the server refused to begin it.

        Raises:
            CallFailed: the server refused the call or did not answer.
        """
        values, repeats = with_token(action, _as_text(parameters)), repeats_of(action)
        tries = 1 if _is_once.get() else BUSY_TRIES
        for number in range(tries):
            try:
                return self._call(product, action, values)
            except CallFailed as problem:
                if number == 0:
                    _refuse_wrong_scheme(self.connection.endpoint, problem)
                is_unknown = isinstance(problem, CallInterrupted) or (problem.is_busy and problem.status != _THROTTLED)
                if is_unknown and repeats is Repeats.IF_NOT_DONE:
                    problem.message = f"{problem.message.rstrip('.')}; {how_to_find_out(action)}"
                    raise
                if number == tries - 1 or not (is_unknown or problem.is_busy):
                    raise
                note_busy(problem.message)
                pause = backoff_seconds(number, FIRST_PAUSE, LONGEST_PAUSE, random.random())  # noqa: S311 -- spreads load
                time.sleep(min(LONGEST_PAUSE, max(pause, problem.retry_after)))
        raise AssertionError("the last try returns or raises")

    def _call(self, product: str, action: str, values: Mapping[str, str]) -> dict[str, Any]:
        if len(urlencode(values)) <= LONGEST_QUERY:
            return self._send(
                product, action, values, hashlib.sha256(b"").hexdigest(), body=None, seconds=self.read_seconds
            )
        form = _Form(values)
        return self._send(product, action, {}, form.digest, body=form, seconds=self.read_seconds)

    def upload(
        self,
        action: str,
        file: Path,
        sent: Callable[[int], None],
        restarting: Callable[[str], None] | None = None,
        **parameters: object,
    ) -> dict[str, Any]:
        """Call an operation of the Backfleet API that takes a file. The file is streamed.

        Args:
            action: The operation's name.
            file: What is uploaded.
            sent: Called with the number of bytes that were sent since the last call; negative where it begins anew.
            restarting: Called with the reason before an upload whose connection broke begins anew. None: it does not,
                for the operation must not be carried out twice.
            parameters: By their names on the wire.

        Raises:
            CallFailed: the server refused the call or did not answer.
        """
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        query = _as_text(parameters)
        for number in range(1, UPLOAD_TRIES + 1):
            body = _Pieces(file, sent)
            try:
                return self._send("backfleet", action, query, digest, body=body, seconds=UPLOAD_SECONDS)
            except CallFailed as problem:
                if number == 1:
                    _refuse_wrong_scheme(self.connection.endpoint, problem)
                if not isinstance(problem, CallInterrupted) or restarting is None or number == UPLOAD_TRIES:
                    raise
                sent(-body.done)
                restarting(problem.message)
        raise AssertionError("the last try returns or raises")

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
            raise _unanswered(self.connection.endpoint, problem) from None
        if answer.headers.get(HELD):
            note_held()
        try:
            return _read(answer.status, answer.data)
        except CallFailed as problem:
            problem.retry_after = _asked_pause(answer.headers)
            if self.connection.key_origin and str(problem.answer.get("Code", "")).startswith(ABOUT_THE_KEY):
                problem.message = f"{problem.message.rstrip('.')}. The key is {self.connection.key_origin}"
            raise

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
        pool = urllib3.PoolManager(ssl_context=self.connection.trust())
        pool.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}
        return pool


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
        self.file, self.size, self.sent, self.done = file, file.stat().st_size, sent, 0

    def __iter__(self) -> Iterator[bytes]:
        with self.file.open("rb") as opened:
            while piece := opened.read(PIECE):
                yield piece
                self.done += len(piece)
                self.sent(len(piece))


def _asked_pause(headers: Mapping[str, str]) -> float:
    """Return the wait in seconds that an answer asks for: as HTTP says it, or as a throttled call of the cloud does."""
    milliseconds = headers.get("x-acs-retry-after", "")
    return int(milliseconds) / 1000 if MILLISECONDS.fullmatch(milliseconds) else retry_after_seconds(headers)


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
        raise CallFailed(f"the answer (HTTP {status}) is not from a Backfleet server; check --endpoint", {}, status)
    if status >= 300 or answer.get("Success") is False:
        if answer.get("Code") == SignatureDoesNotMatch.code:  # its message is what was signed: nothing for people
            raise CallFailed(SignatureDoesNotMatch.advice, answer, status)
        raise CallFailed(str(answer.get("Message", f"HTTP {status}")), answer, status)
    return answer


def _unanswered(endpoint: str, problem: urllib3.exceptions.HTTPError) -> CallFailed:
    """Return what is raised where a call got no answer."""
    interrupted = isinstance(problem, _INTERRUPTIONS)
    is_ours = isinstance(problem, _FOR_GOOD) or "CERTIFICATE_VERIFY_FAILED" in str(problem)
    kind = CallInterrupted if interrupted else CallRefusedHere if is_ours else CallFailed
    found = kind(f"{endpoint} does not answer: {_reason(problem)}")
    # One that is silent would be so again, for seconds.
    of_schemes = urllib3.exceptions.ProtocolError | urllib3.exceptions.SSLError
    found.may_be_scheme = not is_ours and isinstance(problem, of_schemes)
    return found


def _refuse_wrong_scheme(endpoint: str, problem: CallFailed) -> None:
    """Raise what is wrong with the scheme of the address, if that is why a call was not answered.

    It costs connections, so it is asked after the first try only: what fails later was answered, or understood, before.
    """
    if problem.may_be_scheme and (wrong := wrong_scheme(endpoint)) is not None:
        raise CallRefusedHere(f"{endpoint} cannot be called so: {wrong.found}; {wrong.advice}") from None


def _reason(problem: Exception) -> str:
    text = str(problem)
    if any(words in text for words in ("certificate is not yet valid", "certificate has expired")):
        here = utc_now().strftime("%Y-%m-%d %H:%M:%S UTC")
        return (
            f"its certificate is not valid now by this machine's clock, which shows {here}; if that is wrong, set it "
            "(`timedatectl set-ntp true`), else restart `backfleet serve`, which renews the certificate"
        )
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "its certificate is not signed by a trusted authority; name the right one with --ca FILE"
    if "Connection refused" in text:
        return "connection refused; is `backfleet serve` running there?"
    return text[:300]
