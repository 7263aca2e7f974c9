"""Traces of what a call led to, for OpenTelemetry: call, task, command, host, report. Off unless settings ask for it.

Every part reports a span when it is over, with its own times: parts of one trace are on several processes and hosts,
and may lie days apart. So that they find each other, the trace of a task is stored with it (as a W3C `traceparent`),
and the ids of its spans follow from the ids of what they are about.

Spans are put into a bounded queue and sent by a thread. While nobody takes them they are dropped, and one line of the
log says so: no call and no upgrade ever waits for them. Nothing of OpenTelemetry is imported while it is off.
"""

import functools
import hashlib
import logging
import os
import re
import secrets
import threading
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from backfleet.settings import Settings
from backfleet.values import value_object

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

MISSING: Final = "traces are wanted, and OpenTelemetry is not installed; run: pip install 'backfleet[otel]'"
ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
QUEUE, BATCH = 2048, 256  # spans that may wait, and spans of one request; more are dropped
DELAY_MILLISECONDS = 1000  # for which spans are gathered
SEND_SECONDS = 5.0  # that one request may take
STOP_SECONDS = 2.0  # for what still waits when the server ends
SERVICE: Final = "backfleet"

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_NANOSECONDS: Final = 1_000_000_000

log = logging.getLogger(__name__)


@value_object
class Span:
    """One part of a trace, over. Ids are in hexadecimal digits; a `parent_id` of "" begins the trace."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    began: datetime
    ended: datetime
    attributes: Mapping[str, str | int | float] = field(default_factory=dict)
    error: str = ""  # what went wrong; "" = nothing
    is_from_outside: bool = False  # its parent is a caller's


@value_object
class Parent:
    """A place in a trace that later parts hang from."""

    trace_id: str
    span_id: str

    def __str__(self) -> str:
        """Return it as a W3C `traceparent`."""
        return f"00-{self.trace_id}-{self.span_id}-01"


class Recorder:
    """Sends spans, in a thread of its own."""

    def __init__(self, processor: "BatchSpanProcessor") -> None:
        self._processor = processor

    def record(self, span: Span) -> None:
        """Queue a span, or drop it if too many wait. Raises nothing, and never waits."""
        try:
            self._processor.on_end(readable(span))
        except Exception:
            log.exception("a span could not be recorded", extra={"span": span.name})

    def close(self) -> None:
        """Send what waits, for STOP_SECONDS at most."""
        closing = threading.Thread(target=self._processor.shutdown, name="traces-end", daemon=True)
        closing.start()
        closing.join(STOP_SECONDS)


_recorder: Recorder | None = None


def wanted(settings: Settings, environment: Mapping[str, str]) -> bool:
    """Return whether the settings or the standard variables name somebody who takes traces."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    return bool(settings.traces_endpoint) or any(environment.get(name) for name in ENDPOINTS)


def start(settings: Settings, environment: Mapping[str, str] = os.environ) -> None:
    """Begin to record, if that is wanted.

    Raises:
        ImportError: it is wanted, and OpenTelemetry is not installed; the text says what to do.
    """
    global _recorder  # noqa: PLW0603 - one for a process, as its figures and its log are
    if not wanted(settings, environment):
        return
    try:
        _recorder = Recorder(_processor(settings.traces_endpoint))
    except ModuleNotFoundError as problem:
        raise ImportError(MISSING) from problem
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it repeats itself with every request that fails


def stop() -> None:
    """Record no more, and send what waits."""
    global _recorder
    recorder, _recorder = _recorder, None
    if recorder is not None:
        recorder.close()


def is_on() -> bool:
    """Return whether this process records spans."""
    return _recorder is not None


def record(span: Span) -> None:
    """Queue a span, if traces are on. Raises nothing, and never waits."""
    if _recorder is not None:
        _recorder.record(span)


def read_traceparent(text: str) -> Parent | None:
    """Return the place that a caller names; None if it is no W3C `traceparent`, or says that nobody records it."""
    found = _TRACEPARENT.fullmatch(text)
    return Parent(found[1], found[2]) if found and int(found[3], 16) & 1 else None


def new_parent(outer: Parent | None) -> Parent:
    """Return a new place, in the trace of an outer one or in a new one. The ids are no secrets."""
    return Parent(outer.trace_id if outer else secrets.token_hex(16), secrets.token_hex(8))


def parent_of(kind: str, thing_id: str, outer: str = "") -> Parent:
    """Return the place of something that has an id: every process finds the same.

    Args:
        kind: What it is, such as `task`.
        thing_id: Its id.
        outer: The stored `traceparent` of its trace; "" = a trace of its own.
    """
    digest = hashlib.sha256(f"{kind} {thing_id}".encode()).hexdigest()
    above = read_traceparent(outer)
    return Parent(above.trace_id if above else digest[16:48], digest[:16])


def _processor(endpoint: str) -> "BatchSpanProcessor":
    """Return what queues and sends. `endpoint` "" leaves the address to the standard variables, as all else is."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    address = f"{endpoint.rstrip('/')}/v1/traces" if endpoint else None
    return BatchSpanProcessor(
        _careful(OTLPSpanExporter(endpoint=address, timeout=SEND_SECONDS)),
        max_queue_size=QUEUE,
        max_export_batch_size=BATCH,
        schedule_delay_millis=DELAY_MILLISECONDS,
    )


def _careful(exporter: "SpanExporter") -> "SpanExporter":
    """Return an exporter that says once when nobody takes spans, and once when that is over."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Careful(SpanExporter):
        fails = False

        def export(self, spans):  # type: ignore[no-untyped-def]
            result = SpanExportResult.FAILURE
            try:
                result = exporter.export(spans)
            finally:
                fails = result is not SpanExportResult.SUCCESS
                if fails and not self.fails:
                    log.warning("traces are not taken where they go; they are dropped until they are")
                elif self.fails and not fails:
                    log.info("traces are taken again")
                self.fails = fails
            return result

        def shutdown(self) -> None:
            exporter.shutdown()

        def force_flush(self, timeout_millis: int = 0) -> bool:
            return exporter.force_flush(timeout_millis)

    return Careful()


def readable(span: Span) -> "ReadableSpan":
    """Return a span as OpenTelemetry's own."""
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

    sampled = TraceFlags(TraceFlags.SAMPLED)
    trace = int(span.trace_id, 16)
    parent = SpanContext(trace, int(span.parent_id, 16), span.is_from_outside, sampled) if span.parent_id else None
    return ReadableSpan(
        name=span.name,
        context=SpanContext(trace, int(span.span_id, 16), False, sampled),
        parent=parent,
        resource=_resource(),
        attributes={name: value for name, value in span.attributes.items() if value != ""},
        kind=SpanKind.SERVER if span.name.startswith("call ") else SpanKind.INTERNAL,
        status=Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.OK),
        start_time=int(span.began.timestamp() * _NANOSECONDS),
        end_time=int(span.ended.timestamp() * _NANOSECONDS),
        instrumentation_scope=InstrumentationScope(SERVICE),
    )


@functools.cache
def _resource() -> "Resource":
    """Return who reports: the same for every span, and slow to make, for it looks for whoever else describes it."""
    from opentelemetry.sdk.resources import Resource

    return Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME") or SERVICE})
