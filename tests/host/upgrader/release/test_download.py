"""Downloads: resumed, rate-limited, through a proxy, and never twice."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backfleet.certificates import prepare_certificates
from backfleet_host.contract import Order, Report
from backfleet_host.platforms import platform_here
from backfleet_host.retries import backoff_seconds
from backfleet_host.upgrader import Installation, carry_out_on, disk
from backfleet_host.upgrader.release import repository
from host.proxying import Proxy, proxying
from host.upgrader.fake_repository import PACKAGE, FakeRepository, Server, begin_answer, served

SIZE = 300_000


@pytest.fixture
def offering(monkeypatch: pytest.MonkeyPatch) -> FakeRepository:
    monkeypatch.setattr(repository, "FIRST_PAUSE_SECONDS", 0.005)
    offering = FakeRepository()
    offering.add("1.0", padding=SIZE)
    return offering


@pytest.fixture
def server(offering: FakeRepository) -> Iterator[Server]:
    with served(offering.files) as server:
        yield server


@pytest.fixture
def installation(tmp_path: Path, offering: FakeRepository, server: Server) -> Installation:
    return Installation(
        tmp_path / "host", tmp_path / "host" / "bin", f"{server.address}/downloads", None, offering.trust_root
    )


def install(installation: Installation, **more: Any) -> Report:
    order = Order(
        f"u-{time.monotonic_ns()}", "install", PACKAGE, "1.0", platform_here(), **{"timeout_seconds": 30, **more}
    )
    return carry_out_on(installation, order, lambda line: None)


def artifact_ranges(server: Server) -> list[str]:
    return [asked for path, asked in server.asked if path.startswith("targets/")]


def breaking_off(server: Server, after: int, times: int) -> Callable[[Any, str], bool]:
    """Let the first so many downloads of the artifact break off after so many bytes."""
    left = [times]

    def misbehave(handler: Any, path: str) -> bool:
        if not path.startswith("targets/") or not left[0]:
            return False
        left[0] -= 1
        content = server.files[path]
        asked = handler.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        begin_answer(handler, start, len(content))
        handler.wfile.write(content[start : start + after])
        handler.wfile.flush()
        handler.connection.shutdown(2)
        return True

    server.misbehave = misbehave
    return misbehave


def install_in_vain(installation: Installation, server: Server) -> Report:
    """An order that runs out of time after 100,000 bytes; then the server serves again."""
    breaks = breaking_off(server, after=20_000, times=5)
    server.misbehave = lambda handler, path: (
        breaks(handler, path) or (path.startswith("targets/") and busy_for(handler, 3600))
    )
    report = install(installation, timeout_seconds=2)
    server.misbehave = lambda handler, path: False
    return report


def test_a_download_resumes_where_it_broke_off(installation: Installation, server: Server) -> None:
    """After three breaks every byte came once."""
    breaking_off(server, after=100_000, times=2)
    assert install(installation).outcome == "succeeded"
    ranges = artifact_ranges(server)
    assert ranges == ["", "bytes=100000-", "bytes=200000-"]


def test_f73_a_later_order_resumes_the_download(installation: Installation, server: Server) -> None:
    """An order that ran out of time keeps what came; the next one requests only the rest."""
    breaking_off(server, after=20_000, times=5)
    breaks = server.misbehave
    server.misbehave = lambda handler, path: (
        breaks(handler, path) or (path.startswith("targets/") and busy_for(handler, 3600))
    )
    assert install(installation, timeout_seconds=2).code == "DownloadFailed"
    server.misbehave = breaks
    server.asked.clear()
    assert install(installation).outcome == "succeeded"
    assert artifact_ranges(server) == ["bytes=100000-"]


def test_f73_an_artifact_is_not_downloaded_twice(installation: Installation, server: Server) -> None:
    """An install that fails later keeps the verified bytes, by their hash, for a day."""
    installation.bin.mkdir(parents=True)
    blocked = installation.root / PACKAGE / "facts" / "1.0.json" / "in the way"
    blocked.mkdir(parents=True)  # so that staging fails, after the download
    assert install(installation).outcome == "failed"
    blocked.rmdir()
    blocked.parent.rmdir()
    server.asked.clear()
    assert install(installation).outcome == "succeeded"
    assert artifact_ranges(server) == []
    assert list((installation.root / PACKAGE / "downloads").iterdir()) == []


def test_f73_unused_downloads_are_removed_after_a_day(installation: Installation, server: Server) -> None:
    """A day later it is gone."""
    install_in_vain(installation, server)
    (part,) = (installation.root / PACKAGE / "downloads").iterdir()
    os.utime(part, (time.time() - 90_000,) * 2)
    carry_out_on(installation, Order("r-1", "recover", PACKAGE), lambda line: None)
    assert not part.exists()


@pytest.mark.parametrize("size", [20_000, 10_000_000])
def test_a_damaged_part_is_downloaded_again(installation: Installation, server: Server, size: int) -> None:
    """Files on disk are hashed again. A power cut may have damaged them, so the release is not blamed."""
    install_in_vain(installation, server)
    (part,) = (installation.root / PACKAGE / "downloads").iterdir()
    part.write_bytes(b"x" * size)
    server.asked.clear()
    assert install(installation).outcome == "succeeded"
    assert artifact_ranges(server)[-1] == ""


def test_a_damaged_part_excuses_wrong_bytes_once(
    installation: Installation, offering: FakeRepository, server: Server
) -> None:
    """Bytes that are wrong in a fresh download are an attack, and nothing of them is kept."""
    install_in_vain(installation, server)
    (path,) = [path for path in offering.files if path.startswith("targets/")]
    offering.files[path] = b"x" * len(offering.files[path])
    server.asked.clear()
    report = install(installation)
    assert (report.code, report.details.get("reason")) == ("UntrustedRelease", "WrongBytes")
    assert artifact_ranges(server) == ["bytes=100000-", ""]
    assert list((installation.root / PACKAGE / "downloads").iterdir()) == []


def test_a_server_without_ranges_costs_bytes_only(installation: Installation, server: Server) -> None:
    """It sends everything again; what we have already is skipped."""
    server.ranges = False
    breaking_off(server, after=100_000, times=1)
    assert install(installation).outcome == "succeeded"


def test_skipped_bytes_are_rate_limited_too(installation: Installation, server: Server) -> None:
    """They use the network like any other."""
    server.ranges = False
    breaking_off(server, after=SIZE - 1000, times=1)
    began = time.monotonic()
    assert install(installation, bytes_per_second=SIZE).outcome == "succeeded"
    assert time.monotonic() - began > 1.8  # once nearly all of it, once all of it


@pytest.mark.parametrize("begins", ["bytes 0-", "bytes 100001-", "", "lines 5-"])
def test_another_range_than_requested_is_not_used(installation: Installation, server: Server, begins: str) -> None:
    """A cache sent another range: what we have stays, and everything is requested."""
    first = breaking_off(server, after=100_000, times=1)

    def misbehave(handler: Any, path: str) -> bool:
        if first(handler, path):
            return True
        if not handler.headers.get("Range"):
            return False
        handler.send_response(206)
        handler.send_header("Content-Range", begins)
        handler.end_headers()
        handler.wfile.write(b"x" * 1000)
        return True

    server.misbehave = misbehave
    assert install(installation).outcome == "succeeded"
    assert artifact_ranges(server) == ["", "bytes=100000-", ""]


@pytest.mark.parametrize("headers", [{"Retry-After": "1"}, {"Retry-After": "Thu, 01 Jan 1970 00:00:01 GMT"}])
def test_the_servers_retry_after_is_respected(
    installation: Installation, server: Server, headers: dict[str, str]
) -> None:
    """In seconds or by the server's own clock, which may differ from ours."""
    left = [1]

    def misbehave(handler: Any, path: str) -> bool:
        if not path.startswith("targets/") or not left.pop():
            return False
        left.append(0)
        handler.send_response_only(503)
        for name, value in {"Date": "Thu, 01 Jan 1970 00:00:00 GMT", **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        return True

    server.misbehave = misbehave
    began = time.monotonic()
    assert install(installation).outcome == "succeeded"
    assert 1 <= time.monotonic() - began < 2


def test_no_retry_after_exceeds_the_orders_time(installation: Installation, server: Server) -> None:
    """And the report says what failed, not that it took long."""
    server.misbehave = lambda handler, path: path.startswith("targets/") and busy_for(handler, 3600)
    began = time.monotonic()
    report = install(installation, timeout_seconds=1)
    assert time.monotonic() - began < 3
    assert (report.code, report.details.get("reason")) == ("DownloadFailed", "NotServed")
    assert "503" in report.message


def busy_for(handler: Any, seconds: int) -> bool:
    handler.send_response(503)
    handler.send_header("Retry-After", str(seconds))
    handler.end_headers()
    return True


@pytest.mark.parametrize("status", [301, 400, 403, 404])
def test_a_refusal_is_not_retried(installation: Installation, server: Server, status: int) -> None:
    """Another try helps against a failure, not against an answer."""
    server.misbehave = lambda handler, path: path.startswith("targets/") and not handler.send_error(status)
    report = install(installation)
    assert (report.code, report.details.get("reason")) == ("DownloadFailed", "NotServed")
    assert artifact_ranges(server) == [""]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
def test_f66_a_part_that_does_not_fit_is_removed(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """A part of what does not fit is of no use."""

    really = disk.write_all
    parts = []

    def write_all(file: Any, piece: bytes) -> None:
        path = Path(str(file.name))
        if path.suffix != ".part":
            return really(file, piece)
        parts.append(path)
        file.write(piece[:1000])
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(disk, "write_all", write_all)
    assert install(installation).code == "DiskFull"
    assert len(parts) == 1
    assert not parts[0].exists()


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_busy_server_is_tried_again(installation: Installation, server: Server, status: int) -> None:
    """F13: a busy server is no fault of the release."""
    left = [3]

    def misbehave(handler: Any, path: str) -> bool:
        if not path.startswith("targets/") or not left[0]:
            return False
        left[0] -= 1
        handler.send_error(status)
        return True

    server.misbehave = misbehave
    assert install(installation).outcome == "succeeded"
    assert len(artifact_ranges(server)) == 4


def test_pauses_grow_and_differ_between_hosts() -> None:
    """F84: hosts that failed together do not come back together. They grow to a quarter of a minute."""
    first, most = repository.FIRST_PAUSE_SECONDS, repository.LONGEST_PAUSE_SECONDS
    assert [backoff_seconds(number, first, most, 0.0) for number in range(6)] == [0.5, 1, 2, 4, 7.5, 7.5]
    assert [backoff_seconds(number, first, most, 1.0) for number in range(6)] == [1, 2, 4, 8, 15, 15]


@pytest.mark.parametrize("what", ["metadata/timestamp.json", "targets/"])
def test_a_server_that_is_silent_for_a_while_costs_no_order_that_has_time(
    installation: Installation, server: Server, what: str
) -> None:
    """Far more tries than the five there were: as long as the order lasts."""
    silent_until = time.monotonic() + 3
    server.misbehave = lambda handler, path: path.startswith(what) and time.monotonic() < silent_until and busy(handler)
    assert install(installation).outcome == "succeeded"
    assert sum(path.startswith(what) for path, _ in server.asked) > 6


def busy(handler: Any) -> bool:
    handler.send_error(503)
    return True


def test_a_server_that_stays_silent_is_tried_for_as_long_as_the_order_lasts(
    installation: Installation, server: Server
) -> None:
    """The report says how often, and what failed."""
    server.misbehave = lambda handler, path: path.startswith("targets/") and busy(handler)
    began = time.monotonic()
    report = install(installation, timeout_seconds=2)
    assert 1 < time.monotonic() - began < 4
    assert (report.code, report.details.get("reason")) == ("DownloadFailed", "NotServed")
    assert f"503 (tried {len(artifact_ranges(server))} times)" in report.message


@pytest.mark.parametrize("where", ["the order", "the host"])
def test_a_download_respects_both_rate_limits(installation: Installation, server: Server, where: str) -> None:
    """The lower of the order's limit and the host's counts."""
    most = SIZE * 2
    if where == "the host":
        installation.etc.mkdir(parents=True)
        (installation.etc / "host.toml").write_text(f"bytes_per_second = {most}\n")
    began = time.monotonic()
    report = install(
        installation, **({"bytes_per_second": most} if where == "the order" else {"bytes_per_second": most * 50})
    )
    assert report.outcome == "succeeded"
    assert 0.45 < time.monotonic() - began < 3


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with proxying() as proxy:
        yield proxy


def say(installation: Installation, text: str) -> None:
    installation.etc.mkdir(parents=True, exist_ok=True)
    (installation.etc / "host.toml").write_text(text)


@pytest.mark.parametrize("form", ["pasted", "quoted"])
def test_everything_goes_through_the_proxy(installation: Installation, server: Server, proxy: Proxy, form: str) -> None:
    """Metadata and bytes, with its user name and password in any notation."""
    say(installation, f'proxy = "{getattr(proxy, form)}"\n')
    assert install(installation).outcome == "succeeded"
    assert len(proxy.asked) == len(server.asked)
    assert proxy.refused == 0


def test_the_environment_overrides_the_policys_proxy(
    installation: Installation, server: Server, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no other variable counts."""
    say(installation, 'proxy = "http://127.0.0.1:9"\n')
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("BACKFLEET_PROXY", proxy.pasted)
    assert install(installation).outcome == "succeeded"
    assert len(proxy.asked) == len(server.asked)


def test_https_through_a_proxy(
    installation: Installation, offering: FakeRepository, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through a tunnel; the server's certificate must be signed by the private authority of this host, and no other."""
    mine, strange = (
        prepare_certificates(tmp_path / name, ["127.0.0.1"], now=datetime.now(UTC)) for name in ("mine", "strange")
    )
    monkeypatch.setenv("BACKFLEET_PROXY", proxy.quoted)
    with served(offering.files, mine.context()) as server:
        there = replace(installation, downloads=f"{server.address}/downloads", ca_file=strange.authority)
        report = install(there)
        assert (report.code, report.details.get("reason")) == ("DownloadFailed", "NotReachable")
        assert server.asked == []
        assert install(replace(there, ca_file=mine.authority)).outcome == "succeeded"
        host = server.address.removeprefix("https://")
    assert set(proxy.asked) == {f"CONNECT {host}"}


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("http://u:{}@127.0.0.1:9", id="a proxy that is not there"),
        pytest.param("http://u:{}@127.0.0.1:{port}", id="a proxy that refuses"),
        pytest.param("http://u:{}@nowhere.invalid:3128", id="a name that is none"),
        pytest.param("https://u:{}@127.0.0.1:9", id="a kind that we do not speak"),
        pytest.param("http://u:{}@127.0.0.1", id="no port"),
        pytest.param("http://u:{} @127.0.0.1:9", id="a blank"),
    ],
)
@pytest.mark.parametrize("password", ["hunter2", "hunter2#", "hun/ter2", "hunter2@x", "%zhunter2"])
@pytest.mark.parametrize("where", ["file", "environment"])
def test_no_report_contains_the_proxys_password(
    installation: Installation, proxy: Proxy, address: str, password: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails at the proxy."""
    address = address.replace("{}", password).replace("{port}", str(proxy.port))
    if where == "file":
        say(installation, f'proxy = "{address}"\n')
    else:
        monkeypatch.setenv("BACKFLEET_PROXY", address)
    report = install(installation, timeout_seconds=1)
    assert report.code in {"DownloadFailed", "InternalError"}
    assert "hun" not in report.as_line()
    assert "proxy" in report.message.lower() or "407" in report.message
