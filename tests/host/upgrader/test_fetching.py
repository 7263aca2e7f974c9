"""Downloads: resumed, held back, paced, by way of a proxy, and never twice."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.contract import Order, Report
from backfleet_host.upgrader import Site, carry_out_on, platform_here, trust
from host.upgrader.offering import PACKAGE, Offering, Server, served

SIZE = 300_000


@pytest.fixture
def offering(monkeypatch: pytest.MonkeyPatch) -> Offering:
    monkeypatch.setattr(trust, "FIRST_PAUSE_SECONDS", 0.005)
    offering = Offering()
    offering.add("1.0", padding=SIZE)
    return offering


@pytest.fixture
def server(offering: Offering) -> Iterator[Server]:
    with served(offering.files) as server:
        yield server


@pytest.fixture
def site(tmp_path: Path, offering: Offering, server: Server) -> Site:
    return Site(tmp_path / "host", tmp_path / "host" / "bin", f"{server.address}/downloads", None, offering.trust_root)


def install(site: Site, **more: Any) -> Report:
    order = Order(f"u-{time.monotonic_ns()}", "install", PACKAGE, "1.0", platform_here(), 30, **more)
    return carry_out_on(site, order, lambda line: None)


def artifact_ranges(server: Server) -> list[str]:
    return [asked for path, asked in server.asked if path.startswith("targets/")]


def breaking_off(server: Server, after: int, times: int) -> None:
    """Let the first so many downloads of the artifact break off after so many bytes."""
    left = [times]

    def misbehave(handler: Any, path: str) -> bool:
        if not path.startswith("targets/") or not left[0]:
            return False
        left[0] -= 1
        content = server.files[path]
        asked = handler.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(content) - start))
        handler.end_headers()
        handler.wfile.write(content[start : start + after])
        handler.wfile.flush()
        handler.connection.shutdown(2)
        return True

    server.misbehave = misbehave


def test_a_download_goes_on_where_it_broke_off(site: Site, server: Server) -> None:
    """Three breaks, and every byte came once."""
    breaking_off(server, after=100_000, times=2)
    assert install(site).outcome == "succeeded"
    ranges = artifact_ranges(server)
    assert ranges == ["", "bytes=100000-", "bytes=200000-"]


def test_f73_a_later_order_goes_on_too(site: Site, server: Server) -> None:
    """Five breaks end the order; the next one asks for the rest only."""
    breaking_off(server, after=20_000, times=5)
    assert install(site).code == "DownloadFailed"
    server.asked.clear()
    assert install(site).outcome == "succeeded"
    assert artifact_ranges(server) == ["bytes=100000-"]


def test_f73_what_was_fetched_is_not_fetched_again(site: Site, server: Server) -> None:
    """An install that fails later keeps the verified bytes, by their hash, for a day."""
    site.bin.mkdir(parents=True)
    blocked = site.root / PACKAGE / "facts" / "1.0.json" / "in the way"
    blocked.mkdir(parents=True)  # so that staging fails, after the download
    assert install(site).outcome == "failed"
    blocked.rmdir()
    blocked.parent.rmdir()
    server.asked.clear()
    assert install(site).outcome == "succeeded"
    assert artifact_ranges(server) == []
    assert list((site.root / PACKAGE / "downloads").iterdir()) == []


def test_f73_what_nobody_asks_for_again_does_not_stay(site: Site, server: Server) -> None:
    """A day later it is gone."""
    breaking_off(server, after=20_000, times=5)
    install(site)
    (part,) = (site.root / PACKAGE / "downloads").iterdir()
    os.utime(part, (time.time() - 90_000,) * 2)
    carry_out_on(site, Order("r-1", "recover", PACKAGE), lambda line: None)
    assert not part.exists()


def test_a_part_that_somebody_altered_is_thrown_away(site: Site, server: Server) -> None:
    """It is hashed again: a file on disk is nobody's word. The order after that begins anew."""
    breaking_off(server, after=20_000, times=5)
    install(site)
    (part,) = (site.root / PACKAGE / "downloads").iterdir()
    part.write_bytes(b"x" * part.stat().st_size)
    assert install(site).code == "UntrustedRelease"
    assert install(site).outcome == "succeeded"


def test_a_server_without_ranges_costs_bytes_only(site: Site, server: Server) -> None:
    """It gives everything again; what is there already is passed over."""
    server.ranges = False
    breaking_off(server, after=100_000, times=1)
    assert install(site).outcome == "succeeded"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(site: Site, server: Server, status: int) -> None:
    """F13: its troubles are not the release's."""
    left = [3]

    def misbehave(handler: Any, path: str) -> bool:
        if not path.startswith("targets/") or not left[0]:
            return False
        left[0] -= 1
        handler.send_error(status)
        return True

    server.misbehave = misbehave
    assert install(site).outcome == "succeeded"
    assert len(artifact_ranges(server)) == 4


def test_pauses_grow_and_differ_between_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """F84: hosts that failed together do not come back together."""
    slept: list[float] = []
    monkeypatch.setattr(trust.time, "sleep", slept.append)

    def fails() -> None:
        raise trust._Broken("no")

    for _ in range(20):
        with pytest.raises(trust._Broken):
            trust._retried(fails, trust._Broken, lambda: None)
    for number in range(trust.TRIES - 1):
        some = slept[number :: trust.TRIES - 1]
        least = trust.FIRST_PAUSE_SECONDS * 2**number
        assert all(least <= pause <= 2 * least for pause in some)
        assert len(set(some)) > 10


@pytest.mark.parametrize("where", ["the order", "the host"])
def test_no_faster_than_was_said(site: Site, server: Server, where: str) -> None:
    """Of the order's limit and the host's the lower one counts."""
    most = SIZE * 2
    if where == "the host":
        site.etc.mkdir(parents=True)
        (site.etc / "host.toml").write_text(f"bytes_per_second = {most}\n")
    began = time.monotonic()
    report = install(site, **({"bytes_per_second": most} if where == "the order" else {"bytes_per_second": most * 50}))
    assert report.outcome == "succeeded"
    assert 0.45 < time.monotonic() - began < 3


def test_everything_goes_by_the_proxy(offering: Offering, server: Server, tmp_path: Path) -> None:
    """Metadata and bytes alike; the host needs no other way out."""
    root = tmp_path / "host"
    site = Site(root, root / "bin", "http://releases.invalid/downloads", None, offering.trust_root)
    (root / "etc" / "backfleet").mkdir(parents=True)
    (root / "etc" / "backfleet" / "host.toml").write_text(f'proxy = "{server.address}"\n')
    server.files = {f"http://releases.invalid/downloads/{path}": content for path, content in offering.files.items()}
    assert install(site).outcome == "succeeded"
    assert all(path.startswith("http://releases.invalid/") for path, _ in server.asked)
