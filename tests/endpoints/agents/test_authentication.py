"""Authentication of agents: the published signature, and everything that differs from it."""

import http.client
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
import websocket
from cryptography.hazmat.primitives import hashes

from backfleet import fleet
from backfleet.commands import State
from backfleet.endpoints.agents import signatures
from backfleet.endpoints.agents.replay_cache import ReplayCache
from backfleet.endpoints.agents.signatures import AgentSignature, NotAuthenticated
from endpoints.agents.hosts import AgentServer, Host, key

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


def enrol_the_vector(server: AgentServer) -> None:
    activation, code = server.activate()
    names: dict[str, Any] = dict.fromkeys(("instance_name", "intranet_ip", "os_version", "agent_mode", "platform"), "")
    names |= {"hostname": "vector", "os_type": "linux", "agent_version": "1.0.0.1"}
    asked = fleet.Registration(
        activation_id=activation.id, code=code, machine_id=VECTOR_MACHINE, public_key=KEY, **names
    )
    with server.database.transaction() as tx:
        made = fleet.register(tx, asked, source_ip="", now=server.clock(), draw=lambda _length: "test0001")
    assert made.id == "mi-test0001"


def test_the_published_signature_is_accepted_once(server: AgentServer) -> None:
    """It is accepted as published; the same headers again are a replay, whatever they are sent with."""
    server.clock.now = THEN
    enrol_the_vector(server)
    assert server.ask("POST", "/luban/api/v1/task/list?reason=startup", headers=VECTOR).status == 200
    assert server.ask("POST", "/luban/api/v1/task/list?reason=startup", headers=VECTOR).status == 401
    assert server.ask("GET", "/luban/api/heart-beat", headers=VECTOR).status == 401


@pytest.mark.parametrize("field", list(VECTOR))
def test_the_published_signature_covers_every_field(field: str) -> None:
    """With one character of any field changed it is refused."""
    known = fleet.AgentIdentity("mi-test0001", VECTOR_MACHINE, KEY, deregistered=False)
    good = signatures.read_signature(VECTOR)
    assert good is not None
    signatures.check(good, known, now=THEN, window_ms=WINDOW_MS)
    changed = "A" + VECTOR[field][1:] if field == "x-acs-signature" else VECTOR[field][:-1] + "9"
    bad = signatures.read_signature(VECTOR | {field: changed})
    assert bad is not None
    with pytest.raises(NotAuthenticated, match="signature"):
        signatures.check(bad, known, now=THEN, window_ms=WINDOW_MS)
    other_machine = fleet.AgentIdentity("mi-test0001", "0" * 32, KEY, deregistered=False)
    with pytest.raises(NotAuthenticated, match="signature"):
        signatures.check(good, other_machine, now=THEN, window_ms=WINDOW_MS)


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
        pytest.param(lambda host: Host(host.server, key(1), host.instance_id).signed(), id="another key"),
        pytest.param(
            lambda host: Host(host.server, host.key, host.instance_id, "m" * 32).signed(), id="another machine"
        ),
        pytest.param(without("X-Acs-Timestamp"), id="no time"),
        pytest.param(without("X-Acs-Request-Id"), id="no request id"),
        pytest.param(without("X-Acs-Signature"), id="no signature"),
        pytest.param(lambda host: {}, id="no headers at all"),
    ],
)
def test_an_unauthenticated_request_gets_a_401(
    host: Host, headers: Callable[[Host], dict[str, str]], request: pytest.FixtureRequest
) -> None:
    """It gets no reason, and nothing is handed out."""
    host.server.send(host, request.node.callspec.id)
    answer = host.server.ask("POST", "/luban/api/v1/task/list", headers=headers(host))
    assert (answer.status, answer.json) == (401, {"code": 401, "message": "unauthorized"})
    assert len(host.tasks()["run"]) == 1


MONTH: Final = 30 * 86_400_000


@pytest.mark.parametrize("skew_ms", [-20 * 365 * 86_400_000, -MONTH, -900_001, -900_000, 0, 900_000, 900_001, MONTH])
def test_a_host_with_a_wrong_clock_works(server: AgentServer, host: Host, skew_ms: int) -> None:
    """By any difference; and each set of headers works once, on every node."""
    for _ in range(2):
        headers = host.signed(skew_ms=skew_ms)
        assert server.ask("POST", "/luban/api/v1/task/list", headers=headers).status == 200
        assert server.ask("POST", "/luban/api/v1/task/list", headers=headers).status == 401
        server.clock.advance(seconds=20)
    channel = host.connect(host.signed(skew_ms=skew_ms))
    server.send(host, "r-1")
    assert channel.kicked()
    server.drain()
    found = server.instance(host)
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
def test_which_times_are_accepted(registered: int, signed: int | None, at: int, taken: bool) -> None:
    """A time that may be a replay of what was ordinary once is not."""
    zero = round(THEN.timestamp() * 1000)
    moment = datetime.fromtimestamp(zero / 1000, UTC)
    known = fleet.AgentIdentity("mi-1", "m", "", False, zero + registered, None if signed is None else zero + signed)
    signature = AgentSignature("mi-1", str(zero + at), "r-1", b"")
    ordinary = signatures.is_ordinary(signature, now=moment, window_ms=WINDOW_MS)
    assert (ordinary or signatures._is_new(signature, known, moment, WINDOW_MS)) is taken


def test_headers_are_accepted_once_over_all_nodes(start_on: Callable[..., AgentServer], database: Any) -> None:
    """Whatever one node did with them, no other node accepts them again, nor the same node after a restart."""
    first, second = start_on(database), start_on(database)
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
    assert second.ask("POST", finish, b"", harmless).status == 401
    assert State.FINISHED not in first.states()
    assert second.ask("POST", finish, b"", host.signed()).status == 200
    assert State.FINISHED in first.states()


@pytest.mark.parametrize("digits", [*range(1, 13), 14, 15, 16])
def test_a_signature_cannot_be_read_with_its_boundary_elsewhere(host: Host, digits: int) -> None:
    """Time and request id follow each other in the signed text: other headers would bear the same signature."""
    server, signed = host.server, host.signed()
    assert server.ask("GET", "/luban/api/heart-beat", headers=signed).status == 200
    names = {name.lower(): name for name in signed}
    time, request_id = names["x-acs-timestamp"], names["x-acs-request-id"]
    text = signed[time] + signed[request_id]
    moved = signed | {time: text[:digits], request_id: text[digits:]}
    task = host.handed(f"b-{digits}")
    path = f"/luban/api/v1/task/finish?taskId={task}&invokeVersion=0&start=1&end=2&exitCode=0&dropped=0"
    assert server.ask("POST", path, b"", moved).status == 401
    assert server.ask("POST", path, b"", host.signed()).status == 200


@pytest.mark.parametrize(
    "timestamp",
    [
        pytest.param("{}0", id="14 digits"),
        pytest.param("0{}", id="a zero in front"),
        pytest.param("+{}", id="a sign"),
        pytest.param(" {}", id="a space in front"),
        pytest.param("{}.0", id="a fraction"),
        pytest.param("١٧٩٥٤٢١١٩١٦٤٧", id="digits of another script"),
    ],
)
def test_a_time_has_one_spelling(timestamp: str) -> None:
    """Thirteen ASCII digits, nothing around them."""
    with pytest.raises(NotAuthenticated):
        signatures.read_signature(VECTOR | {"x-acs-timestamp": timestamp.format(VECTOR["x-acs-timestamp"])})


@pytest.mark.parametrize("path", ["/luban/api/heart-beat", "/luban/api/v1/task/list?reason=period"])
def test_a_harmless_signature_is_used_up_before_it_is_answered(
    start_on: Callable[..., AgentServer], database: Any, path: str
) -> None:
    """A node that is killed right after its answer has forgotten nothing."""
    first, second = start_on(database), start_on(database)
    host = first.enrol()
    headers = host.signed()
    assert first.ask("GET" if "heart" in path else "POST", path, headers=headers).status == 200
    assert second.ask("POST", "/luban/api/instance/deregister", b"", headers).status == 401


def test_the_last_headers_of_a_host_that_left_are_of_no_use_later(
    start_on: Callable[..., AgentServer], database: Any
) -> None:
    """Their id is forgotten by then, and nothing newer was signed."""
    first, second = start_on(database), start_on(database)
    host = first.enrol()
    headers = [host.signed(skew_ms=skew_ms) for skew_ms in (-1, 0)]
    assert [first.ask("GET", "/luban/api/heart-beat", headers=each).status for each in headers] == [200, 200]
    first.drain()
    later = timedelta(milliseconds=2 * WINDOW_MS + 1)
    with database.transaction() as tx:
        fleet.forget_requests(tx, now=first.clock() + later)
    for server in (first, second):
        server.clock.now += later
    for each in headers:
        assert second.ask("POST", "/luban/api/v1/task/list?reason=kickoff", b"", each).status == 401
    assert second.ask("POST", "/luban/api/v1/task/list?reason=kickoff", b"", host.signed()).status == 200


@pytest.mark.parametrize(
    ("skew_ms", "passes_ms"),
    [
        pytest.param(-WINDOW_MS, 1, id="ordinary when it came, and no longer when its body did"),
        pytest.param(WINDOW_MS + 1, 1, id="ordinary only when its body came"),
    ],
)
def test_a_slow_body_does_not_let_headers_be_used_twice_or_never(
    start_on: Callable[..., AgentServer], database: Any, skew_ms: int, passes_ms: int
) -> None:
    """Whether their id was used up when they came is known by then."""
    first, second = start_on(database), start_on(database)
    host = first.enrol()
    task_id = host.handed()
    headers = host.signed(skew_ms=skew_ms)
    line = f"/luban/api/v1/task/running?taskId={task_id}&invokeVersion=0&start=1"
    connection = http.client.HTTPConnection("127.0.0.1", first.port, timeout=5)
    connection.putrequest("POST", line)
    for name, value in (headers | {"Content-Length": "1"}).items():
        connection.putheader(name, value)
    connection.endheaders()
    time.sleep(0.5)  # until they are read
    for server in (first, second):
        server.clock.advance(milliseconds=passes_ms)
    connection.send(b"x")
    assert connection.getresponse().status == 200
    connection.close()
    assert second.ask("POST", line, b"y", headers).status == 401
    assert first.outcome().output == b"x"


def test_used_ids_are_forgotten_in_time(database: Any, now: datetime) -> None:
    """The table stays as small as the window."""
    with database.transaction() as tx:
        fleet.remember_requests(tx, [(1, now), (2, now + timedelta(seconds=1)), (1, now)])
    with database.transaction() as tx:
        assert not fleet.remember_request(tx, 1, until=now)
        assert not fleet.forget_requests(tx, now=now + timedelta(milliseconds=500))
        assert fleet.remember_request(tx, 1, until=now)
        assert not fleet.remember_request(tx, 2, until=now)


@pytest.mark.parametrize(("method", "path"), ENDPOINTS, ids=lambda value: value.rsplit("/", 1)[-1])
def test_every_endpoint_authenticates(shared_host: Host, method: str, path: str) -> None:
    """Another host's key under this host's name is refused."""
    headers = Host(shared_host.server, key(1), shared_host.instance_id).signed()
    assert shared_host.server.ask(method, path, headers=headers).status == 401
    assert shared_host.heartbeat().status == 200


def test_a_socket_is_refused_before_it_opens(server: AgentServer, host: Host) -> None:
    """The handshake itself fails."""
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        host.connect(Host(server, key(1), host.instance_id).signed())
    assert refused.value.status_code == 401


def test_a_refused_request_id_is_not_used_up(host: Host) -> None:
    """Without the key nobody can use up a host's request ids."""
    ask = host.server.ask
    bad = Host(host.server, key(1), host.instance_id).signed(request_id="the-same")
    assert ask("POST", "/luban/api/v1/task/list", headers=bad).status == 401
    good = host.signed(request_id="the-same")
    assert ask("POST", "/luban/api/v1/task/list", headers=good).status == 200
    assert ask("POST", "/luban/api/v1/task/list", headers=host.signed(request_id="the-same")).status == 401


def test_two_hosts_may_draw_the_same_request_id(host: Host) -> None:
    """Request ids count per instance."""
    other = host.server.enrol(1)
    for each in (host, other):
        headers = each.signed(request_id="the-same")
        assert host.server.ask("POST", "/luban/api/v1/task/list", headers=headers).status == 200


def signature_of(number: int) -> AgentSignature:
    return AgentSignature("mi-1", "0", f"r-{number}", b"")


def test_request_ids_are_forgotten_when_their_time_is_over() -> None:
    """Not earlier: a clock that is ahead by the window is accepted for two of them."""
    cache, start = ReplayCache(), THEN.timestamp()
    cache.accept(signature_of(1), now=THEN, window_ms=WINDOW_MS)
    with pytest.raises(NotAuthenticated, match="used before"):
        cache.accept(signature_of(1), now=datetime.fromtimestamp(start + 1800, UTC), window_ms=WINDOW_MS)
    cache.accept(signature_of(1), now=datetime.fromtimestamp(start + 1800.01, UTC), window_ms=WINDOW_MS)


def test_the_replay_cache_is_bounded() -> None:
    """The oldest request id is forgotten first."""
    cache = ReplayCache(most=3)
    for number in range(4):
        cache.accept(signature_of(number), now=THEN, window_ms=WINDOW_MS)
    with pytest.raises(NotAuthenticated):
        cache.accept(signature_of(3), now=THEN, window_ms=WINDOW_MS)
    cache.accept(signature_of(0), now=THEN, window_ms=WINDOW_MS)


@pytest.mark.parametrize("most", [8, 40, 41])
def test_the_replay_cache_keeps_seven_eighths_of_what_it_may(most: int) -> None:
    """What comes last, and never more than it may."""
    cache = ReplayCache(most=most)
    for number in range(100):
        cache.accept(signature_of(number), now=THEN, window_ms=WINDOW_MS)
        assert sum(len(part.seen) for part in cache._parts) <= most
    for number in range(100 - most * 7 // 8, 100):
        with pytest.raises(NotAuthenticated):
            cache.accept(signature_of(number), now=THEN, window_ms=WINDOW_MS)


def test_the_replay_cache_lets_go_of_what_is_over() -> None:
    """After so long it is no larger than what came in that time and an eighth of it."""
    cache, start = ReplayCache(), THEN.timestamp()
    for number in range(4000):
        cache.accept(signature_of(number), now=datetime.fromtimestamp(start + number, UTC), window_ms=WINDOW_MS)
    assert 1800 <= sum(len(part.seen) for part in cache._parts) <= 1800 + 1800 // 8 + 2
    with pytest.raises(NotAuthenticated):
        cache.accept(signature_of(2200), now=datetime.fromtimestamp(start + 4000, UTC), window_ms=WINDOW_MS)


def test_a_clock_that_is_set_back_opens_the_replay_cache_to_nobody() -> None:
    """What was used stays used, by either clock."""
    cache, start = ReplayCache(), THEN.timestamp()
    for number, at in enumerate((0, 500, 100, 1900, 1000)):
        cache.accept(signature_of(number), now=datetime.fromtimestamp(start + at, UTC), window_ms=WINDOW_MS)
    for number in (1, 3, 4):
        with pytest.raises(NotAuthenticated):
            cache.accept(signature_of(number), now=datetime.fromtimestamp(start + 1900, UTC), window_ms=WINDOW_MS)


def test_the_reason_of_a_refusal_is_in_the_log(caplog: pytest.LogCaptureFixture, host: Host) -> None:
    """The agent does not get it."""
    with caplog.at_level("INFO", logger="backfleet.endpoints.agents.signed"):
        headers = Host(host.server, key(1), host.instance_id).signed()
        host.server.ask("POST", "/luban/api/v1/task/list", headers=headers)
    assert [record.__dict__["reason"] for record in caplog.records] == ["the signature is not that of its key"]
