"""Commands and everything that they start, and which processes run from a tree. With real processes."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.upgrader.errors import Unhealthy
from backfleet_host.upgrader.host.processes import end_orphans, from_tree, holders_of, is_program_of
from backfleet_host.upgrader.host.subprocesses import Subprocess, run
from host.agent.conftest import until
from host.upgrader.conftest import LONG_ENOUGH

Host = Any
Shop = Any


def lives(pid: int) -> bool:
    """Return whether a process runs and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Path]:
    """Return a file that processes write their ids into; what still runs at the end is killed."""
    file = tmp_path / "pids"
    file.touch()
    yield file
    for pid in map(int, file.read_text().split()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


ESCAPES = [
    pytest.param("sh -c 'echo $$ >> {pids}; exec sleep 300' & wait", id="a child"),
    pytest.param("setsid sh -c 'echo $$ >> {pids}; exec sleep 300' & wait", id="a session of its own"),
    pytest.param("env -i setsid sh -c 'echo $$ >> {pids}; exec sleep 300' & wait", id="without its environment"),
    pytest.param(
        "(env -i setsid sh -c 'echo $$ >> {pids}; exec sleep 300' &) & sleep 300", id="whose parent is gone already"
    ),
    pytest.param("trap '' TERM INT HUP; echo $$ >> {pids}; sleep 300", id="deaf to signals"),
]


@pytest.mark.parametrize(
    ("script", "outlives"),
    [pytest.param(*each.values, False, id=f"a command, {each.id}") for each in ESCAPES]
    # A service is not our child: what its start leaves is found only by its run id.
    + [
        pytest.param(*each.values, True, id=f"a start, {each.id}") for each in ESCAPES if "env -i" not in each.values[0]
    ],
)
def test_f10_a_timeout_kills_everything_that_was_started(pids: Path, script: str, outlives: bool) -> None:
    """Whatever group, session or environment it moved to. What starts a service is found only by its run id."""
    words = ("sh", "-c", script.replace("{pids}", str(pids)))
    with pytest.raises(Unhealthy, match="did not end within"):
        run(Subprocess(words, 0.7, outlives=outlives))
    assert pids.read_text().split()
    assert until(lambda: not any(lives(int(pid)) for pid in pids.read_text().split()))


def test_a_service_outlives_what_started_it(pids: Path) -> None:
    """And may go on writing output."""
    script = f"sh -c 'echo $$ >> {pids}; exec sleep 300' & echo started"
    assert run(Subprocess(("sh", "-c", script), 5, outlives=True)) == (0, "started\n")
    assert until(lambda: pids.read_text().split())
    assert lives(int(pids.read_text()))


def test_other_children_of_this_process_are_left_alone(pids: Path) -> None:
    """Not all of our children belong to the command."""
    with subprocess.Popen(["sleep", "300"]) as other:
        with pytest.raises(Unhealthy):
            run(Subprocess(("sleep", "300"), 0.3))
        assert other.poll() is None
        other.kill()


def test_a_flood_of_output_is_read_and_dropped() -> None:
    """Its start is kept, and the command does not wait for us."""
    code, output = run(Subprocess(("sh", "-c", "seq 1 2000000; echo end >&2; exit 3"), 30))
    assert code == 3
    assert output.startswith("1\n2\n3\n")
    assert len(output) == 64 * 1024


def test_all_of_a_short_output_is_kept_though_the_command_ends_at_once() -> None:
    for _ in range(20):
        assert run(Subprocess(("sh", "-c", "printf a; printf b >&2"), 5)) == (0, "ab")


@pytest.mark.parametrize(
    "words", [("/no/such/program",), ("sh\0",), ("/etc/passwd",)], ids=["none", "with a NUL", "no program"]
)
def test_a_command_that_cannot_be_started_is_reported(words: tuple[str, ...]) -> None:
    with pytest.raises(Unhealthy, match="cannot be started"):
        run(Subprocess(words, 5))


def test_an_unknown_user_is_reported() -> None:
    with pytest.raises(Unhealthy, match="cannot be started"):
        run(Subprocess(("true",), 5, user="nobody-of-that-name"))


def test_commands_of_a_dead_upgrade_are_killed_by_the_next(tmp_path: Path, pids: Path) -> None:
    """A `stop` that is still running would stop what the recovery has started."""
    code = (
        "from backfleet_host.upgrader.host.subprocesses import Subprocess, run;"
        f"run(Subprocess(('sh', '-c', 'echo $$ >> {pids}; sleep 300'), 300, owner={str(tmp_path)!r}))"
    )
    with subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": ":".join(sys.path)}) as died:
        assert until(lambda: pids.read_text().split(), 10)
        died.kill()
    orphan = int(pids.read_text())
    assert lives(orphan)
    end_orphans(str(tmp_path / "another"))
    assert lives(orphan)
    end_orphans(str(tmp_path))
    assert until(lambda: not lives(orphan))


# --- Who runs from a tree -------------------------------------------------------------------------------------------


@contextmanager
def holding(host: Host, *words: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a backup until its flag file is removed; it must end well."""
    flag = host.root / f"flag-{time.monotonic_ns()}"
    flag.touch()
    with subprocess.Popen([*map(str, words), "hold", str(flag)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        began = process.stdout.readline().split()[-1]
        try:
            yield process
            flag.unlink()
            assert process.stdout.read() == f"done {began}\n"
        except BaseException:
            process.kill()
            raise
    assert process.returncode == 0


PATIENT = """#!/bin/sh
case "$1" in
  version) echo "{package} {version}"; exit {health} ;;
  hold) echo "holding {version}"; while [ -e "$2" ]; do sleep 0.02; done; echo "done {version}" ;;
esac
"""


def test_f06_a_script_that_was_started_through_the_link_is_seen(shop: Shop, host: Host) -> None:
    """As units do: only the link is among its arguments. Its tree stays as long as it runs."""
    for version in ("1.0", "2.0", "3.0"):
        shop.add(version)
    host.carry("install", "1.0")
    with holding(host, host.folder / "current" / "bin" / "courier") as old:
        for version in ("2.0", "3.0"):
            report = host.carry("upgrade", version)
            assert report.outcome == "succeeded", report
        with holding(host, host.folder / "current" / "bin" / "courier") as new:
            trees = {version: from_tree(host.folder / "versions" / version) for version in ("1.0", "3.0")}
            assert old.pid in trees["1.0"]
            assert trees["3.0"] == [new.pid]
            (package,) = host.carry("status").details["packages"]
            assert old.pid in package["in_use"]["1.0"]
    host.carry("recover")
    assert sorted(path.name for path in (host.folder / "versions").iterdir()) == ["2.0", "3.0"]


def test_f35_idle_waits_for_a_script_that_was_started_through_the_link(shop: Shop, host: Host) -> None:
    shop.add("1.0", switch="idle")
    shop.add("2.0")  # what the old version asks for counts too
    host.carry("install", "1.0")
    with holding(host, host.folder / "current" / "bin" / "courier") as backup:
        report = host.carry("upgrade", "2.0", timeout_seconds=LONG_ENOUGH)
        assert (report.code, report.current_version) == ("BackupRunning", "1.0")
        assert str(backup.pid) in report.message
    assert host.carry("upgrade", "2.0").outcome == "succeeded"


def test_f06_a_tree_is_known_by_every_name_it_has(shop: Shop, host: Host) -> None:
    """/opt is a link on some hosts."""
    real = host.root.with_name("elsewhere")
    real.mkdir()
    host.root.symlink_to(real)
    shop.add("1.0")
    host.carry("install", "1.0")
    for folder in (host.folder, real / "courier"):
        with holding(host, folder / "versions" / "1.0" / "bin" / "courier") as backup:
            assert from_tree(host.folder / "versions" / "1.0") == [backup.pid]


def test_a_process_with_an_open_file_is_no_program_of_the_tree(shop: Shop, host: Host) -> None:
    """Its programs are those started from it, as scripts, through the link, or by an interpreter."""
    shop.add("1.0")
    host.carry("install", "1.0")
    tree, current = host.folder / "versions" / "1.0", host.folder / "current"
    looking = [["tail", "-f", tree / "bin" / "courier"], ["tail", tree / "bin" / "courier", "-f"]]
    with contextlib.ExitStack() as stack:
        for words in looking:
            process = stack.enter_context(subprocess.Popen([*map(str, words)], stdout=subprocess.DEVNULL))
            stack.callback(process.kill)
            assert until(lambda: process.pid in from_tree(tree))  # noqa: B023
            assert not is_program_of(process.pid, tree)
    for program in (tree / "bin" / "courier", current / "bin" / "courier"):
        with holding(host, program) as backup:
            assert is_program_of(backup.pid, tree)
    with subprocess.Popen(["sleep", "300"], cwd=tree) as visitor:
        assert not is_program_of(visitor.pid, tree)
        visitor.kill()


def test_holders_of_a_lock_are_found(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    with subprocess.Popen(["sh", "-c", f"exec 9<{lock} sleep 300"]) as shell:
        assert until(lambda: shell.pid in holders_of(lock))
        shell.kill()
    assert holders_of(lock) == frozenset()
