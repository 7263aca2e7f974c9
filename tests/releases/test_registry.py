"""Adding, offering and withdrawing; a version never changes once it was offered."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tuf.api.metadata import Metadata, Targets

from backfleet import releases
from backfleet.releases import ReleaseConflict, ReleaseRefused, TooManyReleases, signed_metadata
from backfleet.storage import Database, metadata
from releases.artifacts import program, tar

Add = Callable[..., tuple[releases.Release, bool]]
Prepare = Callable[..., releases.Prepared]
NAMES = ("rclone", "1.75.2", "linux-amd64")


def rows(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of the tables of releases."""
    with database.reading() as tx:
        names = ("releases", "release_offers", "signed_metadata")
        return {name: [tuple(row) for row in tx.rows(sa.select(metadata.tables[name]))] for name in names}


def signed_releases(database: Database) -> dict[str, str]:
    """Return the releases in the newest signed metadata, with their hashes."""
    with database.reading() as tx:
        newest = tx.scalar(
            sa.select(sa.func.max(metadata.tables["signed_metadata"].c.version)).where(
                metadata.tables["signed_metadata"].c.role == "targets"
            )
        )
        content = releases.metadata(tx, f"{newest}.targets.json")
    assert content is not None
    targets = Metadata[Targets].from_bytes(content).signed.targets
    return {path: target.hashes["sha256"] for path, target in targets.items()}


# --- Adding ---------------------------------------------------------------------------------------------------------


def test_an_added_release_is_stored_offered_and_signed(
    shop: Database, add: Add, repository: releases.Repository, now: datetime
) -> None:
    """All in one transaction; its bytes are on disk and readable."""
    added, is_new = add()
    assert is_new
    assert (added.package, added.version, added.platform) == NAMES
    assert (added.file_name, added.created_at, added.withdrawn_at) == ("rclone-1.75.2.tar.gz", now, None)
    assert added.channels == ("stable",)
    assert added.manifest.commands == ("rclone",)
    with shop.reading() as tx:
        assert releases.find(tx, *NAMES) == added
        assert releases.find_all(tx, None) == releases.find_all(tx, "rclone") == [added]
        assert releases.offered(tx, "rclone", "linux-amd64", "stable") == [added]
        assert releases.packages_offered(tx, "linux-amd64", "stable") == ["rclone"]
        assert releases.count_releases(tx) == 1
    assert signed_releases(shop) == {"rclone/1.75.2/linux-amd64": added.sha256}
    artifact = repository.artifact(added.sha256)
    assert artifact is not None
    assert (artifact.stat().st_size, artifact.stat().st_mode & 0o777) == (added.size, 0o644)


def test_adding_the_same_file_again_changes_nothing(shop: Database, add: Add, now: datetime) -> None:
    """Also with another manifest: what was signed for a version never changes."""
    first, _ = add()
    before = rows(shop)
    assert add(at=now + timedelta(days=1)) == (first, False)
    again, is_new = add(given={"switch": "idle"})
    assert (again, is_new) == (first, False)
    assert rows(shop) == before


def test_another_channel_may_offer_it_too(shop: Database, add: Add) -> None:
    """Nothing is signed for that, because hosts do not know channels."""
    add()
    signed = rows(shop)["signed_metadata"]
    both, is_new = add(channel="beta")
    assert (both.channels, is_new) == (("beta", "stable"), False)
    assert rows(shop)["signed_metadata"] == signed
    with shop.reading() as tx:
        assert releases.offered(tx, "rclone", "linux-amd64", "beta") == [both]
        wanted = [("rclone", "linux-amd64", channel) for channel in ("beta", "stable", "beta")]
        assert releases.offered_for(tx, wanted) == [both], "once, though two channels have it"
        assert releases.offered_for(tx, []) == []
        assert releases.offered(tx, "rclone", "linux-arm64", "stable") == []
        assert releases.packages_offered(tx, "linux-amd64", "nightly") == []


def test_other_bytes_under_the_same_name_are_refused(shop: Database, add: Add) -> None:
    """Nothing has changed then. On another platform it is another release."""
    add()
    before = rows(shop)
    with pytest.raises(ReleaseConflict, match="exists with other bytes") as refused:
        add(content=tar(program("rclone", "another build")), channel="beta")
    assert refused.value.code == "ReleaseConflict"
    assert rows(shop) == before
    assert add(platform="linux-arm64", content=tar(program("rclone", "another build")))[1]


def test_folders_in_a_file_name_are_ignored(prepare: Prepare) -> None:
    """Old browsers send the whole path."""
    assert prepare(file_name="/home/ann/rclone.tar").file_name == "rclone.tar"
    assert prepare(file_name="/").file_name == "artifact"
    for odd in ("..", "a b", "a\nb", ".hidden", "a" * 256):
        with pytest.raises(ReleaseRefused, match="the file name"):
            prepare(file_name=odd)


def test_the_same_release_added_twice_at_once_is_added_once(
    shop: Database, repository: releases.Repository, prepare: Prepare, now: datetime
) -> None:
    """One caller learns that it is new."""
    prepared = prepare()
    results = at_once(shop, lambda tx: releases.add(tx, repository, prepared, channel="stable", now=now)[1], 4)
    assert sorted(results) == [False, False, False, True]
    assert list(signed_releases(shop)) == ["rclone/1.75.2/linux-amd64"]


def test_different_releases_added_at_once_are_both_signed(
    shop: Database, repository: releases.Repository, prepare: Prepare, now: datetime
) -> None:
    """The second transaction signs what the first has added, too."""
    waiting = [prepare(f"1.{number}") for number in range(4)]
    results = at_once(shop, lambda tx: releases.add(tx, repository, waiting.pop(), channel="stable", now=now)[1], 4)
    assert results == [True] * 4
    assert sorted(signed_releases(shop)) == [f"rclone/1.{number}/linux-amd64" for number in range(4)]
    with shop.reading() as tx:
        assert releases.count_releases(tx) == 4


def test_of_different_bytes_added_at_once_one_is_refused(
    shop: Database, repository: releases.Repository, prepare: Prepare, now: datetime
) -> None:
    """The other caller learns why."""
    waiting = [prepare(content=tar(program("rclone", text))) for text in ("a", "b")]

    def one(tx: Any) -> str:
        try:
            return releases.add(tx, repository, waiting.pop(), channel="stable", now=now)[0].sha256
        except ReleaseConflict:
            return ""

    results = at_once(shop, one, 2)
    assert sorted(map(len, results)) == [0, 64]
    assert [*signed_releases(shop).values()] == [max(results)]


def at_once(database: Database, work: Callable[[Any], Any], callers: int) -> list[Any]:
    """Do something several times at once, each in a transaction of its own; return the results."""
    results: list[Any] = []
    start = threading.Barrier(callers)

    def one() -> None:
        start.wait(10)
        with database.transaction() as tx:
            results.append(work(tx))

    threads = [threading.Thread(target=one) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


def test_more_releases_than_hosts_accept_are_refused(
    shop: Database, repository: releases.Repository, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of them is stored. Withdrawing a release makes space again."""
    add("1.0")
    before = rows(shop)
    monkeypatch.setattr(signed_metadata, "LARGEST", 1200)
    with pytest.raises(TooManyReleases, match="withdraw old releases first") as refused:
        add("2.0")
    assert refused.value.code == "QuotaExceeded.Release"
    assert rows(shop) == before
    withdraw(shop, repository, "1.0")
    assert add("2.0")[1]


# --- Withdrawing ----------------------------------------------------------------------------------------------------


def withdraw(database: Database, repository: releases.Repository, version: str = "1.75.2", **at: datetime) -> bool:
    with database.transaction() as tx:
        moment = at.get("now", datetime.fromisoformat("2026-01-03T00:00:00+00:00"))
        return releases.withdraw(tx, repository, "rclone", version, "linux-amd64", now=moment)


def test_a_withdrawn_release_is_no_longer_signed(
    shop: Database, repository: releases.Repository, add: Add, now: datetime
) -> None:
    """Its row and its bytes stay, because hosts may run it."""
    kept, _ = add("1.0")
    gone, _ = add("2.0")
    assert withdraw(shop, repository, "2.0", now=now)
    assert signed_releases(shop) == {"rclone/1.0/linux-amd64": kept.sha256}
    with shop.reading() as tx:
        found = releases.find(tx, "rclone", "2.0", "linux-amd64")
        offered = releases.offered(tx, "rclone", "linux-amd64", "stable")
    assert found is not None
    assert found.withdrawn_at == now
    assert repository.artifact(gone.sha256)
    picked = releases.select(offered, current="0.9", pin="").target
    assert picked is not None
    assert picked.version == "1.0"


def test_withdrawing_again_changes_nothing(
    shop: Database, repository: releases.Repository, add: Add, now: datetime
) -> None:
    """The time of the first withdrawal stays, and nothing is signed."""
    add()
    assert withdraw(shop, repository, now=now)
    before = rows(shop)
    assert withdraw(shop, repository, now=now + timedelta(days=1))
    assert rows(shop) == before


def test_an_unknown_release_cannot_be_withdrawn(shop: Database, repository: releases.Repository) -> None:
    """The caller learns that, and nothing is signed."""
    before = rows(shop)
    assert not withdraw(shop, repository)
    assert rows(shop) == before


def test_a_package_whose_releases_are_all_withdrawn_is_not_offered(
    shop: Database, repository: releases.Repository, add: Add
) -> None:
    """InstallBackupClients may then take the only other one."""
    add("1.0")
    add("1.0", package="restic")
    withdraw(shop, repository, "1.0")
    with shop.reading() as tx:
        assert releases.packages_offered(tx, "linux-amd64", "stable") == ["restic"]


def test_the_newest_release_is_listed_first(shop: Database, add: Add, now: datetime) -> None:
    """By the time it was added, whatever its version; also of one package."""
    for hours, (package, version) in enumerate([("restic", "9.0"), ("rclone", "2.0"), ("rclone", "1.0")]):
        add(version, package=package, at=now + timedelta(hours=hours))
    with shop.reading() as tx:
        assert [one.version for one in releases.find_all(tx, None)] == ["1.0", "2.0", "9.0"]
        assert [one.version for one in releases.find_all(tx, "restic")] == ["9.0"]


# --- Artifacts and keys ---------------------------------------------------------------------------------------------


def test_an_artifact_is_found_by_its_hash_only(tmp_path: Path) -> None:
    """A path is no hash."""
    repository = releases.Repository.open(tmp_path)
    sha256 = "ab" * 32
    repository.path_of(sha256).write_bytes(b"x")
    assert repository.artifact(sha256) == tmp_path / "artifacts" / sha256
    strange = ["", sha256.upper(), sha256[:-1], sha256 + "0", "../keys/release-root.key", "cd" * 32, "٣" * 64]
    assert [name for name in strange if repository.artifact(name)] == []
    repository.path_of("cd" * 32).mkdir()
    assert repository.artifact("cd" * 32) is None


def test_an_artifact_that_is_stored_already_is_not_replaced(tmp_path: Path) -> None:
    """The second upload stays where it is."""
    repository = releases.Repository.open(tmp_path)
    first, second = tmp_path / "first", tmp_path / "second"
    for upload in (first, second):
        upload.write_bytes(b"x")
        releases.keep_artifact(repository, upload, "ab" * 32)
    assert not first.exists()
    assert second.exists()


def test_keys_are_made_once_and_readable_by_their_owner_only(tmp_path: Path) -> None:
    """There is one for each role, and none is printed."""
    first, second = releases.Repository.open(tmp_path), releases.Repository.open(tmp_path)
    roles = ("root", "targets", "snapshot", "timestamp")
    ids = [first.signer(role).public_key.keyid for role in roles]
    assert ids == [second.signer(role).public_key.keyid for role in roles]
    assert len(set(ids)) == 4
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == sorted(
        f"release-{role}.key" for role in roles
    )
    for path in (tmp_path / "keys", *(tmp_path / "keys").iterdir(), tmp_path / "artifacts"):
        assert path.stat().st_mode & 0o077 == 0
    assert repr(first) == f"Repository({tmp_path / 'artifacts'})"


def test_processes_that_start_together_use_the_same_keys(tmp_path: Path) -> None:
    """No partial file is left."""
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda _: releases.Repository.open(tmp_path), range(8)))
    for role in ("root", "targets", "snapshot", "timestamp"):
        assert len({repository.signer(role).public_key.keyid for repository in opened}) == 1
    assert [path.name for path in (tmp_path / "keys").iterdir() if path.name.startswith(".")] == []


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    """An administrator may have put it there."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    releases.Repository.open(tmp_path)
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "keys" / "release-targets.key").write_bytes(other)
    with pytest.raises(ValueError, match="is not the key this program made"):
        releases.Repository.open(tmp_path)
