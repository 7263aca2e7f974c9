"""What was signed elsewhere: taken as a whole, or refused with a word about what is missing."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from tuf.api.metadata import Metadata, MetaFile

from backfleet import releases
from backfleet.releases import NotSigned, trust
from backfleet.releases.offline import (
    BadDocument,
    Bundle,
    new_signers,
    read_bundle,
    read_signers,
    sign,
    with_signers,
)
from backfleet.storage import Database

Add = Callable[..., tuple[releases.Release, bool]]
SIGNERS, KEYS = new_signers(3, 2)
ROOTS, TARGETS = [KEYS[f"root-{number}"] for number in (1, 2, 3)], KEYS["targets"]


def pending(shop: Database, repository: releases.Repository, now: datetime) -> Bundle:
    """As it comes from a file."""
    with shop.transaction() as tx:
        return read_bundle(releases.pending(tx, repository, now=now).to_bytes())


def take(shop: Database, repository: releases.Repository, bundle: Bundle, now: datetime) -> list[str]:
    with shop.transaction() as tx:
        return releases.take(tx, repository, bundle.to_bytes(), now=now)


def documents(shop: Database) -> dict[str, bytes | None]:
    with shop.reading() as tx:
        return {role: trust.read(tx, role).to_bytes() for role in ("root", "targets", "snapshot", "timestamp")}


def offered(shop: Database) -> set[str]:
    with shop.reading() as tx:
        return {release.version for release in releases.offered(tx, "rclone", "linux-amd64", "stable")}


def taken_over(shop: Database, repository: releases.Repository, now: datetime) -> None:
    bundle = with_signers(pending(shop, repository, now), SIGNERS, now=now)
    sign(bundle, [*ROOTS[:2], TARGETS])
    assert take(shop, repository, bundle, now) == ["root", "targets"]


def test_from_then_on_our_own_keys_make_no_release(
    shop: Database, repository: releases.Repository, add: Add, now: datetime
) -> None:
    """What was offered stays offered; what is new waits; what is withdrawn is ordered no more at once."""
    add("1.0")
    taken_over(shop, repository, now)
    add("2.0")
    assert offered(shop) == {"1.0"}
    bundle = pending(shop, repository, now)
    sign(bundle, [TARGETS])
    assert take(shop, repository, bundle, now) == ["targets"]
    assert offered(shop) == {"1.0", "2.0"}


def test_what_is_ours_is_kept_fresh_and_nothing_else(
    shop: Database, repository: releases.Repository, now: datetime
) -> None:
    """A root that is due is not ours to sign; nor does the worker try for ever."""
    taken_over(shop, repository, now)
    before = documents(shop)
    later = now + timedelta(days=3600)
    with shop.transaction() as tx:
        assert releases.refresh(tx, repository, now=later)
        assert not releases.refresh(tx, repository, now=later)
    after = documents(shop)
    assert (before["root"], before["targets"]) == (after["root"], after["targets"])
    assert before["timestamp"] != after["timestamp"]


def test_signers_can_be_replaced_by_others(shop: Database, repository: releases.Repository, now: datetime) -> None:
    """When enough of the old and of the new agree; one of each is not enough."""
    taken_over(shop, repository, now)
    signers, keys = new_signers(2, 2)
    mine = [keys["root-1"], keys["root-2"], keys["targets"]]
    bundle = with_signers(pending(shop, repository, now), signers, now=now)
    sign(bundle, [*mine, ROOTS[0]])
    with pytest.raises(NotSigned, match="those whom it replaces: 2"):
        take(shop, repository, bundle, now)
    sign(bundle, [ROOTS[2]])
    assert take(shop, repository, bundle, now) == ["root", "targets"]
    stale = pending(shop, repository, now)
    sign(stale, [TARGETS, *ROOTS])
    with pytest.raises(NotSigned, match="the targets key"):
        take(shop, repository, stale, now)


def _no_signatures(bundle: Bundle, now: datetime) -> Bundle:
    return with_signers(bundle, SIGNERS, now=now)


def _one_root_too_few(bundle: Bundle, now: datetime) -> Bundle:
    made = with_signers(bundle, SIGNERS, now=now)
    sign(made, [ROOTS[0], TARGETS])
    return made


def _a_version_skipped(bundle: Bundle, now: datetime) -> Bundle:
    made = with_signers(bundle, SIGNERS, now=now)
    made.root.signed.version += 1
    sign(made, [*ROOTS, TARGETS])
    return made


def _our_snapshot_key_left_out(bundle: Bundle, now: datetime) -> Bundle:
    made = with_signers(bundle, SIGNERS, now=now)
    made.root.signed.revoke_key(made.root.signed.roles["snapshot"].keyids[0], "snapshot")
    sign(made, [*ROOTS, TARGETS])
    return made


def _another_release(bundle: Bundle, now: datetime) -> Bundle:
    made = with_signers(bundle, SIGNERS, now=now)
    made.targets.signed.targets.clear()
    sign(made, [*ROOTS, TARGETS])
    return made


def _no_end(bundle: Bundle, now: datetime) -> Bundle:
    made = with_signers(bundle, SIGNERS, now=now)
    made.targets.signed.expires = now + timedelta(days=36500)
    sign(made, [*ROOTS, TARGETS])
    return made


def _expired(bundle: Bundle, now: datetime) -> Bundle:
    made = with_signers(bundle, SIGNERS, now=now)
    made.targets.signed.expires = now - timedelta(days=1)
    sign(made, [*ROOTS, TARGETS])
    return made


def _strangers(bundle: Bundle, now: datetime) -> Bundle:
    _, keys = new_signers(1, 1)
    made = with_signers(bundle, SIGNERS, now=now)
    sign(made, list(keys.values()))
    return replace(made, targets=bundle.targets)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        pytest.param(_no_signatures, "lacks signatures", id="nobody signed"),
        pytest.param(_one_root_too_few, "those whom it names: 2 must agree", id="too few signed"),
        pytest.param(_strangers, "lacks signatures", id="strangers signed"),
        pytest.param(_a_version_skipped, "cannot follow", id="a root is skipped"),
        pytest.param(_our_snapshot_key_left_out, "must stay this server's own", id="a root without our snapshot key"),
        pytest.param(_another_release, "has changed since", id="another offer than what waits"),
        pytest.param(_no_end, "too soon or too late", id="an offer for a hundred years"),
        pytest.param(_expired, "too soon or too late", id="an offer of yesterday"),
    ],
)
def test_refusals_change_nothing(
    shop: Database,
    repository: releases.Repository,
    add: Add,
    now: datetime,
    make: Callable[[Bundle, datetime], Bundle],
    text: str,
) -> None:
    """Each says what is missing."""
    add("1.0")
    before = documents(shop)
    with pytest.raises(NotSigned, match=text):
        take(shop, repository, make(pending(shop, repository, now), now), now)
    assert documents(shop) == before


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"root": 1, "targets": 2}', b"[" * 100_000, b"\xff"])
def test_documents_that_are_none(
    shop: Database, repository: releases.Repository, now: datetime, content: bytes
) -> None:
    """One clear refusal, whatever came."""
    with shop.transaction() as tx, pytest.raises(NotSigned, match="pending"):
        releases.take(tx, repository, content, now=now)
    with pytest.raises(BadDocument):
        read_signers(content)


def test_roles_are_not_mistaken_for_each_other(shop: Database, repository: releases.Repository, now: datetime) -> None:
    """A snapshot is no list of releases."""
    bundle = pending(shop, repository, now)
    with pytest.raises(BadDocument):
        read_bundle(Bundle(bundle.targets, bundle.root).to_bytes())  # type: ignore[arg-type]
    snapshot: Metadata[Any] = Metadata.from_bytes(documents(shop)["snapshot"] or b"")
    assert snapshot.signed.meta["targets.json"] == MetaFile(version=1)
    with pytest.raises(BadDocument):
        read_bundle(Bundle(bundle.root, snapshot).to_bytes())


def test_signers_travel_as_a_file() -> None:
    """Nothing secret is in it."""
    assert read_signers(SIGNERS.to_bytes()) == SIGNERS
    assert b"PRIVATE" not in SIGNERS.to_bytes()
    with pytest.raises(BadDocument):
        read_signers(replace(SIGNERS, threshold=4).to_bytes())
