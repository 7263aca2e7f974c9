"""An order cannot make a host knock at addresses that have nothing to do with its releases."""

import json
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from backfleet_host.contract import Order, Report
from backfleet_host.identity import Identity, keep_identity
from backfleet_host.layout import Places
from backfleet_host.platforms import platform_here
from backfleet_host.upgrader import carry_out
from backfleet_host.upgrader.errors import OrderFailed
from backfleet_host.upgrader.release import repository
from backfleet_host.upgrader.release.addresses import check_address
from host.upgrader.fake_repository import PACKAGE, FakeRepository, Server, served

SERVER = "backfleet.example:8443"
MIRRORS = ("http://mirror.example/releases/", "https://10.0.0.7:444")


@pytest.mark.parametrize(
    "address",
    [
        "https://backfleet.example:8443/downloads",
        "https://BACKFLEET.example:8443/proxied/downloads/",
        "http://mirror.example/releases",
        "http://mirror.example:80/releases/below",
        "https://10.0.0.7:444/anything",
    ],
)
def test_the_enrolled_server_and_what_the_administrator_allows_may_be_named(address: str) -> None:
    check_address(address, SERVER, MIRRORS)


REFUSED = [
    "http://169.254.169.254/latest/meta-data",
    "http://127.0.0.1:22/",
    "https://backfleet.example/downloads",
    "http://backfleet.example:8443/downloads",
    "https://backfleet.example:8444/downloads",
    "https://backfleet.example:8443@169.254.169.254/",
    "https://backfleet.example:8443\\@169.254.169.254/",
    "https://backfleet.example:8443.evil.example/",
    "https://backfleet.example:99999/",
    "https://backfleet.example:no/",
    "http://mirror.example/releases-of-others",
    "http://mirror.example/releases/../private",
    "http://mirror.example/releases/%2e%2e/private",
    "http://mirror.example/",
    "https://[::1]:8443/",
    "https://[::1/",
]


@pytest.mark.parametrize("address", REFUSED)
def test_any_other_address_is_refused(address: str) -> None:
    with pytest.raises(OrderFailed, match="neither the enrolled server's nor in `downloads`"):
        check_address(address, SERVER, MIRRORS)


@pytest.fixture
def offering(monkeypatch: pytest.MonkeyPatch) -> FakeRepository:
    monkeypatch.setattr(repository, "FIRST_PAUSE_SECONDS", 0.005)
    offering = FakeRepository()
    offering.add("1.0")
    return offering


@pytest.fixture
def mirror(offering: FakeRepository) -> Iterator[Server]:
    with served(offering.files) as server:
        yield server


@pytest.fixture
def root(tmp_path: Path, offering: FakeRepository) -> Path:
    """Make the root of an enrolled host."""
    places = Places(tmp_path / "host")
    places.trust.mkdir(parents=True)
    places.agent.mkdir()
    places.trusted_root.write_bytes(offering.trust_root)
    keep_identity(places, Identity("mi-1", "m-1", SERVER))
    return places.root


def install(root: Path, address: str, number: int = 1) -> Report:
    order = Order(f"u-{number}", "install", PACKAGE, "1.0", platform_here(), timeout_seconds=20, downloads=address)
    return carry_out(order, root, progress=lambda line: None)


def test_a_host_does_not_tell_one_refused_address_from_another(root: Path) -> None:
    """An open port, a closed one, one that would answer, and a name that does not resolve have one report."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.settimeout(0.2)
        port = listening.getsockname()[1]
        addresses = [f"http://127.0.0.1:{port}/", "http://127.0.0.1:1/", "http://no-such-name.invalid/", *REFUSED[:2]]
        reports = [install(root, address) for address in addresses]
        with pytest.raises(TimeoutError):
            listening.accept()
    assert {(report.code, report.message, json.dumps(report.details)) for report in reports} == {
        ("DownloadFailed", reports[0].message, '{"reason": "NotAllowed"}')
    }
    assert not (root / PACKAGE).exists()


def test_a_mirror_in_the_host_policy_may_be_named(root: Path, mirror: Server) -> None:
    assert install(root, f"{mirror.address}/downloads").code == "DownloadFailed"
    assert mirror.asked == []
    policy = root / "etc" / "backfleet" / "host.toml"
    policy.parent.mkdir(parents=True)
    policy.write_text(f'downloads = ["{mirror.address}"]\n')
    assert install(root, f"{mirror.address}/downloads", 2).outcome == "succeeded"


def test_a_redirect_is_not_followed(root: Path, mirror: Server) -> None:
    """Not even by an allowed server: it could lead anywhere."""
    with served({}) as elsewhere:

        def redirect(handler: BaseHTTPRequestHandler, path: str) -> bool:
            handler.send_response(302)
            handler.send_header("Location", f"{elsewhere.address}/{path}")
            handler.end_headers()
            return True

        mirror.misbehave = redirect
        policy = root / "etc" / "backfleet" / "host.toml"
        policy.parent.mkdir(parents=True)
        policy.write_text(f'downloads = ["{mirror.address}"]\n')
        report = install(root, f"{mirror.address}/downloads")
        assert (report.code, report.details["reason"]) == ("DownloadFailed", "NotServed")
        assert elsewhere.asked == []
