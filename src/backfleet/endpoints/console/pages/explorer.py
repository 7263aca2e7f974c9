"""The explorer: every operation found by typing, called as the person who is logged in, and shown as code."""

import json
import re
import time
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from backfleet import samples
from backfleet.endpoints.console.request_forms import Filled, read
from backfleet.endpoints.console.routes import get, post
from backfleet.endpoints.console.visits import VERSIONS, Visit, rows_of
from backfleet.operations.audit_event import changes_something
from backfleet.operations.catalogue import Answer, Operation, every_operation, find
from backfleet.peers import peer_of
from backfleet.storage import Unavailable
from backfleet.values import value_object
from backfleet.wire import answers
from backfleet.wire.errors import ActionNotFound, ApiError

LARGEST_FOLDED: Final = 100_000  # bytes of a body that is shown folded; a larger one is shown as it begins
NOT_CONFIRMED: Final = "Nothing was done. This operation changes something: tick the box, and run it again."


@value_object
class Outcome:
    """What came of a call."""

    status: int
    headers: Mapping[str, str]
    body: str
    value: Any  # the body, for folding; None where it is too large
    request_id: str
    milliseconds: int
    event: str  # the row of the audit trail, as JSON; empty where the person may not see it
    statements: list[dict[str, Any]]  # of policies, that refused


async def show_list(visit: Visit) -> web.StreamResponse:
    """Show the operations whose name or description has every word that was typed."""
    words = visit.sent("q").lower().split()
    found: dict[str, list[tuple[Operation, str]]] = {}
    for operation in every_operation():
        text = _description(operation)
        if all(word in f"{operation.product.code} {operation.name} {text}".lower() for word in words):
            found.setdefault(operation.product.code, []).append((operation, text.partition(". ")[0].rstrip(".")))
    return visit.page("explorer.html", found=found, q=visit.sent("q"))


async def show_operation(visit: Visit) -> web.StreamResponse:
    """Show the form of an operation with the values of the link, and the call as code."""
    region = visit.console.services.settings.region

    def sent(name: str) -> str:
        return visit.sent(name) or (region if name == "RegionId" else "")

    filled = read(_operation(visit), sent, check=bool(visit.request.query))
    return await _page(visit, filled)


async def run_operation(visit: Visit) -> web.StreamResponse:
    """Check the form; call the operation if that was asked for and nothing is wrong."""
    operation = _operation(visit)
    filled = read(operation, visit.sent, check=True)
    if filled.faults or operation.streams or visit.sent("do") != "run":
        return await _page(visit, filled, status=400 if filled.faults else 200)
    if changes_something(operation.name) and visit.sent("confirmed") != "yes":
        return await _page(visit, filled, notice=NOT_CONFIRMED, status=400)
    return await _page(visit, filled, outcome=await _outcome(visit, filled))


async def _page(
    visit: Visit, filled: Filled, *, outcome: Outcome | None = None, notice: str = "", status: int = 200
) -> web.Response:
    operation = filled.operation
    shown, problem = await _samples(visit, filled)
    return visit.page(
        "operation.html",
        status=status,
        operation=operation,
        filled=filled,
        text=_description(operation),
        writes=changes_something(operation.name),
        notice=notice,
        outcome=outcome,
        samples=shown,
        sample_problem=problem,
    )


async def _outcome(visit: Visit, filled: Filled) -> Outcome:
    began = time.perf_counter()
    refusal: ApiError | None = None
    try:
        answer, request_id = await visit.perform(filled.operation, filled.flat)
        wire = answers.success(filled.operation.name, answer, request_id, xml=False)
    except ApiError as problem:
        refusal, request_id = problem, str(problem.extra.get("RequestId", ""))
        wire = answers.failure(problem, request_id, visit.request.host, xml=False)
    took = round((time.perf_counter() - began) * 1000)
    small = len(wire.body) <= LARGEST_FOLDED
    return Outcome(
        status=wire.status,
        headers=wire.headers,
        body=wire.body[:LARGEST_FOLDED].decode(errors="replace"),
        value=json.loads(wire.body) if small else None,
        request_id=request_id,
        milliseconds=took,
        event=await _event(visit, request_id),
        statements=await _statements(visit, refusal) if refusal else [],
    )


async def _event(visit: Visit, request_id: str) -> str:
    """Return the audit row of a call, as far as the person may see the trail."""
    asked = {"LookupAttribute.1.Key": "EventId", "LookupAttribute.1.Value": request_id}
    found = rows_of(await _ask(visit, "backfleet", "LookupEvents", **asked), "Events")
    return json.dumps(found[0], indent=2, ensure_ascii=False) if found else ""


async def _statements(visit: Visit, problem: ApiError) -> list[dict[str, Any]]:
    """Return the policies that refused, if the person may see policies."""
    detail = problem.extra.get("AccessDeniedDetail")
    sealed = detail.get("EncodedDiagnosticMessage") if isinstance(detail, dict) else None
    if not sealed:
        return []
    found = await _ask(visit, "ram", "DecodeDiagnosticMessage", EncodedDiagnosticMessage=sealed)
    return list((found or {}).get("DecodedDiagnosticMessage", {}).get("MatchedPolicies") or [])


async def _samples(visit: Visit, filled: Filled) -> tuple[list[samples.Sample], str]:
    """Return the call as code in every language; or why there is none."""
    server = await _ask(visit, "backfleet", "DescribeServer")
    try:
        call = samples.sample_call(filled.operation, filled.flat, _target(visit, server))
    except samples.BadCall as problem:
        return [], str(problem)
    found = []
    for language in samples.LANGUAGES:
        try:
            found.append(samples.make_sample(call, language))
        except samples.BadCall:
            continue  # its client cannot make this call
    return found, ""


async def _ask(visit: Visit, product: str, action: str, **parameters: object) -> Answer | None:
    """Call an operation for what is shown beside an answer; None if that fails: the answer itself must be shown."""
    try:
        return await visit.ask(product, action, **parameters)
    except (ApiError, Unavailable):
        return None


def _target(visit: Visit, server: Answer | None) -> samples.Target:
    """Return where programs call: the address for agents, which is TLS and for everybody; else this page's."""
    region = visit.console.services.settings.region
    if server and server.get("AgentAddress"):
        return samples.Target(str(server["AgentAddress"]), region)
    return samples.Target(visit.request.host, region, "HTTPS" if peer_of(visit.request).secure else "HTTP")


def _operation(visit: Visit) -> Operation:
    """Return the operation of an address. Raises ActionNotFound."""
    version = VERSIONS.get(visit.request.match_info["product"])
    if version is None:
        raise ActionNotFound
    return find(version, visit.request.match_info["operation"])


def _description(operation: Operation) -> str:
    text = re.split(r"\n\s*(?:Args|Returns|Raises|Source):", operation.run.__doc__ or "")[0]
    return " ".join(text.split())


ROUTES = [
    get("/explorer", show_list),
    get("/explorer/{product}/{operation}", show_operation),
    post("/explorer/{product}/{operation}", run_operation),
]
