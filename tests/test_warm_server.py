"""A warm server is like any other: only its modules were imported before it began."""

import ast
import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

import backfleet
from warm_server import COLD, WarmServer

SOURCES = Path(backfleet.__file__).parent
ALONE = {"BACKFLEET_HOLD_LISTENERS": "false"}


@pytest.fixture
def command(tmp_path: Path) -> list[str | Path]:
    return [*COLD, "serve", "--data", tmp_path / "data", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0"]


def files_of(pid: int) -> Iterator[str]:
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            yield os.readlink(file)


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "with a parent that holds the listeners"])
def test_it_serves_and_ends_as_one_that_was_started_cold(command: list[str | Path], alone: bool) -> None:
    """It has no file of those that the process which forked it has, and the signal ends it with code 0."""
    environment = os.environ | (ALONE if alone else {})
    with WarmServer(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        with urllib3.PoolManager() as pool:
            assert pool.request("GET", f"{ready['http']}/healthz", retries=False, timeout=60).status == 200
        assert process.poll() is None
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == (0 if alone else 1)
        serving = int(children[0]) if children else process.pid
        assert len([file for file in files_of(serving) if file.startswith("pipe:")]) == 2, "stdout and stderr"
        process.terminate()
        problems = process.communicate(timeout=60)[1]
        assert (process.returncode, '"stopping"' in problems, "Traceback" in problems) == (0, True, False), problems


def test_it_is_gone_after_a_test_that_failed(command: list[str | Path]) -> None:
    """Nobody would end it then, and whoever waited for its end would wait for ever."""
    with (
        pytest.raises(ZeroDivisionError),
        WarmServer(command, stdout=subprocess.PIPE, env=os.environ | ALONE) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline()
        raise ZeroDivisionError
    assert process.returncode == -signal.SIGKILL


def test_one_that_is_killed_says_so_and_its_pid_is_free_afterwards(command: list[str | Path]) -> None:
    with WarmServer(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | ALONE) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
        process.kill()  # of nobody: what ended is not asked for again


def test_with_a_parent_that_is_killed_the_serving_process_is_gone_too_and_its_port_is_free(
    command: list[str | Path],
) -> None:
    with WarmServer(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["http"].removeprefix("http://")
        (serving,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        assert not alive(int(serving))
    again = [*command, "--http", address]
    with WarmServer(again, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["http"] == f"http://{address}"
        process.kill()


def alive(pid: int) -> bool:
    """Return whether a process is there, and not only its entry, which init has not removed yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


def test_a_start_that_is_refused_has_its_code_and_its_sentence(command: list[str | Path], tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, not a folder")
    process = WarmServer(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, problems = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert problems.count("\n") == 1, problems


def test_no_module_but_one_reads_the_environment_as_it_is_imported() -> None:
    """A module that did would have that of the process which forks; `failpoints` is imported again."""
    texts = {path.stem: path.read_text() for path in SOURCES.rglob("*.py")}
    assert [name for name, text in texts.items() if re.search("environ|getenv", text) and reads(ast.parse(text))] == [
        "failpoints"
    ]


def reads(node: ast.AST) -> bool:
    """Return whether the environment is read here, and not only in a function that is called later."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return False
    is_it = isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
    return is_it or any(reads(inner) for inner in ast.iter_child_nodes(node))
