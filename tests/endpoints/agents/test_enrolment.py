"""Registration and its end, as the official agent does them: every refusal is a text it shows."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from backfleet import fleet
from backfleet.storage import Database, Trouble, Unavailable
from endpoints.agents.hosts import ACCOUNT, REGION, AgentServer, Host, eventually, key, public_pem

REGISTER = "/luban/api/instance/register"
WRONG = "the activation id or code is wrong"


def encoded(document: bytes) -> str:
    return base64.b64encode(document).decode()


@pytest.fixture
def unenrolled(server: AgentServer) -> Host:
    """A host that has not enrolled."""
    return Host(server, key(0))


def test_a_host_enrols(server: AgentServer, unenrolled: Host) -> None:
    """`code` is a number, or the agent would keep nothing; from then on its signature is accepted."""
    activation, code = server.activate()
    answer = unenrolled.register(activation.id, code, instanceName="web-1")
    unenrolled.instance_id = answer.json["instanceId"]
    assert answer.status == 200
    assert answer.body == json.dumps({"code": 200, "instanceId": unenrolled.instance_id}).encode()
    assert unenrolled.instance_id.startswith("mi-")
    assert unenrolled.heartbeat().status == 200
    made = server.instance(unenrolled)
    assert made is not None
    assert (made.account_id, made.region, made.name, made.hostname) == (ACCOUNT, REGION, "web-1", "host1")
    assert (made.platform, made.agent_kind, made.internet_ip) == ("linux-amd64", "official", "127.0.0.1")


def test_enrolling_again_after_a_lost_answer_is_harmless(server: AgentServer, unenrolled: Host) -> None:
    """The same key again is the same instance; another machine would be another one."""
    activation, code = server.activate(count=1)
    first = unenrolled.register(activation.id, code).json
    assert unenrolled.register(activation.id, code).json == first
    assert Host(server, key(1), machine_id="f" * 32).register(activation.id, code).json == {
        "code": 403,
        "message": "the activation was for 1 instance(s) and is used up; create another",
    }
    assert server.count() == 1


def test_a_host_is_told_to_come_again_while_the_database_is_away(
    server: AgentServer, unenrolled: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With one line in the log, and no traceback for each host that tries."""

    def is_locked(*_given: Any, **_named: Any) -> None:
        raise Unavailable(Trouble.LOCKED)

    activation, code = server.activate()
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(fleet, "register", is_locked)
        answer = unenrolled.register(activation.id, code)
    assert (answer.status, answer.json["code"]) == (503, 503)
    assert [each.exc_info for each in caplog.records if "holds a lock" in each.getMessage()] == [None]
    assert unenrolled.register(activation.id, code).json["code"] == 200


def places_taken(server: AgentServer, activation_id: str) -> int:
    with server.database.reading() as tx:
        found = fleet.activation(tx, ACCOUNT, REGION, activation_id)
    assert found is not None
    return found.registered_count


def enrolled(host: Host, activation: fleet.Activation, code: str, **changes: Any) -> Host:
    answer = host.register(activation.id, code, **changes).json
    assert answer["code"] == 200, answer
    host.instance_id = answer["instanceId"]
    return host


def test_an_answer_that_the_official_agent_lost_uses_up_no_place(server: AgentServer) -> None:
    """It makes a new key each time. What it was given first is gone: no ghost is listed, and nobody can be it."""
    activation, code = server.activate(count=1)
    lost = enrolled(Host(server, key(0)), activation, code)
    server.send(lost, "r-1")
    host = enrolled(Host(server, key(1)), activation, code)
    assert host.instance_id != lost.instance_id
    assert (server.count(), places_taken(server, activation.id)) == (1, 1)
    assert (lost.heartbeat().status, host.heartbeat().status) == (401, 200)
    assert server.states() == ["gone"]


@pytest.mark.parametrize("differs", ["machineId", "hostname", "intranetIp"])
def test_a_copied_machine_does_not_take_the_place_of_the_one_it_was_copied_from(
    server: AgentServer, differs: str
) -> None:
    """Cloned images may share the machine id; both enrol."""
    activation, code = server.activate(count=2)
    one = enrolled(Host(server, key(0)), activation, code)
    other = Host(server, key(1), machine_id="f" * 32 if differs == "machineId" else one.machine_id)
    enrolled(other, activation, code, **({} if differs == "machineId" else {differs: "10.0.0.99"}))
    assert (one.heartbeat().status, other.heartbeat().status) == (200, 200)


def test_a_host_that_was_heard_of_keeps_its_place(server: AgentServer) -> None:
    """Also where another one enrols with its facts: it got its answer."""
    activation, code = server.activate(count=1)
    host = enrolled(Host(server, key(0)), activation, code)
    assert host.heartbeat().status == 200

    def is_written() -> bool:
        found = server.instance(host)
        return found is not None and found.signed_ms is not None

    eventually(is_written)
    server.clock.advance(hours=1)
    assert Host(server, key(1)).register(activation.id, code).json["code"] == 403
    assert host.heartbeat().status == 200


def test_a_place_that_a_lost_answer_took_is_free_for_others_after_ten_minutes(server: AgentServer) -> None:
    """If it is needed: a host that is started late is not put out without need."""
    activation, code = server.activate(count=2)
    lost = enrolled(Host(server, key(0)), activation, code)
    server.clock.advance(minutes=11)
    enrolled(Host(server, key(1), machine_id="1" * 32), activation, code)
    assert server.instance(lost) is not None
    enrolled(Host(server, key(2), machine_id="2" * 32), activation, code)
    assert (server.instance(lost), server.count(), places_taken(server, activation.id)) == (None, 2, 2)
    assert Host(server, key(3), machine_id="3" * 32).register(activation.id, code).json["code"] == 403


def test_a_host_that_is_started_much_later_keeps_its_place(server: AgentServer) -> None:
    """Our own program signs a request as the last step of its enrolment."""
    activation, code = server.activate(count=1)
    host = enrolled(Host(server, key(0)), activation, code, agentVersion="backfleet-0.1.0")
    assert host.post("/backfleet/enrolled").status == 200

    def is_written() -> bool:
        found = server.instance(host)
        return found is not None and found.signed_ms is not None

    eventually(is_written)
    server.clock.advance(hours=1)
    assert Host(server, key(1), machine_id="1" * 32).register(activation.id, code).json["code"] == 403


def test_several_roots_of_our_own_agent_on_one_machine_are_several_hosts(server: AgentServer) -> None:
    """Each keeps its key when it asks again, so that another key is never the same root."""
    activation, code = server.activate(count=2)
    hosts = [enrolled(Host(server, key(n)), activation, code, agentVersion="backfleet-0.1.0") for n in range(2)]
    assert [host.heartbeat().status for host in hosts] == [200, 200]


@pytest.mark.parametrize(
    ("made", "sent", "hours", "text"),
    [
        pytest.param({}, {"activationCode": "a-wrong"}, 0, WRONG, id="a wrong code"),
        pytest.param({}, {"activationId": "unknown"}, 0, WRONG, id="an unknown activation"),
        pytest.param({}, {}, 4.01, "the activation has expired", id="too late"),
        pytest.param({"address_range": "10.9.0.0/16"}, {}, 0, "the activation is not for this address", id="elsewhere"),
        pytest.param({}, {"machineId": 7}, 0, "machineId must be text of at most 64 characters", id="a number"),
        pytest.param({}, {"hostname": "h" * 256}, 0, "hostname must be text of at most 255 characters", id="too long"),
        pytest.param({}, {"publicKey": "***"}, 0, "publicKey is not a public key in PEM, in base64", id="no base64"),
        pytest.param(
            {}, {"publicKey": encoded(b"no key")}, 0, "publicKey is not a public key in PEM, in base64", id="no key"
        ),
        pytest.param(
            {},
            {"publicKey": encoded(public_pem(rsa.generate_private_key(65537, 1024)))},  # noqa: S505 -- to be refused
            0,
            "publicKey must be an RSA key of 2048 to 4096 bits",
            id="a short key",
        ),
        pytest.param(
            {},
            {"publicKey": encoded(public_pem(ec.generate_private_key(ec.SECP256R1())))},
            0,
            "publicKey must be an RSA key of 2048 to 4096 bits",
            id="another kind of key",
        ),
    ],
)
def test_a_refusal_says_why(
    server: AgentServer, unenrolled: Host, made: dict[str, Any], sent: dict[str, Any], hours: float, text: str
) -> None:
    """With status 200 and another code: the agent prints the body. Nothing is kept, and the right words still do."""
    activation, code = server.activate(**made)
    server.clock.advance(hours=hours)
    answer = unenrolled.register(activation.id, code, **sent)
    assert (answer.status, answer.json) == (200, {"code": 403, "message": text})
    assert server.count() == 0


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b"{", id="half of it"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[" * 100_000, id="nested without end"),
        pytest.param(b'{"activationId":"\\ud800","activationCode":"\\ud800"}', id="half a character"),
    ],
)
def test_garbage_is_refused(shared_host: Host, body: bytes) -> None:
    """It gets a refusal like any other, and the endpoint goes on."""
    answer = shared_host.server.ask("POST", REGISTER, body)
    assert (answer.status, answer.json["code"]) == (200, 403)
    assert answer.json["message"]


def test_half_a_character_in_a_name_is_refused(database: Database, start_on: Callable[..., AgentServer]) -> None:
    """No database could store it."""
    server = start_on(database)
    activation, code = server.activate()
    answer = Host(server, key(0)).register(activation.id, code, hostname="\ud800")
    assert (answer.status, answer.json["code"], server.count()) == (200, 403, 0)


def test_a_body_has_a_limit(server: AgentServer, unenrolled: Host) -> None:
    """More than that is not read."""
    activation, code = server.activate()
    assert unenrolled.register(activation.id, code, extra="x" * (1 << 20)).status == 413
    assert unenrolled.register(activation.id, code, extra="x" * (1 << 19)).json["code"] == 200


def test_registering_is_a_post(shared_host: Host) -> None:
    """A browser that opens the address sees nothing."""
    assert shared_host.server.ask("GET", REGISTER).status == 405


def test_a_host_deregisters(server: AgentServer, host: Host) -> None:
    """Its signature is good for nothing else from then on; enrolling again makes another instance."""
    answer = host.post("/instance/deregister")
    assert (answer.status, answer.json) == (200, {"code": 200})
    assert server.instance(host) is None
    assert host.heartbeat().status == 401
    activation, code = server.activate()
    assert host.register(activation.id, code).json["instanceId"] != host.instance_id


def test_a_host_that_was_deregistered_here_can_still_let_go_of_us(server: AgentServer, host: Host) -> None:
    """An answer of 401 would leave the agent's files in place, and it could never register again."""
    with server.database.transaction() as tx:
        assert fleet.deregister(tx, host.instance_id, now=server.clock())
    assert host.heartbeat().status == 401
    for _ in range(2):
        answer = host.post("/instance/deregister")
        assert (answer.status, answer.json) == (200, {"code": 200})
    assert server.instance(host) is None
    other = server.enrol(1)
    headers = other.signed(instance_id=host.instance_id)
    assert server.ask("POST", "/luban/api/instance/deregister", headers=headers).status == 401
    activation, code = server.activate()
    assert host.register(activation.id, code).json["instanceId"] != host.instance_id


def test_only_the_host_itself_can_deregister(server: AgentServer, host: Host) -> None:
    """Another's signature, or none, deregisters nobody."""
    other = server.enrol(1)
    headers = other.signed(instance_id=host.instance_id)
    assert server.ask("POST", "/luban/api/instance/deregister", headers=headers).status == 401
    assert server.ask("POST", "/luban/api/instance/deregister").status == 401
    assert server.instance(host) is not None


def test_a_path_prefix_is_allowed(server: AgentServer) -> None:
    """The agent appends to its server address as it is written: every endpoint has the prefix."""
    activation, code = server.activate()
    host = Host(server, key(0), prefix="/t/abc123")
    host.instance_id = host.register(activation.id, code).json["instanceId"]
    assert host.heartbeat().status == 200
    assert host.tasks()["run"] == []
    channel = host.connect()
    server.send(host, "r-1")
    assert channel.kicked()
    channel.hang_up()


def test_a_host_that_its_owner_deregistered_is_refused(server: AgentServer, host: Host) -> None:
    """It learns so at its next request."""
    with server.database.transaction() as tx:
        assert fleet.deregister(tx, host.instance_id, now=server.clock())
    assert host.post("/v1/task/list").status == 401
