"""Signed metadata: made once, signed anew in time, each version kept as long as somebody may ask for it."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata, Root

from backfleet import releases
from backfleet.releases import LIFETIMES, signed_metadata
from backfleet.storage import Database

Add = Callable[..., tuple[releases.Release, bool]]
MOMENT = timedelta(seconds=1)


def document(database: Database, name: str) -> Metadata[Any] | None:
    with database.reading() as tx:
        content = releases.metadata(tx, name)
    return None if content is None else Metadata.from_bytes(content)


def newest(database: Database, role: str) -> Metadata[Any]:
    found = [one for number in range(1, 60) if (one := document(database, f"{number}.{role}.json"))]
    return found[-1]


def versions(database: Database) -> dict[str, int]:
    return {role: newest(database, role).signed.version for role in LIFETIMES}


def refresh(database: Database, repository: releases.Repository, now: datetime) -> bool:
    with database.transaction() as tx:
        return releases.refresh(tx, repository, now=now)


def test_the_first_root_names_a_key_for_each_role(
    shop: Database, repository: releases.Repository, now: datetime
) -> None:
    """The other three documents are signed with theirs, and each has a lifetime of its own."""
    root = document(shop, "1.root.json")
    assert root is not None
    signed = root.signed
    assert isinstance(signed, Root)
    assert signed.consistent_snapshot
    for role, life in LIFETIMES.items():
        made = newest(shop, role)
        signed.verify_delegate(role, made.signed_bytes, made.signatures)
        assert (made.signed.version, made.signed.expires) == (1, now + life)
        assert signed.roles[role].threshold == 1
        assert signed.roles[role].keyids == [repository.signer(role).public_key.keyid]


def test_the_key_of_one_role_signs_for_no_other(shop: Database) -> None:
    """An attacker with the timestamp key cannot make a release."""
    root, timestamp = newest(shop, "root").signed, newest(shop, "timestamp")
    with pytest.raises(UnsignedMetadataError):
        root.verify_delegate("targets", timestamp.signed_bytes, timestamp.signatures)


def test_each_document_names_the_version_of_the_next(shop: Database, add: Add) -> None:
    """Timestamp, snapshot, targets."""
    added, _ = add()
    assert newest(shop, "timestamp").signed.snapshot_meta.version == newest(shop, "snapshot").signed.version == 2
    assert newest(shop, "snapshot").signed.meta["targets.json"].version == newest(shop, "targets").signed.version == 2
    target = newest(shop, "targets").signed.targets["rclone/1.75.2/linux-amd64"]
    assert (target.length, target.hashes) == (added.size, {"sha256": added.sha256})
    assert target.custom["backfleet"] == json.loads(json.dumps(added.manifest.to_json()))


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        pytest.param(timedelta(), (1, 1, 1, 1), id="new"),
        pytest.param(LIFETIMES["timestamp"] / 2, (1, 1, 1, 1), id="half of the timestamp's life, to the moment"),
        pytest.param(LIFETIMES["timestamp"] / 2 + MOMENT, (1, 1, 1, 2), id="a moment more"),
        pytest.param(LIFETIMES["timestamp"] * 2, (1, 1, 1, 2), id="a timestamp that has expired"),
        pytest.param(LIFETIMES["snapshot"] / 2 + MOMENT, (1, 1, 2, 2), id="half of the snapshot's life"),
        pytest.param(LIFETIMES["targets"] / 2 + MOMENT, (1, 2, 2, 2), id="half of the targets' life"),
        pytest.param(LIFETIMES["root"] / 2 + MOMENT, (2, 2, 2, 2), id="half of the root's life"),
        pytest.param(LIFETIMES["root"] * 2, (2, 2, 2, 2), id="after a very long sleep"),
    ],
)
def test_metadata_is_renewed_after_half_of_its_lifetime(
    shop: Database, repository: releases.Repository, now: datetime, age: timedelta, expected: tuple[int, ...]
) -> None:
    """Not before; documents that name it are renewed with it, each for its full lifetime."""
    later = now + age
    assert refresh(shop, repository, later) is (expected != (1, 1, 1, 1))
    assert tuple(versions(shop).values()) == expected
    for role, version in versions(shop).items():
        if version == 2:
            assert newest(shop, role).signed.expires == later + LIFETIMES[role]
    assert not refresh(shop, repository, later)


def test_renewed_metadata_has_the_same_releases(shop: Database, repository: releases.Repository, add: Add) -> None:
    """However often it is renewed."""
    added, _ = add()
    for days in (200, 400, 600):
        assert refresh(shop, repository, added.created_at + timedelta(days=days))
        assert list(newest(shop, "targets").signed.targets) == [added.target_path]


def test_a_new_root_is_signed_with_the_keys_of_the_old(
    shop: Database, repository: releases.Repository, now: datetime
) -> None:
    """Hosts that were enrolled with the first root follow, because both can always be fetched."""
    refresh(shop, repository, now + LIFETIMES["root"])
    first, second = document(shop, "1.root.json"), document(shop, "2.root.json")
    assert first is not None
    assert second is not None
    first.signed.verify_delegate("root", second.signed_bytes, second.signatures)
    assert second.signed.keys == first.signed.keys


def test_old_versions_are_kept_for_a_while(shop: Database, add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client in the middle of a refresh finds the versions that it expects. Every root is kept."""
    monkeypatch.setattr(signed_metadata, "KEPT_VERSIONS", 3)
    for number in range(5):
        add(f"1.{number}")
    for role in ("targets", "snapshot", "timestamp"):
        kept = [number for number in range(1, 9) if document(shop, f"{number}.{role}.json")]
        assert kept == [4, 5, 6]
    assert document(shop, "1.root.json")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "root.json",  # always with its version
        "snapshot.json",
        "0.root.json",
        "2.root.json",
        "-1.root.json",
        "1.root",
        "1.root.json.json",
        "1.1.root.json",
        "1.mirrors.json",
        "timestamp",
        ".json",
        "1..json",
        "1_0.root.json",
        "9" * 40 + ".root.json",
        "../1.root.json",
        "1.root.json\0",
    ],
)
def test_unknown_metadata_names_give_nothing(shop: Database, name: str) -> None:
    """Whatever is asked for."""
    assert document(shop, name) is None


# --- The worker -----------------------------------------------------------------------------------------------------


def test_the_worker_makes_the_first_and_keeps_it_fresh(
    database: Database, repository: releases.Repository, now: datetime
) -> None:
    """However often it runs, only what is due is signed."""
    for moment, version in ((now, 1), (now + timedelta(days=1), 1), (now + timedelta(days=5), 2)):
        assert releases.run_once(database, repository, now=moment) is False
        assert newest(database, "timestamp").signed.version == version


def test_the_worker_takes_no_lock_when_nothing_is_due(
    postgresql_database: Database, repository: releases.Repository, now: datetime
) -> None:
    """So it does not wait for somebody who publishes."""
    refresh(postgresql_database, repository, now)
    with postgresql_database.transaction() as tx:
        releases.refresh(tx, repository, now=now)  # holds the lock
        assert releases.run_once(postgresql_database, repository, now=now) is False


def test_of_two_workers_at_once_one_signs(shop: Database, repository: releases.Repository, now: datetime) -> None:
    """The others find that nothing is due any more."""
    import threading

    later = now + timedelta(days=4)
    threads = [
        threading.Thread(target=releases.run_once, args=(shop, repository), kwargs={"now": later}) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert versions(shop) == {"root": 1, "targets": 1, "snapshot": 1, "timestamp": 2}
