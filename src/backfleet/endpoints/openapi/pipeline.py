"""The pipeline of one request, from bytes to bytes.

 1. limits      the server's own: request line, header fields; here: the body's size, time and encoding
 2. parse       method, query and form, decoded strictly; a name that is given twice is refused
 3. operation   product version and action
 4. protocol    TLS where the setting demands it
 5. signed      what every signed request carries, V1 or V3
 6. key         exists and is active; a temporary one: its token opens, belongs to the key, and has not expired
 7. time        within the window, either way
 8. signature   over the exact request, in constant time
 9. throttle    the account's calls of this operation, over all replicas; an anonymous caller's by their address
10. nonce       used once, durable, shared by replicas; spent only after the signature, so that only key holders can
11. authorise   policies decide; one row of audit, in one transaction with 10
12. upload      of operations that take a file: only now is the body read, to disk, and compared with the signed hash
13. run
14. answer

Steps 1 to 5, 12 and 14 are in this package, 6 to 8 in its `callers`, 9 to 11 and 13 in `operations.perform`. A call
without a signature, of an operation that takes such calls, skips steps 5 to 8 and 10.

Key and time come before the signature so that the caller gets the precise code. The order reveals no more than whether
a key id exists, which the protocol reveals anyway.
"""

import functools
import logging
import time
import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from aiohttp import web
from prometheus_client import Counter, Histogram

from backfleet import identity, tracing
from backfleet.clock import Clock
from backfleet.endpoints.openapi import received
from backfleet.endpoints.openapi.authentication import (
    BODY_CHANGED,
    SignedRequest,
    is_signed,
    read_signed_request,
    refuse_bearer,
)
from backfleet.endpoints.openapi.bodies import check_announced, read_body, uploaded
from backfleet.endpoints.openapi.callers import authenticate
from backfleet.endpoints.openapi.received import Received, receive_under
from backfleet.failpoints import failpoint
from backfleet.operations.catalogue import Answer, Call, Operation, Services, find
from backfleet.operations.perform import Authenticated, Performer
from backfleet.peers import peer_of
from backfleet.short_answers import Answer as ShortAnswer
from backfleet.short_requests import AnyRequest, ShortRequest
from backfleet.storage import CallLimit, Transaction, Unavailable
from backfleet.wire import answers
from backfleet.wire.errors import (
    ApiError,
    IncompleteSignature,
    InternalError,
    InvalidSignatureMethod,
    NeedsTls,
    NonceUsed,
    ServiceUnavailable,
    SignatureDoesNotMatch,
)

HELD = "x-backfleet-held"  # the header of every answer while the server is held after a restore
UPLOAD_SCHEME = "ACS3-HMAC-SHA256"  # the one whose hash of the body is also the artifact's name

REQUESTS = Counter("backfleet_api_requests_total", "Answered requests.", ["product", "action", "code"])
SECONDS = Histogram("backfleet_api_request_seconds", "From the first byte to the answer.", ["product", "action"])

log = logging.getLogger(__name__)


class OpenApiEndpoint:
    """Answers API requests."""

    def __init__(self, services: Services, performer: Performer, clock: Clock) -> None:
        self._services, self._performer, self._clock = services, performer, clock
        self._settings = services.settings
        self._keys = identity.KeyCache()

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a request that the HTTP server has read."""
        found = await self._answer_all(request)
        return web.Response(status=found.status, body=found.body, headers={**found.headers, **self._held_headers()})

    async def answer_short(self, request: ShortRequest) -> ShortAnswer:
        """Answer a request that was short."""
        found = await self._answer_all(request)
        headers = {**found.headers, **self._held_headers()}
        return ShortAnswer(found.body, found.status, headers.pop("Content-Type"), headers)

    async def _answer_all(self, request: AnyRequest) -> answers.WireAnswer:
        """Run the pipeline. Every failure becomes an answer in the protocol's form."""
        began = time.perf_counter()
        context = RequestContext(str(uuid.uuid4()).upper(), self._limit(request))
        if tracing.is_on():
            context.outer = tracing.read_traceparent(request.headers.get("traceparent", ""))
            context.place = tracing.new_parent(context.outer)
        arrived_at = self._clock()
        try:
            found = await self._answer(request, context)
        except ApiError as problem:
            found = context.failed(problem, request)
        except Unavailable as problem:
            log.warning("%s", problem, extra=context.log_fields)
            found = context.failed(ServiceUnavailable(str(problem)), request)
        except Exception:
            log.exception("a request failed", extra=context.log_fields)
            found = context.failed(InternalError(), request)
        _record(context, found.status, time.perf_counter() - began, arrived_at)
        failpoint("answer ready")
        return found

    def _held_headers(self) -> dict[str, str]:
        """Return what an answer says if the server was held when that was last asked."""
        watch = self._services.hold
        is_held = watch is not None and watch.restore is not None and watch.restore.is_held
        return {HELD: "true"} if is_held else {}

    async def _answer(self, request: AnyRequest, context: "RequestContext") -> answers.WireAnswer:
        operation, arrived = await self._read(request, context)  # 1 to 3
        self._check_protocol(operation, arrived, request)  # 4
        result = await self._perform(request, context, operation, arrived)  # 5 to 13
        return answers.success(operation.name, result, context.request_id, xml=context.xml)  # 14

    async def _read(self, request: AnyRequest, context: "RequestContext") -> tuple[Operation, Received]:
        """Steps 1 to 3. V3 names the operation in its headers, so that the body of an upload can be read later."""
        received.check_method(request.method)
        headers, repeated = received.read_headers(request.raw_headers)
        operation = None
        if received.signed_by_v3(headers):
            operation = find(received.named_in_header(headers, "Version"), received.named_in_header(headers, "Action"))
            context.is_for(operation)
        streams = operation is not None and operation.streams
        body = b"" if streams else await read_body(request, self._settings.body_limit)
        arrived = receive_under(headers, repeated, request.method, request.rel_url.raw_query_string, body)
        context.xml = arrived.wants_xml
        refuse_bearer(arrived)
        operation = operation or find(arrived.version, arrived.action)
        context.is_for(operation)
        return operation, arrived

    def _check_protocol(self, operation: Operation, arrived: Received, request: AnyRequest) -> None:
        if operation.needs_tls and self._settings.require_tls and not peer_of(request).secure:
            raise NeedsTls
        if not operation.streams:
            return
        if not arrived.is_v3:
            raise IncompleteSignature("a file is uploaded with signature V3, for V1 does not cover the body")
        if not arrived.headers["authorization"].startswith(f"{UPLOAD_SCHEME} "):
            raise InvalidSignatureMethod(arrived.headers["authorization"].partition(" ")[0])
        check_announced(request, self._settings.upload_limit)

    async def _perform(
        self, request: AnyRequest, context: "RequestContext", operation: Operation, arrived: Received
    ) -> Answer:
        """Steps 5 to 13. Raises ApiError."""
        if operation.anonymous and not is_signed(arrived):
            call = self._call(request, context, identity.ANONYMOUS)
            return await self._performer.perform(operation, arrived.flat, lambda: Authenticated(call))
        signed = read_signed_request(arrived, body_follows=operation.streams)
        if operation.streams:
            return await self._perform_upload(request, context, operation, arrived, signed)
        try:
            return await self._performer.perform(
                operation, arrived.flat, lambda: self._authenticate(request, context, signed, self._keys)
            )
        except identity.KeyChanged:  # nothing was written: what the key is now decides
            self._keys.drop(signed.access_key_id)
            return await self._performer.perform(
                operation, arrived.flat, lambda: self._authenticate(request, context, signed, identity.KeyCache())
            )

    async def _perform_upload(
        self,
        request: AnyRequest,
        context: "RequestContext",
        operation: Operation,
        arrived: Received,
        signed: SignedRequest,
    ) -> Answer:
        performer, settings = self._performer, self._settings
        authenticated = await performer.in_thread(
            lambda: self._authenticate(request, context, signed, identity.KeyCache())
        )
        admitted = await performer.admit(operation, arrived.flat, authenticated)
        async with AsyncExitStack() as until_performed:
            try:
                upload = await until_performed.enter_async_context(
                    uploaded(request, settings.data / "incoming", settings.upload_limit, performer.in_thread)
                )
                if upload.sha256 != arrived.headers["x-acs-content-sha256"]:
                    raise SignatureDoesNotMatch(signed.string_to_sign, BODY_CHANGED)
            except ApiError as problem:
                await performer.note_failure(authenticated.call, problem.code)
                raise
            call = replace(authenticated.call, upload=upload)
            return await performer.run(admitted, call.within(self._limit(request)))  # the upload's time does not count

    def _authenticate(
        self, request: AnyRequest, context: "RequestContext", signed: SignedRequest, known: identity.KeyCache
    ) -> Authenticated:
        """Steps 6 to 8, and the nonce for step 10. Blocks. Raises ApiError."""
        signer = authenticate(self._services, known, signed, self._clock())
        call = self._call(request, context, signer.caller)
        is_retry = request.headers.get("x-acs-retry-attempts", "0") != "0"  # newer official clients say so
        return Authenticated(
            call, signed.access_key_id, lambda tx: self._spend_nonce(tx, signed, signer.key, call.now), is_retry
        )

    def _spend_nonce(
        self, tx: Transaction, signed: SignedRequest, key: identity.SealedKey | None, now: datetime
    ) -> None:
        keep = timedelta(seconds=self._settings.nonce_seconds)
        if key is None:
            is_new = identity.spend_nonce(tx, signed.access_key_id, signed.nonce, now=now, keep=keep)
        else:
            is_new = identity.spend_nonce_of(tx, key, signed.nonce, now=now, keep=keep)
        if not is_new:
            raise NonceUsed

    def _limit(self, request: AnyRequest) -> CallLimit:
        """Return the limit of a call that begins now: it changes nothing once its caller has gone."""

        def is_gone() -> bool:
            transport = request.transport
            return transport is None or transport.is_closing()

        return CallLimit(time.monotonic() + self._settings.call_seconds, is_gone)

    def _call(self, request: AnyRequest, context: "RequestContext", caller: identity.Caller) -> Call:
        peer = peer_of(request)
        return Call(
            request_id=context.request_id,
            caller=caller,
            region=self._settings.region,
            now=self._clock(),
            source_ip=peer.address,
            secure=peer.secure,
            services=self._services.within(context.limit),
            user_agent=request.headers.get("User-Agent", ""),
            traceparent=str(context.place or ""),
        )


@dataclass
class RequestContext:
    """What is known about a request so far. Names are the catalogue's only: metric labels must stay bounded."""

    request_id: str
    limit: CallLimit
    product: str = ""
    action: str = ""
    code: str = "OK"
    xml: bool = False
    outer: tracing.Parent | None = None  # the caller's place in a trace
    place: tracing.Parent | None = None  # the call's own; None = no traces are recorded

    @property
    def log_fields(self) -> dict[str, str]:
        """Return what log records name a request by."""
        return {"request_id": self.request_id, "action": self.action}

    def is_for(self, operation: Operation) -> None:
        """Note the operation that is asked for."""
        self.product, self.action = operation.product.code, operation.name

    def failed(self, problem: ApiError, request: AnyRequest) -> answers.WireAnswer:
        """Note the refusal and return its answer."""
        self.code = problem.code
        return answers.failure(problem, self.request_id, request.headers.get("Host", ""), xml=self.xml)


@functools.lru_cache(maxsize=1024)
def _counted(product: str, action: str, code: str) -> tuple[Counter, Histogram]:
    """Return what counts the answers with this code, and how long the action's take."""
    return REQUESTS.labels(product, action, code), SECONDS.labels(product, action)


def _record(context: RequestContext, status: int, seconds: float, arrived_at: datetime) -> None:
    """Count, log and trace an answer."""
    count, duration = _counted(context.product, context.action, context.code)
    count.inc()
    duration.observe(seconds)
    # No parameter, header or address: some are secrets, and the audit trail has the caller and the address.
    if log.isEnabledFor(logging.INFO):
        log.info(
            "answered",
            extra={
                **context.log_fields,
                "product": context.product,
                "status": status,
                "code": context.code,
                "milliseconds": round(seconds * 1000, 1),
            },
        )
    if context.place is not None:
        tracing.record(
            tracing.Span(
                name=f"call {context.product} {context.action}".rstrip(),
                trace_id=context.place.trace_id,
                span_id=context.place.span_id,
                parent_id=context.outer.span_id if context.outer else "",
                began=arrived_at,
                ended=arrived_at + timedelta(seconds=seconds),
                attributes={**context.log_fields, "product": context.product, "status": status, "code": context.code},
                error="" if context.code == "OK" else context.code,
                is_from_outside=True,
            )
        )
