"""One request's journey, from bytes to bytes.

 1. limits      the server's own: request line, header fields; here: the body's size, time and encoding
 2. parse       method, query and form, decoded strictly; a name given twice is refused
 3. operation   product version and action
 4. protocol    TLS where the setting demands it
 5. claim       what every signed request carries, V1 or V3
 6. key         exists, is active; or temporary: its token opens, is this key's, and its time is not over
 7. time        within the window, either way
 8. signature   over the exact request, in constant time
 9. throttle    the account's calls of this operation, counted over all replicas; a stranger's by their address
10. nonce       once, durable, shared by replicas; spent only after the signature held, so that no stranger can
11. authorise   policies decide; one row of audit, in one transaction with 10
12. upload      of operations that take a file: only now is the body read, to disk, and held against the signed hash
13. perform
14. answer

A token is opened without a question to the database; whether its session still stands is looked up after the
signature. An operation that takes anonymous calls skips steps 5 to 8 and 10 for a call that carries no signature.

Key and time come before the signature so that a caller sees the precise code; the order gives away no more than whether
a key id exists, which the protocol tells anyway.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from aiohttp import web
from prometheus_client import Counter, Histogram

from backfleet import identity
from backfleet.clock import Clock
from backfleet.endpoints.openapi import received
from backfleet.endpoints.openapi.authentication import BODY_CHANGED, Claim, is_signed, read_claim, refuse_bearer
from backfleet.endpoints.openapi.bodies import check_announced, read_body, uploaded
from backfleet.endpoints.openapi.received import Received, receive
from backfleet.failpoints import failpoint
from backfleet.operations import perform
from backfleet.operations.catalogue import Call, Operation, Services, find
from backfleet.operations.throttling import Rate, Throttle, Throttled
from backfleet.storage import AWAY, Transaction
from backfleet.wire import answers
from backfleet.wire.errors import (
    ApiError,
    IncompleteSignature,
    InternalError,
    InvalidSignatureMethod,
    KeyInactive,
    KeyNotFound,
    NeedsTls,
    NonceUsed,
    ServiceUnavailable,
    SignatureDoesNotMatch,
    ThrottlingUser,
    TokenExpired,
    TokenMalformed,
    TokenOfAnotherKey,
)

THREADS = 6  # requests at work at once, more wait: beyond this they only wait for each other (bench/RESULTS.md)
UPLOAD_SCHEME = "ACS3-HMAC-SHA256"  # the one whose hash of the body is also the artifact's name

REQUESTS = Counter("backfleet_api_requests_total", "Answered requests.", ["product", "action", "code"])
SECONDS = Histogram("backfleet_api_request_seconds", "From the first byte to the answer.", ["product", "action"])

log = logging.getLogger(__name__)
Found = TypeVar("Found")


class Door:
    """Answers requests; holds nothing of them but how many there were."""

    def __init__(self, services: Services, clock: Clock) -> None:
        self._services, self._clock = services, clock
        self._settings = services.settings
        self._throttle = Throttle(
            services.database, Rate(services.settings.calls_per_second, services.settings.calls_burst)
        )
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="api")

    async def answer(self, request: web.Request) -> web.Response:
        """The whole journey; whatever goes wrong becomes an answer of the protocol's form."""
        began = time.perf_counter()
        trip = _Trip(str(uuid.uuid4()).upper())
        try:
            found = await self._travel(request, trip)
        except ApiError as problem:
            found = trip.failed(problem, request)
        except AWAY:
            log.warning("the database is away", extra={"request_id": trip.request_id, "action": trip.action})
            found = trip.failed(ServiceUnavailable(), request)
        except Exception:
            log.exception("a request failed", extra={"request_id": trip.request_id, "action": trip.action})
            found = trip.failed(InternalError(), request)
        _note(trip, found.status, time.perf_counter() - began)
        failpoint("answer ready")
        return web.Response(status=found.status, body=found.body, headers=found.headers)

    def close(self) -> None:
        """Take no more work."""
        self._threads.shutdown(wait=False)

    async def _travel(self, request: web.Request, trip: "_Trip") -> answers.WireAnswer:
        operation, arrived = await self._read(request, trip)  # 1 to 3
        self._check_protocol(operation, arrived, request)  # 4
        if operation.anonymous and not is_signed(arrived):
            call = self._call(request, trip, identity.ANONYMOUS)
            result = await self._in_thread(lambda: perform.run(self._admit(operation, call, arrived, None), call))
            return answers.success(operation.name, result, trip.request_id, xml=trip.xml)
        claim = read_claim(arrived, body_follows=operation.streams)  # 5
        if operation.streams:
            call = self._call(request, trip, await self._in_thread(lambda: self._prove(claim)))  # 6 to 8
            result = await self._perform_upload(request, operation, call, arrived, claim)  # 9 to 13
        else:
            result = await self._in_thread(lambda: self._perform(request, trip, operation, arrived, claim))
        return answers.success(operation.name, result, trip.request_id, xml=trip.xml)  # 14

    async def _read(self, request: web.Request, trip: "_Trip") -> tuple[Operation, Received]:
        """Steps 1 to 3. V3 names the operation in its headers, so that a file's body can be left where it is."""
        received.check_method(request.method)
        headers, _ = received.read_headers(request.raw_headers)
        operation = None
        if received.signed_by_v3(headers):
            operation = find(received.named_in_header(headers, "Version"), received.named_in_header(headers, "Action"))
            trip.is_for(operation)
        streams = operation is not None and operation.streams
        body = b"" if streams else await read_body(request, self._settings.body_limit)
        arrived = receive(request.method, request.rel_url.raw_query_string, request.raw_headers, body)
        trip.xml = arrived.wants_xml
        refuse_bearer(arrived)
        operation = operation or find(arrived.version, arrived.action)
        trip.is_for(operation)
        return operation, arrived

    def _check_protocol(self, operation: Operation, arrived: Received, request: web.Request) -> None:
        if operation.needs_tls and self._settings.require_tls and not request.secure:
            raise NeedsTls
        if not operation.streams:
            return
        if not arrived.is_v3:
            raise IncompleteSignature("a file is uploaded with signature V3, for V1 does not cover the body")
        if not arrived.headers["authorization"].startswith(f"{UPLOAD_SCHEME} "):
            raise InvalidSignatureMethod(arrived.headers["authorization"].partition(" ")[0])
        check_announced(request, self._settings.upload_limit)

    def _prove(self, claim: Claim) -> identity.Caller:
        """Steps 6 to 8. Raises ApiError."""
        now, window = self._clock(), timedelta(seconds=self._settings.time_window_seconds)
        if claim.security_token:
            return self._prove_session(claim, now, window)
        with self._services.database.reading() as tx:
            key = identity.find_key(tx, self._services.vault, claim.access_key_id)
        if key is None:
            raise KeyNotFound
        if not key.active:
            raise KeyInactive
        claim.check_time(now, window)
        claim.check_signature(key.secret)
        failpoint("signature held")
        return key.caller

    def _prove_session(self, claim: Claim, now: datetime, window: timedelta) -> identity.Caller:
        """Steps 6 to 8 for temporary credentials. Raises ApiError."""
        try:
            ticket = identity.open_token(self._services.vault, claim.security_token)
        except identity.TokenNotOurs:
            raise TokenMalformed from None
        if ticket.access_key_id != claim.access_key_id:
            raise TokenOfAnotherKey
        if ticket.is_over(now):
            raise TokenExpired
        claim.check_time(now, window)
        claim.check_signature(ticket.secret)
        with self._services.database.reading() as tx:
            caller = identity.session_caller(tx, ticket, now=now)
        if caller is None:
            raise TokenExpired
        return caller

    def _spend(self, tx: Transaction, claim: Claim, now: datetime) -> None:
        keep = timedelta(seconds=self._settings.nonce_seconds)
        if not identity.spend_nonce(tx, claim.access_key_id, claim.nonce, now=now, keep=keep):
            raise NonceUsed

    def _call(self, request: web.Request, trip: "_Trip", caller: identity.Caller) -> Call:
        return Call(
            request_id=trip.request_id,
            caller=caller,
            region=self._settings.region,
            now=self._clock(),
            source_ip=request.remote or "",
            secure=request.secure,
            services=self._services,
            user_agent=request.headers.get("User-Agent", ""),
        )

    def _perform(
        self, request: web.Request, trip: "_Trip", operation: Operation, arrived: Received, claim: Claim
    ) -> Mapping[str, Any]:
        """Steps 6 to 13 in one go: one hop to a thread instead of three. Raises ApiError."""
        call = self._call(request, trip, self._prove(claim))
        return perform.run(self._admit(operation, call, arrived, claim), call)

    def _admit(self, operation: Operation, call: Call, arrived: Received, claim: Claim | None) -> perform.Admitted:
        """Steps 9 to 11; without a claim for who is nobody. Raises ApiError."""
        action, named = f"{operation.product.code}:{operation.name}", call.caller != identity.ANONYMOUS
        try:
            self._throttle.spend(call.account_id if named else call.source_ip, action, call.now, shared=named)
        except Throttled as no:
            raise ThrottlingUser(no.wait) from None
        if claim is None:
            return perform.admit(operation, call, arrived.flat, "")
        # In one transaction with the verdict and its row of audit: each of their own would wait for the disk alone.
        return perform.admit(
            operation, call, arrived.flat, claim.access_key_id, first=lambda tx: self._spend(tx, claim, call.now)
        )

    async def _perform_upload(
        self, request: web.Request, operation: Operation, call: Call, arrived: Received, claim: Claim
    ) -> Mapping[str, Any]:
        admitted = await self._in_thread(lambda: self._admit(operation, call, arrived, claim))
        folder, limit = self._settings.data / "incoming", self._settings.upload_limit
        async with AsyncExitStack() as until_performed:
            try:
                upload = await until_performed.enter_async_context(uploaded(request, folder, limit, self._in_thread))
                if upload.sha256 != arrived.headers["x-acs-content-sha256"]:
                    raise SignatureDoesNotMatch(claim.string_to_sign, BODY_CHANGED)
            except ApiError as problem:
                code = problem.code
                await self._in_thread(lambda: perform.note_failure(call, code))
                raise
            return await self._in_thread(lambda: perform.run(admitted, replace(call, upload=upload)))

    async def _in_thread(self, work: Callable[[], Found]) -> Found:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


@dataclass
class _Trip:
    """What is known of a request so far. Only names of our catalogue: labels must not grow with strangers' words."""

    request_id: str
    product: str = ""
    action: str = ""
    code: str = "OK"
    xml: bool = False

    def is_for(self, operation: Operation) -> None:
        self.product, self.action = operation.product.code, operation.name

    def failed(self, problem: ApiError, request: web.Request) -> answers.WireAnswer:
        self.code = problem.code
        return answers.failure(problem, self.request_id, request.headers.get("Host", ""), xml=self.xml)


def _note(trip: _Trip, status: int, seconds: float) -> None:
    REQUESTS.labels(trip.product, trip.action, trip.code).inc()
    SECONDS.labels(trip.product, trip.action).observe(seconds)
    # No parameter, header or address: some are secrets, and the audit trail has who and whence.
    log.info(
        "answered",
        extra={
            "request_id": trip.request_id,
            "product": trip.product,
            "action": trip.action,
            "status": status,
            "code": trip.code,
            "milliseconds": round(seconds * 1000, 1),
        },
    )
