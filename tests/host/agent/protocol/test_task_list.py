"""Task lists as the server sends them, read into plain values."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet_host.agent.protocol.task_list import NotATaskList, Task, Unusable, read_list, read_task


def listed(**fields: object) -> bytes:
    return json.dumps({"code": 200, "instanceId": "mi-1", "run": [fields]}).encode()


def test_the_smallest_entry_gets_every_default() -> None:
    """The smallest one of the protocol page."""
    found, complaints = read_list(
        b'{"run":[{"task":{"type":"RunShellScript","taskID":"t-1","commandContent":"ZGF0ZQ==","timeOut":"60"}}]}'
    )
    assert complaints == []
    (task,) = found.run
    assert (task.id, task.key, task.script(), task.timeout) == ("t-1", "t-1", "date", 60)
    assert (task.interval_ms, task.quota, task.skip_empty, task.send_start) == (1000, 12000, False, False)


def test_every_field_of_an_entry_is_read() -> None:
    """As a full entry has them."""
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
    ("entry", "complaint"),
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
def test_a_bad_entry_is_left_out_with_a_complaint(entry: dict[str, object], complaint: str) -> None:
    """It names what is wrong; the other entries stay."""
    good = {"task": {"taskID": "t-2"}}
    found, complaints = read_list(json.dumps({"run": [entry, good]}).encode())
    assert found.run[-1].id == "t-2"
    if complaint:
        assert len(found.run) == 1
        assert complaint in complaints[0]


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
def test_any_json_is_a_list_or_refused(value: object) -> None:
    """Nothing but NotATaskList is raised, whatever the server sends."""
    try:
        found, _ = read_list(json.dumps(value).encode())
    except NotATaskList:
        assert not isinstance(value, dict)
    else:
        assert all(task.id for task in found.run)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"[" * 100000, b"\xff"])
def test_an_answer_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(NotATaskList):
        read_list(body)


@pytest.mark.parametrize("content", ["%", "YQ", "/w==", "A" * (1 << 21)])
def test_content_that_cannot_be_read_is_unusable(content: str) -> None:
    """Not base64, not UTF-8, too long."""
    with pytest.raises(Unusable):
        Task("t-1", content=content).script()
