"""What hosts report by themselves: state configuration, inventory, metrics, exceptions (protocol, sections 11, 12)."""

import base64
import json
import zlib
from typing import Any, Final

import pytest

from backfleet import fleet
from backfleet.fleet import Inventory
from endpoints.agents.hosts import AgentServer, Host

ASKED: Final = {
    "agentName": "aliyunAssist",
    "agentVersion": "2.2.3.578",
    "computerName": "host1",
    "ipAddress": "10.0.0.2",
    "platformName": "debian",
    "platformType": "linux",
    "platformVersion": "12",
    "ramRole": "",
}
PACKAGES: Final = [
    {"Name": "bash", "Version": "5.2.15-2+b7", "Architecture": "x86_64", "ApplicationType": "shells"},
    {"Name": "rclone", "Version": "1.60.1", "Architecture": "x86_64", "Summary": "größer <als> &"},
]


def ask(host: Host, name: str, sent: Any) -> Any:
    answer = host.post(f"/instance/{name}", json.dumps(sent).encode())
    assert answer.status == 200
    return answer.json


def packed(items: Any) -> str:
    """As the agent packs: raw deflate that is flushed and never finished."""
    squeezing = zlib.compressobj(wbits=-15)
    text = json.dumps(items).encode()
    return base64.b64encode(squeezing.compress(text) + squeezing.flush(zlib.Z_SYNC_FLUSH)).decode()


def item(content: Any, kind: str = "ACS:Application", digest: str = "h1") -> dict[str, Any]:
    return {
        "CaptureTime": "2026-01-02T03:04:05Z",
        "Content": content,
        "ContentHash": digest,
        "SchemaVersion": "1.0",
        "TypeName": kind,
    }


def stored(host: Host) -> dict[str, Inventory]:
    with host.server.database.reading() as tx:
        return {one.kind: one for one in fleet.find_inventory(tx, host.instance_id)}


def test_a_host_asks_what_to_collect(host: Host) -> None:
    """It gets everything in full, in the types that the agent reads; the facts it sends are stored."""
    answer = ask(host, "list_instance_state_configurations", ASKED | {"lastCheckpoint": "2026-01-01T00:00:00Z"})
    result = answer["result"]
    assert "errCode" not in answer
    assert (result["Interval"], result["Changed"], result["Checkpoint"]) == (1800, True, "2026-01-02T03:04:05Z")
    (configuration,) = result["StateConfigurations"]
    assert set(configuration) == {
        "StateConfigurationId", "TemplateName", "TemplateVersion", "Parameters", "ConfigureMode", "ScheduleType",
        "ScheduleExpression", "SuccessfulApplyTime", "DefinitionUpdateTime",
    }  # fmt: skip
    assert all(isinstance(value, str) for value in configuration.values())
    assert stored(host)["Backfleet:Host"].rows() == [ASKED]
    named = {"templateName": configuration["TemplateName"], "templateVersion": configuration["TemplateVersion"]}
    content = ask(host, "get_template", named)["result"]["Content"]
    assert json.loads(content)["States"][0]["ResourceType"] == "ACS:Inventory"
    assert ask(host, "get_template", {"templateName": "other"})["errCode"] == "TemplateNotFound"
    report = {"mode": "Apply", "reportTime": "2026-01-02T03:04:05Z", "stateConfigurationId": "x", "status": "Compliant"}
    assert ask(host, "put_instance_state_report", report) == {"errCode": "", "result": {"RequestId": ""}}


def test_an_inventory_is_stored(host: Host) -> None:
    """The newest of each kind, for each host."""
    success = {"errCode": "", "result": {"RequestId": ""}}
    assert ask(host, "put_inventory", {"items": packed([item(PACKAGES), item([], "ACS:Network", "n1")])}) == success
    found = stored(host)
    assert set(found) == {"ACS:Application", "ACS:Network"}
    assert (found["ACS:Application"].rows(), found["ACS:Application"].count) == (PACKAGES, 2)
    newer = [PACKAGES[0] | {"Version": "5.3"}]
    assert ask(host, "put_inventory", {"items": packed([item(newer, digest="h2")])}) == success
    assert stored(host)["ACS:Application"].rows() == newer
    assert stored(host.server.enrol(1)) == {}


def test_an_unchanged_inventory_comes_as_a_hash(host: Host) -> None:
    """It is accepted if the stored one has this hash; otherwise all of it is asked for."""
    ask(host, "put_inventory", {"items": packed([item(PACKAGES)])})
    host.server.clock.advance(hours=12)
    assert ask(host, "put_inventory", {"items": packed([item(None)])})["errCode"] == ""
    assert stored(host)["ACS:Application"].rows() == PACKAGES
    assert stored(host)["ACS:Application"].received_at == host.server.clock.now
    for unknown in (item(None, digest="h9"), item(None, "ACS:Network")):
        answer = ask(host, "put_inventory", {"items": packed([item([], digest="h2"), unknown])})
        assert answer == {"errCode": "400", "errMsg": "Inventory.ItemContentMismatch"}
    assert stored(host)["ACS:Application"].content_hash == "h1", "nothing of a refused one is stored"


@pytest.mark.parametrize(
    "items",
    [
        pytest.param(None, id="nothing"),
        pytest.param("***", id="no base64"),
        pytest.param(base64.b64encode(b"\xff" * 50).decode(), id="no deflate"),
        pytest.param(packed({"not": "a list"}), id="no list"),
        pytest.param(packed(["x"]), id="no objects"),
        pytest.param(packed([item("text")]), id="content of another kind"),
        pytest.param(packed([item(PACKAGES, kind="../x")]), id="an odd kind"),
        pytest.param(packed([item(PACKAGES, digest="h" * 65)]), id="a long hash"),
        pytest.param(packed([item([{"Name": "x" * (4 << 20)}])]), id="a bomb"),
        pytest.param(base64.b64encode(zlib.compress(b"[" * 100_000)[2:]).decode(), id="nested without end"),
    ],
)
def test_a_malformed_inventory_is_refused(host: Host, items: Any) -> None:
    """Nothing is stored, and the host is not asked for it again at once."""
    answer = ask(host, "put_inventory", {"items": items})
    assert answer["errCode"] == "InvalidInventory"
    assert stored(host) == {}


def test_an_inventory_needs_the_hosts_signature(server: AgentServer, host: Host) -> None:
    """Another key stores nothing."""
    headers = host.signed() | {"X-Acs-Signature": "AAAA"}
    body = json.dumps({"items": packed([item(PACKAGES)])}).encode()
    assert server.ask("POST", "/luban/api/instance/put_inventory", body, headers).status == 401
    assert stored(host) == {}


def test_an_agent_that_ends_itself_is_logged(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """With its text, in printable characters and limited length; other events are only counted."""
    sent = {"type": "self_kill", "info": "mem=1115688960.000000\n\x1b[31m" + "x" * 1000}
    assert host.post("/v1/exception/client_report", json.dumps(sent).encode()).json == {}
    assert host.post("/v1/exception/client_report", b'{"type":"switch_channel_in_wsk","info":"start:"}').json == {}
    assert host.post("/metrics", b'{"eventId":"agent.startup"}').json == {}
    (record,) = [record for record in caplog.records if record.message == "an agent reports trouble"]
    logged = record.__dict__
    assert (logged["kind"], logged["claimed_instance"]) == ("self_kill", host.instance_id)
    assert logged["info"].startswith("mem=1115688960.000000\\n\\x1b[31m")
    assert len(logged["info"]) == 300
