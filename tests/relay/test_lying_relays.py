"""A relay that lies or fails is refused by every host with its code, and the server is asked instead."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backfleet_host.upgrader.release import retrieval
from host.upgrader.fake_repository import FakeRepository, Server, begin_answer, served
from relay.conftest import SIZE, Site, carry

NOBODY = "http://127.0.0.1:9"  # the discard port, where nobody listens


def wrong_bytes(site: Site, liar: Server) -> None:
    for path in list(liar.files):
        if path.startswith("targets/"):
            liar.files[path] = bytes(len(liar.files[path]))


def endless_bytes(site: Site, liar: Server) -> None:
    def answer(handler: Any, path: str) -> bool:
        if not path.startswith("targets/"):
            return False
        handler.send_response(200)
        handler.end_headers()
        for _ in range(1000):
            handler.wfile.write(bytes(100_000))
        return True

    liar.misbehave = answer


def cut_bytes(site: Site, liar: Server) -> None:
    def answer(handler: Any, path: str) -> bool:
        if not path.startswith("targets/"):
            return False
        begin_answer(handler, 0, len(liar.files[path]))
        handler.wfile.write(liar.files[path][:1000])
        return True

    liar.misbehave = answer


def signatures_of_others(site: Site, liar: Server) -> None:
    others = FakeRepository()
    others.add("1.0", padding=SIZE)
    liar.files.update(others.files)


def old_timestamp(site: Site, liar: Server) -> None:
    site.offering.timestamp.expires = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    site.offering.publish_timestamp()
    liar.files["metadata/timestamp.json"] = site.offering.files["metadata/timestamp.json"]
    site.offering.timestamp.expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=7)
    site.offering.publish_timestamp()


def nothing_at_all(site: Site, liar: Server) -> None:
    liar.files.clear()


def errors(site: Site, liar: Server) -> None:
    def answer(handler: Any, path: str) -> bool:
        handler.send_error(500)
        return True

    liar.misbehave = answer


def a_way_elsewhere(site: Site, liar: Server) -> None:
    def answer(handler: Any, path: str) -> bool:
        handler.send_response(302)
        handler.send_header("Location", "http://127.0.0.1:9/")
        handler.end_headers()
        return True

    liar.misbehave = answer


LIES: dict[Callable[[Site, Server], None], tuple[str, str]] = {
    wrong_bytes: ("UntrustedRelease", "WrongBytes"),
    endless_bytes: ("UntrustedRelease", "TooLong"),
    cut_bytes: ("DownloadFailed", "NotReachable"),
    signatures_of_others: ("UntrustedRelease", "WrongSignature"),
    old_timestamp: ("UntrustedRelease", "Expired"),
    nothing_at_all: ("DownloadFailed", "NotServed"),
    errors: ("DownloadFailed", "NotServed"),
    a_way_elsewhere: ("DownloadFailed", "NotServed"),
}


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_a_relay_that_lies_is_refused_and_the_server_is_asked(site: Site, lie: Callable[[Site, Server], None]) -> None:
    with served(dict(site.offering.files)) as liar:
        lie(site, liar)
        report = carry(site.host("one", relays=[liar.address]))
    assert report.outcome == "succeeded", report.message
    failed = report.details["relays_failed"][liar.address]
    assert (failed["code"], failed["reason"]) == LIES[lie]


@pytest.mark.parametrize("lie", [wrong_bytes, signatures_of_others, old_timestamp], ids=lambda lie: lie.__name__)
def test_without_the_server_nothing_is_installed(site: Site, lie: Callable[[Site, Server], None]) -> None:
    with served(dict(site.offering.files)) as liar:
        lie(site, liar)
        host = site.host("one", relays=[liar.address], server=NOBODY)
        report = carry(host, seconds=3)
    assert (report.outcome, report.code) == ("failed", "DownloadFailed")
    assert report.details["relays_failed"][liar.address]["reason"] == LIES[lie][1]
    assert not (host.bin / "courier").exists()


def test_a_relay_that_is_not_there_costs_moments(site: Site) -> None:
    report = carry(site.host("one", relays=[NOBODY]))
    assert report.outcome == "succeeded"
    assert report.details["relays_failed"][NOBODY]["reason"] == "NotReachable"


def test_a_relay_that_falls_silent_is_left(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "READ_SECONDS", 1.5)

    def answer(handler: Any, path: str) -> bool:
        begin_answer(handler, 0, 1000)
        handler.wfile.flush()
        handler.connection.settimeout(20)
        handler.connection.recv(1)
        return True

    with served(dict(site.offering.files)) as silent:
        silent.misbehave = answer
        report = carry(site.host("one", relays=[silent.address]), seconds=60)
    assert report.outcome == "succeeded", report.message
    assert report.details["relays_failed"][silent.address]["code"] == "DownloadFailed"


def test_the_second_relay_is_asked_where_the_first_fails(site: Site) -> None:
    with served(dict(site.offering.files)) as first, served(dict(site.offering.files)) as second:
        errors(site, first)
        report = carry(site.host("one", relays=[first.address, second.address], server=NOBODY))
    assert report.outcome == "succeeded"
    assert list(report.details["relays_failed"]) == [first.address]


@pytest.mark.parametrize(
    ("relays", "words"),
    [
        (["http://user:geheim@relay"], "relays takes addresses as http://HOST:PORT"),
        (["ftp://relay"], "relays takes addresses as http://HOST:PORT"),
        ([f"http://relay-{number}" for number in range(5)], "relays has 5 addresses; at most 4 are allowed"),
    ],
)
def test_relays_that_cannot_be_used_stop_the_order(site: Site, relays: list[str], words: str) -> None:
    report = carry(site.host("one", relays=relays))
    assert (report.outcome, report.code) == ("failed", "InternalError")
    assert words in report.message
    assert "geheim" not in report.message
