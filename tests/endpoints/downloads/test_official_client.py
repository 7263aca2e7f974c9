"""The Update Framework's own client against the real door: it takes what is right, and refuses each attack by name."""

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
from backfleet.releases import LIFE, signed_metadata

Shop = Any
PATH = "rclone/{}/linux-amd64"


class Client:
    """One host's memory of metadata, and a new updater over it for every look."""

    def __init__(self, folder: Path, root: bytes) -> None:
        self.folder, self.root = folder, root
        (folder / "targets").mkdir(parents=True)

    def look(self, address: str) -> Updater:
        """Refresh."""
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
        """The artifact of a version, verified; None if metadata knows of none."""
        updater = self.look(address)
        info = updater.get_targetinfo(PATH.format(version))
        return None if info is None else Path(updater.download_target(info)).read_bytes()

    def knows(self) -> dict[str, int]:
        """Which versions it has come to trust."""
        found = {}
        for role in ("root", "timestamp", "snapshot", "targets"):
            file = self.folder / "metadata" / f"{role}.json"
            found[role] = Metadata.from_bytes(file.read_bytes()).signed.version if file.exists() else 0
        return found


@pytest.fixture
def client(shop: Shop, tmp_path: Path) -> Client:
    """A host that was enrolled with this shop's root."""
    return Client(tmp_path / "client", shop.metadata("1.root.json"))


# --- What is right --------------------------------------------------------------------------------------------------


def test_a_release_is_found_verified_and_fetched(shop: Shop, client: Client) -> None:
    """With its manifest; one that is added later is found the next time."""
    release = shop.add("1.0")
    content = client.fetch(shop.address, "1.0")
    assert content is not None
    assert hashlib.sha256(content).hexdigest() == release.sha256
    info = client.look(shop.address).get_targetinfo(PATH.format("1.0"))
    assert info is not None
    assert info.custom["backfleet"]["bin"] == ["rclone"]
    assert client.fetch(shop.address, "2.0") is None
    shop.add("2.0~rc1+local")
    assert client.fetch(shop.address, "2.0~rc1+local")


def test_a_withdrawn_release_is_vouched_for_no_longer(shop: Shop, client: Client) -> None:
    """Though its bytes are still there."""
    shop.add("1.0")
    assert client.fetch(shop.address, "1.0")
    with shop.database.transaction() as tx:
        releases.withdraw(tx, shop.repository, "rclone", "1.0", "linux-amd64", now=datetime.now(UTC))
    assert client.fetch(shop.address, "1.0") is None


def test_a_host_that_slept_for_long_follows(bare_shop: Shop, tmp_path: Path) -> None:
    """From a root that has expired, through every root that was made meanwhile."""
    for lives in (1.8, 1.2, 0.6, 0):
        assert bare_shop.sign(-lives * LIFE["root"])
    client = Client(tmp_path / "client", bare_shop.metadata("1.root.json"))
    client.look(bare_shop.address)
    assert client.knows() == {"root": 4, "timestamp": 4, "snapshot": 4, "targets": 4}


def test_a_client_in_the_middle_of_a_refresh_finds_what_it_was_told_of(shop: Shop, client: Client) -> None:
    """Consistent snapshots: what is published meanwhile takes nothing away."""
    shop.add("1.0")
    updater = client.look(shop.address)
    shop.add("2.0")
    info = updater.get_targetinfo(PATH.format("1.0"))
    assert info is not None
    assert updater.download_target(info)
    assert client.knows()["targets"] == 2


# --- What is wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "root"])
def test_metadata_that_nobody_signs_anew_is_refused_in_the_end(bare_shop: Shop, tmp_path: Path, role: str) -> None:
    """F74, a freeze: a server that shows nothing newer for longer than a life is believed no more."""
    bare_shop.sign(-LIFE[role] - timedelta(minutes=1))
    client = Client(tmp_path / "client", bare_shop.metadata("1.root.json"))
    with pytest.raises(ExpiredMetadataError):
        client.look(bare_shop.address)
    assert client.knows()["targets"] == 0
    assert bare_shop.sign(), "it is signed at last"
    client.look(bare_shop.address)
    assert client.knows()["targets"] > 0


def test_metadata_is_believed_for_the_whole_of_its_life(bare_shop: Shop, tmp_path: Path) -> None:
    """A server that was away for almost a week has done no harm."""
    bare_shop.sign(-LIFE["timestamp"] + timedelta(minutes=1))
    Client(tmp_path / "client", bare_shop.metadata("1.root.json")).look(bare_shop.address)


def test_a_shop_with_other_keys_is_not_believed(
    shop: Shop, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F74: whoever has the server's name but not its keys; an honest server would not even sign."""
    monkeypatch.setattr(signed_metadata, "may_sign", lambda tx, repository, role: True)
    client.look(shop.address)
    known = client.knows()
    other = releases.Repository.open(tmp_path / "other")
    mine, shop.repository = shop.repository, other
    try:
        shop.add("6.6.6")
    finally:
        shop.repository = mine
    with pytest.raises(UnsignedMetadataError):
        client.fetch(shop.address, "6.6.6")
    assert client.knows() == known


class Fake:
    """A server between host and shop: it passes on what it is asked for, unless it has something else to say."""

    def __init__(self, shop: Shop) -> None:
        self.instead: dict[str, bytes] = {}
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rsplit("/", 1)[-1]
                answer = urllib3.request("GET", shop.address.removesuffix("/downloads") + self.path, retries=False)
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
def fake(shop: Shop) -> Iterator[Fake]:
    """In between."""
    made = Fake(shop)
    yield made
    made.close()


def test_old_metadata_that_is_shown_again_is_refused(shop: Shop, client: Client, fake: Fake) -> None:
    """F74, a replay: to the host, the release that was withdrawn is gone for good."""
    shop.add("1.0")
    old = shop.metadata("timestamp.json")
    shop.add("2.0")
    assert client.fetch(fake.address, "2.0")
    known = client.knows()
    fake.instead["timestamp.json"] = old
    with pytest.raises(BadVersionNumberError):
        client.look(fake.address)
    assert client.knows() == known


def test_metadata_that_was_mixed_is_refused(shop: Shop, client: Client, fake: Fake) -> None:
    """F74: an old list of releases under the name of the new one, each signed well."""
    shop.add("1.0")
    shop.add("2.0")
    fake.instead["3.targets.json"] = shop.metadata("2.targets.json")
    with pytest.raises(BadVersionNumberError):
        client.look(fake.address)
    assert client.knows()["targets"] == 0


@pytest.mark.parametrize("name", ["timestamp.json", "2.snapshot.json", "2.targets.json"])
def test_metadata_with_a_changed_word_is_refused(shop: Shop, client: Client, fake: Fake, name: str) -> None:
    """Wherever."""
    shop.add("1.0")
    fake.instead[name] = (
        shop.metadata(name).replace(b'"version":2', b'"version":3').replace(b'"version": 2', b'"version": 3')
    )
    assert fake.instead[name] != shop.metadata(name)
    with pytest.raises(RepositoryError):
        client.look(fake.address)


def test_metadata_without_an_end_is_refused(shop: Shop, client: Client, fake: Fake) -> None:
    """F74: what is larger than any honest document is not read to its end."""
    fake.instead["timestamp.json"] = b"{" + b" " * 20_000
    with pytest.raises((DownloadError, RepositoryError)):
        client.look(fake.address)


def test_other_bytes_of_an_artifact_are_refused(shop: Shop, client: Client, fake: Fake) -> None:
    """And not left where somebody could take them for the release."""
    release = shop.add("1.0")
    content = bytearray(shop.get(f"/artifacts/{release.sha256}").data)
    content[600] ^= 1
    fake.instead[f"{release.sha256}.linux-amd64"] = bytes(content)
    with pytest.raises(LengthOrHashMismatchError):
        client.fetch(fake.address, "1.0")
    assert list((client.folder / "targets").iterdir()) == []


def test_as_many_releases_as_we_sign_for_hosts_take(
    shop: Shop, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our limit lies below theirs: no release can be added that would blind the fleet."""
    from tuf.ngclient import UpdaterConfig

    from backfleet.releases import signed_metadata

    assert UpdaterConfig().targets_max_length > signed_metadata.LARGEST
    shop.add("1.0")
    size = len(shop.metadata("2.targets.json"))
    monkeypatch.setattr(signed_metadata, "LARGEST", size)
    with pytest.raises(releases.TooManyReleases):
        shop.add("2.0")
    assert client.fetch(shop.address, "1.0")
