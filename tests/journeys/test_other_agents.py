"""Orders for hosts whose agents are not ours: the shell command as such an agent runs it, against a real server."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backfleet import host_program
from backfleet.carriers import Bootstrap
from backfleet.carriers.bootstrap import command_for
from backfleet.commands.sending import LONGEST_CONTENT
from backfleet.fleet import Change, Client, ClientStatus
from backfleet.upgrades.checkups import change_after, order_id_of
from backfleet_host.contract import Order, read_output
from backfleet_host.platforms import platform_here
from host.proxying import PASSWORD, proxying
from journeys.installation import LONG, PACKAGE, Installation, free_ports, wait_for
from mounts import mounted, remount


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    found = Installation(tmp_path_factory.mktemp("server"))
    found.start()
    for version in ("1.0", "2.0"):
        found.add_release(version)
    found.add_release("2.5", switch="idle")
    found.add_release("3.0", health=1)
    yield found
    found.close()


@pytest.fixture
def bootstrap(server: Installation, tmp_path: Path) -> Bootstrap:
    """The bootstrap that the server would write, for a root of the test's own."""
    program = host_program.find()
    assert program is not None, "build it: tools/build_host_program.py"
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    authority = (server.data / "tls" / "ca.pem").read_text()
    return Bootstrap(server.https, authority, digest, root=str(tmp_path / "root"))


def order(number: int, version: str, kind: str = "upgrade", seconds: int = 600) -> Order:
    return Order(f"u-{number}", kind, PACKAGE, version, platform_here(), seconds)


def start(folder: Path, content: str, umask: int = -1, **environment: str) -> "subprocess.Popen[str]":
    """As the official agent does: a file, `sh -c`, its own process group, nothing to read, one stream."""
    script = folder / "t-1.sh"
    script.write_text(content)
    script.chmod(0o755)
    known = {"PATH": os.environ["PATH"], "HOME": str(folder)} | environment
    return subprocess.Popen(
        ["/bin/sh", "-c", str(script)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, env=known, cwd=folder, process_group=0, umask=umask,
    )  # fmt: skip


def run(folder: Path, content: str, umask: int = -1, **environment: str) -> tuple[int, Any, str]:
    """Return the exit code, the report, and the output."""
    output, _ = (process := start(folder, content, umask, **environment)).communicate(timeout=LONG)
    return process.returncode, read_output(output)[1], output


def test_a_host_is_installed_upgraded_and_rolled_back(bootstrap: Bootstrap, tmp_path: Path) -> None:
    """It needs only a Python; it prints little; a repeated order is answered from the journal."""
    code, report, output = run(tmp_path, command_for(order(1, "1.0", "install"), bootstrap))
    assert (code, report.outcome, report.current_version) == (0, "succeeded", "1.0"), output
    upgrade = command_for(order(2, "2.0"), bootstrap)
    assert len(upgrade) < LONGEST_CONTENT
    code, report, output = run(tmp_path, upgrade, ALIYUN_ASSIST_SERVER_HOST=bootstrap.address)
    assert (code, report.outcome, report.from_version, report.current_version) == (0, "succeeded", "1.0", "2.0"), output
    assert len(output) < 6000, "an agent that must report much ends itself"
    assert (
        subprocess.run([tmp_path / "root" / "bin" / PACKAGE], capture_output=True, check=True).stdout
        == b"courier 2.0\n"
    )
    code, again, _ = run(tmp_path, upgrade)
    assert (code, again) == (0, report)
    code, report, output = run(tmp_path, command_for(order(3, "3.0"), bootstrap))
    assert (code, report.code, report.current_version) == (1, "RolledBack", "2.0"), output


@pytest.mark.parametrize("umask", [0o000, 0o027, 0o077], ids=oct)
def test_an_order_sets_its_modes_whatever_the_agents_umask(bootstrap: Bootstrap, tmp_path: Path, umask: int) -> None:
    """Other users reach the client, and write nothing: neither the folder of the program that root runs."""
    code, _, output = run(tmp_path, command_for(order(1, "1.0", "install"), bootstrap), umask)
    assert code == 0, output
    root = tmp_path / "root"
    paths = [path for path in (root, *root.rglob("*")) if not path.is_symlink()]
    assert [path for path in paths if path.stat().st_mode & 0o022] == []
    modes = {
        path: stat.S_IMODE((root / path).stat().st_mode) for path in ("", "agent", "agent/brought", PACKAGE, "bin")
    }
    assert modes == {"": 0o755, "agent": 0o700, "agent/brought": 0o700, PACKAGE: 0o755, "bin": 0o755}


@pytest.mark.parametrize(("options", "code"), [("full", "DiskFull"), ("ro", "HostBusy")])
def test_a_full_or_read_only_disk_has_a_code(bootstrap: Bootstrap, tmp_path: Path, options: str, code: str) -> None:
    """Also before the host program is there: a traceback would tell the server nothing."""
    with mounted(Path(bootstrap.root), "size=1m") as disk:
        if options == "full":
            (disk / "filler").write_bytes(b"\0" * (shutil.disk_usage(disk).free - 100_000))
        else:
            remount(disk, "ro")
        ended, report, output = run(tmp_path, command_for(order(1, "1.0", "install"), bootstrap))
        assert (ended, report.code, report.version_known) == (1, code, False), output
        assert "Traceback" not in output


def test_a_host_reports_the_state_of_its_client(bootstrap: Bootstrap, tmp_path: Path) -> None:
    """A checkup returns the version, and what somebody changed by hand."""
    run(tmp_path, command_for(order(1, "1.0", "install"), bootstrap))
    asked_at = datetime(2026, 1, 2, tzinfo=UTC)

    def reported(at: datetime) -> Change | None:
        question = Order(order_id_of("c-1", at), "status", PACKAGE)
        _, _, output = run(tmp_path, command_for(question, bootstrap))
        client = Client("c-1", "1", "r", "mi-1", PACKAGE, "", "stable", ClientStatus.INSTALL_FAILED, at, at, at)
        return change_after(client, at, output, ask_again_at=at)

    assert reported(asked_at) == Change("c-1", ClientStatus.ACTIVATED, "1.0", "")
    (tmp_path / "root" / "bin" / PACKAGE).unlink()
    found = reported(asked_at + timedelta(days=1))
    assert found is not None
    assert PACKAGE in (found.drift or "")


def test_the_agents_death_does_not_end_the_upgrade(bootstrap: Bootstrap, tmp_path: Path) -> None:
    """Its whole process group is killed in the middle; a repeated order is answered with the report."""
    content = command_for(order(1, "1.0", "install"), bootstrap)
    process = start(tmp_path, content)
    wait_for(lambda: list((tmp_path / "root" / "agent" / "brought").glob("*.out")), LONG)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait_for(lambda: list((tmp_path / "root" / PACKAGE / "outcomes").glob("u-1.json")), LONG)
    code, report, output = run(tmp_path, content)
    assert (code, report.outcome, report.current_version) == (0, "succeeded", "1.0"), output


@pytest.mark.parametrize(
    ("changes", "seconds", "code"),
    [
        pytest.param({"program_sha256": "0" * 64}, 600, "UntrustedRelease", id="another program than ordered"),
        pytest.param({"address": "127.0.0.1:9"}, 2, "DownloadFailed", id="no server"),
        pytest.param({"authority": ""}, 2, "DownloadFailed", id="an authority that is none"),
        pytest.param({"root": "/proc/nowhere"}, 600, "UnsupportedPlatform", id="a root that cannot be written"),
    ],
)
def test_a_bootstrap_that_fails_is_reported(
    bootstrap: Bootstrap, tmp_path: Path, changes: dict[str, str], seconds: int, code: str
) -> None:
    """With a report, like any other outcome; no process is left."""
    content = command_for(order(1, "1.0", "install", seconds), replace(bootstrap, **changes))
    exit_code, report, output = run(tmp_path, content)
    assert (exit_code, report.code, report.order_id) == (1, code, "u-1"), output
    assert not report.version_known
    assert not (tmp_path / "root" / PACKAGE).exists()


def test_a_host_without_a_new_enough_python_reports_it(bootstrap: Bootstrap, tmp_path: Path) -> None:
    """One that is too old counts as none."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("python3", "python3.9"):
        (tools / name).write_text("#!/bin/sh\nexit 1\n")
        (tools / name).chmod(0o755)
    (tools / "sh").symlink_to(shutil.which("sh") or "/bin/sh")
    content = command_for(order(1, "1.0", "install"), bootstrap)
    exit_code, report, output = run(tmp_path, content, PATH=str(tools))
    assert (exit_code, report.code, report.version_known) == (1, "UnsupportedPlatform", False), output
    assert "Python 3.10" in report.message


def test_a_python_that_is_too_old_is_skipped(bootstrap: Bootstrap, tmp_path: Path) -> None:
    """As where `python3` is 3.9 and a newer one stands beside it: the host program would not run on the old one."""
    tools = tmp_path / "tools"
    tools.mkdir()
    says = "import sys; sys.version_info = (3, 9, 2, 'final', 0); exec(sys.argv[1])"
    (tools / "python3").write_text(f'#!/bin/sh\n[ "$1" = -c ] && exec {sys.executable} -c "{says}" "$2"\nexit 70\n')
    (tools / "python3").chmod(0o755)
    (tools / "python3.11").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tools / "python3.11").chmod(0o755)
    content = command_for(order(1, "1.0", "install"), bootstrap)
    code, report, output = run(tmp_path, content, PATH=f"{tools}:{os.environ['PATH']}")
    assert (code, report.outcome) == (0, "succeeded"), output


@pytest.mark.parametrize("form", ["pasted", "quoted"])
def test_a_host_behind_a_proxy(bootstrap: Bootstrap, tmp_path: Path, form: str) -> None:
    """Program, root, metadata and artifact all use the proxy, with its name and password."""
    with proxying() as proxy:
        content = command_for(order(1, "1.0", "install"), bootstrap)
        code, report, output = run(tmp_path, content, BACKFLEET_PROXY=getattr(proxy, form))
    assert (code, report.outcome) == (0, "succeeded"), output
    assert set(proxy.asked) == {f"CONNECT {bootstrap.address}"}
    assert len(proxy.asked) >= 3
    assert PASSWORD not in output


@pytest.mark.parametrize(
    "proxy", ["https://u:hunter2@127.0.0.1:9", "http://u:hunter2@127.0.0.1:9", "http://u@x:hunter2", "hunter2"]
)
@pytest.mark.parametrize("known", [False, True])
def test_a_proxy_that_does_not_work_is_reported(bootstrap: Bootstrap, tmp_path: Path, proxy: str, known: bool) -> None:
    """With a report that does not contain the password, on a new host and on an old one."""
    if known:
        run(tmp_path, command_for(order(1, "1.0", "install"), bootstrap))
    content = command_for(order(2, "2.0", "install", 2), bootstrap)
    code, report, output = run(tmp_path, content, BACKFLEET_PROXY=proxy)
    assert (code, report.code, report.order_id) == (1, "DownloadFailed", "u-2"), output
    assert "hunter2" not in output


@pytest.fixture
def backup(bootstrap: Bootstrap, tmp_path: Path) -> Iterator[Path]:
    """A host with 1.0 and a backup that runs while this file exists: an order that must be idle waits for it."""
    assert run(tmp_path, command_for(order(1, "1.0", "install"), bootstrap))[0] == 0
    going_on = tmp_path / "going on"
    going_on.write_text("")
    process = subprocess.Popen([tmp_path / "root" / "bin" / PACKAGE, "hold", going_on])
    yield going_on
    going_on.unlink(missing_ok=True)
    process.wait(LONG)


def installed(folder: Path) -> str:
    return os.readlink(folder / "root" / PACKAGE / "current").rsplit("/", 1)[-1]


def worker_of(folder: Path, number: int) -> int:
    """The process that carries an order out, apart from the agent's shell."""
    lock = folder / "root" / "agent" / "brought" / f"u-{number}.lock"
    holders = [entry.parent.parent.name for entry in Path("/proc").glob("[0-9]*/fd/*") if reads(entry) == str(lock)]
    (pid,) = {int(pid) for pid in holders if os.getsid(int(pid)) != os.getsid(0)}
    return pid


def reads(entry: Path) -> str:
    try:
        return os.readlink(entry)
    except OSError:
        return ""


@contextmanager
def forwarding(port: int, address: str) -> Iterator[None]:
    """Take connections on a port, and pass their bytes on to an address."""
    host, _, to = address.rpartition(":")
    opened: list[socket.socket] = []
    pumping: list[threading.Thread] = []

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(65536):
                sink.sendall(content)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                ours, _ = listener.accept()
                theirs = socket.create_connection((host, int(to)))
                opened.extend((ours, theirs))
                for pair in ((ours, theirs), (theirs, ours)):
                    pumping.append(threading.Thread(target=pump, args=pair, daemon=True))
                    pumping[-1].start()

    with socket.create_server(("127.0.0.1", port)) as listener:
        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield
        listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        accepting.join()
        for each in opened:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in pumping:
            thread.join()
        for each in opened:
            each.close()


def draining(folder: Path) -> bool:
    return any('"stage": "drain"' in file.read_text() for file in (folder / "root/agent/brought").glob("u-2.out"))


def test_an_upgrader_that_is_killed_before_the_switch_is_no_bug_of_ours(
    bootstrap: Bootstrap, backup: Path, tmp_path: Path
) -> None:
    """What is left of the agent's command finds out what became of the order, and says what to do."""
    process = start(tmp_path, command_for(order(2, "2.5"), bootstrap))
    wait_for(lambda: draining(tmp_path), LONG)
    os.kill(worker_of(tmp_path, 2), signal.SIGKILL)
    output, _ = process.communicate(timeout=LONG)
    report = read_output(output)[1]
    assert report is not None, output
    assert (process.returncode, report.code, report.current_version) == (1, "HostBusy", "1.0")
    assert "killed" in report.message
    assert "1.0 is installed as before; ask again" in report.message
    backup.unlink()
    assert run(tmp_path, command_for(order(3, "2.5"), bootstrap))[1].current_version == "2.5"


def test_a_command_waits_for_a_server_that_is_away(bootstrap: Bootstrap, tmp_path: Path) -> None:
    """For as long as its order has time: the host has neither the program nor the root yet."""
    (port,) = free_ports(1)
    process = start(tmp_path, command_for(order(1, "1.0", "install"), replace(bootstrap, address=f"127.0.0.1:{port}")))
    time.sleep(2)
    with forwarding(port, bootstrap.address):
        output, _ = process.communicate(timeout=LONG)
    report = read_output(output)[1]
    assert report is not None, output
    assert (report.outcome, report.current_version) == ("succeeded", "1.0")


def test_an_official_agent_takes_an_upgrade(server: Installation, tmp_path: Path) -> None:
    """The call becomes a shell command in that agent's list, and its report the task's result."""
    import asyncio
    import base64
    import ssl

    from backfleet_sim import Agent, HttpClient, Server, Simulation, make_keys

    async def walk() -> dict[str, Any]:
        made = server.call("CreateActivation", "ecs", RegionId="cn-hangzhou", InstanceCount=1)
        tls = ssl.create_default_context(cafile=str(server.data / "tls" / "ca.pem"))
        async with HttpClient() as client:
            simulation = Simulation([Server("127.0.0.1", server.ports[1], tls)], make_keys(1), client)
            agent = Agent(simulation, 1, version="2.2.3.578")
            await agent.register(made["ActivationId"], made["ActivationCode"])
            await agent.ask("GET", "/api/heart-beat?index=0&seq_no=0")
            started = await asyncio.to_thread(
                server.call, "InstallBackupClients", InstanceIds=[agent.instance_id], PackageName=PACKAGE
            )
            until = time.monotonic() + LONG
            entries: list[dict[str, Any]] = []
            while not entries and time.monotonic() < until:
                _, content = await agent.ask("POST", "/api/v1/task/list?reason=startup&cold_start=true")
                entries = json.loads(content)["run"]
                await asyncio.sleep(0.2)
            task = entries[0]["task"]
            script = base64.b64decode(task["commandContent"]).decode()
            script = script.replace("/opt/backfleet", str(tmp_path / "root"))
            code, _, output = await asyncio.to_thread(run, tmp_path, script, ALIYUN_ASSIST_SERVER_HOST=server.https)
            about = f"taskId={task['taskID']}&invokeVersion=0&start=1&end=2&exitCode={code}&dropped=0"
            await agent.ask("POST", f"/api/v1/task/finish?{about}", output.encode())
            return await asyncio.to_thread(server.finished, started["TaskId"])

    task = asyncio.run(walk())
    # The newest release is the unhealthy one: its rollback shows that the report came the whole way.
    assert [(item["errorCode"], item["toVersion"]) for item in task["Result"]] == [("RolledBack", "3.0")], task
