"""A version without a health command is healthy if every command of it can be started."""

import shutil
import signal
import sys
from pathlib import Path

import pytest

from backfleet_host.manifest import Manifest
from backfleet_host.platforms import platform_here
from backfleet_host.upgrader.errors import Unhealthy
from backfleet_host.upgrader.host import health
from backfleet_host.upgrader.host.health import verify
from backfleet_host.upgrader.host.subprocesses import Subprocess

LIMIT = 600.0  # seconds that a process has
SHIMS = Path(health.__file__).parents[2] / "shim" / "binaries"


def manifest(*commands: str) -> Manifest:
    """A release with these commands, and no health command."""
    return Manifest("courier", "1.0", platform_here(), "tar", bin=commands)


def put(tree: Path, name: str, content: str | bytes) -> None:
    path = tree / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(0o755)


def without_its_library() -> bytes:
    """Return a real program that needs a library that is nowhere."""
    return Path(shutil.which("true") or "").read_bytes().replace(b"libc.so.6\0", b"libq.so.6\0")


def of_another_machine() -> bytes:
    """Return a real program for another architecture than this."""
    other = "linux-s390x" if platform_here() != "linux-s390x" else "linux-ppc64le"
    return (SHIMS / other).read_bytes()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param("#!/bin/sh\nexit 127\n", "`courier --version` ended with exit code 127", id="not found"),
        pytest.param("#!/bin/sh\nexit 126\n", "ended with exit code 126", id="not executable"),
        pytest.param("#!/bin/sh\nkill -SEGV $$\n", f"ended with signal {int(signal.SIGSEGV)}", id="a signal"),
        pytest.param(without_its_library(), "libq.so.6: cannot open shared object", id="a missing library"),
        pytest.param(of_another_machine(), "cannot be started: Exec format error", id="another machine's"),
        pytest.param("<html>404 Not Found</html>", "cannot be started: Exec format error", id="an HTML page"),
        pytest.param("#!/no/such/python\n", "cannot be started: No such file", id="a missing interpreter"),
        pytest.param(f"#!{sys.executable}\nimport no_such_part\n", "No module named 'no_such_part'", id="a module"),
    ],
)
def test_a_command_that_cannot_be_started_is_unhealthy(tmp_path: Path, content: str | bytes, why: str) -> None:
    """Whether the kernel, the loader or an interpreter refuses it; also where another command is fine."""
    put(tmp_path, "fine", "#!/bin/sh\necho 1.0\n")
    put(tmp_path, "courier", content)
    with pytest.raises(Unhealthy) as raised:
        verify(manifest("fine", "courier"), tmp_path)
    assert why in raised.value.text
    assert raised.value.cannot_start == {"courier"}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("#!/bin/sh\necho 1.0\n", id="it prints its version"),
        pytest.param("#!/bin/sh\necho unknown option >&2\nexit 2\n", id="it knows no option"),
        pytest.param('#!/bin/sh\n[ "$1" = --help ] && exit 0\nexit 127\n', id="it knows --help only"),
        pytest.param('#!/bin/sh\n[ "$1" = -V ] && exit 0\nkill -ABRT $$\n', id="it knows -V only"),
    ],
)
def test_a_command_that_starts_is_healthy(tmp_path: Path, content: str) -> None:
    """What it makes of the argument says nothing about its health."""
    put(tmp_path, "courier", content)
    verify(manifest("courier"), tmp_path)


def test_a_command_that_goes_on_running_has_been_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that ignores its arguments. It is ended."""
    monkeypatch.setattr(health, "START_SECONDS", 0.3)
    put(tmp_path, "courier", f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    verify(manifest("courier"), tmp_path)
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def test_what_the_old_version_could_not_start_is_excused(tmp_path: Path) -> None:
    """Other commands are not."""
    for name in ("courier", "tool"):
        put(tmp_path, name, "#!/bin/sh\nexit 127\n")
    verify(manifest("tool"), tmp_path, excused={"tool"})
    with pytest.raises(Unhealthy, match="`courier --version`"):
        verify(manifest("tool", "courier"), tmp_path, excused={"tool"})


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [pytest.param(0.6, "TemporaryFailure", id="a moment"), pytest.param(30, "TimedOut", id="enough time")],
)
def test_a_last_try_that_hangs_is_a_verdict_only_if_it_had_time(seconds: float, reason: str) -> None:
    """A command that is not ready and is cut short a moment later has said nothing else."""
    tries = []

    def run(command: Subprocess) -> tuple[int, str]:
        tries.append(command.seconds)
        if len(tries) == 1:
            return 75, ""
        raise Unhealthy("it did not end", reason="TimedOut")

    with pytest.raises(Unhealthy) as raised:
        health.expect(Subprocess(("courier",), seconds), "", "courier", run)
    assert (raised.value.reason, len(tries)) == (reason, 2)


def test_a_comparison_leaves_the_limit_of_its_process_as_it_is() -> None:
    """A process that carries an order out is killed by an alarm if it hangs, which this one must not take away."""
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        assert health.matches("b+", "abc")
        assert LIMIT - 60 < signal.getitimer(signal.ITIMER_REAL)[0] <= LIMIT
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert health.matches("b+", "abc")
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
