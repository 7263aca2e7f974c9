"""The parameters of heartbeats, and the answers to them."""

from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from backfleet_host.agent import machine
from backfleet_host.agent.protocol import heartbeat
from backfleet_host.agent.protocol.heartbeat import AgentFacts, Counters, read_answer
from backfleet_host.agent.protocol.server import Answer


def query(counters: Counters) -> dict[str, str]:
    pulse = AgentFacts(591, 0.0, "machine", is_cold_start=True, mode="restricted")
    return dict(parse_qsl(heartbeat.heartbeat_query(pulse, counters, now_ms=5, uptime_ms=2000, process_ms=3)))


def test_the_parameters_of_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """More until one is acknowledged, all when asked for, the mode and the time zone always."""
    monkeypatch.setattr(machine, "time_zone", lambda: "Asia/Tokyo")
    short = {"uptime": "2000", "timestamp": "5", "pid": "591", "process_uptime": "3", "mode": "restricted"}
    short["zone"] = "Asia/Tokyo"
    first = query(Counters())
    assert (
        first.items() >= (short | {"index": "0", "seq_no": "0", "machineid": "machine", "cold_start": "true"}).items()
    )
    assert query(Counters(2, 1)) == short | {"index": "1", "seq_no": "2"}
    assert {"lang", "os_type", "app_version", "az"} <= set(query(Counters(2, 1, wants_all=True)))
    assert "machineid" not in query(Counters(wants_all=True))
    monkeypatch.setattr(machine, "time_zone", lambda: "")
    assert "zone" not in query(Counters()), "a machine may have none"


def test_a_heartbeat_names_its_process_and_the_boot_of_its_machine() -> None:
    """So that two hosts with one identity, and one machine id, are told apart."""
    facts = heartbeat.facts_of_this_process("machine", is_cold_start=True, mode="restricted")
    found = dict(parse_qsl(heartbeat.heartbeat_query(facts, Counters(), now_ms=5, uptime_ms=2000, process_ms=3)))
    headers = heartbeat.process_headers(facts)
    assert found["boot"] == headers["X-Backfleet-Boot"] == machine.boot_id() != ""
    assert found["run"] == headers["X-Backfleet-Run"] == facts.run


def test_the_time_zone_is_known_by_its_name(tmp_path: Path) -> None:
    """By the link that timedatectl makes, or by the file with the name; anything else is no zone."""
    link, named = tmp_path / "localtime", tmp_path / "timezone"
    assert machine.time_zone(link, named) == ""
    named.write_text("America/New_York\n")
    assert machine.time_zone(link, named) == "America/New_York"
    link.symlink_to("../usr/share/zoneinfo/America/Argentina/Buenos_Aires")
    assert machine.time_zone(link, named) == "America/Argentina/Buenos_Aires"
    link.unlink()
    link.symlink_to("/etc/local")
    named.write_bytes(b"\xff\n")
    assert machine.time_zone(link, named) == ""
    named.write_text("../etc/passwd")
    assert machine.time_zone(link, named) == ""


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
def test_answers_to_heartbeats_are_read(status: int, body: bytes, expected: tuple[bool, bool, float]) -> None:
    """Acknowledged or not, all parameters or not, seconds until the next."""
    assert read_answer(Answer(status, body)) == expected
