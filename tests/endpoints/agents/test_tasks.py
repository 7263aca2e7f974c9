"""Task lists and reports, as they stand in captures of the official agent."""

import base64
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import sqlalchemy as sa

from backfleet import commands, fleet
from backfleet.commands import LONGEST_OUTPUT, State
from backfleet.endpoints.agents import signatures, spool
from backfleet.ids import draw as real_draw
from backfleet.settings import Settings
from backfleet.storage import Database, Transaction, Trouble, Unavailable
from endpoints.agents.hosts import ACCOUNT, TOPIC, AgentServer, Answer, Host, eventually, key, start_server

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


def test_a_list_to_the_byte(server: AgentServer, host: Host) -> None:
    """`timeOut` is a string, `invokeVersion` a number, the script in base64: one wrong type drops the whole list."""
    server.send(host, "stopped")
    stopped = host.tasks()["run"][0]["task"]["taskID"]
    server.stop("stopped")
    server.send(host, "r-1", content='echo "é"; exit 3\n')
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


def test_a_script_arrives_byte_for_byte(server: AgentServer, host: Host) -> None:
    """Any text."""
    content = "#!/bin/sh\n# 你好\nprintf '%s' \"$HOME\"\r\n"
    server.send(host, "r-1", content=content)
    (found,) = host.tasks()["run"]
    assert base64.b64decode(found["task"]["commandContent"]).decode() == content


def test_a_task_id_is_fit_for_a_file_name_and_a_url(host: Host) -> None:
    """The agent escapes it nowhere."""
    assert host.handed().replace("-", "").isalnum()


def test_a_task_is_listed_once_per_lease(server: AgentServer, host: Host) -> None:
    """If an answer was lost, nothing is heard of its task, and it is listed again."""
    task_id = host.handed()
    assert host.tasks()["run"] == []
    server.clock.advance(seconds=11)
    commands.run_once(server.database, now=server.clock())
    assert [found["task"]["taskID"] for found in host.tasks()["run"]] == [task_id]
    host.report(f"running?taskId={task_id}&invokeVersion=0&start=1")
    server.clock.advance(seconds=11)
    commands.run_once(server.database, now=server.clock())
    assert host.tasks()["run"] == []


def test_a_host_gets_its_own_tasks_only(server: AgentServer, host: Host) -> None:
    """Whatever id it names."""
    other = server.enrol(1)
    server.send(host, "r-1")
    assert other.tasks()["run"] == []
    assert len(host.tasks()["run"]) == 1


def test_many_lists_at_once_hand_out_each_task_once(server: AgentServer, host: Host) -> None:
    """An agent that is kicked twice may fetch twice. It gets no more than it runs."""
    server.send(host, *(f"r-{number}" for number in range(15)))
    got: list[Any] = []
    threads = [threading.Thread(target=lambda: got.extend(host.tasks()["run"])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    ids = [found["task"]["taskID"] for found in got]
    assert len(ids) == len(set(ids)) == 10


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
def test_captured_final_reports(
    server: AgentServer,
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
    outcome = server.outcome()
    assert (outcome.task_id, outcome.state, outcome.output) == (task_id, state, body)
    assert (outcome.exit_code, outcome.error_code, outcome.error_text) == (exit_code, error_code, error_text)


def test_head_gap_and_tail(server: AgentServer, host: Host) -> None:
    """Chunks as they come, then the gap, then the rest; bytes are not changed."""
    task_id = host.handed()
    for chunk in (b"", b"head\n\0\xff\xfe", "é".encode()[:1]):
        host.report(f"running?taskId={task_id}&invokeVersion=0&start=1795421322287", chunk)
    assert (server.outcome().state, server.outcome().output) == (State.RUNNING, b"head\n\0\xff\xfe\xc3")
    host.report(f"finish?taskId={task_id}&{TIMES}&exitCode=0&dropped=18004", b"tail\n")
    assert server.outcome().output == b"head\n\0\xff\xfe\xc3tail\n"
    row = row_of(server, task_id)
    assert (row.dropped, row.started_ms, row.ended_ms) == (18004, 1795421322287, 1795421322493)


def test_much_output_is_cut(server: AgentServer, host: Host) -> None:
    """An agent sends no more than its quota; one that sends more is answered all the same."""
    task_id = host.handed()
    assert (
        host.report(f"finish?taskId={task_id}&{TIMES}&exitCode=0&dropped=0", b"x" * 100_000 + b"report").status == 200
    )
    assert len(server.outcome().output) == LONGEST_OUTPUT
    assert server.outcome().output.endswith(b"report")
    assert row_of(server, task_id).dropped == 100_006 - LONGEST_OUTPUT


@pytest.mark.parametrize("name", ["running", "finish", "timeout", "stopped", "error", "invalid"])
def test_a_report_has_a_limit(server: AgentServer, host: Host, name: str) -> None:
    """A body beyond it is not read, and nothing of it is stored."""
    task_id = host.handed()
    assert host.report(f"{name}?taskId={task_id}&{TIMES}&exitCode=0", b"x" * (1 << 20) + b"x").status == 413
    assert server.outcomes() == []
    assert host.report(f"{name}?taskId={task_id}&{TIMES}&exitCode=0", b"x" * 1000).status == 200
    assert server.outcome().output == b"x" * 1000


def test_repeated_reports_are_harmless(server: AgentServer, host: Host) -> None:
    """An answer was lost: the same line comes again, even while the first is being stored."""
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
    outcome = server.outcome()
    assert (outcome.state, outcome.output, outcome.revision) == (State.FINISHED, b"once\n", 1)


@pytest.mark.parametrize("name", ["running", "finish", "timeout", "stopped", "error", "invalid"])
def test_one_host_cannot_report_for_another(server: AgentServer, host: Host, name: str) -> None:
    """It gets 200 as for any unknown id, and nothing changes."""
    task_id = host.handed()
    before = row_of(server, task_id)
    assert server.enrol(1).report(f"{name}?taskId={task_id}&{TIMES}&exitCode=0&dropped=0", b"lies").status == 200
    assert row_of(server, task_id) == before
    host.report(f"finish?taskId={task_id}&{TIMES}&exitCode=0&dropped=0", b"truth")
    assert server.outcome().output == b"truth"


def test_a_late_final_report_is_accepted(server: AgentServer, host: Host) -> None:
    """The task counted as lost for an hour."""
    task_id = host.handed()
    host.report(f"running?taskId={task_id}&invokeVersion=0&start=1")
    server.clock.advance(hours=1)
    commands.run_once(server.database, now=server.clock())
    assert server.states() == [State.LOST]
    host.report(f"finish?taskId={task_id}&{TIMES}&exitCode=0&dropped=0")
    assert server.states() == [State.FINISHED]


def test_an_empty_report_renews_the_lease(server: AgentServer, host: Host) -> None:
    """A silent script sends one each minute."""
    task_id = host.handed()
    for _ in range(4):
        host.report(f"running?taskId={task_id}&invokeVersion=0&start=1")
        server.clock.advance(seconds=61)
        commands.run_once(server.database, now=server.clock())
    assert server.states() == [State.RUNNING]


# --- Odd values -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def odd(request: pytest.FixtureRequest, start_on: Callable[..., AgentServer]) -> Host:
    """A host on each engine: they differ in the text that they accept."""
    database: Database = request.getfixturevalue(f"{request.param}_database")
    return start_on(database).enrol()


@pytest.mark.parametrize(
    ("query", "exit_code", "text"),
    [
        pytest.param("", None, "", id="nothing at all"),
        pytest.param("exitCode=&dropped=&errDesc=", None, "", id="empty values"),
        pytest.param("exitCode=three&dropped=many", None, "", id="words for numbers"),
        pytest.param("exitCode=2147483648&dropped=9223372036854775808&start=1e3", None, "", id="numbers too great"),
        pytest.param("exitCode=2147483647&dropped=-5", 2147483647, "", id="a number below nothing"),
        pytest.param(f"exitCode={'9' * 5000}", None, "", id="a number without end"),
        pytest.param("exitCode=1&exitCode=2", 1, "", id="given twice"),
        pytest.param("errDesc=a%00b%FFc", None, "ab�c", id="no text"),
        pytest.param("errDesc=%ED%A0%80", None, "���", id="half a character"),
        pytest.param("errDesc=%E4%BD%A0%2B+%zz", None, "你+ %zz", id="escaped and not"),
        pytest.param(f"errDesc={'%C3%A9' * 600}", None, "é" * 500, id="a long story"),
    ],
)
def test_odd_values_do_not_lose_the_report(odd: Host, query: str, exit_code: int | None, text: str) -> None:
    """What cannot be read is left out: the agent would drop a report that was refused four times."""
    task_id = odd.handed()
    assert odd.report(f"error?taskId={task_id}&errCode=1&{query}").status == 200
    outcome = odd.server.outcome()
    assert (outcome.state, outcome.exit_code, outcome.error_text) == (State.FAILED, exit_code, text)
    assert row_of(odd.server, task_id).dropped == 0


@pytest.mark.parametrize(
    "task_id",
    ["", "t-unknown", "..%2Fx", "a%00b", "%FF", "%ED%A0%80", "x" * 5000, "t-1'%3B--"],
    ids=["empty", "unknown", "a path", "nul", "no text", "half a character", "too long", "quotes"],
)
def test_reports_on_unknown_tasks_get_a_200(odd: Host, task_id: str) -> None:
    """Otherwise the agent would send each four times."""
    for name in ("running", "finish"):
        assert odd.report(f"{name}?taskId={task_id}", b"output").status == 200
    assert odd.server.outcomes() == []


def test_reports_on_files_are_accepted_and_ignored(odd: Host) -> None:
    """They have other parameters, and ids that were never given out."""
    assert odd.report("finish?taskId=f-1&status=Success&taskType=sendfile&errorcode=0").status == 200
    assert odd.report("invalid?taskId=f-2&taskType=sendfile&param=InvalidSignature&value=b1946ac9").status == 200
    assert odd.report("verified?taskId=t-d1&invokeVersion=0").json == {}


# --- When storing fails ---------------------------------------------------------------------------------------------


def test_a_report_that_the_database_refuses_is_kept_and_tried_again(
    server: AgentServer, host: Host, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent does not try for long, so it is acknowledged once it is on the disk, whatever the reason is."""
    task_id = host.handed()
    line = f"finish?taskId={task_id}&{TIMES}&exitCode=0&dropped=0"

    def broken(*_asked: Any, **_named: Any) -> list[bool]:
        raise RuntimeError("a fault")

    with monkeypatch.context() as fault:
        fault.setattr(commands, "record_reports", broken)
        assert host.report(line, b"report\n").status == 200
        eventually(lambda: "the database refuses a report on the disk" in caplog.text)
        assert len(spooled(server)) == 1
    eventually(lambda: server.states() == [State.FINISHED])
    assert server.outcome().output == b"report\n"
    assert "a report cannot be stored; it is kept on disk" in caplog.text


def test_a_replay_among_many_requests_is_refused_alone(
    database: Database, start_on: Callable[..., AgentServer]
) -> None:
    """One was made at another node before. The others of the same moment get their lists, and their reports count."""
    server = start_on(database)
    hosts = [server.enrol(number) for number in range(8)]
    for host in hosts:
        server.send(host, f"r-{host.instance_id}", silently=True)
    headers = [host.signed() for host in hosts]
    replayed = signatures.read_signature({name.lower(): value for name, value in headers[3].items()})
    assert replayed is not None
    with database.transaction() as tx:
        assert fleet.remember_request(tx, replayed.fingerprint, until=server.clock())

    def fetch(signed: dict[str, str]) -> Answer:
        return server.ask("POST", "/luban/api/v1/task/list?reason=kickoff", headers=signed)

    with ThreadPoolExecutor(len(hosts)) as threads:
        answers = list(threads.map(fetch, headers))
        assert [answer.status for answer in answers] == [200, 200, 200, 401, 200, 200, 200, 200]
        ids = [answer.json["run"][0]["task"]["taskID"] if answer.status == 200 else "" for answer in answers]
        assert len(set(ids)) == len(hosts)
        lines = [f"finish?taskId={task_id}&{TIMES}&exitCode=0&dropped=0" for task_id in ids]
        reports = list(threads.map(lambda pair: pair[0].report(pair[1]).status, zip(hosts, lines, strict=True)))
    assert reports == [200] * len(hosts)
    assert Counter(server.states()) == {State.FINISHED: len(hosts) - 1}


# --- While the database is unavailable --------------------------------------------------------------------------------


def test_reports_are_spooled_while_the_database_is_unavailable(server: AgentServer, host: Host) -> None:
    """They are answered at once, and stored in order when it is back."""
    task_id = host.handed()
    line = f"finish?taskId={task_id}&{TIMES}&exitCode=0&dropped=0"
    take_away(server)
    assert host.report(f"running?taskId={task_id}&invokeVersion=0&start=1", b"one\n").status == 200
    assert host.report(line, b"two\n").status == 200
    assert host.report(line, b"two\n").status == 200, "a copy is harmless"
    assert host.post("/v1/task/list").status == 503
    assert len(spooled(server)) == 3
    bring_back(server)
    eventually(lambda: server.states() == [State.FINISHED])
    assert server.outcome().output == b"one\ntwo\n"
    eventually(lambda: spooled(server) == [])


def test_an_agent_without_work_is_answered_although_nobody_can_write(
    server: AgentServer, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it refused where the answer to a commit was lost, which had used its signature up."""
    transaction, lost = Database.transaction, list[str]()

    @contextmanager
    def losing(self: Database, **words: Any) -> Iterator[Transaction]:
        with transaction(self, **words) as tx:
            yield tx
        if threading.current_thread().name.startswith("assist") and not lost:
            lost.append("the answer to a commit")
            raise Unavailable(Trouble.AWAY)

    monkeypatch.setattr(Database, "transaction", losing)
    assert host.tasks()["run"] == []
    assert lost
    monkeypatch.setattr(Database, "transaction", transaction)
    server.send(host, "r-1")
    assert len(host.tasks()["run"]) == 1


def test_spooled_reports_survive_the_node(
    sqlite_database: Database, start_on: Callable[..., AgentServer], tmp_path: Any, now: Any
) -> None:
    """The next process on this data folder stores them, also those of an earlier build."""
    first, shut = start_server(sqlite_database, Settings(data=tmp_path), now)
    host = first.enrol()
    task_id = host.handed()
    take_away(first)
    host.report(f"finish?taskId={task_id}&{TIMES}&exitCode=7&dropped=0", b"\x00\xff")
    shut()
    bring_back(first)
    (path,) = (tmp_path / "reports").glob("[0-9]*")
    assert json.loads(path.read_bytes().partition(b"\n")[0]).keys() == {
        "instance_id",
        "kind",
        "query",
        "received_at",
        "mark",
    }, "earlier builds read and write these names"
    (tmp_path / "reports" / "00000000000000000000-torn").write_bytes(b"{")
    second = start_on(sqlite_database)
    eventually(lambda: second.states() == [State.FINISHED])
    assert (second.outcome().exit_code, second.outcome().output) == (7, b"\x00\xff")
    eventually(lambda: spooled(second) == [])


def test_known_hosts_are_authenticated_while_the_database_is_unavailable(server: AgentServer, host: Host) -> None:
    """By the node that heard of them last; unknown hosts are asked to come again, and forgeries are refused."""
    task_id, other_host = host.handed(), server.enrol(1)
    take_away(server)
    line = f"/luban/api/v1/task/finish?taskId={task_id}&{TIMES}&exitCode=0&dropped=0"
    forged = Host(server, key(1), host.instance_id).signed()
    assert server.ask("POST", line, b"", forged).status == 401
    assert server.ask("POST", line, b"", other_host.signed()).status == 503
    used = host.signed()
    assert server.ask("POST", line, b"", used).status == 200
    assert server.ask("POST", line, b"", used).status == 401
    bring_back(server)
    eventually(lambda: server.states() == [State.FINISHED])


def test_a_full_spool_refuses_reports(server: AgentServer, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be stored is not acknowledged."""
    monkeypatch.setattr(spool, "MOST_BYTES", 10)
    task_id = host.handed()
    take_away(server)
    assert host.report(f"finish?taskId={task_id}&{TIMES}&exitCode=0&dropped=0").status == 503
    assert spooled(server) == []


def spooled(server: AgentServer) -> list[str]:
    folder = server.gateway._node.settings.data / "reports"
    return sorted(path.name for path in folder.glob("[0-9]*")) if folder.exists() else []


def take_away(server: AgentServer) -> None:
    """Unmount the database, as it were: the endpoint notices that its file is not there."""
    file = database_file(server)
    file.rename(file.with_suffix(".away"))


def bring_back(server: AgentServer) -> None:
    file = database_file(server)
    file.with_suffix(".away").rename(file)


def database_file(server: AgentServer) -> Path:
    return Path(str(server.database.engine.url.database))


def row_of(server: AgentServer, task_id: str) -> Any:
    query = sa.text("SELECT state, dropped, started_ms, ended_ms, revision, output FROM invocations WHERE id = :id")
    with server.database.reading() as tx:
        return tx.first(query, {"id": task_id})


# --- Commands of callers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("username", "shown"),
    [
        pytest.param("web", {"username": "web"}, id="another user"),
        pytest.param("root", {}, id="root, which the official agent refuses"),
        pytest.param("System", {}, id="System, likewise"),
    ],
)
def test_where_and_as_whom_a_script_runs(server: AgentServer, host: Host, username: str, shown: dict[str, str]) -> None:
    """Sent only where it differs from what the agent does anyway."""
    send = commands.NewInvocation("1", host.instance_id, "true", 60, "r-1", "RunPowerShellScript", "/srv", username)
    with server.database.transaction() as tx:
        commands.send(tx, [send], topic="others", now=server.clock(), draw=real_draw)
    task = host.tasks()["run"][0]["task"]
    found = {name: task[name] for name in ("type", "workingDirectory", "username") if name in task}
    assert found == {"type": "RunPowerShellScript", "workingDirectory": "/srv"} | shown


@pytest.mark.parametrize(
    ("query", "booted"),
    [
        pytest.param({"reason": "startup", "cold_start": "true"}, True, id="the first list since the boot"),
        pytest.param({"reason": "startup", "cold_start": "false"}, False, id="the agent alone was restarted"),
        pytest.param({"reason": "kickoff", "cold_start": "true"}, False, id="a later list"),
    ],
)
def test_a_boot_is_reported_once(server: AgentServer, host: Host, query: dict[str, str], booted: bool) -> None:
    """To the workers that wait for hosts to boot."""
    host.post("/v1/task/list", **query)
    with server.database.transaction() as tx:
        assert list(fleet.take_boots(tx, limit=10)) == ([host.instance_id] if booted else [])
        assert fleet.take_boots(tx, limit=10) == {}


@pytest.mark.parametrize(
    ("agent", "state"),
    [
        pytest.param("linux_amd64/2.2.3.578", State.LOST, id="official"),
        pytest.param("linux_amd64/backfleet-0.1.0", State.RUNNING, id="ours, which takes its tasks up again"),
    ],
)
def test_the_start_of_an_agent_ends_the_tasks_of_the_process_before(host: Host, agent: str, state: State) -> None:
    """The outcome is asked for at once, not when the lease runs out 90 s later."""
    task_id = host.handed()
    host.report(f"running?taskId={task_id}&invokeVersion=0&start=1")
    headers = host.signed() | {"User-Agent": agent}
    path = "/luban/api/v1/task/list?reason=startup&cold_start=false&currentTime=1&offset=0&timeZone=Etc%2FUTC"
    assert host.server.ask("POST", path, headers=headers).status == 200
    assert host.server.states() == [state]


@pytest.mark.parametrize(
    ("termination", "told"),
    [("ProcessTree", {"terminationMode": "ProcessTree"}), ("Process", {}), ("", {})],
    ids=["a tree", "a process", "not said"],
)
def test_an_agent_is_told_what_a_time_out_or_a_stop_ends(host: Host, termination: str, told: dict[str, str]) -> None:
    """Only what differs from what every agent does."""
    asked = commands.NewInvocation(ACCOUNT, host.instance_id, "true", 60, "r-1", termination=termination)
    with host.server.database.transaction() as tx:
        commands.send(tx, [asked], topic=TOPIC, now=host.server.clock(), draw=real_draw)
    (entry,) = host.tasks()["run"]
    assert {name: entry["task"][name] for name in entry["task"] if name == "terminationMode"} == told


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("", id="nothing"),
        pytest.param("topic=upgrades", id="no reference"),
        pytest.param("topic=upgrades&reference=a%00b", id="a NUL, which PostgreSQL refuses"),
        pytest.param("topic=upgrades&reference=" + "a" * 5000, id="endless"),
        pytest.param("topic=upgrades&reference=%C3%A9", id="not ASCII"),
    ],
)
def test_an_unsigned_question_tells_nothing_of_orders(
    start_on: Callable[..., AgentServer], database: Any, query: str
) -> None:
    """The question is not signed, so whatever it says gets the answer for an order that goes on."""
    answer = start_on(database).ask("GET", f"/luban/api/backfleet/order?{query}")
    assert (answer.status, answer.json) == (200, {"withdrawn": False})
