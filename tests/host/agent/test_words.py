"""What is said and understood on the wire, as plain values: kicks, lists, reports and beats."""

import base64
import json
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet_host.agent.machine import machine_id
from backfleet_host.agent.protocol import heartbeat, task_polling, task_reports
from backfleet_host.agent.protocol.heartbeat import Counters, Pulse, understood
from backfleet_host.agent.protocol.kicks import understand
from backfleet_host.agent.protocol.server import Answer
from backfleet_host.agent.protocol.task_list import NotATaskList, Task, Unusable, read_list, read_task
from backfleet_host.agent.protocol.task_reports import Course, TaskReport, final_cut, next_chunk, read_report

COURSE = Course("t-1", 2, 1000, 2000)


@pytest.mark.parametrize(
    ("message", "reply", "fetch", "task_id"),
    [
        ("kick_vm", "accept", True, ""),
        ("kick_vm task run t-1", "accept", True, "t-1"),
        ("kick_vm task stop t-1", "accept", True, "t-1"),
        ("kick_vm file create f-1", "accept", True, "f-1"),
        ("foo task run t-1", "accept", True, "t-1"),
        ("kick_vm noop", "accept", False, ""),
        ("kick_vm noop 42", "accept", False, ""),
        ("kick_vm task", "unknow", False, ""),
        ("kick_vm task run", "unknow", False, ""),
        ("kick_vm task run t-1\n", "unknow", False, ""),
        ("kick_vm  task run t-1", "unknow", False, ""),
        ("kick_vm task run a&b=c", "unknow", False, ""),
        ("kick_vm session start s-1", "unknow", False, ""),
        ("kick_vm agent deregister", "unknow", False, ""),
        ("kick_vm agent stop", "unknow", False, ""),
        ("", "unknow", False, ""),
    ],
)
def test_kicks(message: str, reply: str, fetch: bool, task_id: str) -> None:
    """Each form of the page, and what is left alone on purpose."""
    kick = understand(message)
    assert (kick.reply, kick.fetch, kick.task_id) == (f"{reply}:{message}", fetch, task_id)


@given(st.text())
def test_any_message_has_an_answer(message: str) -> None:
    """Nothing the server says can deafen the agent."""
    assert understand(message).reply.startswith(("accept:", "unknow:"))


def listed(**fields: object) -> bytes:
    return json.dumps({"code": 200, "instanceId": "mi-1", "run": [fields]}).encode()


def test_the_least_that_runs() -> None:
    """The page's smallest entry, with every default."""
    found, complaints = read_list(
        b'{"run":[{"task":{"type":"RunShellScript","taskID":"t-1","commandContent":"ZGF0ZQ==","timeOut":"60"}}]}'
    )
    assert complaints == []
    (task,) = found.run
    assert (task.id, task.key, task.script(), task.timeout) == ("t-1", "t-1", "date", 60)
    assert (task.interval_ms, task.quota, task.skip_empty, task.send_start) == (1000, 12000, False, False)


def test_every_field() -> None:
    """As a full entry gives them."""
    task = {"taskID": "t-1", "type": "RunShellScript", "commandContent": "", "timeOut": "0", "invokeVersion": 3}
    task |= {"workingDirectory": "/tmp", "username": "nobody", "enableParameter": True, "commandId": "c-1"}
    task |= {"builtInParameter": {"A": "b"}}
    output = {"interval": 2000, "logQuota": 24000, "skipEmpty": True, "sendStart": True}
    found, _ = read_list(listed(task=task, output=output, repeat="Once"))
    assert found.run == (
        Task(
            id="t-1",
            invoke_version=3,
            type="RunShellScript",
            timeout=0,
            working_directory="/tmp",
            user="nobody",
            parameters={"A": "b", "InstanceId": "mi-1", "CommandId": "c-1", "InvokeId": "t-1"},
            substitutes=True,
            interval_ms=2000,
            quota=24000,
            skip_empty=True,
            send_start=True,
        ),
    )
    assert found.run[0].key == "t-1.iv3"
    assert read_task(found.run[0].to_json()) == found.run[0]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        pytest.param({}, "task must be an object", id="no task"),
        pytest.param({"task": {}}, "taskID 'None'", id="no id"),
        pytest.param({"task": {"taskID": "../x"}}, "taskID '../x'", id="an id that climbs"),
        pytest.param({"task": {"taskID": "t.1"}}, "taskID", id="a dot in the id"),
        pytest.param({"task": {"taskID": 7}}, "taskID", id="a number for an id"),
        pytest.param({"task": {"taskID": "t-1", "type": []}}, "type must be text", id="a list for text"),
        pytest.param({"task": {"taskID": "t-1", "invokeVersion": "1"}}, "invokeVersion", id="text for a number"),
        pytest.param({"task": {"taskID": "t-1", "invokeVersion": -1}}, "invokeVersion", id="below zero"),
        pytest.param({"task": {"taskID": "t-1"}, "output": {"interval": True}}, "interval", id="true for a number"),
        pytest.param({"task": {"taskID": "t-1"}, "output": []}, "", id="an empty list for an object"),
        pytest.param({"task": {"taskID": "t-1", "builtInParameter": [1]}}, "builtInParameter", id="parameters"),
    ],
)
def test_one_bad_entry(entry: dict[str, object], said: str) -> None:
    """Is left out, with a complaint that names what is wrong; the others stay."""
    good = {"task": {"taskID": "t-2"}}
    found, complaints = read_list(json.dumps({"run": [entry, good]}).encode())
    assert found.run[-1].id == "t-2"
    if said:
        assert len(found.run) == 1
        assert said in complaints[0]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "task",
                    "output",
                    "taskID",
                    "run",
                    "stop",
                    "file",
                    "code",
                    "timeOut",
                    "interval",
                    "type",
                    "cron",
                    "repeat",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_is_a_list_or_none(value: object) -> None:
    """Whatever the server sends, nothing but NotATaskList comes out."""
    try:
        found, _ = read_list(json.dumps(value).encode())
    except NotATaskList:
        assert not isinstance(value, dict)
    else:
        assert all(task.id for task in found.run)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"[" * 100000, b"\xff"])
def test_what_is_no_list(body: bytes) -> None:
    """Refused as a whole."""
    with pytest.raises(NotATaskList):
        read_list(body)


@pytest.mark.parametrize("content", ["%", "YQ", "/w==", "A" * (1 << 21)])
def test_content_that_cannot_be_used(content: str) -> None:
    """Not base64, not UTF-8, too long."""
    with pytest.raises(Unusable):
        Task("t-1", content=content).script()


@pytest.mark.parametrize(
    ("report", "path"),
    [
        (task_reports.running(COURSE, b"x"), "running?taskId=t-1&invokeVersion=2&start=1000"),
        (
            task_reports.finished(COURSE, 3, 0, b""),
            "finish?taskId=t-1&invokeVersion=2&start=1000&end=2000&exitCode=3&dropped=0",
        ),
        (
            task_reports.timed_out(COURSE, 7, b""),
            "timeout?taskId=t-1&invokeVersion=2&start=1000&end=2000&exitCode=1&dropped=7",
        ),
        (
            task_reports.stopped(Course("t-1", 0)),
            "stopped?taskId=t-1&invokeVersion=0&start=0&end=0&exitcode=0&dropped=0&result=killed",
        ),
        (
            task_reports.error(Course("t-1", 0), "-9", "a b"),
            "error?taskId=t-1&invokeVersion=0&start=0&end=0&exitCode=0&dropped=0&errCode=-9&errDesc=a+b",
        ),
        (
            task_reports.invalid(Course("t-1", 0), "TypeInvalid", "OrdersOnly"),
            "invalid?taskId=t-1&invokeVersion=0&param=TypeInvalid&value=OrdersOnly",
        ),
        (task_reports.verified(Course("t-1", 0)), "verified?taskId=t-1&invokeVersion=0"),
        (task_reports.file_refused("f-1", "p", "v"), "invalid?taskId=f-1&taskType=sendfile&param=p&value=v"),
    ],
    ids=lambda value: value.name if isinstance(value, TaskReport) else "",
)
def test_reports(report: TaskReport, path: str) -> None:
    """Names, parameters and their order as captured from the official agent."""
    assert report.path == f"/luban/api/v1/task/{path}"
    assert read_report(report.to_json()) == report


def test_a_long_text_is_cut() -> None:
    """errDesc has at most 255 bytes, and no half character at the end."""
    query = dict(task_reports.error(COURSE, "-13", "ü" * 500).query)
    assert query["errDesc"] == "ü" * 127


@given(st.text(), st.binary())
def test_reports_survive_the_disk_and_the_url(text: str, body: bytes) -> None:
    """Whatever is in them."""
    report = task_reports.error(COURSE, "-13", text, body=body)
    assert read_report(report.to_json()) == report
    query = report.path.split("?", 1)[1]
    assert parse_qsl(query, keep_blank_values=True) == list(report.query)


@pytest.mark.parametrize(
    ("total", "sent", "quota", "carried", "dropped"),
    [(30004, 0, 12000, 12000, 18004), (108898, 6144, 12000, 5856, 96898), (108898, 6144, 24000, 17856, 84898),
     (13000, 0, 12000, 12000, 1000), (5, 0, 12000, 5, 0), (5, 5, 12000, 0, 0)],
)  # fmt: skip
def test_the_final_cut(total: int, sent: int, quota: int, carried: int, dropped: int) -> None:
    """The page's own measurements, 7.2."""
    assert final_cut(total, sent, quota) == (carried, dropped)


@given(st.integers(0, 10**7), st.integers(0, 8048), st.integers(12000, 10**6))
def test_nothing_is_lost_without_being_counted(total: int, sent: int, quota: int) -> None:
    """Chunks, gap and tail are the output."""
    total = max(total, sent)
    carried, dropped = final_cut(total, sent, quota)
    assert sent + carried + dropped == total
    assert sent + carried <= max(quota, sent)


@given(st.integers(0, 10**6))
def test_chunks_end_after_the_head(printed: int) -> None:
    """At most 2048 bytes each, and none once more than 6000 have gone out."""
    sent = 0
    while chunk := next_chunk(printed, sent):
        assert chunk <= 2048
        sent += chunk
    assert sent == (printed if printed <= 6144 else 6144)


def said(counters: Counters) -> dict[str, str]:
    pulse = Pulse(591, 0.0, "machine", cold=True, mode="restricted")
    return dict(parse_qsl(heartbeat.query(pulse, counters, now_ms=5, uptime_ms=2000, process_ms=3)))


def test_beats() -> None:
    """More while none is acknowledged, everything when asked for, the mode always."""
    short = {"uptime": "2000", "timestamp": "5", "pid": "591", "process_uptime": "3", "mode": "restricted"}
    first = said(Counters())
    assert (
        first.items() >= (short | {"index": "0", "seq_no": "0", "machineid": "machine", "cold_start": "true"}).items()
    )
    assert said(Counters(2, 1)) == short | {"index": "1", "seq_no": "2"}
    assert {"lang", "os_type", "app_version", "az"} <= set(said(Counters(2, 1, in_full=True)))
    assert "machineid" not in said(Counters(in_full=True))


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b'{"nextInterval": 60000}', (True, False, 60.0)),
        (200, b'{"nextInterval": "60000"}', (True, False, 0.0)),
        (200, b"x", (True, False, 0.0)),
        (503, b"", (False, False, 0.0)),
        (
            200,
            b'{"errMsg": "Required request parameter \'az\' for method parameter type String is not present"}',
            (False, True, 0.0),
        ),
    ],
)
def test_answers_to_beats(status: int, body: bytes, expected: tuple[bool, bool, float]) -> None:
    """Acknowledged or not, all parameters or not, when again."""
    assert understood(Answer(status, body)) == expected


def test_the_query_of_a_fetch() -> None:
    """Startup and kickoff, in the page's order."""
    assert task_polling.query("startup", "", True, 1.5).startswith(
        "reason=startup&cold_start=true&currentTime=1500&offset="
    )
    assert task_polling.query("kickoff", "t-1", True, 1.5).startswith(
        "reason=kickoff&taskId=t-1&currentTime=1500&offset="
    )


def test_a_machine_without_an_id_gets_one(tmp_path: object) -> None:
    """Thirty-two hexadecimal digits, as others have."""
    drawn = machine_id(files=())
    assert len(drawn) == 32
    assert base64.b16decode(drawn.upper())
