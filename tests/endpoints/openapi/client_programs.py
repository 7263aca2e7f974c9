"""Programs that make one call of an official client for each line they read: Node, Go, Java."""

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from backfleet.operations.catalogue import Operation
from backfleet.wire.credentials import Credentials
from endpoints.openapi.scenario import REGION, Call, Installation, Refused, flat
from endpoints.openapi.server import Server

PROJECT = Path(__file__).resolve().parents[3]
CACHE = PROJECT / ".cache"
Begin = Callable[[Installation, Credentials], Any]
"""A client for one caller, as a context manager."""

ANSWER_SECONDS = 90  # for one line, retries included: less than the time limit of a test

NODE = ["node", str(PROJECT / "tests" / "node" / "calls.cjs")]
GO = [str(CACHE / "go" / "calls")]
JAVA = [
    "java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
    "-cp", f"{CACHE / 'java' / 'classes'}:{CACHE / 'java' / 'lib'}/*", "Calls",
]  # fmt: skip
needs_go = pytest.mark.skipif(
    not (CACHE / "go" / "calls").exists(), reason="no Go 1.24 here (`make test` builds the program where there is one)"
)
needs_java = pytest.mark.skipif(
    not (CACHE / "java" / "classes").exists(),
    reason="no JDK 17 and Maven here (`make test` builds the program)",
)


class ClientProgram:
    """A running program. Secrets travel on its standard input."""

    def __init__(self, command: list[str], name: str, server: Server, key: Credentials, **settings: Any) -> None:
        node = {"NODE_PATH": str(CACHE / "node" / "node_modules")}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | node
        )
        self.ask(
            {"client": name, "endpoint": server.host, "protocol": "HTTP", "region": REGION}
            | {"key": key.access_key_id, "secret": key.access_key_secret}
            | settings
        )

    def ask(self, line: dict[str, Any]) -> dict[str, Any]:
        """Return the program's line for this one."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()
        over = threading.Timer(ANSWER_SECONDS, self._process.kill)
        over.start()
        try:
            written = self._process.stdout.readline()
        finally:
            over.cancel()
        assert written, f"the program ended, or was stopped after {ANSWER_SECONDS} s, without an answer to {line}"
        found: dict[str, Any] = json.loads(written)
        return found

    def call(self, operation: Operation, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the body of a success. Raises Refused."""
        reply = self.ask(
            {
                "product": operation.product.code, "version": operation.product.version,
                "action": operation.name, "parameters": parameters, "flat": flat(operation, parameters),
            }
        )  # fmt: skip
        if "code" in reply:
            raise Refused(reply["code"], f"{operation.name}: {reply['text']}")
        body: dict[str, Any] = reply["body"]
        return body

    def close(self) -> None:
        """End the program by the end of its input."""
        assert self._process.stdin is not None
        with self._process:
            self._process.stdin.close()
            self._process.wait(20)


@contextmanager
def running(
    command: list[str], name: str, server: Server, key: Credentials, **settings: Any
) -> Iterator[ClientProgram]:
    """Run a program with one of its clients for the time of the context."""
    program = ClientProgram(command, name, server, key, **settings)
    try:
        yield program
    finally:
        program.close()


def by(command: list[str], name: str) -> Begin:
    """One of the clients of a program."""

    @contextmanager
    def begin(installation: Installation, key: Credentials) -> Iterator[Call]:
        with running(command, name, installation.server, key) as program:
            yield program.call

    return begin


GENERIC = [
    pytest.param(by(NODE, "pop-core"), id="Node pop-core"),
    pytest.param(by(NODE, "openapi-client"), id="Node generic client"),
    pytest.param(by(GO, "generic v3"), id="Go generic client, V3", marks=needs_go),
    pytest.param(by(GO, "generic v1"), id="Go generic client, V1", marks=needs_go),
    pytest.param(by(GO, "legacy"), id="Go legacy client", marks=needs_go),
    pytest.param(by(JAVA, "generic v3"), id="Java generic client, V3", marks=needs_java),
    pytest.param(by(JAVA, "generic v1"), id="Java generic client, V1", marks=needs_java),
    pytest.param(by(JAVA, "legacy v1"), id="Java core, V1", marks=needs_java),
    pytest.param(by(JAVA, "legacy v3"), id="Java core, V3", marks=needs_java),
]
"""Clients that call any operation by its name."""

TYPED = [
    pytest.param(by(NODE, "ecs20140526"), "ecs", id="Node, ECS"),
    pytest.param(by(GO, "ecs20140526"), "ecs", id="Go, ECS", marks=needs_go),
    pytest.param(by(JAVA, "hbr20170908"), "hbr", id="Java, HBR", marks=needs_java),
]
"""Clients with models of the requests and answers of one product."""
