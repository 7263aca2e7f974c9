"""What a host has seen survives a power cut: nothing older is trusted, whatever the disk has lost."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner

from backfleet_host.contract import Order
from backfleet_host.platforms import platform_here
from backfleet_host.upgrader import Installation
from backfleet_host.upgrader.errors import OrderFailed
from backfleet_host.upgrader.release import repository
from backfleet_host.upgrader.release.metadata import query, version_of
from backfleet_host.upgrader.release.retrieval import DownloadInterrupted
from backfleet_host.upgrader.release.source import ReleaseTarget
from host.upgrader.fake_repository import PACKAGE, FakeRepository, Server, served


class Place:
    """A host's metadata, an honest repository, and an attacker between them."""

    def __init__(self, root: Path, offering: FakeRepository, server: Server) -> None:
        self.offering, self.server = offering, server
        self.installation = Installation(root, root / "bin", f"{server.address}/downloads", None, offering.trust_root)
        self.trust = root / "trust"
        self.cache = self.trust / "metadata"

    def find(self, version: str) -> ReleaseTarget:
        return repository.find(self.installation.release_server, self.order(version), lambda: None)

    def refused(self, version: str) -> str:
        """Return the reason of the failure."""
        with pytest.raises(OrderFailed) as problem:
            self.find(version)
        assert problem.value.code == "UntrustedRelease", problem.value
        return problem.value.reason

    def others(self) -> list[str]:
        return [
            target.manifest.version
            for target in repository.others(self.installation.release_server, self.order("9"), lambda: None)
        ]

    def order(self, version: str) -> Order:
        return Order("u-1", "upgrade", PACKAGE, version, platform_here(), 30)

    def rotate(self, role: str) -> CryptoSigner:
        """Publish a new root with a new key for a role; return the old key."""
        offering = self.offering
        old, new = offering.keys[role][0], CryptoSigner.generate_ed25519()
        offering.root.version += 1
        offering.root.revoke_key(old.public_key.keyid, role)
        offering.root.add_key(new.public_key, role)
        signers = offering.keys["root"] + ([new] if role == "root" else [])
        offering.publish_root(*signers)
        offering.keys[role] = [new]
        return old


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(repository, "FIRST_PAUSE_SECONDS", 0.005)
    offering = FakeRepository()
    offering.add("1.0")
    with served(offering.files) as server:
        yield Place(tmp_path / "host", offering, server)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def removed(path: Path) -> None:
    path.unlink()


DAMAGE = [emptied, cut_short, removed]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_replaced_root_key_stays_replaced_after_damage(place: Place, damage: Callable[[Path], None]) -> None:
    """Root 2 replaced a stolen key. A host whose copy of it is damaged does not trust the thief again."""
    stolen = place.rotate("root")
    place.offering.add("2.0")
    place.find("2.0")
    damage(place.cache / "root_history" / "2.root.json")
    offering = place.offering
    offering.root.revoke_key(offering.keys["root"][0].public_key.keyid, "root")
    for role in ("root", "targets", "snapshot", "timestamp"):
        offering.root.add_key(stolen.public_key, role)
        offering.keys[role] = [stolen]
    offering.publish_root(stolen)  # another root 2
    offering.add("6.6")
    assert place.refused("6.6") == "WrongSignature"


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("files", [("timestamp", "snapshot"), ("timestamp",), ("timestamp", "snapshot", "targets")])
def test_a_withdrawn_release_stays_withdrawn_after_damage(
    place: Place, damage: Callable[[Path], None], files: tuple[str, ...]
) -> None:
    """Older metadata is refused, though it is correctly signed and not expired."""
    old = dict(place.offering.files)
    place.offering.targets.targets.clear()
    place.offering.add("2.0")
    place.find("2.0")
    for name in files:
        damage(place.cache / f"{name}.json")
    place.server.files = old
    assert place.refused("1.0") == "RolledBackMetadata"


def test_an_older_copy_of_the_folder_is_damage_too(place: Place) -> None:
    """A folder restored from a backup, for example."""
    place.find("1.0")
    earlier = {path: path.read_bytes() for path in place.cache.glob("*.json")}
    old = dict(place.offering.files)
    place.offering.add("2.0")
    place.find("2.0")
    for path, content in earlier.items():
        path.write_bytes(content)
    place.server.files = old
    assert place.refused("1.0") == "RolledBackMetadata"


def test_damage_costs_nothing_but_a_download(place: Place) -> None:
    """An honest server repairs it."""
    place.rotate("timestamp")
    place.offering.add("2.0")
    place.find("2.0")
    for path in [*place.cache.glob("*.json"), *(place.cache / "root_history").iterdir()]:
        emptied(path)
    assert place.find("2.0").manifest.version == "2.0"
    emptied(place.trust / "seen.json")
    assert place.find("2.0").manifest.version == "2.0"


def test_a_new_key_resets_the_remembered_versions(place: Place) -> None:
    """After an attacker signed the highest version there is, with and without damage."""
    place.offering.timestamp.version = 2**31
    place.offering.publish_timestamp()
    place.find("1.0")
    place.rotate("timestamp")
    place.offering.timestamp.version = 5
    place.offering.add("2.0")
    place.find("2.0")
    emptied(place.cache / "timestamp.json")
    place.find("2.0")
    assert version_of((place.cache / "timestamp.json").read_bytes()) == 6
    old = dict(place.offering.files)
    place.offering.publish_timestamp()
    place.find("2.0")
    emptied(place.cache / "timestamp.json")
    place.server.files = old
    assert place.refused("2.0") == "RolledBackMetadata"


def test_a_host_that_is_enrolled_again_forgets_the_other_server(place: Place, tmp_path: Path) -> None:
    """What was seen of one root says nothing about another."""
    place.rotate("root")
    place.offering.timestamp.version = 100
    place.offering.add("2.0")
    place.find("2.0")
    another = FakeRepository()
    another.add("1.0")
    place.server.files = another.files
    place.installation = replace(place.installation, trust_root=another.trust_root)
    assert place.find("1.0").manifest.version == "1.0"


def test_metadata_is_synced_before_it_is_used(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every document, and the folders that name them."""
    synced: set[int] = set()
    really = os.fsync

    def fsync(file: int) -> None:
        really(file)
        synced.add(os.fstat(file).st_ino)

    monkeypatch.setattr(os, "fsync", fsync)
    place.rotate("timestamp")
    place.offering.add("2.0")
    place.find("2.0")
    names = ("root.json", "timestamp.json", "snapshot.json", "targets.json", "root_history", ".", "../seen.json", "..")
    assert [name for name in names if (place.cache / name).stat().st_ino not in synced] == []


def test_a_timestamp_counts_even_if_the_rest_does_not_come(place: Place) -> None:
    """It is remembered, though the connection broke after it."""
    place.find("1.0")
    place.offering.add("2.0")
    place.server.misbehave = refusing("snapshot.json", status=404)
    with pytest.raises(OrderFailed):
        place.find("2.0")
    kept = json.loads((place.trust / "seen.json").read_text())
    assert version_of(kept["timestamp"].encode()) == place.offering.timestamp.version


def refusing(what: str, times: int = 1000, status: int = 503) -> Callable[[Any, str], bool]:
    left = [times]

    def misbehave(handler: Any, path: str) -> bool:
        if not path.endswith(what) or not left[0]:
            return False
        left[0] -= 1
        handler.send_error(status)
        return True

    return misbehave


def test_leftovers_of_a_crash_are_removed(place: Place) -> None:
    """The library gives them random names, so they would pile up."""
    place.cache.mkdir(parents=True)
    (place.cache / "tmpk3j2h1").write_bytes(b"{")
    place.find("1.0")
    assert not list(place.cache.glob("tmp*"))


@pytest.mark.parametrize("what", ["timestamp.json", "snapshot.json", "targets.json"])
def test_a_server_that_is_busy_in_between_is_tried_again(place: Place, what: str) -> None:
    """F68: an updater that failed cannot be used again; intermediate versions are found all the same."""
    place.find("1.0")
    place.offering.add("2.0")
    place.server.misbehave = refusing(what, times=2)
    assert place.others() == ["1.0", "2.0"]


def test_one_unreadable_description_stops_no_other(place: Place) -> None:
    """It may be for newer hosts."""
    place.offering.add("2.0", bin=17)
    place.offering.add("3.0")
    assert place.others() == ["1.0", "3.0"]


def test_a_damaged_trusted_root_is_reported(place: Place) -> None:
    """With the same code as other metadata."""
    place.installation = replace(place.installation, trust_root=b"{}")
    assert place.refused("1.0") == "UnreadableMetadata"


@pytest.mark.parametrize("status", [400, 401, 404, 410])
def test_a_missing_document_is_requested_once(place: Place, status: int) -> None:
    """Another try helps against a busy server, not against a no."""
    place.server.misbehave = refusing("timestamp.json", status=status)
    with pytest.raises(OrderFailed) as problem:
        place.find("1.0")
    assert (problem.value.code, problem.value.reason) == ("DownloadFailed", "NotServed")
    assert str(status) in problem.value.text
    assert [path for path, _ in place.server.asked].count("metadata/timestamp.json") == 1


def test_orders_for_two_packages_take_turns(place: Place) -> None:
    """They share the metadata: the second waits for the first, for as long as its order has time."""

    def impatient() -> None:
        raise OrderFailed("HostBusy", "no time")

    def work(updater: Any) -> str:
        with pytest.raises(OrderFailed, match="no time"):
            query(place.installation.release_server, lambda updater: None, impatient)
        return "the first"

    assert query(place.installation.release_server, work, lambda: None) == "the first"


def test_a_connection_that_breaks_is_no_attack(place: Place) -> None:
    """The caller tries again."""
    place.server.misbehave = refusing("timestamp.json")
    with pytest.raises(DownloadInterrupted) as problem:
        query(place.installation.release_server, lambda updater: updater.refresh(), lambda: None)
    assert problem.value.passing
