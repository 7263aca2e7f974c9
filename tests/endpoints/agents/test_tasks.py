"""Lists and reports: what the official agent is told and tells, as it stands in captures of it."""

import base64
import json
import threading
from collections.abc import Callable
from typing import Any, Final

import pytest
import sqlalchemy as sa

from backfleet import commands, fleet
from backfleet.commands import LONGEST_OUTPUT, State
from backfleet.endpoints.agents import spool
from backfleet.ids import draw as real_draw
from backfleet.settings import Settings
from backfleet.storage import Database
from endpoints.agents.hosts import Gate, Host, eventually, key, open_gate

OUTPUT: Final = {"interval": 2000, "logQuota": 24000, "skipEmpty": True, "sendStart": True}
TIMES: Final = "invokeVersion=0&start=1795421322287&end=1795421322493"


# --- Lists ----------------------------------------------------------------------------------------------------------


def test_an_empty_list(host: Host) -> None:
    """Every list is there; `code` is a number."""
    answer = host.post("/v1/task/list", reason="startup", cold_start="true")
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.body.decode() == (
        f'{{"code": 200, "instanceId": "{host.instance_id}", '
        '"run": [], "stop": [], "test": [], "file": [], "session": []}'
    )


def test_a_list_to_the_byte(gate: Gate, host: Host) -> None:
    """`timeOut` is a string, `invokeVersion` a number, the script in base64: one wrong type drops the whole list."""
    gate.send(host, "stopped")
    stopped = host.tasks()["run"][0]["task"]["taskID"]
    gate.stop("stopped")
    gate.send(host, "r-1", content='echo "é"; exit 3\n')
    answer = host.post("/v1/task/list", reason="kickoff")
    task_id = answer.json["run"][0]["task"]["taskID"]
    task = {
        "taskID": task_id,
        "type": "RunShellScript",
        "commandContent": "ZWNobyAiw6kiOyBleGl0IDMK",
        "timeOut": "60",
        "invokeVersion": 0,
    }
    expected = {
        "code": 200,
        "instanceId": host.instance_id,
        "run": [{"task": task, "output": OUTPUT, "repeat": "Once"}],
        "stop": [{"task": {"taskID": stopped}, "output": OUTPUT, "repeat": "Once"}],
        "test": [],
        "file": [],
        "session": [],
    }
    assert answer.body.decode() == json.dumps(expected)  # as text: True and 1 are not the same there


def test_what_is_sent_is_what_runs(gate: Gate, host: Host) -> None:
    """Any text, byte for byte."""
    content = "#!/bin/sh\n# 你好\nprintf '%s' \"$HOME\"\r\n"
    gate.send(host, "r-1", content=content)
    (found,) = host.tasks()["run"]
    assert base64.b64decode(found["task"]["commandContent"]).decode() == content


def test_a_task_id_is_fit_for_a_file_name_and_a_url(host: Host) -> None:
    """The agent escapes it nowhere."""
    assert host.handed().replace("-", "").isalnum()


def test_a_task_is_listed_once_per_lease(gate: Gate, host: Host) -> None:
    """Lost answers are made good: when nothing is heard of it, it is listed again."""
    task_id = host.handed()
    assert host.tasks()["run"] == []
    gate.clock.pass_by(seconds=11)
    commands.run_once(gate.database, now=gate.clock())
    assert [found["task"]["taskID"] for found in host.tasks()["run"]] == [task_id]
    host.report(f"running?taskId={task_id}&invokeVersion=0&start=1")
    gate.clock.pass_by(seconds=11)
    commands.run_once(gate.database, now=gate.clock())
    assert host.tasks()["run"] == []


def test_a_list_is_the_hosts_own(gate: Gate, host: Host) -> None:
    """Whoever asks gets theirs, whatever id they name."""
    other = gate.enrol(1)
    gate.send(host, "r-1")
    assert other.tasks()["run"] == []
    assert len(host.tasks()["run"]) == 1


def test_many_lists_at_once_hand_out_each_task_once(gate: Gate, host: Host) -> None:
    """An agent that is kicked twice may ask twice."""
    gate.send(host, *(f"r-{number}" for number in range(30)))
    got: list[Any] = []
    threads = [threading.Thread(target=lambda: got.extend(host.tasks()["run"])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    ids = [found["task"]["taskID"] for found in got]
    assert len(ids) == len(set(ids)) == 30


# --- Reports --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "body", "state", "exit_code", "error_code", "error_text"),
    [
        pytest.param(
            f"finish?taskId=TASK&{TIMES}&exitCode=3&dropped=0", b"bad\n", State.FINISHED, 3, "", "", id="finish"
        ),
        pytest.param(f"finish?taskId=TASK&{TIMES}&exitCode=-1&dropped=0", b"", State.FINISHED, -1, "", "", id="killed"),
        pytest.param(
            f"timeout?taskId=TASK&{TIMES}&exitCode=1&dropped=0", b"start\n", State.TIMED_OUT, 1, "", "", id="timeout"
        ),
        pytest.param(
            f"stopped?taskId=TASK&{TIMES}&exitcode=0&dropped=0&result=killed",
            b"",
            State.STOPPED,
            0,
            "",
            "",
            id="stopped",
        ),
        pytest.param(
            "stopped?taskId=TASK&invokeVersion=0&start=0&end=0&exitcode=0&dropped=0&result=killed",
            b"",
            State.STOPPED,
            0,
            "",
            "",
            id="stopped before it began",
        ),
        pytest.param(
            f"error?taskId=TASK&{TIMES}&exitCode=0&dropped=0&errCode=-10&errDesc=PowershellNotFound%3A+exec%3A+x",
            b"",
            State.FAILED,
            0,
            "-10",
            "PowershellNotFound: exec: x",
            id="error",
        ),
        pytest.param(
            "error?taskId=TASK&invokeVersion=0&start=0&end=0&exitCode=0&dropped=0&errCode=-9"
            "&errDesc=ScriptFileExisted%3A+Saving+script+to+%2Fopt%2Fscript%2Ft-dup.sh+failed",
            b"",
            State.LOST,
            0,
            "-9",
            "ScriptFileExisted: Saving script to /opt/script/t-dup.sh failed",
            id="started before",
        ),
        pytest.param(
            "invalid?taskId=TASK&invokeVersion=0&param=workingDirectory&value=WorkingDirectoryNotExist%3A+%3Cnil%3E",
            b"",
            State.REFUSED,
            None,
            "workingDirectory",
            "WorkingDirectoryNotExist: <nil>",
            id="invalid",
        ),
    ],
)
def test_captured_ends(
    gate: Gate,
    host: Host,
    line: str,
    body: bytes,
    state: State,
    exit_code: int | None,
    error_code: str,
    error_text: str,
) -> None:
    """Each is stored before it is answered."""
    task_id = host.handed()
    answer = host.report(line.replace("TASK", task_id), body)
    assert (answer.status, answer.json) == (200, {})
    told = gate.outcome()
    assert (told.task_id, told.state, told.output) == (task_id, state, body)
    assert (told.exit_code, told.error_code, told.error_text) == (exit_code, error_code, error_text)


def test_head_gap_and_tail(gate: Gate, host: Host) -> None:
    """Chunks as they come, then the gap, then the rest; bytes stay what they are."""
    task_id = host.handed()
    for chunk in (b"", b"head\n\0\xff\xfe", "é".encode()[:1]):
        host.report(f"running?taskId={task_id}&invokeVersion=0&start=1795421322287", chunk)
    assert (gate.outcome().state, gate.outcome().output) == (State.RUNNING, b"head\n\0\xff\xfe\xc3")
    host.report(f"finish?taskId={task_id}&{TIMES}&exitCode=0&dropped=18004", b"tail\n")
    assert gate.outcome().output == b"head\n\0\xff\xfe\xc3tail\n"
    row = row_of(gate, task_id)
    assert (row.dropped, row.started_ms, row.ended_ms) == (18004, 1795421322287, 1795421322493)


def test_much_output_is_cut(gate: Gate, host: Host) -> None:
    """An agent sends no more than its quota; one that does is answered all the same."""
    task_id = host.handed()
    assert (
        host.report(f"finish?taskId={task_id}&{TIMES}&exitCode=0&dropped=0", b"x" * 100_000 + b"report").status == 200
    )
    assert len(gate.outcome().output) == LONGEST_OUTPUT
    assert gate.outcome().output.endswith(b"report")
    assert row_of(gate, task_id).dropped == 100_006 - LONGEST_OUTPUT


@pytest.mark.parametrize("name", ["running", "finish", "timeout", "stopped", "error", "invalid"])
def test_a_report_has_a_limit(gate: Gate, host: Host, name: str) -> None:
    """A body beyond the limit is not read, and nothing of it is kept."""
    task_id = host.handed()
    assert host.report(f"{name}?taskId={task_id}&{TIMES}&exitCode=0", b"x" * (1 << 20) + b"x").status == 413
    assert gate.outcomes() == []
    assert host.report(f"{name}?taskId={task_id}&{TIMES}&exitCode=0", b"x" * 1000).status == 200
    assert gate.outcome().output == b"x" * 1000


def test_copies_are_harmless(gate: Gate, host: Host) -> None:
    """An answer was lost: the same line comes again, even while the first is in work."""
    task_id = host.handed()
    line = f"finish?taskId={task_id}&{TIMES}&exitCode=0&dropped=0"
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(host.report(line, b"once\n").status)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert statuses == [200] * 4
    assert host.report(f"stopped?taskId={task_id}&{TIMES}&exitcode=0&dropped=0&result=killed").status == 200
    assert host.report(f"running?taskId={task_id}&invokeVersion=0&start=1", b"late").status == 200
    told = gate.outcome()
    assert (told.state, told.output, told.revision) == (State.FINISHED, b"once\n", 1)


@pytest.mark.parametrize("name", ["running", "finish", "timeout", "stopped", "error", "invalid"])
def test_one_host_cannot_report_for_another(gate: Gate, host: Host, name: str) -> None:
    """It is answered like any unknown id, with 200, and changes nothing."""
    task_id = host.handed()
    before = row_of(gate, task_id)
    assert gate.enrol(1).report(f"{name}?taskId={task_id}&{TIMES}&exitCode=0&dropped=0", b"lies").status == 200
    assert row_of(gate, task_id) == before
    host.report(f"finish?taskId={task_id}&{TIMES}&exitCode=0&dropped=0", b"truth")
    assert gate.outcome().output == b"truth"


def test_a_late_truth_is_taken(gate: Gate, host: Host) -> None:
    """It was lost for an hour."""
    task_id = host.handed()
    host.report(f"running?taskId={task_id}&invokeVersion=0&start=1")
    gate.clock.pass_by(hours=1)
    commands.run_once(gate.database, now=gate.clock())
    assert gate.states() == [State.LOST]
    host.report(f"finish?taskId={task_id}&{TIMES}&exitCode=0&dropped=0")
    assert gate.states() == [State.FINISHED]


def test_a_sign_of_life_renews_the_lease(gate: Gate, host: Host) -> None:
    """Empty, as each minute from a silent script."""
    task_id = host.handed()
    for _ in range(4):
        host.report(f"running?taskId={task_id}&invokeVersion=0&start=1")
        gate.clock.pass_by(seconds=61)
        commands.run_once(gate.database, now=gate.clock())
    assert gate.states() == [State.RUNNING]


# --- Odd words ------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def odd(request: pytest.FixtureRequest, open_on: Callable[..., Gate]) -> Host:
    """A host of a door on each engine: they differ in what text they take."""
    database: Database = request.getfixturevalue(f"{request.param}_database")
    return open_on(database).enrol()


@pytest.mark.parametrize(
    ("query", "exit_code", "text"),
    [
        pytest.param("", None, "", id="nothing at all"),
        pytest.param("exitCode=&dropped=&errDesc=", None, "", id="empty values"),
        pytest.param("exitCode=three&dropped=many", None, "", id="words for numbers"),
        pytest.param("exitCode=2147483648&dropped=9223372036854775808&start=1e3", None, "", id="numbers too great"),
        pytest.param("exitCode=2147483647&dropped=-5", 2147483647, "", id="a number below nothing"),
        pytest.param(f"exitCode={'9' * 5000}", None, "", id="a number without end"),
        pytest.param("exitCode=1&exitCode=2", 1, "", id="said twice"),
        pytest.param("errDesc=a%00b%FFc", None, "ab�c", id="no text"),
        pytest.param("errDesc=%ED%A0%80", None, "���", id="half a character"),
        pytest.param("errDesc=%E4%BD%A0%2B+%zz", None, "你+ %zz", id="escaped and not"),
        pytest.param(f"errDesc={'%C3%A9' * 600}", None, "é" * 500, id="a long story"),
    ],
)
def test_odd_words_do_not_cost_the_outcome(odd: Host, query: str, exit_code: int | None, text: str) -> None:
    """What cannot be read is left out: refused, the report would be gone after four tries."""
    task_id = odd.handed()
    assert odd.report(f"error?taskId={task_id}&errCode=1&{query}").status == 200
    told = odd.gate.outcome()
    assert (told.state, told.exit_code, told.error_text) == (State.FAILED, exit_code, text)
    assert row_of(odd.gate, task_id).dropped == 0


@pytest.mark.parametrize(
    "task_id",
    ["", "t-unknown", "..%2Fx", "a%00b", "%FF", "%ED%A0%80", "x" * 5000, "t-1'%3B--"],
    ids=["empty", "unknown", "a path", "nul", "no text", "half a character", "too long", "quotes"],
)
def test_unknown_tasks_are_answered_well(odd: Host, task_id: str) -> None:
    """Otherwise the agent would try four times for each."""
    for name in ("running", "finish"):
        assert odd.report(f"{name}?taskId={task_id}", b"output").status == 200
    assert odd.gate.outcomes() == []


def test_reports_of_files_are_nothing_to_us(odd: Host) -> None:
    """They come in other words, about ids we never gave."""
    assert odd.report("finish?taskId=f-1&status=Success&taskType=sendfile&errorcode=0").status == 200
    assert odd.report("invalid?taskId=f-2&taskType=sendfile&param=InvalidSignature&value=b1946ac9").status == 200
    assert odd.report("verified?taskId=t-d1&invokeVersion=0").json == {}


# --- When we cannot -------------------------------------------------------------------------------------------------


def test_what_is_not_stored_is_not_acknowledged(
    gate: Gate, host: Host, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent tries again after a 503, and finds us well."""
    task_id = host.handed()
    line = f"finish?taskId={task_id}&{TIMES}&exitCode=0&dropped=0"

    def broken(*_asked: Any, **_named: Any) -> bool:
        raise RuntimeError("a fault of ours")

    with monkeypatch.context() as fault:
        fault.setattr(commands, "ended", broken)
        assert host.report(line, b"report\n").status == 503
    assert host.report(line, b"report\n").status == 200
    assert gate.outcome().output == b"report\n"
    assert "an agent's request failed" in caplog.text


# --- While the database is away -------------------------------------------------------------------------------------


def test_reports_are_kept_on_disk_while_the_database_is_away(gate: Gate, host: Host) -> None:
    """An agent drops a final report after six seconds: it is answered from our disk, and told later, in order."""
    task_id = host.handed()
    line = f"finish?taskId={task_id}&{TIMES}&exitCode=0&dropped=0"
    rename(gate, "invocations", "away")
    assert host.report(f"running?taskId={task_id}&invokeVersion=0&start=1", b"one\n").status == 200
    assert host.report(line, b"two\n").status == 200
    assert host.report(line, b"two\n").status == 200, "a copy is harmless"
    assert host.post("/v1/task/list").status == 503
    assert len(kept(gate)) == 3
    rename(gate, "away", "invocations")
    eventually(lambda: gate.states() == [State.FINISHED])
    assert gate.outcome().output == b"one\ntwo\n"
    eventually(lambda: kept(gate) == [])


def test_kept_reports_survive_the_node(
    open_on: Callable[..., Gate], sqlite_database: Database, tmp_path: Any, now: Any
) -> None:
    """The next process on this data folder tells them."""
    first, shut = open_gate(sqlite_database, Settings(data=tmp_path), now)
    host = first.enrol()
    task_id = host.handed()
    rename(first, "invocations", "away")
    host.report(f"finish?taskId={task_id}&{TIMES}&exitCode=7&dropped=0", b"\x00\xff")
    shut()
    rename(first, "away", "invocations")
    (tmp_path / "reports" / "00000000000000000000-torn").write_bytes(b"{")
    second = open_on(sqlite_database)
    eventually(lambda: second.states() == [State.FINISHED])
    assert (second.outcome().exit_code, second.outcome().output) == (7, b"\x00\xff")
    eventually(lambda: kept(second) == [])


def test_hosts_that_were_here_are_known_while_the_database_is_away(gate: Gate, host: Host) -> None:
    """By the node that saw them last; strangers are asked to come again, and forged names are refused as ever."""
    task_id, stranger = host.handed(), gate.enrol(1)
    rename(gate, "instances", "away")
    line = f"/luban/api/v1/task/finish?taskId={task_id}&{TIMES}&exitCode=0&dropped=0"
    forged = Host(gate, key(1), host.instance_id).signed()
    assert gate.ask("POST", line, b"", forged).status == 401
    assert gate.ask("POST", line, b"", stranger.signed()).status == 503
    used = host.signed()
    assert gate.ask("POST", line, b"", used).status == 200
    assert gate.ask("POST", line, b"", used).status == 401
    rename(gate, "away", "instances")
    eventually(lambda: gate.states() == [State.FINISHED])


def test_a_full_disk_is_told(gate: Gate, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be kept is not acknowledged."""
    monkeypatch.setattr(spool, "MOST_BYTES", 10)
    task_id = host.handed()
    rename(gate, "invocations", "away")
    assert host.report(f"finish?taskId={task_id}&{TIMES}&exitCode=0&dropped=0").status == 503
    assert kept(gate) == []


def kept(gate: Gate) -> list[str]:
    folder = gate.gateway._settings.data / "reports"
    return sorted(path.name for path in folder.glob("[0-9]*")) if folder.exists() else []


def rename(gate: Gate, table: str, to: str) -> None:
    with gate.database.transaction() as tx:
        tx.run(sa.text(f"ALTER TABLE {table} RENAME TO {to}"))


def row_of(gate: Gate, task_id: str) -> Any:
    query = sa.text("SELECT state, dropped, started_ms, ended_ms, revision, output FROM invocations WHERE id = :id")
    with gate.database.reading() as tx:
        return tx.first(query, {"id": task_id})


# --- Commands of callers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("username", "told"),
    [
        pytest.param("web", {"username": "web"}, id="another user"),
        pytest.param("root", {}, id="root, which the official agent refuses to be told"),
        pytest.param("System", {}, id="System, likewise"),
    ],
)
def test_where_and_as_whom_a_script_runs(gate: Gate, host: Host, username: str, told: dict[str, str]) -> None:
    """Told only where it is not what the agent does anyway."""
    send = commands.NewInvocation("1", host.instance_id, "true", 60, "r-1", "RunPowerShellScript", "/srv", username)
    with gate.database.transaction() as tx:
        commands.send(tx, [send], topic="others", now=gate.clock(), draw=real_draw)
    task = host.tasks()["run"][0]["task"]
    said = {name: task[name] for name in ("type", "workingDirectory", "username") if name in task}
    assert said == {"type": "RunPowerShellScript", "workingDirectory": "/srv"} | told


@pytest.mark.parametrize(
    ("query", "booted"),
    [
        pytest.param({"reason": "startup", "cold_start": "true"}, True, id="the first list since the boot"),
        pytest.param({"reason": "startup", "cold_start": "false"}, False, id="the agent alone was restarted"),
        pytest.param({"reason": "kickoff", "cold_start": "true"}, False, id="a later list"),
    ],
)
def test_a_boot_is_news_once(gate: Gate, host: Host, query: dict[str, str], booted: bool) -> None:
    """For whoever waits for hosts to start anew."""
    host.post("/v1/task/list", **query)
    with gate.database.transaction() as tx:
        assert list(fleet.take_boots(tx, limit=10)) == ([host.instance_id] if booted else [])
        assert fleet.take_boots(tx, limit=10) == {}
