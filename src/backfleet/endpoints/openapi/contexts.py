"""What is known of a request while it is answered, and what is counted, logged and traced of it then."""

import functools
import logging
import os
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from prometheus_client import Counter, Histogram

from backfleet import tracing
from backfleet.operations.catalogue import Operation
from backfleet.short_requests import AnyRequest
from backfleet.storage import CallLimit
from backfleet.values import value_object
from backfleet.wire import answers
from backfleet.wire.errors import ApiError

REQUESTS = Counter("backfleet_api_requests_total", "Answered requests.", ["product", "action", "code"])
SECONDS = Histogram("backfleet_api_request_seconds", "From the first byte to the answer.", ["product", "action"])

_RANDOM, _VERSION_4 = uuid.UUID("ffffffff-ffff-0fff-3fff-ffffffffffff").int, uuid.UUID(int=0, version=4).int

log = logging.getLogger(__name__)


@value_object
class Head:
    """What the headers of a request say, and the operation that they name."""

    headers: dict[str, str]
    repeated: frozenset[str]
    operation: Operation | None

    @property
    def is_for_upload(self) -> bool:
        """Whether the body is a file."""
        return self.operation is not None and self.operation.streams


@dataclass
class RequestContext:
    """What is known about a request so far. Names are the catalogue's only: metric labels must stay bounded."""

    request_id: str
    limit: CallLimit
    began: float  # of a clock that only runs forward
    arrived_at: datetime
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


def new_request_id() -> str:
    """Return a random UUID in capitals, as `uuid.uuid4` makes them, without what else that does."""
    text = f"{int.from_bytes(os.urandom(16)) & _RANDOM | _VERSION_4:032X}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@functools.lru_cache(maxsize=1024)
def _counted(product: str, action: str, code: str) -> tuple[Counter, Histogram]:
    """Return what counts the answers with this code, and how long the action's take."""
    return REQUESTS.labels(product, action, code), SECONDS.labels(product, action)


def record(context: RequestContext, status: int, seconds: float) -> None:
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
                began=context.arrived_at,
                ended=context.arrived_at + timedelta(seconds=seconds),
                attributes={**context.log_fields, "product": context.product, "status": status, "code": context.code},
                error="" if context.code == "OK" else context.code,
                is_from_outside=True,
            )
        )
