"""The protocol page's captures, replayed byte for byte: what the official agent sends, and what it must be answered.

One test for each section of the page that has a wire form. Requests are written onto the connection as they were seen,
with the headers in the agent's spelling and order; only the identity headers are made anew, as the agent does for each
attempt. Ids that the server gives are put in where the capture has its own.
"""

import base64
import json
import socket
from typing import Any, Final

import pytest

from backfleet.commands import State
from endpoints.agents.hosts import MACHINE, AgentServer, Host

AGENT: Final = "linux_amd64/1.0.0.1"
FORM, TEXT, JSON = (
    "application/x-www-form-urlencoded",
    "text/plain; charset=utf-8",
    "application/json; charset=utf-8",
)


def exchange(host: Host, line: str, body: bytes = b"", kind: str = TEXT, *, signed: bool = True) -> tuple[int, bytes]:
    """Write one request as the agent's HTTP library does; the status and the body of the answer."""
    identity = host.signed() if signed else {}
    method = line.split(" ", 1)[0]
    head = [f"{line} HTTP/1.1", f"Host: 127.0.0.1:{host.server.port}", f"User-Agent: {AGENT}"]
    if method == "POST":
        head.append(f"Content-Length: {len(body)}")
    head.append(f"Content-Type: {kind}")
    head += [f"{name}: {identity[name]}" for name in identity if name != "User-Agent"]
    head += ["X-Client-Ip: 10.99.0.2"] if signed else []
    head += ["Accept-Encoding: gzip", "Connection: close"]
    with socket.create_connection(("127.0.0.1", host.server.port), 10) as wire:
        wire.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        answer = b"".join(iter(lambda: wire.recv(65536), b""))
    top, _, content = answer.partition(b"\r\n\r\n")
    return int(top.split()[1]), content


def answered(host: Host, line: str, body: bytes = b"", kind: str = TEXT) -> Any:
    status, content = exchange(host, line, body, kind)
    assert status == 200
    return json.loads(content)


def report(host: Host, task_id: str, line: str, body: bytes = b"") -> None:
    """A capture's report, about our task. The answer is not looked at by the agent: 200 means stored."""
    assert exchange(host, f"POST /luban/api/v1/task/{line.format(id=task_id)}", body)[0] == 200


# --- Section 3: registration ----------------------------------------------------------------------------------------


def registration(host: Host, activation_id: str, code: str) -> bytes:
    """The body in the agent's order of members, without blanks."""
    key = host.card("", "")["publicKey"]
    return (
        f'{{"activationCode":"{code}","machineId":"{MACHINE}","regionId":"R","instanceName":"N","hostname":"host1",'
        f'"intranetIp":"10.0.0.2","osVersion":"Linux_#1 SMP PREEMPT_DYNAMIC @0_x86_64","osType":"linux",'
        f'"agentVersion":"2.2.3.578","publicKey":"{key}","activationId":"{activation_id}",'
        f'"tag":[{{"key":"k1","value":"v1"}}]}}'
    ).encode()


def test_3_registration_and_deregistration(server: AgentServer) -> None:
    """`code` is a number both times, also in a refusal, whose HTTP status is 200: else the agent hides the text."""
    host = server.enrol(1)
    activation, code = server.activate()
    line = "POST /luban/api/instance/register"
    status, content = exchange(host, line, registration(host, activation.id, "wrong"), JSON, signed=False)
    assert (status, type(json.loads(content)["code"]), json.loads(content)["code"] == 200) == (200, int, False)
    status, content = exchange(host, line, registration(host, activation.id, code), JSON, signed=False)
    made = json.loads(content)
    assert (status, made["code"], set(made)) == (200, 200, {"code", "instanceId"})
    assert made["instanceId"].startswith("mi-")
    host.instance_id = made["instanceId"]
    assert answered(host, "POST /luban/api/instance/deregister", b"", JSON) == {"code": 200}
    # Again, too: an answer of 401 would leave the agent's files in place, and it could not register any more.
    assert answered(host, "POST /luban/api/instance/deregister", b"", JSON) == {"code": 200}


# --- Section 4: heart-beat ------------------------------------------------------------------------------------------

HEARTBEATS: Final = [
    pytest.param(
        "uptime=2029000&timestamp=1795422101126&pid=591&process_uptime=5100&index=0&seq_no=0&virt_type=kvm"
        "&os_version=Linux_%231+SMP+PREEMPT_DYNAMIC+%400_x86_64&az=unknown&machineid=0123&cold_start=true",
        id="first",
    ),
    pytest.param("uptime=1180000&timestamp=1795421251651&pid=17024&process_uptime=70098&index=1&seq_no=1", id="later"),
    pytest.param(
        "uptime=1&timestamp=1&pid=1&process_uptime=1&index=0&seq_no=3&virt_type=kvm&lang=golang&os_type=linux"
        "&os_version=x&app_version=2.2.3.578&az=unknown&cold_start=false",
        id="full",
    ),
]


@pytest.mark.parametrize("signed", [True, False], ids=["registered", "not registered, over plain HTTP"])
@pytest.mark.parametrize("query", HEARTBEATS)
def test_4_heartbeats(shared_host: Host, query: str, signed: bool) -> None:
    """The period is a number that the agent accepts."""
    status, content = exchange(shared_host, f"GET /luban/api/heart-beat?{query}", b"", FORM, signed=signed)
    answered = json.loads(content)
    assert (status, set(answered)) == (200, {"nextInterval"})
    assert type(answered["nextInterval"]) is int
    assert 55_000 <= answered["nextInterval"] <= 65_000


# --- Section 5: the notify channel ----------------------------------------------------------------------------------


def test_5_the_upgrade_and_its_frames(server: AgentServer, host: Host) -> None:
    """The upgrade as Go sends it, the masked ping `keepalive`, our bare frame `kick_vm`, its `accept:kick_vm`."""
    server.send(host, "r-1")
    with socket.create_connection(("127.0.0.1", server.port), 10) as wire:
        identity = "".join(f"{name}: {value}\r\n" for name, value in host.signed().items() if name != "User-Agent")
        wire.sendall(
            f"GET /luban/notify_server HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nUser-Agent: {AGENT}\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            f"Upgrade: websocket\r\nX-Client-Ip: 10.99.0.2\r\n{identity}\r\n".encode()
        )
        answer = wire.recv(4096)
        while b"\r\n\r\n" not in answer:
            answer += wire.recv(4096)
        head, _, rest = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        mask = b"\x01\x02\x03\x04"

        def masked(code: int, content: bytes) -> bytes:
            hidden = bytes(byte ^ mask[at % 4] for at, byte in enumerate(content))
            return bytes([0x80 | code, 0x80 | len(content)]) + mask + hidden

        wire.sendall(masked(9, b"keepalive"))
        wanted = {b"\x81\x07kick_vm", b"\x8a\x09keepalive"}
        while len(rest) < sum(map(len, wanted)):
            rest += wire.recv(4096)
        assert rest in (b"".join(wanted), b"".join(sorted(wanted)), b"".join(sorted(wanted, reverse=True)))
        wire.sendall(masked(1, b"accept:kick_vm"))
    assert len(host.tasks()["run"]) == 1


# --- Section 6: the task list ---------------------------------------------------------------------------------------

LISTS: Final = [
    "reason=startup&cold_start=true&currentTime=1795422106132&offset=0&timeZone=Etc%2FUTC",
    "reason=kickoff&currentTime=1795421322284&offset=0&timeZone=Etc%2FUTC",
    "reason=kickoff&taskId=t-x&currentTime=1795421322284&offset=28800&timeZone=Asia%2FShanghai",
]


@pytest.mark.parametrize("query", LISTS)
def test_6_the_task_list(server: AgentServer, host: Host, query: str) -> None:
    """Every type is exact: one wrong type makes the agent drop the whole list."""
    server.send(host, "r-1", content="echo größer; exit 3")
    found = answered(host, f"POST /luban/api/v1/task/list?{query}", b"", JSON)
    assert {name: type(found[name]) for name in found} == {
        "code": int, "instanceId": str, "run": list, "stop": list, "test": list, "file": list, "session": list
    }  # fmt: skip
    (entry,) = found["run"]
    assert entry["repeat"] == "Once"
    types = {"taskID": str, "type": str, "commandContent": str, "timeOut": str, "invokeVersion": int}
    assert {name: type(entry["task"][name]) for name in entry["task"]} == types
    assert {name: type(entry["output"][name]) for name in entry["output"]} == {
        "interval": int, "logQuota": int, "skipEmpty": bool, "sendStart": bool
    }  # fmt: skip
    assert base64.b64decode(entry["task"]["commandContent"]).decode() == "echo größer; exit 3"
    assert answered(host, f"POST /luban/api/v1/task/list?{query}", b"", JSON)["run"] == []


# --- Sections 7 and 8: running, and reports -------------------------------------------------------------------------

RUNNING: Final = "running?taskId={id}&invokeVersion=0&start=1795421322287"
ENDS: Final = [
    pytest.param(
        "finish?taskId={id}&invokeVersion=0&start=1795421322287&end=1795421322493&exitCode=3&dropped=0",
        b"bad\n", (State.FINISHED, 3, "", b"bad\n"), id="exit 3",
    ),
    pytest.param(
        "finish?taskId={id}&invokeVersion=0&start=1795421322287&end=1795421322493&exitCode=-1&dropped=96898",
        b"\xff\x00tail", (State.FINISHED, -1, "", b"\xff\x00tail"), id="killed by a signal under bash",
    ),
    pytest.param(
        "timeout?taskId={id}&invokeVersion=0&start=1795421326289&end=1795421330291&exitCode=1&dropped=0",
        b"", (State.TIMED_OUT, 1, "", b""), id="timeout",
    ),
    pytest.param(
        "stopped?taskId={id}&invokeVersion=0&start=1795421364667&end=1795421367262&exitcode=0&dropped=0&result=killed",
        b"", (State.STOPPED, 0, "", b""), id="stopped",
    ),
    pytest.param(
        "stopped?taskId={id}&invokeVersion=0&start=0&end=0&exitcode=0&dropped=0&result=killed",
        b"", (State.STOPPED, 0, "", b""), id="stopped, of one it does not know",
    ),
    pytest.param(
        "invalid?taskId={id}&invokeVersion=0&param=TypeInvalid&value=TypeInvalid_RunPythonScript",
        b"", (State.REFUSED, None, "TypeInvalid", b""), id="type",
    ),
    pytest.param(
        "invalid?taskId={id}&invokeVersion=0&param=CommandContentInvalid"
        "&value=illegal+base64+data+at+input+byte+0",
        b"", (State.REFUSED, None, "CommandContentInvalid", b""), id="base64",
    ),
    pytest.param(
        "invalid?taskId={id}&invokeVersion=0&param=workingDirectory&value=WorkingDirectoryNotExist%3A+%3Cnil%3E",
        b"", (State.REFUSED, None, "workingDirectory", b""), id="directory",
    ),
    pytest.param(
        "invalid?taskId={id}&invokeVersion=0&param=UsernameOrPasswordInvalid"
        "&value=UserInvalid_nosuchuser%3A+exit+status+1",
        b"", (State.REFUSED, None, "UsernameOrPasswordInvalid", b""), id="user",
    ),
    pytest.param(
        "error?taskId={id}&invokeVersion=0&start=0&end=0&exitCode=0&dropped=0&errCode=-9"
        "&errDesc=ScriptFileExisted%3A+Saving+script+to+%2Fusr%2Flocal%2Fshare%2Faliyun-assist%2Fwork%2Fscript%2F"
        "t-dup.sh+failed%3A+script+file+existed",
        b"", (State.LOST, 0, "-9", b""), id="started before",
    ),
    pytest.param(
        "error?taskId={id}&invokeVersion=0&start=0&end=0&exitCode=0&dropped=0&errCode=-10"
        "&errDesc=PowershellNotFound%3A+exec%3A+x",
        b"", (State.FAILED, 0, "-10", b""), id="no powershell",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("line", "body", "wanted"), ENDS)
def test_8_final_reports_and_their_copies(server: AgentServer, host: Host, line: str, body: bytes, wanted: Any) -> None:
    """The same line again two seconds later, byte for byte, and a late `running`: nothing changes."""
    task_id = host.handed()
    report(host, task_id, line, body)
    report(host, task_id, line, body)
    report(host, task_id, RUNNING, b"late\n")
    found = server.outcome()
    state = wanted[0]
    assert (found.exit_code, found.error_code) == wanted[1:3]
    if state is not State.LOST:
        assert (found.state, found.output) == (state, wanted[3])


def test_7_a_task_in_the_order_of_its_reports(server: AgentServer, host: Host) -> None:
    """An empty `running` before it starts, chunks of 2048 bytes that split characters, the rest with the end."""
    task_id = host.handed()
    whole = ("ä" * 3000).encode() + b"\x00end"
    report(host, task_id, RUNNING)
    assert server.states() == [State.RUNNING]
    for at in (0, 2047, 4094):
        report(host, task_id, RUNNING, whole[at : at + 2047])
    end = "finish?taskId={id}&invokeVersion=0&start=1795421322287&end=1795421322493&exitCode=0&dropped=5"
    report(host, task_id, end, whole[6141:])
    assert server.outcome().output == whole


@pytest.mark.parametrize(
    "line",
    [
        "verified?taskId=t-d1&invokeVersion=0",
        "finish?taskId=t-r1&invokeVersion=0&start=1795422429852&end=1795422430059&exitCode=0&dropped=0"
        "&currentTime=1795422430059",
        "finish?taskId=t-r2&invokeVersion=0&start=1795422455001&end=1795422455207&exitCode=0&dropped=0"
        "&currentTime=1795422455207&offset=28800&timeZone=Asia%2FShanghai",
        "stopped?taskId=t-r6&invokeVersion=0&start=0&end=0&exitcode=0&dropped=0&result=completed",
        "invalid?taskId=t-r3&invokeVersion=0&param=cron&value=InvalidCronExpression",
        "finish?taskId=f-1&status=Success&taskType=sendfile&errorcode=0",
        "invalid?taskId=f-2&taskType=sendfile&param=InvalidSignature&value=b1946ac9...",
        "running?taskId=../x&invokeVersion=0&start=1",
    ],
)
def test_9_reports_on_unknown_tasks_are_accepted(shared_host: Host, line: str) -> None:
    """Otherwise the agent would send each four times."""
    assert exchange(shared_host, f"POST /luban/api/v1/task/{line}", b"out")[0] == 200
    assert shared_host.server.outcomes() == []


# --- Sections 10 to 13: what it asks besides ------------------------------------------------------------------------

BESIDES: Final = [
    ("POST /luban/api/v1/session/list?channelId=s-00002", b"", {"code": 200, "session": []}),
    ("POST /luban/api/v1/session/status?channelId=s-00002&status=Success&errorcode=Ok", b"", {}),
    (
        "POST /luban/api/v1/exception/client_report",
        b'{"type":"switch_channel_in_wsk","info":"start:websocket: close 1006 (abnormal closure): unexpected EOF"}',
        {},
    ),
    (
        "POST /luban/api/v1/exception/client_report",
        b'{"type":"self_kill","info":"mem=1115688960.000000"}',
        {},
    ),
    (
        "POST /luban/api/metrics",
        b'{"eventId":"agent.startup","category":"a","subCategory":"b","eventLevel":"INFO","eventTime":1795421322284,'
        b'"common":"{}","keywords":"{}"}',
        {},
    ),
    (
        "POST /luban/api/v1/update/update_check",
        b'{"os":"linux","arch":"amd64","os_version":"x","app_id":"aliyun assistant","app_version":"2.2.3.578",'
        b'"kernel_version":"x"}',
        {"need_update": 0},
    ),
    (
        "POST /luban/api/v1/plugin/report_status",
        b'{"plugin":[{"name":"p","status":"ONE_TIME","version":"1.0"}]}',
        {"code": 200, "scanInterval": 900, "pullInterval": 300, "reportType": 0},
    ),
    (
        "POST /luban/api/v2/plugin/update_check",
        b'{"os":"linux","arch":"amd64","plugin":[]}',
        {"nextInterval": 1800, "plugin": []},
    ),
    (
        "POST /luban/api/v1/plugin/list",
        b'{"osType":"linux","pluginName":"p","version":"","arch":"amd64"}',
        {"code": 200, "pluginList": []},
    ),
    ("POST /luban/api/gshell", b"", {"gshellSupport": "false"}),
]


@pytest.mark.parametrize(("line", "body", "answer"), BESIDES)
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "not signed"])
def test_12_small_endpoints(shared_host: Host, line: str, body: bytes, answer: Any, signed: bool) -> None:
    """Each has one constant answer."""
    status, content = exchange(shared_host, line, body, JSON, signed=signed)
    assert (status, json.loads(content)) == (200, answer)


def test_1_discovery(shared_host: Host) -> None:
    """Exact texts; a path prefix is allowed, because the agent appends to its server's address."""
    for prefix in ("", "/t/abc123"):
        line = f"GET {prefix}/luban/api/connection_detect"
        assert exchange(shared_host, line, b"", FORM, signed=False) == (200, b"ok")
        assert exchange(shared_host, f"GET {prefix}/luban/api/classic/region-id", b"", FORM, signed=False)[0] == 200
