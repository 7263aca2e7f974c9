"""Who is it: the published signature, and everything that is not quite one."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
import websocket
from cryptography.hazmat.primitives import hashes

from backfleet import fleet
from backfleet.commands import State
from backfleet.endpoints.agents import authentication
from backfleet.endpoints.agents.authentication import Claim, NotProved, Once
from endpoints.agents.hosts import Gate, Host, key

# The protocol page's test vector: a throw-away key, and a signature of the official agent's.
KEY: Final = """-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA1OtPnwbyv/eaRnA5lzA5
qITT6ckUC8Hz+pGfy+914kYAadRLZbFUVm8xd6np/gqNy3709/PBtPO0H/rzkjuW
HvMlMwxmpaAdoEOCafmqKBY/5EmQE1YPhr9h3rJ8rCaF5mcS6dXE3NwW+reA2sUv
rFDsGRqPXuLjUo0jfuox9+nxecezrAdFgNHcYyJ3IRUI9bmTr0rv2tRArefAWp4r
G/Wh+WkEWOaRnewO2/0KZVnI/U/3FucC6lTaysGKCGCwEoWMBU2Qp5lqf8A/w6I8
dzoK6zlbUYXJGn6rHBH1KtzBslXt85xlqKDYXA8VqZ1k1TSVNJD6j9xbmBobKOm2
KwIDAQAB
-----END PUBLIC KEY-----
"""
SIGNATURE: Final = (
    "VASJG+pcYg6XtafhHFlaKeeKfpBABTgWMUfw2rKS3ysA8NiRj4yH5dGesOlbZVCjFYmcrajE1pTcfjXfnSUBIUR2GDLcyeHDSuiqg3SW"
    "Vn3aQWZDzLgq/endMWEY/FarxtzHZQQQQY3Gmei2IBDhLm+M4nO1O5pkxSPYrbYyWyEzVSaa6gweCOA5mcNJS3zpoEobVhPj/KvEASZIyNO7XpL1a/1C"
    "MHLl5vbks7LPv9JR5lgPYB7JXvM11K7V0uC78qo2ymR56f1iIU//BuouUhtq3dyHsuNS6EfEFaQPW2m94QkeIi739hCdTDy4gX7w7XZ2C8t30lOFNmGO"
    "OzFPyw=="
)
VECTOR: Final = {
    "x-acs-instance-id": "mi-test0001",
    "x-acs-timestamp": "1795421191647",
    "x-acs-request-id": "43017c7a-4529-473d-8647-edfdabbbb0f4",
    "x-acs-signature": SIGNATURE,
}
VECTOR_MACHINE: Final = "0" * 31 + "1"
THEN: Final = datetime.fromtimestamp(1795421191.647, UTC)
WINDOW_MS: Final = 900_000

ENDPOINTS: Final = [
    ("GET", "/luban/api/heart-beat"),
    ("GET", "/luban/notify_server"),
    ("POST", "/luban/api/instance/deregister"),
    *(
        ("POST", f"/luban/api/v1/task/{name}")
        for name in ("list", "running", "finish", "timeout", "stopped", "error", "invalid", "verified")
    ),
]


def enrol_the_vector(gate: Gate) -> None:
    activation, code = gate.activate()
    names: dict[str, Any] = dict.fromkeys(("instance_name", "intranet_ip", "os_version", "agent_mode", "platform"), "")
    names |= {"hostname": "vector", "os_type": "linux", "agent_version": "1.0.0.1"}
    asked = fleet.Registration(
        activation_id=activation.id, code=code, machine_id=VECTOR_MACHINE, public_key=KEY, **names
    )
    with gate.database.transaction() as tx:
        made = fleet.register(tx, asked, source_ip="", now=gate.clock(), draw=lambda _length: "test0001")
    assert made.id == "mi-test0001"


def test_the_published_signature_is_accepted_once(gate: Gate) -> None:
    """To the byte; and the same headers again are a replay, whatever they are sent with."""
    gate.clock.now = THEN
    enrol_the_vector(gate)
    assert gate.ask("POST", "/luban/api/v1/task/list?reason=startup", headers=VECTOR).status == 200
    assert gate.ask("POST", "/luban/api/v1/task/list?reason=startup", headers=VECTOR).status == 401
    assert gate.ask("GET", "/luban/api/heart-beat", headers=VECTOR).status == 401


@pytest.mark.parametrize("field", list(VECTOR))
def test_the_published_signature_covers_every_field(field: str) -> None:
    """One character of any of them, and it is not proved."""
    known = fleet.AgentIdentity("mi-test0001", VECTOR_MACHINE, KEY, deregistered=False)
    good = authentication.read_claim(VECTOR)
    assert good is not None
    authentication.check(good, known, now=THEN, window_ms=WINDOW_MS)
    changed = "A" + VECTOR[field][1:] if field == "x-acs-signature" else VECTOR[field][:-1] + "9"
    bad = authentication.read_claim(VECTOR | {field: changed})
    assert bad is not None
    with pytest.raises(NotProved, match="signature"):
        authentication.check(bad, known, now=THEN, window_ms=WINDOW_MS)
    other_machine = fleet.AgentIdentity("mi-test0001", "0" * 32, KEY, deregistered=False)
    with pytest.raises(NotProved, match="signature"):
        authentication.check(good, other_machine, now=THEN, window_ms=WINDOW_MS)


def without(name: str) -> Callable[[Host], dict[str, str]]:
    return lambda host: {key: value for key, value in host.signed().items() if key != name}


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(lambda host: host.signed(instance_id="mi-unknown"), id="an unknown instance"),
        pytest.param(lambda host: host.signed(instance_id=""), id="no name"),
        pytest.param(lambda host: host.signed(instance_id="m" * 65), id="a name too long"),
        pytest.param(lambda host: host.signed() | {"X-Acs-Instance-Id": "mi-\xff"}, id="a name of odd bytes"),
        pytest.param(lambda host: host.signed() | {"X-Acs-Request-Id": "\xe9"}, id="a request id of odd bytes"),
        pytest.param(lambda host: host.signed(request_id="r" * 65), id="a request id too long"),
        pytest.param(lambda host: host.signed() | {"X-Acs-Timestamp": "2026-01-02"}, id="a time in words"),
        pytest.param(lambda host: host.signed() | {"X-Acs-Timestamp": "-1"}, id="a time before time"),
        pytest.param(lambda host: host.signed() | {"X-Acs-Timestamp": "9" * 17}, id="a time beyond time"),
        pytest.param(lambda host: host.signed() | {"X-Acs-Signature": "***"}, id="no base64"),
        pytest.param(lambda host: host.signed() | {"X-Acs-Signature": ""}, id="an empty signature"),
        pytest.param(lambda host: host.signed(digest=hashes.SHA256()), id="another digest"),
        pytest.param(lambda host: host.signed(text=lambda *parts: "\n".join(parts)), id="separators"),
        pytest.param(lambda host: host.signed(text=lambda i, m, t, r: i + t + r), id="without its machine"),
        pytest.param(lambda host: Host(host.gate, key(1), host.instance_id).signed(), id="another key"),
        pytest.param(lambda host: Host(host.gate, host.key, host.instance_id, "m" * 32).signed(), id="another machine"),
        pytest.param(without("X-Acs-Timestamp"), id="no time"),
        pytest.param(without("X-Acs-Request-Id"), id="no request id"),
        pytest.param(without("X-Acs-Signature"), id="no signature"),
        pytest.param(lambda host: {}, id="no headers at all"),
    ],
)
def test_what_is_not_proved_is_a_401(
    standing: Host, headers: Callable[[Host], dict[str, str]], request: pytest.FixtureRequest
) -> None:
    """It says nothing of why, and nothing is handed out."""
    standing.gate.send(standing, request.node.callspec.id)
    answer = standing.gate.ask("POST", "/luban/api/v1/task/list", headers=headers(standing))
    assert (answer.status, answer.json) == (401, {"code": 401, "message": "unauthorized"})
    assert len(standing.tasks()["run"]) == 1


MONTH: Final = 30 * 86_400_000


@pytest.mark.parametrize("skew_ms", [-20 * 365 * 86_400_000, -MONTH, -900_001, -900_000, 0, 900_000, 900_001, MONTH])
def test_a_clock_may_be_wrong(gate: Gate, host: Host, skew_ms: int) -> None:
    """By whatever it is: everything works, and each set of headers works once, on every node."""
    for _ in range(2):
        headers = host.signed(skew_ms=skew_ms)
        assert gate.ask("POST", "/luban/api/v1/task/list", headers=headers).status == 200
        assert gate.ask("POST", "/luban/api/v1/task/list", headers=headers).status == 401
        gate.clock.pass_by(seconds=20)
    channel = host.connect(host.signed(skew_ms=skew_ms))
    gate.send(host, "r-1")
    assert channel.kicked()
    gate.drain()
    found = gate.instance(host)
    assert found is not None
    assert (found.clock_skew_ms, found.is_skewed) == (skew_ms, abs(skew_ms) > 60_000)


HOUR: Final = 3_600_000


@pytest.mark.parametrize(
    ("registered", "signed", "at", "taken"),
    [
        pytest.param(-10 * HOUR, None, -HOUR, True, id="slow from the first day"),
        pytest.param(-10 * HOUR, -HOUR, -HOUR + 1, True, id="slow, and going on"),
        pytest.param(-10 * HOUR, -HOUR, -HOUR - 59_000, True, id="two requests that overtook each other"),
        pytest.param(-10 * HOUR, 0, -HOUR, False, id="set back, or heard before"),
        pytest.param(
            -10 * HOUR, 0, -11 * HOUR, True, id="set back to before it had enrolled: a host without a battery"
        ),
        pytest.param(-10 * HOUR, 0, -10 * HOUR - 900_000, False, id="within the window of its enrolment"),
        pytest.param(-10 * HOUR, 0, HOUR, True, id="ahead"),
        pytest.param(-10 * HOUR, 0, 900_000, True, id="ordinary"),
        pytest.param(-10 * HOUR, 0, -900_000, True, id="ordinary, slow"),
    ],
)
def test_which_times_are_taken(registered: int, signed: int | None, at: int, taken: bool) -> None:
    """Whatever may be a repetition of what was ordinary once is not."""
    zero = round(THEN.timestamp() * 1000)
    moment = datetime.fromtimestamp(zero / 1000, UTC)
    known = fleet.AgentIdentity("mi-1", "m", "", False, zero + registered, None if signed is None else zero + signed)
    claim = Claim("mi-1", str(zero + at), "r-1", b"")
    ordinary = authentication.is_ordinary(claim, now=moment, window_ms=WINDOW_MS)
    assert (ordinary or authentication._is_new(claim, known, moment, WINDOW_MS)) is taken


def test_headers_are_taken_once_over_all_nodes(open_on: Callable[..., Gate], database: Any) -> None:
    """Whatever a node did with them, no other takes them again; nor the same after a restart."""
    first, second = open_on(database), open_on(database)
    host = first.enrol()
    task_id = host.handed()
    finish = f"/luban/api/v1/task/finish?taskId={task_id}&invokeVersion=0&start=1&end=2&exitCode=0&dropped=0"
    running = f"/luban/api/v1/task/running?taskId={task_id}&invokeVersion=0&start=1"
    for path in (running, running, "/luban/api/v1/task/list?reason=kickoff"):
        headers = host.signed()
        if "list" in path:
            first.send(host, "r-2", silently=True)
        assert first.ask("POST", path, b"", headers).status == 200
        assert second.ask("POST", finish, b"", headers).status == 401
    harmless = host.signed()
    assert first.ask("GET", "/luban/api/heart-beat", headers=harmless).status == 200
    first.drain()  # what was only heard is written with the next batch
    assert second.ask("POST", finish, b"", harmless).status == 401
    assert State.FINISHED not in first.states()
    assert second.ask("POST", finish, b"", host.signed()).status == 200
    assert State.FINISHED in first.states()


def test_used_ids_are_forgotten_in_time(database: Any, now: datetime) -> None:
    """The table stays as large as the window."""
    with database.transaction() as tx:
        fleet.remember_requests(tx, [(1, now), (2, now + timedelta(seconds=1)), (1, now)])
    with database.transaction() as tx:
        assert not fleet.remember_request(tx, 1, until=now)
        assert not fleet.forget_requests(tx, now=now + timedelta(milliseconds=500))
        assert fleet.remember_request(tx, 1, until=now)
        assert not fleet.remember_request(tx, 2, until=now)


@pytest.mark.parametrize(("method", "path"), ENDPOINTS, ids=lambda value: value.rsplit("/", 1)[-1])
def test_every_endpoint_asks_who_it_is(standing: Host, method: str, path: str) -> None:
    """Another's key, under the host's name."""
    headers = Host(standing.gate, key(1), standing.instance_id).signed()
    assert standing.gate.ask(method, path, headers=headers).status == 401
    assert standing.beat().status == 200


def test_a_socket_is_refused_before_it_opens(gate: Gate, host: Host) -> None:
    """The handshake itself fails."""
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        host.connect(Host(gate, key(1), host.instance_id).signed())
    assert refused.value.status_code == 401


def test_a_refused_request_id_is_not_used_up(host: Host) -> None:
    """Who cannot sign cannot take request ids away from who can."""
    ask = host.gate.ask
    bad = Host(host.gate, key(1), host.instance_id).signed(request_id="the-same")
    assert ask("POST", "/luban/api/v1/task/list", headers=bad).status == 401
    good = host.signed(request_id="the-same")
    assert ask("POST", "/luban/api/v1/task/list", headers=good).status == 200
    assert ask("POST", "/luban/api/v1/task/list", headers=host.signed(request_id="the-same")).status == 401


def test_two_hosts_may_draw_the_same_request_id(host: Host) -> None:
    """Ids are taken per instance."""
    other = host.gate.enrol(1)
    for each in (host, other):
        headers = each.signed(request_id="the-same")
        assert host.gate.ask("POST", "/luban/api/v1/task/list", headers=headers).status == 200


def claim(number: int) -> Claim:
    return Claim("mi-1", "0", f"r-{number}", b"")


def test_request_ids_are_forgotten_when_their_time_is_over() -> None:
    """Not before: a clock that goes ahead by the window is accepted for two of them."""
    once, start = Once(), THEN.timestamp()
    once.take(claim(1), now=THEN, window_ms=WINDOW_MS)
    with pytest.raises(NotProved, match="used before"):
        once.take(claim(1), now=datetime.fromtimestamp(start + 1800, UTC), window_ms=WINDOW_MS)
    once.take(claim(1), now=datetime.fromtimestamp(start + 1800.01, UTC), window_ms=WINDOW_MS)


def test_the_memory_of_request_ids_is_bounded() -> None:
    """The oldest goes first."""
    once = Once(most=3)
    for number in range(4):
        once.take(claim(number), now=THEN, window_ms=WINDOW_MS)
    with pytest.raises(NotProved):
        Once.take(once, claim(3), now=THEN, window_ms=WINDOW_MS)
    once.take(claim(0), now=THEN, window_ms=WINDOW_MS)


def test_the_words_of_a_refusal_are_for_our_log(caplog: pytest.LogCaptureFixture, host: Host) -> None:
    """There it says why."""
    with caplog.at_level("INFO", logger="backfleet.endpoints.agents.gateway"):
        headers = Host(host.gate, key(1), host.instance_id).signed()
        host.gate.ask("POST", "/luban/api/v1/task/list", headers=headers)
    assert [record.__dict__["reason"] for record in caplog.records] == ["the signature is not that of its key"]
