"""The only way in: find, authorise, run, audit.

Two steps, because an upload must be admitted before its body is read: `admit` decides whether, `run` does it.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from backfleet import identity
from backfleet.failpoints import failpoint
from backfleet.identity import policy
from backfleet.operations import _store as audit
from backfleet.operations.catalogue import HBR, STS, Answer, Call, Operation
from backfleet.operations.diagnosis import denied_detail
from backfleet.operations.errors import Forbidden, NoPermission, StsNoPermission
from backfleet.operations.tag_conditions import requested_tags, resource_tags
from backfleet.operations.trail import LONGEST_AGENT, Event, kept_parameters, user_name_of
from backfleet.storage import AWAY, Transaction
from backfleet.wire import parameters
from backfleet.wire.errors import ApiError, InternalError, ServiceUnavailable
from backfleet.wire.parameters import parameters_of

log = logging.getLogger(__name__)

REFUSALS: Final[Mapping[str, type[NoPermission | StsNoPermission]]] = {
    HBR.code: NoPermission,
    STS.code: StsNoPermission,
}


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call that may go on: its typed request, and whether the answer is the one for those who may not."""

    operation: Operation
    asked: Any
    allowed: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the policies say of a call, of which resource they said it, and in what circumstances."""

    decision: policy.Decision
    resource: str
    context: Mapping[str, str]


def admit(
    operation: Operation,
    call: Call,
    flat: Mapping[str, str],
    access_key_id: str,
    *,
    first: Callable[[Transaction], None] = lambda tx: None,
) -> Admitted:
    """Read the request and decide whether the caller may ask it; one row of audit, whatever the verdict.

    Permission comes before parameters: whoever asks without any learns only that. `first` is done in the same
    transaction before anything else; what it raises ends everything, and leaves nothing.

    Raises:
        ApiError: no permission, or a malformed request.
    """
    asked, problem = _read(operation, flat)
    resources = _resources(operation, call, asked)
    with call.services.database.transaction() as tx:
        first(tx)
        verdict = _judge(tx, operation, call, resources, _context(operation, call, asked))
        allowed = verdict.decision.allowed
        refusal = problem if allowed or operation.denied is not None else _refusal(operation, call, verdict)
        if call.caller != identity.ANONYMOUS:  # who asks anonymously is nobody's business until they have proved more
            named = kept_parameters(parameters_of(operation.request), flat)
            code = refusal.code if refusal else ""
            audit.write(tx, event_of(call, operation, access_key_id, named, allowed=allowed, code=code))
    failpoint("authorised")
    if refusal is not None:
        raise refusal
    return Admitted(operation, asked, allowed)


def event_of(
    call: Call, operation: Operation, access_key_id: str, named: Mapping[str, str], *, allowed: bool, code: str = ""
) -> Event:
    """What the trail keeps of a call; `named` are its parameters that name things."""
    caller = call.caller
    return Event(
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
        user_agent=call.user_agent[:LONGEST_AGENT].encode("ascii", "replace").decode(),  # strangers choose it
        named=json.dumps(named),
        verdict="allowed" if allowed else "denied",
        error_code=code,
    )


def run(admitted: Admitted, call: Call) -> Answer:
    """Perform an admitted call.

    Raises:
        ApiError: the operation refused. Anything else that goes wrong is logged and becomes InternalError.
    """
    operation = admitted.operation
    try:
        if not admitted.allowed and operation.denied is not None:
            return operation.denied(call, admitted.asked)
        return operation.run(call, admitted.asked)
    except ApiError as problem:
        note_failure(call, problem.code)
        raise
    except AWAY as problem:
        log.warning("the database is away", extra={"request_id": call.request_id, "action": operation.name})
        raise ServiceUnavailable from problem
    except Exception as problem:
        log.exception("an operation failed", extra={"request_id": call.request_id, "action": operation.name})
        note_failure(call, InternalError.code)
        raise InternalError from problem


def note_failure(call: Call, code: str) -> None:
    """Complete the audit row of an admitted call that failed. Raises nothing."""
    try:
        with call.services.database.transaction() as tx:
            audit.note_error(tx, call.request_id, code)
    except Exception:
        # The caller is told what happened either way; an audit row without its error is better than a second error.
        log.exception("the audit row could not be completed", extra={"request_id": call.request_id})


def _read(operation: Operation, flat: Mapping[str, str]) -> tuple[Any, ApiError | None]:
    try:
        return parameters.parse(operation.request, flat), None
    except ApiError as problem:
        return None, problem


def _resources(operation: Operation, call: Call, asked: Any) -> Sequence[str]:
    """What the call touches, as ARNs; all of the product's where the operation does not say, or cannot."""
    everything = f"acs:{operation.product.code}:{call.region}:{call.account_id}:*"
    if operation.resources is None or asked is None:
        return [everything]
    return operation.resources(call, asked) or [everything]


def _judge(
    tx: Transaction, operation: Operation, call: Call, resources: Sequence[str], context: dict[str, str]
) -> Verdict:
    """One refused resource refuses it all; and what belongs to every account, no policy of another can allow."""
    if operation.action is None:
        return Verdict(policy.ALLOWED, resources[0], context)
    if operation.administrator_only and not identity.is_administrator_account(tx, call.account_id):
        return Verdict(policy.Decision(allowed=False), resources[0], context)
    permissions = identity.permissions_of(tx, call.caller)
    tags = resource_tags(tx, resources) if permissions.depend_on_tags else {}
    for resource in resources:
        circumstances = {**tags.get(resource, {}), **context}
        decision = permissions.decide(operation.action, resource, circumstances)
        if not decision.allowed:
            break
    return Verdict(decision, resource, circumstances)


def _context(operation: Operation, call: Call, asked: Any) -> dict[str, str]:
    """What conditions may ask about. What an operation adds never replaces what is known of every call."""
    own = operation.conditions(call, asked) if operation.conditions is not None else {}
    return {**requested_tags(asked), **own, **call.circumstances}


def _refusal(operation: Operation, call: Call, verdict: Verdict) -> ApiError:
    detail = denied_detail(call, operation.action, verdict.resource, verdict.context, verdict.decision)
    return REFUSALS.get(operation.product.code, Forbidden)({"AccessDeniedDetail": detail})
