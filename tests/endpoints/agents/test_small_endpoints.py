"""Heart-beats, and what the official agent asks besides: each has its one right answer."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import pytest
import sqlalchemy as sa

from backfleet.endpoints.agents import heartbeats
from backfleet.endpoints.agents.heartbeats import Batch, PendingHeartbeats
from backfleet.fleet import Heartbeat
from backfleet.storage import Database
from endpoints.agents.hosts import VERSION, AgentServer, Host, eventually

FIRST_HEARTBEAT: Final = {
    "uptime": 2029000,
    "timestamp": 1795422101126,
    "pid": 591,
    "process_uptime": 5100,
    "index": 0,
    "seq_no": 0,
    "virt_type": "kvm",
    "os_version": "Linux_#1 SMP PREEMPT_DYNAMIC @0_x86_64",
    "az": "unknown",
    "machineid": "m",
    "cold_start": "true",
}

# The protocol page's table of minimal good answers, and what it says of the wrong ones.
BENIGN: Final[dict[str, Any]] = {
    "/api/metrics": {},
    "/api/v1/exception/client_report": {},
    "/api/v1/update/update_check": {"need_update": 0},
    "/api/v1/plugin/report_status": {"code": 200, "scanInterval": 900, "pullInterval": 300, "reportType": 0},
    "/api/v2/plugin/update_check": {"nextInterval": 1800, "plugin": []},
    "/api/v1/plugin/list": {"code": 200, "pluginList": []},
    "/api/v1/session/list": {"code": 200, "session": []},
    "/api/v1/session/status": {},
    "/api/gshell": {"gshellSupport": "false"},
}


@pytest.mark.parametrize("path", BENIGN)
@pytest.mark.parametrize("prefix", ["", "/t/abc123"])
def test_constant_answers(shared_host: Host, path: str, prefix: str) -> None:
    """Signed or not, whatever the body."""
    sent = b'{"type":"self_kill","info":"mem=1"}'
    answer = shared_host.server.ask("POST", f"{prefix}/luban{path}", sent, shared_host.signed())
    assert (answer.status, answer.json) == (200, BENIGN[path])
    assert shared_host.server.ask("POST", f"{prefix}/luban{path}", b"\xff not JSON").json == BENIGN[path]


@pytest.mark.parametrize(
    "name", ["list_instance_state_configurations", "get_template", "put_inventory", "put_instance_state_report"]
)
def test_hosts_that_are_not_enrolled_store_nothing(shared_host: Host, name: str) -> None:
    """They get the answer after which they ask least often."""
    answer = shared_host.server.ask("POST", f"/luban/api/instance/{name}", b"{}")
    assert (answer.status, answer.json) == (200, {"errCode": "ServiceNotSupported", "errMsg": "no"})


@pytest.mark.parametrize("path", ["/api/metrics", "/api/v1/exception/client_report", "/api/instance/put_inventory"])
def test_ignored_bodies_have_a_limit(shared_host: Host, path: str) -> None:
    """Nobody can make the server read without end."""
    assert shared_host.server.ask("POST", f"/luban{path}", b"x" * ((1 << 20) + 1)).status == 413


def test_probes_of_the_address(shared_host: Host) -> None:
    """The exact text, and the region."""
    assert shared_host.server.ask("GET", "/luban/api/connection_detect").body == b"ok"
    assert shared_host.server.ask("GET", "/luban/api/classic/region-id").body == b"cn-hangzhou"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/luban", 404),
        ("GET", "/luban/", 404),
        ("POST", "/luban/api/v1/task/unheard-of", 404),
        ("POST", "/luban/api/v9/task/list", 404),
        ("POST", "/LUBAN/api/v1/task/list", 404),
        ("POST", "/lubanx/api/v1/task/list", 404),
        ("POST", "/api/v1/task/list", 404),
        ("GET", "/luban/session/backend?channelId=s-1", 404),
        ("GET", "/luban/api/v1/task/list", 405),
        ("POST", "/luban/api/heart-beat", 405),
    ],
)
def test_unknown_addresses_are_not_found(shared_host: Host, method: str, path: str, status: int) -> None:
    """Also for signed requests."""
    assert shared_host.server.ask(method, path, headers=shared_host.signed()).status == status


# --- Heart-beats ----------------------------------------------------------------------------------------------------


def test_a_heartbeat_is_answered_with_its_period(shared_host: Host) -> None:
    """A number of milliseconds that the agent accepts."""
    answer = shared_host.heartbeat(**FIRST_HEARTBEAT)
    assert (answer.status, answer.body) == (200, b'{"nextInterval": 60000}')


def test_an_agent_that_is_not_enrolled_sends_heartbeats_too(server: AgentServer) -> None:
    """It is answered, and nothing is stored."""
    assert server.ask("GET", "/luban/api/heart-beat?index=0").json == {"nextInterval": 60000}
    assert server.count() == 0


@pytest.fixture
def quick(sqlite_database: Database, start_on: Callable[..., AgentServer], monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host at an endpoint that writes heartbeats at once, ten minutes after it enrolled."""
    monkeypatch.setattr(heartbeats, "WRITE_EVERY_SECONDS", 0.05)
    found = start_on(sqlite_database).enrol()
    found.server.clock.advance(minutes=10)
    return found


def seen(host: Host) -> tuple[Any, ...]:
    found = host.server.instance(host)
    assert found is not None
    return (found.last_heard_at, found.agent_version, found.agent_mode, found.clock_skew_ms)


@pytest.mark.parametrize("mode", ["restricted", "shell"])
def test_a_heartbeat_is_stored(quick: Host, mode: str) -> None:
    """With its time, the agent's version and mode, and how wrong the host's clock is."""
    headers = quick.signed(skew_ms=-2500) | {"User-Agent": "linux_amd64/backfleet-0.2.0"}
    assert quick.server.ask("GET", f"/luban/api/heart-beat?mode={mode}", headers=headers).status == 200
    eventually(lambda: seen(quick) == (quick.server.clock.now, "backfleet-0.2.0", mode, -2500))


def reachable_at(host: Host) -> Any:
    found = host.server.instance(host)
    assert found is not None
    return found.reachable_at


def test_only_a_socket_or_a_task_list_makes_an_agent_reachable(quick: Host) -> None:
    """A heartbeat and a report say that the machine lives, not that it can be told of work."""
    quick.server.clock.advance(minutes=10)
    quick.heartbeat(process_uptime=60_000)
    quick.report("running?taskId=t-1&invokeVersion=0&start=1")
    eventually(lambda: seen(quick)[0] == quick.server.clock.now)
    assert reachable_at(quick) is None
    quick.tasks()
    eventually(lambda: reachable_at(quick) == quick.server.clock.now)
    quick.server.clock.advance(minutes=1)
    channel = quick.connect()
    eventually(lambda: reachable_at(quick) == quick.server.clock.now)
    quick.server.clock.advance(minutes=1)
    channel.ping("keepalive")
    eventually(lambda: reachable_at(quick) == quick.server.clock.now)
    channel.drop()


def test_a_heartbeat_reports_when_its_agent_started(quick: Host) -> None:
    """By the server's clock: from the age of the process. An odd age changes nothing."""

    def started_at() -> Any:
        found = quick.server.instance(quick)
        assert found is not None
        return found.agent_started_at

    quick.heartbeat(process_uptime=90_000)
    at = quick.server.clock.now - timedelta(seconds=90)
    eventually(lambda: started_at() == at)
    for odd in ("old", "", "9" * 30):
        quick.server.clock.advance(seconds=1)
        quick.heartbeat(process_uptime=odd)
        eventually(lambda: seen(quick)[0] == quick.server.clock.now)
        assert started_at() == at


def test_a_heartbeat_reports_the_time_zone_of_its_host(quick: Host) -> None:
    """The newest counts; what is no name, and a heartbeat without one, change nothing."""

    def zone() -> str:
        found = quick.server.instance(quick)
        assert found is not None
        return found.time_zone

    assert zone() == ""
    quick.heartbeat(zone="Asia/Tokyo")
    quick.heartbeat(zone="Europe/Berlin")
    eventually(lambda: zone() == "Europe/Berlin")
    for odd in ("", "../../etc/passwd", "a/" * 40 + "a", "Europe/Ber lin"):
        quick.server.clock.advance(seconds=1)
        quick.heartbeat(zone=odd)
        eventually(lambda: seen(quick)[0] == quick.server.clock.now)
        assert zone() == "Europe/Berlin"


def test_every_request_counts_as_a_heartbeat(quick: Host) -> None:
    """Unless it is refused."""
    enrolled = seen(quick)
    quick.server.ask("POST", "/luban/api/v1/task/list", headers=quick.signed() | {"X-Acs-Signature": "AAAA"})
    quick.server.ask("POST", "/luban/api/metrics", headers=quick.signed())
    other = quick.server.enrol(1)
    other.tasks()
    eventually(lambda: seen(other)[3] is not None)
    assert seen(quick) == enrolled
    quick.tasks()
    eventually(lambda: seen(quick)[0] == quick.server.clock.now)


@pytest.mark.parametrize(
    ("agent", "mode"),
    [
        pytest.param("linux_amd64/\xff\xfe", "", id="odd bytes"),
        pytest.param("linux_amd64/" + "9" * 1000, "x" * 1000, id="too long"),
        pytest.param("curl/8.0", "root", id="another program"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_odd_values_of_one_do_not_lose_the_others_heartbeats(quick: Host, agent: str, mode: str) -> None:
    """Heartbeats are written together: one that cannot be written must not take the others along."""
    other = quick.server.enrol(1)
    headers = quick.signed() | {"User-Agent": agent}
    assert quick.server.ask("GET", f"/luban/api/heart-beat?mode={mode}", headers=headers).status == 200
    other.tasks()
    for each in (quick, other):
        eventually(lambda each=each: seen(each)[0] == each.server.clock.now and seen(each)[3] == 0)
    assert seen(quick)[1] in (VERSION, "9" * 64)
    assert seen(quick)[2] == ""


def test_heartbeats_are_written_when_the_node_stops(server: AgentServer, host: Host) -> None:
    """None is lost."""
    server.clock.advance(minutes=10)
    host.heartbeat(mode="shell")
    server.drain()
    assert seen(host)[:3] == (server.clock.now, VERSION, "shell")


def test_heartbeats_survive_a_failing_database(quick: Host, caplog: pytest.LogCaptureFixture) -> None:
    """They are kept, and written when it works again."""
    database, channel = quick.server.database, quick.connect()
    quick.heartbeat(mode="shell")
    with database.transaction() as tx:
        tx.run(sa.text("ALTER TABLE instances RENAME TO away"))
    quick.server.clock.advance(minutes=1)
    channel.ping("keepalive")
    eventually(lambda: "beats could not be written" in caplog.text)
    with database.transaction() as tx:
        tx.run(sa.text("ALTER TABLE away RENAME TO instances"))
    eventually(lambda: seen(quick) == (quick.server.clock.now, VERSION, "shell", 0))
    channel.drop()


def test_heartbeats_are_gathered(now: Any) -> None:
    """One for each instance; facts of an older one are kept, also of one that could not be written."""
    pending = PendingHeartbeats()
    kept: Any = {"reachable_at": now, "agent_started_at": now}
    pending.add(Heartbeat("mi-1", now, "1.0", "shell", 5, reachable_at=now, agent_started_at=now))
    pending.add(Heartbeat("mi-1", now, clock_skew_ms=0))
    pending.add(Heartbeat("mi-2", now))
    pending.remember_request(7, now)
    taken = pending.take()
    assert taken == Batch([Heartbeat("mi-1", now, "1.0", "shell", 0, **kept), Heartbeat("mi-2", now)], [(7, now)])
    assert pending.take() == Batch([], [])
    pending.add(Heartbeat("mi-1", now, "2.0"))
    pending.put_back(taken)
    assert pending.take() == Batch(
        [Heartbeat("mi-1", now, "2.0", "shell", 0, **kept), Heartbeat("mi-2", now)], [(7, now)]
    )


def test_a_host_that_reported_its_shutdown_is_back_at_its_next_request(quick: Host) -> None:
    """A request that it made just before the report does not count."""

    def stopped_at() -> Any:
        found = quick.server.instance(quick)
        assert found is not None
        return found.stopped_at

    quick.heartbeat()
    quick.heartbeat(mode="shell", state="stopping")
    eventually(lambda: stopped_at() == quick.server.clock.now)
    assert seen(quick)[2] == "shell"
    quick.heartbeat()
    eventually(lambda: stopped_at() is None)
