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

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta

from aiohttp import web

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
from backfleet.endpoints.openapi.bodies import body_of, check_announced, read_body, uploaded
from backfleet.endpoints.openapi.callers import authenticate
from backfleet.endpoints.openapi.contexts import Head, RequestContext, new_request_id, record
from backfleet.endpoints.openapi.received import Received, receive_under
from backfleet.failpoints import failpoint
from backfleet.operations.catalogue import Answer, Call, Operation, Services, find
from backfleet.operations.perform import Authenticated, Performer
from backfleet.peers import peer_of
from backfleet.short_answers import TEXT
from backfleet.short_answers import Answer as ShortAnswer
from backfleet.short_requests import AnyRequest, Reply, ShortRequest
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

    def begin_short(self, request: ShortRequest, reply: Reply) -> "asyncio.Future[None]":
        """Begin to answer a request that was short: all that is left to do is done in one of the performer's threads.

        The event loop is asked for it once, and once for the answer. Uploads are received as by the HTTP server.
        """
        loop = asyncio.get_running_loop()
        done, context = loop.create_future(), self._context_of(request)

        def give(answer: ShortAnswer) -> None:
            if not done.done():
                done.set_result(None)
            reply(answer)

        try:
            head = self._read_head(request, context)
            if head.is_for_upload:
                return loop.create_task(self._answer_short(request, reply))
            body = body_of(request, self._settings.body_limit)
            operation, arrived = self._read(request, context, head, body)  # 1 to 3
            self._check_protocol(operation, arrived, request)  # 4
            work = self._work(request, context, operation, arrived)

            def carry_out() -> None:
                try:
                    answer = self._carried_out(request, context, operation, work)
                except Exception:  # noqa: BLE001 - nobody else would answer
                    answer = _not_made()
                loop.call_soon_threadsafe(give, answer)

            self._performer.begin(carry_out)
        except Exception as problem:  # noqa: BLE001 - every failure is an answer
            loop.call_soon(give, self._short(self._ended(context, self._failed(request, context, problem))))
        return done

    def _carried_out(
        self, request: ShortRequest, context: RequestContext, operation: Operation, work: Callable[[], Answer]
    ) -> ShortAnswer:
        """Steps 5 to 14. Blocks, and raises only what keeps any answer from being made."""
        try:
            found = answers.success(operation.name, work(), context.request_id, xml=context.xml)
        except Exception as problem:  # noqa: BLE001 - every failure is an answer
            found = self._failed(request, context, problem)
        return self._short(self._ended(context, found))

    async def _answer_short(self, request: ShortRequest, reply: Reply) -> None:
        try:
            answer = self._short(await self._answer_all(request))
        except Exception:  # noqa: BLE001 - nobody else would answer
            answer = _not_made()
        reply(answer)

    def _short(self, found: answers.WireAnswer) -> ShortAnswer:
        headers = {**found.headers, **self._held_headers()}
        return ShortAnswer(found.body, found.status, headers.pop("Content-Type"), headers)

    async def _answer_all(self, request: AnyRequest) -> answers.WireAnswer:
        """Run the pipeline. Every failure becomes an answer in the protocol's form."""
        context = self._context_of(request)
        try:
            found = await self._answer(request, context)
        except Exception as problem:  # noqa: BLE001 - every failure is an answer
            found = self._failed(request, context, problem)
        return self._ended(context, found)

    def _context_of(self, request: AnyRequest) -> RequestContext:
        context = RequestContext(new_request_id(), self._limit(request), time.perf_counter(), self._clock())
        if tracing.is_on():
            context.outer = tracing.read_traceparent(request.headers.get("traceparent", ""))
            context.place = tracing.new_parent(context.outer)
        return context

    def _failed(self, request: AnyRequest, context: RequestContext, problem: Exception) -> answers.WireAnswer:
        """Return the answer that a failure becomes, and log it unless it is a refusal."""
        if isinstance(problem, ApiError):
            return context.failed(problem, request)
        if isinstance(problem, Unavailable):
            log.warning("%s", problem, extra=context.log_fields)
            return context.failed(ServiceUnavailable(str(problem)), request)
        log.error("a request failed", exc_info=problem, extra=context.log_fields)
        return context.failed(InternalError(), request)

    def _ended(self, context: RequestContext, found: answers.WireAnswer) -> answers.WireAnswer:
        record(context, found.status, time.perf_counter() - context.began)
        failpoint("answer ready")
        return found

    def _held_headers(self) -> dict[str, str]:
        """Return what an answer says if the server was held when that was last asked."""
        watch = self._services.hold
        is_held = watch is not None and watch.restore is not None and watch.restore.is_held
        return {HELD: "true"} if is_held else {}

    async def _answer(self, request: AnyRequest, context: RequestContext) -> answers.WireAnswer:
        head = self._read_head(request, context)
        body = b"" if head.is_for_upload else await read_body(request, self._settings.body_limit)
        operation, arrived = self._read(request, context, head, body)  # 1 to 3
        self._check_protocol(operation, arrived, request)  # 4
        result = await self._perform(request, context, operation, arrived)  # 5 to 13
        return answers.success(operation.name, result, context.request_id, xml=context.xml)  # 14

    def _read_head(self, request: AnyRequest, context: RequestContext) -> Head:
        """Steps 1 to 3, as far as the headers say: V3 names the operation in them, so that a file can be read later."""
        received.check_method(request.method)
        headers, repeated = received.read_headers(request.raw_headers)
        operation = None
        if received.signed_by_v3(headers):
            operation = find(received.named_in_header(headers, "Version"), received.named_in_header(headers, "Action"))
            context.is_for(operation)
        return Head(headers, repeated, operation)

    def _read(
        self, request: AnyRequest, context: RequestContext, head: Head, body: bytes
    ) -> tuple[Operation, Received]:
        """Steps 1 to 3."""
        arrived = receive_under(head.headers, head.repeated, request.method, request.rel_url.raw_query_string, body)
        context.xml = arrived.wants_xml
        refuse_bearer(arrived)
        operation = head.operation or find(arrived.version, arrived.action)
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
        self, request: AnyRequest, context: RequestContext, operation: Operation, arrived: Received
    ) -> Answer:
        """Steps 5 to 13. Raises ApiError."""
        if operation.streams and (is_signed(arrived) or not operation.anonymous):
            signed = read_signed_request(arrived, body_follows=True)
            return await self._perform_upload(request, context, operation, arrived, signed)
        return await self._performer.in_thread(self._work(request, context, operation, arrived))

    def _work(
        self, request: AnyRequest, context: RequestContext, operation: Operation, arrived: Received
    ) -> Callable[[], Answer]:
        """Step 5; return what does 6 to 13 in a thread, and raises ApiError as this does."""
        perform_here, flat = self._performer.perform_here, arrived.flat
        if operation.anonymous and not is_signed(arrived):
            call = self._call(request, context, identity.ANONYMOUS)
            return lambda: perform_here(operation, flat, lambda: Authenticated(call))
        signed = read_signed_request(arrived)

        def work() -> Answer:
            try:
                return perform_here(operation, flat, lambda: self._authenticate(request, context, signed, self._keys))
            except identity.KeyChanged:  # nothing was written: what the key is now decides
                self._keys.drop(signed.access_key_id)
            none = identity.KeyCache()
            return perform_here(operation, flat, lambda: self._authenticate(request, context, signed, none))

        return work

    async def _perform_upload(
        self,
        request: AnyRequest,
        context: RequestContext,
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
        self, request: AnyRequest, context: RequestContext, signed: SignedRequest, known: identity.KeyCache
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

    def _call(self, request: AnyRequest, context: RequestContext, caller: identity.Caller) -> Call:
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


def _not_made() -> ShortAnswer:
    """Log the exception that is being handled; return what the HTTP server answers where there is no answer."""
    log.exception("an answer could not be made")
    return ShortAnswer(b"500 Internal Server Error", 500, TEXT)
