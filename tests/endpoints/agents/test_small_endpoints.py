"""Heart-beats, and what the official agent asks besides: each has its one right answer."""

from collections.abc import Callable
from typing import Any, Final

import pytest
import sqlalchemy as sa

from backfleet.endpoints.agents import heartbeats
from backfleet.endpoints.agents.heartbeats import Batch, Beats
from backfleet.fleet import Heartbeat
from backfleet.storage import Database
from endpoints.agents.hosts import VERSION, Gate, Host, eventually

FIRST_BEAT: Final = {
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
def test_what_the_agent_asks_besides(standing: Host, path: str, prefix: str) -> None:
    """Signed or not, whatever the body."""
    said = b'{"type":"self_kill","info":"mem=1"}'
    answer = standing.gate.ask("POST", f"{prefix}/luban{path}", said, standing.signed())
    assert (answer.status, answer.json) == (200, BENIGN[path])
    assert standing.gate.ask("POST", f"{prefix}/luban{path}", b"\xff not JSON").json == BENIGN[path]


@pytest.mark.parametrize(
    "name", ["list_instance_state_configurations", "get_template", "put_inventory", "put_instance_state_report"]
)
def test_hosts_that_are_not_enrolled_tell_us_nothing(standing: Host, name: str) -> None:
    """They get the quietest answer there is."""
    answer = standing.gate.ask("POST", f"/luban/api/instance/{name}", b"{}")
    assert (answer.status, answer.json) == (200, {"errCode": "ServiceNotSupported", "errMsg": "no"})


@pytest.mark.parametrize("path", ["/api/metrics", "/api/v1/exception/client_report", "/api/instance/put_inventory"])
def test_the_sinks_have_a_limit(standing: Host, path: str) -> None:
    """Strangers cannot make us read without end."""
    assert standing.gate.ask("POST", f"/luban{path}", b"x" * ((1 << 20) + 1)).status == 413


def test_probes_of_the_address(standing: Host) -> None:
    """The exact text, and the region."""
    assert standing.gate.ask("GET", "/luban/api/connection_detect").body == b"ok"
    assert standing.gate.ask("GET", "/luban/api/classic/region-id").body == b"cn-hangzhou"


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
def test_other_addresses_are_nothing(standing: Host, method: str, path: str, status: int) -> None:
    """Also for those who sign."""
    assert standing.gate.ask(method, path, headers=standing.signed()).status == status


# --- Heart-beats ----------------------------------------------------------------------------------------------------


def test_a_heart_beat_is_answered_with_its_period(standing: Host) -> None:
    """A number of milliseconds that the agent honours."""
    answer = standing.beat(**FIRST_BEAT)
    assert (answer.status, answer.body) == (200, b'{"nextInterval": 60000}')


def test_an_agent_that_is_not_enrolled_beats_too(gate: Gate) -> None:
    """It is answered, and nothing is noted."""
    assert gate.ask("GET", "/luban/api/heart-beat?index=0").json == {"nextInterval": 60000}
    assert gate.count() == 0


@pytest.fixture
def quick(open_on: Callable[..., Gate], sqlite_database: Database, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host at a door that writes signs of life at once, and ten minutes have passed since it enrolled."""
    monkeypatch.setattr(heartbeats, "WRITE_EVERY_SECONDS", 0.05)
    found = open_on(sqlite_database).enrol()
    found.gate.clock.pass_by(minutes=10)
    return found


def told(host: Host) -> tuple[Any, ...]:
    found = host.gate.instance(host)
    assert found is not None
    return (found.last_heard_at, found.agent_version, found.agent_mode, found.clock_skew_ms)


@pytest.mark.parametrize("mode", ["restricted", "shell"])
def test_a_heart_beat_is_a_sign_of_life(quick: Host, mode: str) -> None:
    """When, which agent, what it may do, and how wrong its clock is."""
    headers = quick.signed(skew_ms=-2500) | {"User-Agent": "linux_amd64/backfleet-0.2.0"}
    assert quick.gate.ask("GET", f"/luban/api/heart-beat?mode={mode}", headers=headers).status == 200
    eventually(lambda: told(quick) == (quick.gate.clock.now, "backfleet-0.2.0", mode, -2500))


def test_every_request_is_a_sign_of_life(quick: Host) -> None:
    """Not only heart-beats; but none that is refused."""
    enrolled = told(quick)
    quick.gate.ask("POST", "/luban/api/v1/task/list", headers=quick.signed() | {"X-Acs-Signature": "AAAA"})
    quick.gate.ask("POST", "/luban/api/metrics", headers=quick.signed())
    other = quick.gate.enrol(1)
    other.tasks()
    eventually(lambda: told(other)[3] is not None)
    assert told(quick) == enrolled
    quick.tasks()
    eventually(lambda: told(quick)[0] == quick.gate.clock.now)


@pytest.mark.parametrize(
    ("agent", "mode"),
    [
        pytest.param("linux_amd64/\xff\xfe", "", id="odd bytes"),
        pytest.param("linux_amd64/" + "9" * 1000, "x" * 1000, id="too long"),
        pytest.param("curl/8.0", "root", id="another program"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_odd_words_of_one_do_not_silence_the_others(quick: Host, agent: str, mode: str) -> None:
    """Signs of life are written together: one that could not be would take all along."""
    other = quick.gate.enrol(1)
    headers = quick.signed() | {"User-Agent": agent}
    assert quick.gate.ask("GET", f"/luban/api/heart-beat?mode={mode}", headers=headers).status == 200
    other.tasks()
    for each in (quick, other):
        eventually(lambda each=each: told(each)[0] == each.gate.clock.now and told(each)[3] == 0)
    assert told(quick)[1] in (VERSION, "9" * 64)
    assert told(quick)[2] == ""


def test_what_was_heard_is_written_at_the_end(gate: Gate, host: Host) -> None:
    """A node that stops takes nothing along."""
    gate.clock.pass_by(minutes=10)
    host.beat(mode="shell")
    gate.drain()
    assert told(host)[:3] == (gate.clock.now, VERSION, "shell")


def test_signs_of_life_outlive_a_failing_database(quick: Host, caplog: pytest.LogCaptureFixture) -> None:
    """They are kept, and written when it is back."""
    database, channel = quick.gate.database, quick.connect()
    quick.beat(mode="shell")
    with database.transaction() as tx:
        tx.run(sa.text("ALTER TABLE instances RENAME TO away"))
    quick.gate.clock.pass_by(minutes=1)
    channel.ping("keepalive")
    eventually(lambda: "beats could not be written" in caplog.text)
    with database.transaction() as tx:
        tx.run(sa.text("ALTER TABLE away RENAME TO instances"))
    eventually(lambda: told(quick) == (quick.gate.clock.now, VERSION, "shell", 0))
    channel.drop()


def test_beats_are_gathered(now: Any) -> None:
    """One per instance; what an older one told is kept, also of one that could not be written."""
    heard = Beats()
    heard.add(Heartbeat("mi-1", now, "1.0", "shell", 5))
    heard.add(Heartbeat("mi-1", now, clock_skew_ms=0))
    heard.add(Heartbeat("mi-2", now))
    heard.use(7, now)
    taken = heard.take()
    assert taken == Batch([Heartbeat("mi-1", now, "1.0", "shell", 0), Heartbeat("mi-2", now)], [(7, now)])
    assert heard.take() == Batch([], [])
    heard.add(Heartbeat("mi-1", now, "2.0"))
    heard.put_back(taken)
    assert heard.take() == Batch([Heartbeat("mi-1", now, "2.0", "shell", 0), Heartbeat("mi-2", now)], [(7, now)])


def test_a_host_that_said_it_stops_is_back_when_it_is_heard(quick: Host) -> None:
    """Whoever is heard runs; a request that it made just before it said so does not count as heard since."""

    def stopped_at() -> Any:
        found = quick.gate.instance(quick)
        assert found is not None
        return found.stopped_at

    quick.beat()
    quick.beat(mode="shell", state="stopping")
    eventually(lambda: stopped_at() == quick.gate.clock.now)
    assert told(quick)[2] == "shell"
    quick.beat()
    eventually(lambda: stopped_at() is None)
