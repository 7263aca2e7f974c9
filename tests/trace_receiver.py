"""A real receiver of OpenTelemetry's protocol over HTTP, on the loopback."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

WAIT = 60  # seconds that it may take to answer, if it is told to wait


def attributes(span: Span) -> dict[str, str]:
    return {each.key: each.value.string_value for each in span.attributes}


class Receiver:
    """Takes OTLP over HTTP, or refuses it, or does not answer."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.status, self.requests = 200, 0
        self.may_answer = threading.Event()
        self.may_answer.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests += 1
                receiver.may_answer.wait(WAIT)
                if receiver.status == 200:
                    receiver.take(self.path, body)
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, path: str, body: bytes) -> None:
        assert path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def of_task(self, task_id: str) -> dict[str, Span]:
        """Return the spans that name a task by the first word of their names."""
        return {span.name.split()[0]: span for span in list(self.spans) if attributes(span).get("task_id") == task_id}

    def of_trace(self, trace_id: str) -> dict[str, Span]:
        """Return the spans of a trace by the first word of their names."""
        return {span.name.split()[0]: span for span in list(self.spans) if span.trace_id.hex() == trace_id}

    def close(self) -> None:
        self.may_answer.set()
        self.server.shutdown()
        self.server.server_close()
