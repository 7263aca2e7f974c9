"""Runs of clients through their shims are noted: who began which version, and how it ended."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from backfleet_host.agent.runs.exits import Exits, NotAvailable
from host.agent.conftest import until
from host.agent.runs.clients import HostWithRuns


@pytest.fixture
def host(tmp_path: Path) -> HostWithRuns:
    return HostWithRuns(tmp_path / "root")


@pytest.fixture
def kernel_tells() -> None:
    """Skip where the kernel does not send the ends of processes: without root, or in another namespace."""
    try:
        Exits().close()
    except NotAvailable as problem:
        pytest.skip(f"no process connector: {problem}")


def refused() -> Exits:
    raise NotAvailable("not here")


@pytest.mark.usefixtures("kernel_tells")
def test_a_run_is_noted_with_its_version_user_caller_and_exit_code(host: HostWithRuns) -> None:
    """Also one that ends within a millisecond, and one that a signal killed."""
    with host.watched():
        assert (host.call("backup", "0"), host.call("backup", "7")) == (0, 7)
        killed = subprocess.Popen([host.shim, "backup", "sleep"])
        assert until(lambda: len(host.ledger.runs()) == 3)
        killed.send_signal(signal.SIGTERM)
        killed.wait(10)
        runs = host.ended(3)
    assert [(run.version, run.result, run.code) for run in runs] == [
        ("1.0", "succeeded", 0),
        ("1.0", "failed", 7),
        ("1.0", "failed", -15),
    ]
    assert {(run.package, run.user, run.is_backup) for run in runs} == {("courier", "root", True)}
    assert runs[2].caller in Path("/proc/self/comm").read_text()
    assert all(run.ended is not None and run.ended >= run.begun for run in runs)


@pytest.mark.usefixtures("kernel_tells")
def test_a_burst_of_runs_on_a_busy_host_is_noted_whole(host: HostWithRuns) -> None:
    """Each gets its own exit code, whatever else ends meanwhile."""
    with host.watched():
        for number in range(60):
            subprocess.run(["/bin/true"], check=True)
            assert host.call("backup", str(number % 5)) == number % 5
        runs = host.ended(60)
    assert [run.code for run in runs] == [number % 5 for number in range(60)]


@pytest.mark.usefixtures("kernel_tells")
def test_a_run_goes_on_while_the_agent_restarts(host: HostWithRuns) -> None:
    """The next agent sees its end. One that ended meanwhile has a result that nobody knows, and one never both."""
    with host.watched():
        long, short = (subprocess.Popen([host.shim, "backup", "sleep"]) for _ in range(2))
        assert until(lambda: len(host.ledger.runs()) == 2)
    for process in (short,):
        process.kill()
        process.wait(10)
    with host.watched():
        long.kill()
        long.wait(10)
        runs = host.ended(2)
    assert {run.pid: (run.result, run.code, run.ended is None) for run in runs} == {
        long.pid: ("failed", -9, False),
        short.pid: ("unknown", None, True),
    }


def test_where_the_kernel_does_not_tell_the_end_is_known_and_the_result_is_not(host: HostWithRuns) -> None:
    """It never counts as well."""
    with host.watched(refused):
        assert host.call("backup", "0") == 0
        (run,) = host.ended(1)
    assert (run.result, run.code) == ("unknown", None)
    assert run.ended is not None


def test_a_shim_does_not_care_whether_anybody_listens(host: HostWithRuns) -> None:
    """No agent, and one that is gone; the exit code is the client's."""
    assert host.call("backup", "3") == 3
    with host.watched(refused):
        pass
    assert host.call("backup", "4") == 4


def test_only_versions_that_are_here_are_noted(host: HostWithRuns) -> None:
    """Whatever another process sends."""
    import socket

    with host.watched(refused), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.connect(str(host.root / ".runs"))
        tree = f"{host.folder}/versions"
        for program in ("/bin/true", f"{tree}/9.9/bin/courier", f"{tree}/../x", f"{tree}/"):
            other.send(b"\0".join([b"1", b"courier", b"courier", program.encode(), b""]))
        other.send(b"\xff" * 900)
        other.send(b"")
        other.send(b"\0".join([b"1", b"courier", b"courier", f"{tree}/1.0/bin/courier".encode(), b"backup", b""]))
        assert until(lambda: len(host.ledger.runs()) == 1)
        (run,) = host.ledger.runs()
    assert (run.pid, run.user) == (os.getpid(), "root")


def test_a_run_that_verifies_a_version_is_no_run_of_the_client(host: HostWithRuns) -> None:
    """It holds the marker of the upgrade."""
    marker = host.folder / "unproven"
    marker.touch()
    with host.watched(refused):
        descriptor = os.open(marker, os.O_WRONLY)
        subprocess.run(
            [host.shim, "backup", "0"],
            pass_fds=[descriptor],
            env={"BACKFLEET_GATE_DESCRIPTOR": str(descriptor)},
            check=True,
        )
        os.close(descriptor)
        marker.unlink()
        host.call("backup", "0")
        host.ended(1)
        assert len(host.ledger.runs()) == 1
