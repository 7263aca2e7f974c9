"""Run samples as people do, and read what they print."""

import contextlib
import gc
import io
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

from backfleet import samples
from backfleet.certificates import prepare_certificates
from backfleet.operations.catalogue import Operation
from backfleet.wire.credentials import Credentials
from backfleet.wire.parameters import parameters_of
from endpoints.openapi.client_programs import CACHE, PROJECT
from endpoints.openapi.scenario import REGION, Installation, flat, prepare
from endpoints.openapi.server import Server

HOSTILE = """a 'b' "c" `d` $HOME ${X} $(id) \\ \\n \\u0041 %s %n {0} </script> <!-- é 备 😀 \u202e \x7f
#{x} \t*/ // ' || "" !1 ~ & ;"""
"""What a quoting that is nearly right gets wrong."""
Environment = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a program wrote, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> dict[str, Any]:
        """The answer that it printed."""
        assert self.code == 0, self.err
        found: dict[str, Any] = json.loads(self.out)
        return found


Run = Callable[[str, Environment], Outcome]
"""Run the code of a sample with further environment variables."""


@dataclass(frozen=True, slots=True)
class Secured:
    """An installation behind TLS, and the file of its authority."""

    installation: Installation
    authority: Path

    @property
    def target(self) -> samples.Target:
        return samples.Target(self.installation.server.host, REGION)

    def environment(self, key: Credentials, secrets: Environment) -> dict[str, str]:
        return {
            "ALIBABA_CLOUD_ACCESS_KEY_ID": key.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": key.access_key_secret,
            "BACKFLEET_CA": str(self.authority),
            **secrets,
        }


@contextmanager
def secured(start_server: Callable[..., Server], folder: Path) -> Iterator[Secured]:
    certificates = prepare_certificates(folder, ["127.0.0.1"], now=datetime.now(UTC))
    yield Secured(prepare(start_server(certificates.context(), require_tls=True)), certificates.authority)
    gc.collect()  # Python's client leaves its TLS connections to the collector; let that be here, where it is expected


def values_of(operation: Operation, parameters: dict[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Return parameters as they are on the wire, and the environment variables of those that are secrets."""
    found = flat(operation, parameters)
    secrets = [each.name for each in parameters_of(operation.request) if each.limits.get("secret")]
    variables = {samples.variable_of(name): found[name] for name in secrets if name in found}
    return {name: "" if name in secrets else value for name, value in found.items()}, variables


def in_python(code: str, environment: Environment) -> Outcome:
    """Run a Python sample in this process, as a program of its own."""
    out, err, status = io.StringIO(), "", 0
    with mock.patch.dict(os.environ, environment), contextlib.redirect_stdout(out):
        try:
            exec(compile(code, "sample.py", "exec"), {"__name__": "__main__"})  # noqa: S102
        except SystemExit as end:
            err, status = str(end.code), 1
    return Outcome(status, out.getvalue(), err)


class Node:
    """One process that runs TypeScript samples."""

    def __init__(self) -> None:
        environment = os.environ | {"NODE_PATH": str(CACHE / "node" / "node_modules")}
        self._process = subprocess.Popen(
            ["node", str(PROJECT / "tests" / "node" / "samples.cjs")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def ask(self, line: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def run(self, code: str, environment: Environment) -> Outcome:
        return Outcome(**self.ask({"source": code, "env": dict(environment)}))

    def close(self) -> None:
        assert self._process.stdin is not None
        with self._process:
            self._process.stdin.close()
            self._process.wait(20)


@contextmanager
def node() -> Iterator[Node]:
    found = Node()
    try:
        yield found
    finally:
        found.close()


def run_program(command: list[str], environment: Environment, folder: Path | None = None) -> Outcome:
    """Run a program with these variables beside PATH and HOME only."""
    base = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        command, env=base | dict(environment), cwd=folder, capture_output=True, text=True, timeout=100, check=False
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def in_bash(code: str, environment: Environment) -> Outcome:
    """Run a sample as a script."""
    return run_program(["bash", "-c", code], environment)
