"""Samples in Go, Java and for command lines run as they stand, and print what the official Python client gets."""

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backfleet.samples import find_operation, make_sample, sample_call
from endpoints.openapi.client_programs import CACHE, PROJECT, needs_go, needs_java
from endpoints.openapi.server import Server
from samples.running import (
    HOSTILE,
    Outcome,
    Secured,
    in_bash,
    in_python,
    node,
    run_program,
    secured,
    values_of,
)

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

LINE = "".join(each for each in HOSTILE if each >= " " and each not in "\x7f\u202e")
CALLS: dict[str, dict[str, Any]] = {
    "hbr:DescribeBackupClients": {"ClientType": "ECS_CLIENT", "Tag": [{"Key": "team", "Value": LINE}]},
    "ecs:CreateCommand": {"RegionId": "cn-hangzhou", "Name": "greet", "Type": "RunShellScript",
                          "CommandContent": HOSTILE, "ContentEncoding": "PlainText"},
    "ram:UpdateUser": {"UserName": "somebody", "NewComments": LINE},
    "sts:GetCallerIdentity": {},
    "backfleet:ListTasks": {},
}  # fmt: skip
"""A call of every product; the values are as hostile as the product takes them."""
REFUSED = "ecs:CreateCommand"
GENERATED = frozenset({"RequestId", "CommandId", "UpdateDate"})


def codes(server: Secured, language: str) -> dict[str, str]:
    """Return the sample of every call."""
    found = {}
    for name, parameters in CALLS.items():
        operation = find_operation(name)
        values, _ = values_of(operation, parameters)
        found[name] = make_sample(sample_call(operation, values, server.target), language).code
    return found


def compare(
    server: Secured, run: Callable[[str], Callable[[dict[str, str]], Outcome]], calls: Iterable[str] = tuple(CALLS)
) -> None:
    """Compare what samples print with what the official Python client gets: of success, and of one refusal."""
    expected = codes(server, "python-generic")
    for name in calls:
        done, by_client = (
            program(server.environment(server.installation.somebody, {}))
            for program in (run(name), lambda env, name=name: in_python(expected[name], env))
        )
        assert without_ids(done.answer) == without_ids(by_client.answer), name
        if name == REFUSED:
            refused = run(name)(server.environment(server.installation.nobody, {}))
            client = in_python(expected[name], server.environment(server.installation.nobody, {}))
            assert refused.code == 1, name
            assert client.err.partition(":")[0] in refused.err, name
            assert "equest" in refused.err, name
    sent = stored(server)
    assert sent["script"] == HOSTILE
    assert sent["comments"] == (LINE if "ram:UpdateUser" in calls else "")


def stored(server: Secured) -> dict[str, str]:
    """Return what the server stored of the hostile texts, as the official client reads it."""
    found = {}
    for name, parameters, key in (
        ("DescribeCommands", {"RegionId": "cn-hangzhou", "ContentEncoding": "PlainText"}, "script"),
        ("GetUser", {"UserName": "somebody"}, "comments"),
    ):
        code = make_sample(sample_call(find_operation(name), parameters, server.target), "python-generic").code
        found[key] = in_python(code, server.environment(server.installation.somebody, {})).answer
    return {
        "script": found["script"]["Commands"]["Command"][0]["CommandContent"],
        "comments": found["comments"]["User"]["Comments"],
    }


def without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_ids(member) for name, member in value.items() if name not in GENERATED}
    return [without_ids(member) for member in value] if isinstance(value, list) else value


@pytest.fixture
def server(start_server: Callable[..., Server], tmp_path: Path) -> Iterator[Secured]:
    with secured(start_server, tmp_path) as found:
        yield found


@needs_go
def test_samples_in_go(server: Secured, tmp_path: Path) -> None:
    """Compiled together against the official modules, each a program of its own."""
    module = tmp_path / "module"
    shutil.copytree(PROJECT / "tests" / "go", module, ignore=shutil.ignore_patterns("*.go"))
    for name, code in codes(server, "go").items():
        folder = module / name.replace(":", "_")
        folder.mkdir()
        (folder / "main.go").write_text(code)
    go = {
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly",
        "GOPROXY": "off",
        "CGO_ENABLED": os.environ.get("CGO_ENABLED", "1"),
    }
    build = ["go", "build", "-trimpath", "-buildvcs=false", "-o", f"{tmp_path / 'bin'}/", "./..."]
    subprocess.run(build, cwd=module, env=os.environ | go, check=True, timeout=110)
    compare(server, lambda name: lambda env: run_program([str(tmp_path / "bin" / name.replace(":", "_"))], env))


@needs_java
def test_samples_in_java(server: Secured, tmp_path: Path) -> None:
    """Compiled together against the official jars."""
    jars = f"{CACHE / 'java' / 'lib'}/*"
    for name, code in codes(server, "java").items():
        (tmp_path / f"{name.partition(':')[2]}.java").write_text(code, encoding="ascii")
    sources = [str(file) for file in tmp_path.glob("*.java")]
    compiling = [
        "javac",
        "-J-Xmx256m",
        "--release",
        "17",
        "-Xlint:all",
        "-Werror",
        "-cp",
        jars,
        "-d",
        str(tmp_path / "classes"),
        *sources,
    ]
    subprocess.run(compiling, check=True, timeout=110)
    java = ["java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{tmp_path / 'classes'}:{jars}"]
    compare(server, lambda name: lambda env: run_program([*java, name.partition(":")[2]], env))


def test_samples_for_curl(server: Secured) -> None:
    """With a signature that the script computes; nothing secret is an argument of a program."""
    scripts = codes(server, "curl")
    compare(server, lambda name: lambda env: in_bash(scripts[name], env))


def test_samples_for_our_command(server: Secured) -> None:
    """With the `backfleet` of this environment."""
    scripts = codes(server, "backfleet")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    run = {name: functools.partial(in_bash, script) for name, script in scripts.items()}
    calls = [REFUSED]  # a process of it takes seconds
    compare(server, lambda name: lambda env: run[name]({**env, "PATH": path}), calls)


def test_samples_for_the_aliyun_command(server: Secured, tmp_path: Path) -> None:
    """A stand-in prints its arguments: they are exactly the values, and the authority is where the command reads it."""
    stand_in = tmp_path / "aliyun"
    stand_in.write_text(
        f'#!{sys.executable}\nimport json, os, sys\nprint(json.dumps([os.environ["SSL_CERT_FILE"], *sys.argv[1:]]))\n'
    )
    stand_in.chmod(0o755)
    code = codes(server, "aliyun")["ecs:CreateCommand"]
    done = in_bash(code, {"PATH": f"{tmp_path}:{os.environ['PATH']}", "BACKFLEET_CA": str(server.authority)})
    authority, product, action, *flags = json.loads(done.out)
    assert (authority, product, action) == (str(server.authority), "ecs", "CreateCommand")
    assert flags[flags.index("--CommandContent") + 1] == HOSTILE
    assert flags[flags.index("--endpoint") + 1] == server.installation.server.host


def test_samples_in_typescript_pass_the_compiler(server: Secured, tmp_path: Path) -> None:
    """With every check of the compiler, against the types of the official packages."""
    files = []
    for name, code in codes(server, "typescript").items():
        files.append(tmp_path / f"{name.partition(':')[2]}.ts")
        files[-1].write_text(code)
    with node() as process:
        assert process.ask({"check": [str(file) for file in files]}) == []
