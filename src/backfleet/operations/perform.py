"""The only way in to every operation: throttle, authorise, audit, run.

An endpoint finds the operation (`catalogue.find`) and hands it to the process's `Performer`, together with a function
that authenticates the caller. `Performer.perform` does it all in one hop to a thread. An upload is admitted before its
body is read: its endpoint calls `admit`, and `run` once the file is there. The functions `admit` and `run` are the same
without throttling and threads.
"""

import errno
import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from backfleet import identity
from backfleet.failpoints import failpoint
from backfleet.operations import _store as audit
from backfleet.operations import authorisation, held
from backfleet.operations.audit_event import (
    LONGEST_AGENT,
    MOST_OF_REFUSED,
    AuditEvent,
    changes_something,
    parameters_to_keep,
    user_name_of,
)
from backfleet.operations.catalogue import HBR, Answer, Call, Operation, Services
from backfleet.operations.errors import RegionNotFound
from backfleet.operations.refusals import COUNTED, Refusals
from backfleet.operations.throttling import RateLimit, Throttle, Throttled
from backfleet.storage import Transaction, Trouble, Unavailable
from backfleet.threads import in_thread
from backfleet.values import value_object
from backfleet.wire import parameters
from backfleet.wire.errors import ApiError, InternalError, ServiceUnavailable, ThrottlingUser
from backfleet.wire.parameters import parameters_of

THREADS = 6  # requests worked on at once; with more they only wait for each other (bench/RESULTS.md)

log = logging.getLogger(__name__)
Result = TypeVar("Result")

GIVEN_UP: Final = (Trouble.CALLER_GONE, Trouble.TOO_LATE)  # the database can still write the audit row
NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)
DISK_FULL: Final = "the disk of the server's data folder is full; free some of it"


def _nothing(_tx: Transaction) -> None:
    """Do nothing."""


@value_object
class Authenticated:
    """A call whose caller an endpoint has authenticated, or let in as nobody."""

    call: Call
    access_key_id: str = ""  # "" if the call is anonymous
    first: Callable[[Transaction], None] = _nothing  # done before the decision, in its transaction: spends a nonce
    is_on_trail: bool = False  # a page repeats by itself what the trail has lately: only a refusal gets a row
    is_retry: bool = False  # its client says that it repeats a call that was refused


@value_object
class Admitted:
    """A call that may go on: its typed request, and whether policies allow it.

    A call that they do not allow goes on only if the operation has an answer of its own for that.
    """

    operation: Operation
    request: Any
    allowed: bool


class Performer:
    """Performs operations for the endpoints of this process: counts calls, and runs the blocking work in threads."""

    def __init__(self, services: Services) -> None:
        settings = services.settings
        rate = RateLimit(settings.calls_per_second, settings.calls_burst)
        self._throttle = Throttle(services.database, rate, processes=settings.processes)
        self._refusals = Refusals(-(-settings.refusals_recorded // settings.processes))  # rounded up
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="api")

    async def perform(
        self, operation: Operation, flat: Mapping[str, str], authenticate: Callable[[], Authenticated]
    ) -> Answer:
        """Authenticate, throttle, authorise, audit and run, in one hop to a thread instead of three.

        Args:
            operation: What is asked for.
            flat: Its parameters as they came.
            authenticate: Called in the thread; raises ApiError if it refuses the caller.

        Raises:
            ApiError: refused, or the operation failed.
        """

        return await self.in_thread(lambda: self.perform_here(operation, flat, authenticate))

    def perform_here(
        self, operation: Operation, flat: Mapping[str, str], authenticate: Callable[[], Authenticated]
    ) -> Answer:
        """Do the same in this thread, which is one of those. Blocks. Raises ApiError."""
        authenticated = authenticate()
        return run(self._admit(operation, flat, authenticated), authenticated.call)

    def begin(self, work: Callable[[], None]) -> None:
        """Have work done in one of the threads, which must raise nothing. Raises RuntimeError: no more is accepted."""
        self._threads.submit(work)

    async def admit(self, operation: Operation, flat: Mapping[str, str], authenticated: Authenticated) -> Admitted:
        """Throttle, authorise and audit an upload before its body is read. Raises ApiError."""
        return await self.in_thread(lambda: self._admit(operation, flat, authenticated))

    async def run(self, admitted: Admitted, call: Call) -> Answer:
        """Run an upload that was admitted, now that `call.upload` is there. Raises ApiError."""
        return await self.in_thread(lambda: run(admitted, call))

    async def note_failure(self, call: Call, code: str) -> None:
        """Complete the audit row of an upload that was admitted and then refused. Raises nothing."""
        await self.in_thread(lambda: note_failure(call, code))

    async def in_thread(self, work: Callable[[], Result]) -> Result:
        """Run blocking work in one of the threads and return its result."""
        return await in_thread(self._threads, work)

    def close(self) -> None:
        """Accept no more work."""
        self._threads.shutdown(wait=False)

    def _admit(self, operation: Operation, flat: Mapping[str, str], authenticated: Authenticated) -> Admitted:
        call, is_named = authenticated.call, authenticated.call.caller != identity.ANONYMOUS
        who = call.account_id if is_named else call.source_ip
        try:
            named = f"{operation.product.code}:{operation.name}"
            self._throttle.spend(
                who, named, call.now, caller=call.caller.arn, is_retry=authenticated.is_retry, shared=is_named
            )
        except Throttled as refusal:
            raise ThrottlingUser(refusal.wait) from None
        key, first = authenticated.access_key_id, authenticated.first
        return admit(
            operation,
            call,
            flat,
            key,
            first=first,
            refusals=self._refusals,
            is_on_trail=authenticated.is_on_trail,
        )


def admit(
    operation: Operation,
    call: Call,
    flat: Mapping[str, str],
    access_key_id: str,
    *,
    first: Callable[[Transaction], None] = _nothing,
    refusals: Refusals | None = None,
    is_on_trail: bool = False,
) -> Admitted:
    """Read the request, decide whether the caller may make it, and write one row of audit whatever the decision.

    Permission comes before parameters: a caller without permission learns nothing else.

    Args:
        operation: What is asked for.
        call: Who asks.
        flat: The parameters as they came.
        access_key_id: The key that signed; "" for none.
        first: Done before anything else, in the transaction of the decision and its audit row: a transaction of its own
            would wait for the disk once more. If it raises, nothing is written.
        refusals: Limits the rows of refused calls; None for a row each.
        is_on_trail: The trail has a row of the same call lately: a reading one that is allowed gets no other.

    Raises:
        ApiError: no permission, or a malformed request.
    """
    request, problem = _read(operation, call, flat)
    targets = authorisation.targets_of(operation, call, request)
    context = {} if operation.action is None else authorisation.context_of(operation, call, request)

    def decide(tx: Transaction) -> tuple[ApiError | None, bool]:
        first(tx)
        is_held = held.check_caller(tx, call)
        ruling = authorisation.judge(tx, operation, call, targets, context)
        allowed = ruling.decision.allowed
        refusal = problem if allowed or operation.denied is not None else authorisation.refusal_of(call, ruling)
        refusal = is_held or refusal
        event = None
        if refusal is not None or not is_on_trail or changes_something(operation.name):
            event = _event_to_write(operation, call, flat, access_key_id, refusal, allowed=allowed, refusals=refusals)
        if event is not None:
            audit.write(tx, event)
        return refusal, allowed

    refusal, allowed = call.services.database.write_together(decide)
    failpoint("authorised")
    if refusal is not None:
        raise refusal
    return Admitted(operation, request, allowed)


def would_refuse(operation: Operation, call: Call, flat: Mapping[str, str]) -> bool:
    """Return whether policies refuse a call, or the server's hold does. Nothing is done, written or counted.

    For what goes on after a call was admitted, such as a page that updates itself.

    Raises:
        Unavailable: the database cannot answer now.
    """
    request, _ = _read(operation, call, flat)
    targets = authorisation.targets_of(operation, call, request)
    with call.services.database.reading() as tx:
        ruling = authorisation.judge(tx, operation, call, targets, authorisation.context_of(operation, call, request))
        return not ruling.decision.allowed or held.check_caller(tx, call) is not None


def _event_to_write(
    operation: Operation,
    call: Call,
    flat: Mapping[str, str],
    access_key_id: str,
    refusal: ApiError | None,
    *,
    allowed: bool,
    refusals: Refusals | None,
) -> AuditEvent | None:
    """Return the audit event of a call that was decided; None if it gets no row.

    An anonymous call belongs to no account's trail: an operation that takes one writes its own event.
    """
    if call.caller == identity.ANONYMOUS:
        return None
    named = parameters_to_keep(parameters_of(operation.request), flat, most=MOST_OF_REFUSED if refusal else None)
    if refusals is not None:
        counted = refusals.counted_before(access_key_id, call.now)
        if refusal is not None and not refusals.is_recorded(access_key_id, call.now):
            return None
        named |= {COUNTED: str(counted)} if counted else {}
    code = refusal.code if refusal else ""
    return event_of(call, operation, access_key_id, named, allowed=allowed, code=code)


def event_of(
    call: Call, operation: Operation, access_key_id: str, named: Mapping[str, str], *, allowed: bool, code: str = ""
) -> AuditEvent:
    """Return the audit event of a call.

    Args:
        call: Who asked, and when.
        operation: What was asked for.
        access_key_id: The key that signed; "" for none.
        named: The parameters that name things; others may be secret and are not recorded.
        allowed: Whether policies allowed it.
        code: The code of the refusal, "" for none.
    """
    caller = call.caller
    return AuditEvent(
        request_id=call.request_id,
        account_id=call.account_id,
        at=call.now,
        product=operation.product.code,
        version=operation.product.version,
        action=operation.name,
        kind=caller.kind,
        principal=caller.arn,
        principal_id=caller.principal_id,
        user_name=user_name_of(caller),
        access_key_id=access_key_id,
        region=call.region,
        source_ip=call.source_ip,
        user_agent=call.user_agent[:LONGEST_AGENT].encode("ascii", "replace").decode(),  # any client may send any text
        named=json.dumps(named) if named else "{}",
        verdict="allowed" if allowed else "denied",
        error_code=code,
    )


def run(admitted: Admitted, call: Call) -> Answer:
    """Run an admitted call and return the operation's answer.

    Raises:
        ApiError: the operation refused. Any other failure is logged and becomes InternalError.
    """
    operation = admitted.operation
    call.services.database.begin_anew()  # its limit counts until it has changed something
    try:
        if not admitted.allowed and operation.denied is not None:
            return operation.denied(call, admitted.request)
        return operation.run(call, admitted.request)
    except ApiError as problem:
        note_failure(call, problem.code)
        raise
    except Unavailable as problem:
        log.warning("%s", problem, extra={"request_id": call.request_id, "action": operation.name})
        if problem.trouble in GIVEN_UP:
            note_failure(call, ServiceUnavailable.code)
        raise ServiceUnavailable(str(problem)) from problem
    except OSError as problem:
        if problem.errno not in NO_SPACE:
            raise _internal_error(call, operation) from problem
        log.error("the server's disk is full", extra={"request_id": call.request_id, "action": operation.name})
        note_failure(call, ServiceUnavailable.code)
        raise ServiceUnavailable(DISK_FULL) from problem
    except Exception as problem:
        raise _internal_error(call, operation) from problem


def _internal_error(call: Call, operation: Operation) -> InternalError:
    """Log the exception that is being handled, complete the audit row, and return what the caller gets."""
    log.exception("an operation failed", extra={"request_id": call.request_id, "action": operation.name})
    note_failure(call, InternalError.code)
    return InternalError()


def note_failure(call: Call, code: str) -> None:
    """Complete the audit row of an admitted call that failed. Raises nothing."""
    try:
        with call.services.database.without_limit().transaction() as tx:
            audit.note_error(tx, call.request_id, code)
    except Exception:
        # The caller gets the first error either way; a second one would hide it.
        log.exception("the audit row could not be completed", extra={"request_id": call.request_id})


def _read(operation: Operation, call: Call, flat: Mapping[str, str]) -> tuple[Any, ApiError | None]:
    try:
        request = parameters.parse(operation.request, flat)
    except ApiError as problem:
        return None, problem
    given = flat.get("RegionId", "")
    if operation.product is HBR and given not in ("", call.region) and operation.name != "DescribeRegions":
        return request, RegionNotFound(given, call.region)
    return request, None
