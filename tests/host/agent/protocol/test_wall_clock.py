"""A clock that is off is named as the cause, with both times and what to do: at enrolment and in the agent's log."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.agent.protocol import heartbeat
from backfleet_host.agent.protocol.address import read_address
from backfleet_host.agent.protocol.heartbeat import HeartbeatLoop
from backfleet_host.agent.protocol.server import Server, WrongClock, advice_on, tls_towards
from backfleet_host.agent.protocol.wall_clock import clock_trouble, server_time
from backfleet_host.agent.setup.enrolment import CannotEnrol, EnrolmentOptions, enrol
from backfleet_host.agent.timings import Timings
from backfleet_host.layout import Places
from host.agent.gateway import CODE, Gateway

HERE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def ends() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def do_enrol(gateway: Gateway, folder: Path) -> list[str]:
    """Enrol a host; return what was printed."""
    printed: list[str] = []
    asked = EnrolmentOptions(read_address(gateway.address), gateway.ca, "act-1", CODE)
    enrol(Places(folder / "root"), asked, mode="restricted", now=datetime.now(UTC), progress=printed.append)
    return printed


@pytest.mark.parametrize(
    ("ahead", "certified"),
    [
        pytest.param(timedelta(days=30), timedelta(days=30), id="a host that is a month behind"),
        pytest.param(timedelta(days=-3000), timedelta(days=-3000), id="a host that is years ahead"),
    ],
)
def test_a_host_whose_clock_is_far_off_is_told_so_when_it_enrols(
    ends: ExitStack, tmp_path: Path, ahead: timedelta, certified: timedelta
) -> None:
    """The certificate is not valid by its clock; neither it nor --ca is to blame."""
    gateway = ends.enter_context(Gateway(tmp_path / "server", ahead=ahead, certified=certified))
    with pytest.raises(CannotEnrol) as caught:
        do_enrol(gateway, tmp_path)
    text = str(caught.value)
    assert f"this host's shows {datetime.now(UTC):%Y-%m-%d}" in text
    assert f"the server's {datetime.now(UTC) + ahead:%Y-%m-%d}" in text
    assert "timedatectl" in text
    assert "--ca" not in text
    assert gateway.registered == {}


def test_a_certificate_that_has_expired_is_not_blamed_on_the_clock(ends: ExitStack, tmp_path: Path) -> None:
    """Both show the same time."""
    gateway = ends.enter_context(Gateway(tmp_path / "server", certified=timedelta(days=-500)))
    with pytest.raises(CannotEnrol, match=r"the clocks agree.*restart `backfleet serve`"):
        do_enrol(gateway, tmp_path)


@pytest.mark.parametrize(("hours", "is_named"), [(2, True), (-2, True), (0, False)])
def test_a_host_whose_clock_is_hours_off_enrols_and_is_told(
    ends: ExitStack, tmp_path: Path, hours: int, is_named: bool
) -> None:
    """Enrolment takes any clock; what is signed for a time does not."""
    gateway = ends.enter_context(Gateway(tmp_path / "server", ahead=timedelta(hours=hours)))
    printed = do_enrol(gateway, tmp_path)
    assert any("the clocks differ: this host's shows" in line for line in printed) is is_named


def test_the_agent_logs_once_that_its_clock_is_off(
    ends: ExitStack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not each minute."""
    gateway = ends.enter_context(Gateway(tmp_path / "server", ahead=timedelta(hours=2)))
    server = Server(read_address(gateway.address), tls_towards(gateway.ca))
    ends.callback(server.close)
    facts = heartbeat.facts_of_this_process("m" * 32, is_cold_start=False, mode="restricted")
    loop = HeartbeatLoop(server, facts, Timings(), on_first=lambda: None)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            loop._try()
    assert sum(record.getMessage().startswith("the clocks differ") for record in caplog.records) == 1
    assert "this host's shows" in advice_on(401, server.clock_trouble)


def test_an_agent_whose_clock_is_far_off_says_so_instead_of_blaming_the_server(ends: ExitStack, tmp_path: Path) -> None:
    """At each request."""
    off = timedelta(days=30)
    gateway = ends.enter_context(Gateway(tmp_path / "server", ahead=off, certified=off))
    server = Server(read_address(gateway.address), tls_towards(gateway.ca))
    ends.callback(server.close)
    with pytest.raises(WrongClock, match="the clocks differ"):
        server.get("/luban/api/heart-beat")


@pytest.mark.parametrize(
    ("header", "named"),
    [
        pytest.param("Fri, 02 Jan 2026 03:04:05 GMT", "", id="the same time"),
        pytest.param("Fri, 02 Jan 2026 03:05:00 GMT", "", id="nearly the same"),
        pytest.param("Fri, 02 Jan 2026 05:04:05 GMT", "the server's 2026-01-02 05:04:05 UTC", id="two hours"),
        pytest.param("Thu, 01 Jan 1970 00:00:00 GMT", "the server's 1970-01-01 00:00:00 UTC", id="the epoch"),
        pytest.param("", "", id="none"),
        pytest.param("yesterday", "", id="no date"),
        pytest.param("Fri, 99 Jan 2026 03:04:05 GMT", "", id="no such day"),
    ],
)
def test_clocks_that_are_apart_are_named(header: str, named: Any) -> None:
    text = clock_trouble(HERE, server_time(header))
    assert (named in text) if named else (text == "")
