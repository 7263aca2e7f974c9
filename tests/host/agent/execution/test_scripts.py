"""Shell scripts, in shell mode: run as Cloud Assistant runs them, with nothing left of them at the end."""

import contextlib
import os
import pwd
import signal
from pathlib import Path

import pytest

from backfleet_host.agent.execution.script import LINGER_SECONDS, Output, UnknownParameter, environment_for, substitute
from backfleet_host.agent.protocol.task_list import Task, read_task
from hanging_mount import hanging_mount
from host.agent.conftest import Host, until
from host.agent.gateway import Gateway


@pytest.fixture
def shell(host: Host) -> Host:
    """A running agent that may run scripts."""
    host.start("shell")
    assert host.ready()["mode"] == "shell"
    return host


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_script_runs_and_its_exit_code_is_reported(gateway: Gateway, shell: Host) -> None:
    """Non-zero is still `finish`. The mode is in every heartbeat, and in the log."""
    gateway.hand_out("t-1", "echo bad; exit 3")
    end = gateway.end_of("t-1")
    assert (end.name, end.query["exitCode"], end.query["dropped"], end.body) == ("finish", "3", "0", b"bad\n")
    assert [report.name for report in gateway.reports_about("t-1")] == ["running", "finish"]
    assert int(end.query["end"]) >= int(end.query["start"]) > 0
    assert gateway.heartbeats[0]["mode"] == "shell"
    assert "SHELL MODE" in shell.log.read_text()


def test_a_script_writes_both_streams_in_order(gateway: Gateway, shell: Host) -> None:
    """A `#!` line works, standard input is empty, the environment has HOME and no variables of the agent."""
    gateway.hand_out(
        "t-1",
        "#!/usr/bin/env python3\nimport os, sys\nprint('out', flush=True)\nprint('err', file=sys.stderr, flush=True)\n"
        "print(sys.stdin.read() == '', os.getcwd() == os.environ['HOME'], 'BACKFLEET_X' in os.environ)",
    )
    assert gateway.end_of("t-1").body == b"out\nerr\nTrue True False\n"


def test_a_script_that_a_signal_ended_has_exit_code_128_plus_it(gateway: Gateway, shell: Host) -> None:
    """As in a shell."""
    gateway.hand_out("t-1", "kill -9 $$")
    assert gateway.end_of("t-1").query["exitCode"] == "137"


def test_long_output_is_sent_as_head_and_tail(gateway: Gateway, shell: Host) -> None:
    """The byte counts of the protocol page, section 7.2: three chunks, then no more; quota 12,000."""
    script = (
        "i=0; while [ $i -lt 4 ]; do head -c 15556 /dev/zero | tr '\\0' a; sleep 1; i=$((i+1)); done; printf 123456"
    )
    gateway.hand_out("t-1", script, output={"logQuota": 100})
    end = gateway.end_of("t-1", 20)
    chunks = [len(report.body) for report in gateway.reports_about("t-1", "running") if report.body]
    assert chunks == [2048, 2048, 2048]
    assert len(end.body) == 12000 - 6144
    assert end.body.endswith(b"123456")
    assert int(end.query["dropped"]) == 4 * 15556 + 6 - 12000


def test_output_that_comes_at_once_is_sent_from_its_end(gateway: Gateway, shell: Host) -> None:
    """13,000 bytes: the last 12,000 in the final body, 1,000 dropped."""
    gateway.hand_out("t-1", "head -c 13000 /dev/zero | tr '\\0' a", output={"sendStart": False})
    end = gateway.end_of("t-1")
    assert (len(end.body), end.query["dropped"]) == (12000, "1000")
    assert [report.name for report in gateway.reports_about("t-1")] == ["finish"]


def test_time_out_kills_the_whole_process_group(gateway: Gateway, shell: Host, tmp_path: Path) -> None:
    """Nothing of the script is alive when `timeout` is reported."""
    pids = tmp_path / "pids"
    gateway.hand_out("t-1", f"echo start; sleep 300 & echo $$ $! > {pids}; wait", task={"timeOut": "1"})
    end = gateway.end_of("t-1")
    assert (end.name, end.query["exitCode"]) == ("timeout", "1")
    assert b"".join(report.body for report in gateway.reports_about("t-1")) == b"start\n"
    assert pids.read_text().split()
    assert not any(is_alive(int(pid)) for pid in pids.read_text().split())


def test_stop_kills_the_whole_process_group(gateway: Gateway, shell: Host, tmp_path: Path) -> None:
    """`stopped` comes when nothing is alive, with the last output, and `exitcode` in lower case."""
    pids = tmp_path / "pids"
    gateway.hand_out("t-1", f"echo start; sleep 300 & echo $$ $! > {pids}; wait")
    assert until(lambda: pids.exists() and pids.read_text().split())
    gateway.stop_task("t-1")
    end = gateway.end_of("t-1")
    assert end.name == "stopped"
    assert list(end.query)[4:] == ["exitcode", "dropped", "result"]
    assert end.query["result"] == "killed"
    assert b"".join(report.body for report in gateway.reports_about("t-1")) == b"start\n"
    assert not any(is_alive(int(pid)) for pid in pids.read_text().split())


def test_stopping_an_unknown_task_is_answered_at_once(gateway: Gateway, shell: Host) -> None:
    """With `stopped`, and no times."""
    gateway.stop_task("t-x")
    end = gateway.end_of("t-x")
    assert (end.name, end.query["start"], end.query["end"]) == ("stopped", "0", "0")


def test_a_script_outlives_its_agent_and_keeps_its_time_limit(gateway: Gateway, shell: Host, tmp_path: Path) -> None:
    """Its process enforces the limit; the next agent reports."""
    pid = tmp_path / "pid"
    gateway.hand_out("t-1", f"echo $$ > {pid}; sleep 300", task={"timeOut": "2"})
    assert until(lambda: pid.exists() and pid.read_text())
    shell.kill()
    assert until(lambda: not is_alive(int(pid.read_text())), 5)
    shell.start("shell")
    assert gateway.end_of("t-1").name == "timeout"


def test_a_script_whose_process_died_is_not_run_again(gateway: Gateway, shell: Host, tmp_path: Path) -> None:
    """Its end is unknown: `error` with errCode -9."""
    runs = tmp_path / "runs"
    gateway.hand_out("t-1", f"echo $$ >> {runs}; echo before; exec sleep 300")
    assert until(lambda: gateway.reports_about("t-1", "running") and runs.exists())
    assert until(lambda: b"before" in b"".join(report.body for report in gateway.reports_about("t-1")))
    for pid in shell.task_processes():
        os.kill(pid, signal.SIGKILL)
    end = gateway.end_of("t-1")
    (script,) = map(int, runs.read_text().split())  # one, run once
    with contextlib.suppress(ProcessLookupError):
        os.kill(script, signal.SIGKILL)
    assert (end.name, end.query["errCode"]) == ("error", "-9")


def test_a_script_runs_as_another_user(gateway: Gateway, shell: Host) -> None:
    """In their home, from a file that only they can read and that is removed afterwards."""
    if os.geteuid() != 0:
        pytest.skip("only root can be another user")
    user = pwd.getpwnam("nobody")
    gateway.hand_out("t-1", 'id -un; echo "$HOME"', task={"username": "nobody", "workingDirectory": "/"})
    assert gateway.end_of("t-1").body.decode().split() == ["nobody", user.pw_dir]
    assert not [path for path in Path("/tmp").glob("backfleet-script-*") if path.stat().st_uid == user.pw_uid]


@pytest.mark.parametrize(
    ("fields", "param", "value"),
    [
        pytest.param({"username": "nosuchuser"}, "UsernameOrPasswordInvalid", "UserInvalid_nosuchuser", id="user"),
        pytest.param({"workingDirectory": "/no/such"}, "workingDirectory", "WorkingDirectoryNotExist", id="folder"),
        pytest.param(
            {"commandContent": "%"}, "CommandContentInvalid", "illegal base64 data, or not UTF-8", id="base64"
        ),
        pytest.param({"type": "RunPythonScript"}, "TypeInvalid", "TypeInvalid_RunPythonScript", id="type"),
    ],
)
def test_a_script_that_cannot_start_is_refused(
    gateway: Gateway, shell: Host, fields: dict[str, str], param: str, value: str
) -> None:
    """One `invalid`, no `running`."""
    gateway.hand_out("t-1", "echo x", task=fields)
    end = gateway.end_of("t-1")
    assert (end.name, end.query["param"], end.query["value"]) == ("invalid", param, value)
    assert len(gateway.reports_about("t-1")) == 1


def test_a_working_directory_on_a_dead_mount_is_refused_and_holds_no_other_task_up(
    gateway: Gateway, shell: Host, tmp_path: Path
) -> None:
    with hanging_mount(tmp_path / "far") as flag:
        flag.touch()
        gateway.hand_out("t-1", "echo x", task={"workingDirectory": str(tmp_path / "far")})
        assert gateway.end_of("t-1").name == "invalid"
        gateway.hand_out("t-2", "echo y")
        assert gateway.end_of("t-2").body == b"y\n"


def test_test_entries_run_nothing(gateway: Gateway, shell: Host) -> None:
    """They are answered with `verified` or `invalid`."""
    gateway.extra = {
        "test": [
            {"task": {"taskID": "t-1", "type": "RunShellScript", "commandContent": "ZGF0ZQ=="}},
            {"task": {"taskID": "t-2", "type": "RunShellScript", "commandContent": "%"}},
        ]
    }
    gateway.kick()
    assert gateway.wait_for(lambda: gateway.reports_about("t-1"))[0].name == "verified"
    assert gateway.wait_for(lambda: gateway.reports_about("t-2"))[0].name == "invalid"


def test_a_script_is_removed_when_it_is_over(gateway: Gateway, shell: Host) -> None:
    """Scripts and output may hold secrets; the journal keeps the report only."""
    gateway.hand_out("t-1", "true secret-of-the-script")
    gateway.end_of("t-1")
    assert until((shell.places.tasks / "t-1" / "acknowledged").exists)
    kept = b"".join(path.read_bytes() for path in (shell.places.tasks / "t-1").iterdir())
    assert b"secret-of-the-script" not in kept
    assert b"c2VjcmV0" not in kept


def test_parameters_are_replaced_where_the_task_asks_for_it() -> None:
    """A missing one is refused."""
    script = "echo {{ACS::Name}} {{ ACS::InstanceId }}"
    parameters = {"Name": "x", "InstanceId": "mi-1"}
    assert substitute(script, Task("t-1", parameters=parameters, substitutes=True)) == "echo x mi-1"
    assert substitute(script, Task("t-1", parameters=parameters)) == script
    with pytest.raises(UnknownParameter, match="Name"):
        substitute(script, Task("t-1", substitutes=True))


def test_variables_of_the_agent_are_not_passed_to_scripts() -> None:
    """They may hold an activation code or the password of a proxy."""
    assert environment_for({"BACKFLEET_PROXY": "secret", "LANG": "C"}, "/home/u") == {
        "PATH": os.defpath,
        "LANG": "C",
        "HOME": "/home/u",
    }


def test_output_is_limited_in_memory(tmp_path: Path) -> None:
    """However much is printed: a head on disk, and one quota in memory."""
    kept = Output(tmp_path, 12000)
    for number in range(1000):
        kept.add(bytes([number % 251]) * 10000)
        assert len(kept._tail) < 200_000
    kept.close()
    assert kept.total == 10_000_000
    assert (tmp_path / "output").stat().st_size == 8048
    assert (tmp_path / "tail").stat().st_size == 12000


def test_background_children_are_not_waited_for(gateway: Gateway, shell: Host, tmp_path: Path) -> None:
    """Even if they keep the pipe open."""
    gateway.hand_out("t-1", "sleep 3 & echo done")
    end = gateway.end_of("t-1", 2.5)
    assert end.body == b"done\n"
    assert int(end.query["end"]) - int(end.query["start"]) < 2000 + LINGER_SECONDS * 1000


@pytest.mark.parametrize("end", ["time-out", "stop"])
def test_a_process_tree_ends_as_a_whole(gateway: Gateway, shell: Host, tmp_path: Path, end: str) -> None:
    """Also a daemon: in a session of its own, without a parent."""
    pids = tmp_path / "pids"
    daemon = f"setsid sh -c 'echo $$ >> {pids}; sleep 300 & echo $! >> {pids}; wait' >/dev/null 2>&1 </dev/null &"
    script = f"( {daemon} )\nsleep 300 & echo $! >> {pids}\nwait"
    task = {"terminationMode": "ProcessTree"} | ({"timeOut": "2"} if end == "time-out" else {})
    gateway.hand_out("t-1", script, task=task)
    assert until(lambda: pids.exists() and len(pids.read_text().split()) == 3)
    started = [int(pid) for pid in pids.read_text().split()]
    assert all(map(is_alive, started))
    if end == "stop":
        gateway.stop_task("t-1")
    assert gateway.end_of("t-1", 20).name == ("stopped" if end == "stop" else "timeout")
    assert until(lambda: not any(map(is_alive, started)))


def test_a_daemon_of_a_single_process_survives(gateway: Gateway, shell: Host, tmp_path: Path) -> None:
    """`Process`, the default, ends the process group of the script; what left it on purpose goes on."""
    pid_file = tmp_path / "pid"
    script = f"setsid sh -c 'echo $$ > {pid_file}; exec sleep 300' >/dev/null 2>&1 </dev/null &\nsleep 300"
    gateway.hand_out("t-1", script, task={"timeOut": "2"})
    assert until(lambda: pid_file.exists() and pid_file.read_text().strip())
    pid = int(pid_file.read_text())
    try:
        assert gateway.end_of("t-1", 20).name == "timeout"
        assert is_alive(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_the_journal_of_a_task_can_be_read_by_older_builds() -> None:
    """They know no `kills_tree`: it is written only where it says something."""
    assert b"kills_tree" not in Task("t-1").to_json()
    assert read_task(Task("t-1", kills_tree=True).to_json()).kills_tree
