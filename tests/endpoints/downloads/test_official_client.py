"""The official TUF client against the real endpoint: it accepts what is right, and refuses each attack."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import urllib3
from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import Metadata
from tuf.ngclient import Updater

from backfleet import releases
from backfleet.releases import LIFETIMES, signed_metadata

DownloadServer = Any
PATH = "rclone/{}/linux-amd64"


class Client:
    """The metadata that one host remembers, with a new updater for every refresh."""

    def __init__(self, folder: Path, root: bytes) -> None:
        self.folder, self.root = folder, root
        (folder / "targets").mkdir(parents=True)

    def refresh(self, address: str) -> Updater:
        """Fetch and verify metadata."""
        updater = Updater(
            str(self.folder / "metadata"),
            f"{address}/metadata/",
            str(self.folder / "targets"),
            f"{address}/targets/",
            bootstrap=self.root,
        )
        updater.refresh()
        return updater

    def fetch(self, address: str, version: str) -> bytes | None:
        """Return the verified artifact of a version; None if metadata has none."""
        updater = self.refresh(address)
        info = updater.get_targetinfo(PATH.format(version))
        return None if info is None else Path(updater.download_target(info)).read_bytes()

    def knows(self) -> dict[str, int]:
        """Return the versions of the metadata that it trusts."""
        found = {}
        for role in ("root", "timestamp", "snapshot", "targets"):
            file = self.folder / "metadata" / f"{role}.json"
            found[role] = Metadata.from_bytes(file.read_bytes()).signed.version if file.exists() else 0
        return found


@pytest.fixture
def client(server: DownloadServer, tmp_path: Path) -> Client:
    """A host that was enrolled with this server's root."""
    return Client(tmp_path / "client", server.metadata("1.root.json"))


# --- What is right --------------------------------------------------------------------------------------------------


def test_a_release_is_found_verified_and_fetched(server: DownloadServer, client: Client) -> None:
    """With its manifest; a release that is added later is found the next time."""
    release = server.add("1.0")
    content = client.fetch(server.address, "1.0")
    assert content is not None
    assert hashlib.sha256(content).hexdigest() == release.sha256
    info = client.refresh(server.address).get_targetinfo(PATH.format("1.0"))
    assert info is not None
    assert info.custom["backfleet"]["bin"] == ["rclone"]
    assert client.fetch(server.address, "2.0") is None
    server.add("2.0~rc1+local")
    assert client.fetch(server.address, "2.0~rc1+local")


def test_a_withdrawn_release_is_not_in_the_metadata(server: DownloadServer, client: Client) -> None:
    """Though its bytes are still there."""
    server.add("1.0")
    assert client.fetch(server.address, "1.0")
    with server.database.transaction() as tx:
        releases.withdraw(tx, server.repository, "rclone", "1.0", "linux-amd64", now=datetime.now(UTC))
    assert client.fetch(server.address, "1.0") is None


def test_a_host_that_was_off_for_long_catches_up(bare_server: DownloadServer, tmp_path: Path) -> None:
    """From a root that has expired, through every root that was made meanwhile."""
    for lives in (1.8, 1.2, 0.6, 0):
        assert bare_server.sign(-lives * LIFETIMES["root"])
    client = Client(tmp_path / "client", bare_server.metadata("1.root.json"))
    client.refresh(bare_server.address)
    assert client.knows() == {"root": 4, "timestamp": 4, "snapshot": 4, "targets": 4}


def test_a_client_in_the_middle_of_a_refresh_is_not_disturbed(server: DownloadServer, client: Client) -> None:
    """Consistent snapshots: what is published meanwhile removes nothing."""
    server.add("1.0")
    updater = client.refresh(server.address)
    server.add("2.0")
    info = updater.get_targetinfo(PATH.format("1.0"))
    assert info is not None
    assert updater.download_target(info)
    assert client.knows()["targets"] == 2


# --- What is wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "root"])
def test_metadata_that_is_not_renewed_is_refused_in_the_end(
    bare_server: DownloadServer, tmp_path: Path, role: str
) -> None:
    """F74, a freeze: metadata that has expired is not accepted."""
    bare_server.sign(-LIFETIMES[role] - timedelta(minutes=1))
    client = Client(tmp_path / "client", bare_server.metadata("1.root.json"))
    with pytest.raises(ExpiredMetadataError):
        client.refresh(bare_server.address)
    assert client.knows()["targets"] == 0
    assert bare_server.sign(), "it is signed at last"
    client.refresh(bare_server.address)
    assert client.knows()["targets"] > 0


def test_metadata_is_accepted_until_it_expires(bare_server: DownloadServer, tmp_path: Path) -> None:
    """A server that was away for almost a week does no harm."""
    bare_server.sign(-LIFETIMES["timestamp"] + timedelta(minutes=1))
    Client(tmp_path / "client", bare_server.metadata("1.root.json")).refresh(bare_server.address)


def test_a_server_with_other_keys_is_refused(
    server: DownloadServer, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F74: an attacker has the server's name but not its keys; an honest server would not even sign."""
    monkeypatch.setattr(signed_metadata, "may_sign", lambda tx, repository, role: True)
    client.refresh(server.address)
    known = client.knows()
    other = releases.Repository.open(tmp_path / "other")
    mine, server.repository = server.repository, other
    try:
        server.add("6.6.6")
    finally:
        server.repository = mine
    with pytest.raises(UnsignedMetadataError):
        client.fetch(server.address, "6.6.6")
    assert client.knows() == known


class Fake:
    """A server between host and server: it passes on what it is asked for, unless it has something else to say."""

    def __init__(self, server: DownloadServer) -> None:
        self.instead: dict[str, bytes] = {}
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rsplit("/", 1)[-1]
                answer = urllib3.request("GET", server.address.removesuffix("/downloads") + self.path, retries=False)
                content = fake.instead.get(name, answer.data)
                self.send_response(200 if name in fake.instead else answer.status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/downloads"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def fake(server: DownloadServer) -> Iterator[Fake]:
    """In between."""
    made = Fake(server)
    yield made
    made.close()


def test_old_metadata_is_refused(server: DownloadServer, client: Client, fake: Fake) -> None:
    """F74, a replay: for the host, the release that was withdrawn is gone for good."""
    server.add("1.0")
    old = server.metadata("timestamp.json")
    server.add("2.0")
    assert client.fetch(fake.address, "2.0")
    known = client.knows()
    fake.instead["timestamp.json"] = old
    with pytest.raises(BadVersionNumberError):
        client.refresh(fake.address)
    assert client.knows() == known


def test_mixed_metadata_is_refused(server: DownloadServer, client: Client, fake: Fake) -> None:
    """F74: an old list of releases under the name of the new one, each signed correctly."""
    server.add("1.0")
    server.add("2.0")
    fake.instead["3.targets.json"] = server.metadata("2.targets.json")
    with pytest.raises(BadVersionNumberError):
        client.refresh(fake.address)
    assert client.knows()["targets"] == 0


@pytest.mark.parametrize("name", ["timestamp.json", "2.snapshot.json", "2.targets.json"])
def test_changed_metadata_is_refused(server: DownloadServer, client: Client, fake: Fake, name: str) -> None:
    """Wherever it was changed."""
    server.add("1.0")
    fake.instead[name] = (
        server.metadata(name).replace(b'"version":2', b'"version":3').replace(b'"version": 2', b'"version": 3')
    )
    assert fake.instead[name] != server.metadata(name)
    with pytest.raises(RepositoryError):
        client.refresh(fake.address)


def test_endless_metadata_is_refused(server: DownloadServer, client: Client, fake: Fake) -> None:
    """F74: what is larger than any honest document is not read to its end."""
    fake.instead["timestamp.json"] = b"{" + b" " * 20_000
    with pytest.raises((DownloadError, RepositoryError)):
        client.refresh(fake.address)


def test_other_bytes_of_an_artifact_are_refused(server: DownloadServer, client: Client, fake: Fake) -> None:
    """And they are not left where they could be taken for the release."""
    release = server.add("1.0")
    content = bytearray(server.get(f"/artifacts/{release.sha256}").data)
    content[600] ^= 1
    fake.instead[f"{release.sha256}.linux-amd64"] = bytes(content)
    with pytest.raises(LengthOrHashMismatchError):
        client.fetch(fake.address, "1.0")
    assert list((client.folder / "targets").iterdir()) == []


def test_hosts_accept_as_many_releases_as_the_server_signs(
    server: DownloadServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's limit is below the client's: no release can be added that hosts would refuse."""
    from tuf.ngclient import UpdaterConfig

    from backfleet.releases import signed_metadata

    assert UpdaterConfig().targets_max_length > signed_metadata.LARGEST
    server.add("1.0")
    size = len(server.metadata("2.targets.json"))
    monkeypatch.setattr(signed_metadata, "LARGEST", size)
    with pytest.raises(releases.TooManyReleases):
        server.add("2.0")
    assert client.fetch(server.address, "1.0")
