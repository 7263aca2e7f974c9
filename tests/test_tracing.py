"""Traces in one process: off by default at no cost, bounded, and never in the way."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backfleet import tracing
from backfleet.settings import Settings, read_settings
from backfleet.tracing import Parent, Span

NOW = datetime(2026, 11, 28, tzinfo=UTC)
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def a_span(name: str = "call hbr DescribeTask") -> Span:
    return Span(name, TRACE, SPAN, "", NOW, NOW + timedelta(seconds=1), {"request_id": "R-1", "code": ""})


def test_nothing_of_opentelemetry_is_imported_unless_it_is_wanted() -> None:
    """Neither by the server's parts nor by recording: asked in a process of its own."""
    program = (
        "import sys, json, backfleet.app; from backfleet import tracing; from backfleet.settings import Settings;"
        "tracing.start(Settings(), {}); tracing.record(None); tracing.stop();"
        "print(json.dumps([name for name in sys.modules if name.startswith(('opentelemetry', 'google.protobuf'))]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize(
    ("setting", "environment", "is_wanted"),
    [
        ("", {}, False),
        ("http://collector:4318", {}, True),
        ("", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ("", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ("http://collector:4318", {"OTEL_SDK_DISABLED": "true"}, False),
        ("", {"OTEL_SERVICE_NAME": "plane"}, False),
    ],
)
def test_traces_are_wanted_by_the_setting_or_the_standard_variables(
    setting: str, environment: dict[str, str], is_wanted: bool
) -> None:
    assert tracing.wanted(Settings(traces_endpoint=setting), environment) is is_wanted


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"00-{TRACE}-{SPAN}-01", Parent(TRACE, SPAN)),
        (f"00-{TRACE}-{SPAN}-03", Parent(TRACE, SPAN)),
        (f"cc-{TRACE}-{SPAN}-01-more", Parent(TRACE, SPAN)),
        (f"00-{TRACE}-{SPAN}-00", None),  # nobody records it
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}-01\n", None),
        ("", None),
        ("x" * 10_000, None),
    ],
)
def test_a_callers_place_is_read_as_the_standard_says(text: str, found: Parent | None) -> None:
    assert tracing.read_traceparent(text) == found


def test_every_process_finds_the_same_place() -> None:
    outer = str(Parent(TRACE, SPAN))
    assert tracing.parent_of("task", "t-1", outer) == tracing.parent_of("task", "t-1", outer)
    assert tracing.parent_of("task", "t-1", outer).trace_id == TRACE
    assert tracing.parent_of("task", "t-1").trace_id != tracing.parent_of("task", "t-2").trace_id
    assert tracing.parent_of("host", "t-1", outer).span_id != tracing.parent_of("task", "t-1", outer).span_id


def test_more_spans_than_can_wait_are_dropped_and_recording_never_waits() -> None:
    """Nobody listens there; the queue is full long before the last one."""
    tracing.start(Settings(traces_endpoint="http://127.0.0.1:9"), {})
    try:
        assert tracing.is_on()
        for _ in range(3 * tracing.QUEUE):
            tracing.record(a_span())
    finally:
        tracing.stop()
    assert not tracing.is_on()


def test_a_missing_library_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ImportError, match=r"pip install 'backfleet\[otel\]'"):
        tracing.start(Settings(traces_endpoint="http://collector:4318"), {})
    assert not tracing.is_on()


def test_the_setting_is_read_as_any_other(tmp_path: Path) -> None:
    found = read_settings({"data": tmp_path}, {"BACKFLEET_TRACES_ENDPOINT": "http://collector:4318"})
    assert found.traces_endpoint == "http://collector:4318"
