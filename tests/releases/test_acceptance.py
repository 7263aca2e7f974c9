"""What was signed elsewhere: taken as a whole, or refused with a word about what is missing."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner, Key, Signature
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, MetaFile, Root, Targets

from backfleet import releases
from backfleet.releases import LIFETIMES, NotSigned, TooManyReleases, signed_metadata
from backfleet.releases.offline_signing import (
    LARGEST_BUNDLE,
    BadDocument,
    Bundle,
    Signers,
    new_signers,
    read_bundle,
    read_signers,
    sign,
    with_signers,
)
from backfleet.storage import Database

Add = Callable[..., tuple[releases.Release, bool]]
Make = Callable[[Bundle, datetime], Bundle]
SIGNERS, KEYS = new_signers(3, 2)
ROOTS, TARGETS = [KEYS[f"root-{number}"] for number in (1, 2, 3)], KEYS["targets"]
OTHER_SIGNERS = list(new_signers(1, 1)[1].values())
FOREIGN_SIGNER = CryptoSigner(OTHER_SIGNERS[0])


def pending(shop: Database, repository: releases.Repository, now: datetime) -> Bundle:
    """Read the pending bundle as it comes from a file."""
    with shop.transaction() as tx:
        return read_bundle(releases.pending_signatures(tx, repository, now=now).to_bytes())


def take(shop: Database, repository: releases.Repository, bundle: Bundle, now: datetime) -> list[str]:
    with shop.transaction() as tx:
        return releases.accept_signatures(tx, repository, bundle.to_bytes(), now=now)


def documents(shop: Database) -> dict[str, bytes | None]:
    with shop.reading() as tx:
        return {
            role: signed_metadata.read(tx, role).to_bytes() for role in ("root", "targets", "snapshot", "timestamp")
        }


def offered(shop: Database) -> set[str]:
    with shop.reading() as tx:
        return {release.version for release in releases.offered(tx, "rclone", "linux-amd64", "stable")}


def taken_over(shop: Database, repository: releases.Repository, now: datetime) -> None:
    bundle = with_signers(pending(shop, repository, now), SIGNERS, now=now)
    sign(bundle, [*ROOTS[:2], TARGETS], root=True)
    assert take(shop, repository, bundle, now) == ["root", "targets"]


def test_after_a_take_over_the_servers_keys_sign_no_release(
    shop: Database, repository: releases.Repository, add: Add, now: datetime
) -> None:
    """Offered releases stay offered, new ones wait for a signature, withdrawn ones are no longer ordered at once."""
    add("1.0")
    taken_over(shop, repository, now)
    add("2.0")
    assert offered(shop) == {"1.0"}
    bundle = pending(shop, repository, now)
    sign(bundle, [TARGETS])
    assert take(shop, repository, bundle, now) == ["targets"]
    assert offered(shop) == {"1.0", "2.0"}


def test_the_worker_renews_only_what_the_servers_keys_may_sign(
    shop: Database, repository: releases.Repository, now: datetime
) -> None:
    """A root of others is not renewed here, and the worker does not try again and again."""
    taken_over(shop, repository, now)
    before = documents(shop)
    later = now + timedelta(days=3600)
    with shop.transaction() as tx:
        assert releases.refresh(tx, repository, now=later)
        assert not releases.refresh(tx, repository, now=later)
    after = documents(shop)
    assert (before["root"], before["targets"]) == (after["root"], after["targets"])
    assert before["timestamp"] != after["timestamp"]


def test_other_signers_can_take_over(shop: Database, repository: releases.Repository, now: datetime) -> None:
    """Enough of the old and of the new signers must agree; one of each is not enough."""
    taken_over(shop, repository, now)
    signers, keys = new_signers(2, 2)
    mine = [keys["root-1"], keys["root-2"], keys["targets"]]
    bundle = with_signers(pending(shop, repository, now), signers, now=now)
    sign(bundle, [*mine, ROOTS[0]], root=True)
    with pytest.raises(NotSigned, match="those whom it replaces: 2"):
        take(shop, repository, bundle, now)
    sign(bundle, [ROOTS[2]], root=True)
    assert take(shop, repository, bundle, now) == ["root", "targets"]
    stale = pending(shop, repository, now)
    sign(stale, [TARGETS, *ROOTS], root=True)
    with pytest.raises(NotSigned, match="the targets key"):
        take(shop, repository, stale, now)


def _proposed(change: Callable[[Bundle, datetime], object], keys: Sequence[Any] = (*ROOTS, TARGETS)) -> Make:
    """A take-over with a mistake that every signer signed."""

    def make(bundle: Bundle, now: datetime) -> Bundle:
        made = with_signers(bundle, SIGNERS, now=now)
        change(made, now)
        sign(made, keys, root=True)
        return made

    return make


def _root_ends(after: timedelta) -> Make:
    return _proposed(lambda made, now: setattr(made.root.signed, "expires", now + after))


def _offer_ends(after: timedelta) -> Make:
    return _proposed(lambda made, now: setattr(made.targets.signed, "expires", now + after))


def _a_version_skipped(made: Bundle, _now: datetime) -> None:
    made.root.signed.version += 1


def _our_snapshot_key_left_out(made: Bundle, _now: datetime) -> None:
    made.root.signed.revoke_key(made.root.signed.roles["snapshot"].keyids[0], "snapshot")


def _another_key_under_the_id_of_ours(made: Bundle, _now: datetime) -> None:
    keyid = made.root.signed.roles["snapshot"].keyids[0]
    made.root.signed.keys[keyid] = Key.from_dict(keyid, FOREIGN_SIGNER.public_key.to_dict())


def _a_snapshot_key_besides_ours(made: Bundle, _now: datetime) -> None:
    made.root.signed.add_key(FOREIGN_SIGNER.public_key, "snapshot")


def _another_release(made: Bundle, _now: datetime) -> None:
    made.targets.signed.targets.clear()


def _a_delegation(made: Bundle, _now: datetime) -> None:
    role = DelegatedRole("theirs", [FOREIGN_SIGNER.public_key.keyid], 1, terminating=True, paths=["*/*/*"])
    made.targets.signed.delegations = Delegations(
        {FOREIGN_SIGNER.public_key.keyid: FOREIGN_SIGNER.public_key}, {"theirs": role}
    )


def _a_word_more(made: Bundle, _now: datetime) -> None:
    made.targets.signed.unrecognized_fields["more"] = 1


def _nothing(_made: Bundle, _now: datetime) -> None:
    pass


def _a_root_of_ones_own(change: Callable[[Root], None]) -> Make:
    """A root with the version in force and other content: its targets key could be anybody's."""

    def make(bundle: Bundle, _now: datetime) -> Bundle:
        change(bundle.root.signed)
        bundle.targets.sign(FOREIGN_SIGNER)
        return bundle

    return make


def _own_targets_key(root: Root) -> None:
    root.revoke_key(root.roles["targets"].keyids[0], "targets")
    root.add_key(FOREIGN_SIGNER.public_key, "targets")


def _another_end(root: Root) -> None:
    root.expires += timedelta(days=1)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        pytest.param(_proposed(_nothing, []), "lacks signatures", id="nobody signed"),
        pytest.param(_proposed(_nothing, [ROOTS[0], TARGETS]), "those whom it names: 2 must", id="too few signed"),
        pytest.param(_proposed(_nothing, OTHER_SIGNERS), "lacks signatures", id="others signed"),
        pytest.param(_proposed(_a_version_skipped), "cannot follow", id="a root is skipped"),
        pytest.param(_proposed(_our_snapshot_key_left_out), "must stay", id="a root without our snapshot key"),
        pytest.param(_proposed(_another_key_under_the_id_of_ours), "must stay", id="another key by the name of ours"),
        pytest.param(_proposed(_a_snapshot_key_besides_ours), "must stay", id="another snapshot key besides ours"),
        pytest.param(_root_ends(-timedelta(days=1)), "too soon or too late", id="a root of yesterday"),
        pytest.param(_root_ends(timedelta(days=29)), "too soon or too late", id="a root that ends in a month"),
        pytest.param(_root_ends(timedelta(days=36500)), "too soon or too late", id="a root for a hundred years"),
        pytest.param(_proposed(_another_release), "has changed since", id="another offer than what waits"),
        pytest.param(_proposed(_a_delegation), "has changed since", id="an offer that others may add to"),
        pytest.param(_proposed(_a_word_more), "has changed since", id="an offer that says more"),
        pytest.param(_offer_ends(timedelta(days=36500)), "too soon or too late", id="an offer for a hundred years"),
        pytest.param(_offer_ends(-timedelta(days=1)), "too soon or too late", id="an offer of yesterday"),
        pytest.param(_a_root_of_ones_own(_own_targets_key), "not the one in force", id="a targets key of one's own"),
        pytest.param(_a_root_of_ones_own(_another_end), "not the one in force", id="the root in force, other bytes"),
    ],
)
def test_a_refused_document_changes_nothing(
    shop: Database,
    repository: releases.Repository,
    add: Add,
    now: datetime,
    make: Make,
    text: str,
) -> None:
    """The message says what is missing."""
    add("1.0")
    before = documents(shop)
    with pytest.raises(NotSigned, match=text):
        take(shop, repository, make(pending(shop, repository, now), now), now)
    assert documents(shop) == before


def test_targets_are_verified_with_the_root_in_force(
    shop: Database, repository: releases.Repository, add: Add, now: datetime
) -> None:
    """After a take-over, the root in force with a signature of the server is not enough."""
    taken_over(shop, repository, now)
    add("1.0")
    bundle = pending(shop, repository, now)
    bundle.targets.sign(repository.signer("targets"))
    with pytest.raises(NotSigned, match="the targets key"):
        take(shop, repository, bundle, now)
    assert offered(shop) == set()


def test_nothing_is_offered_under_an_expired_root(
    shop: Database, repository: releases.Repository, now: datetime
) -> None:
    """Hosts would refuse it. Signing the next root helps."""
    taken_over(shop, repository, now)
    later = now + LIFETIMES["root"]
    bundle = pending(shop, repository, later)
    sign(bundle, [TARGETS])
    with pytest.raises(NotSigned, match="root 2 ended on"):
        take(shop, repository, bundle, later)
    bundle = with_signers(bundle, SIGNERS, now=later)
    sign(bundle, [*ROOTS, TARGETS], root=True)
    assert take(shop, repository, bundle, later) == ["root", "targets"]


def test_invalid_signatures_are_not_published(shop: Database, repository: releases.Repository, now: datetime) -> None:
    """Hosts accept no root above 512,000 bytes, so additions to a file could stop them for good."""
    bundle = with_signers(pending(shop, repository, now), SIGNERS, now=now)
    sign(bundle, [*ROOTS[:2], TARGETS], root=True)
    third = SIGNERS.root[2].keyid
    for document in (bundle.root, bundle.targets):
        document.signatures |= {name: Signature(name, "ab" * 300_000) for name in ("ab" * 32, third)}
        document.unrecognized_fields["more"] = "x" * 600_000
    assert take(shop, repository, bundle, now) == ["root", "targets"]
    for role, signers in (("root", 3), ("targets", 1)):  # root: two of the new, and the server's own
        content = documents(shop)[role] or b""
        assert len(content) < 10_000
        assert len(Metadata[Any].from_bytes(content).signatures) == signers


def test_a_root_too_large_for_hosts_is_refused(shop: Database, repository: releases.Repository, now: datetime) -> None:
    """Even if all have signed it: hosts could never get past it."""
    before = documents(shop)
    bundle = with_signers(pending(shop, repository, now), SIGNERS, now=now)
    bundle.root.signed.unrecognized_fields["more"] = "x" * 500_000
    sign(bundle, [*ROOTS, TARGETS], root=True)
    with pytest.raises(TooManyReleases, match="more than hosts take"):
        take(shop, repository, bundle, now)
    assert documents(shop) == before


def test_the_server_does_not_sign_alone_for_a_role_with_a_threshold(
    shop: Database, repository: releases.Repository, now: datetime
) -> None:
    """Every host would refuse such a root for good."""
    signers = Signers(2, [SIGNERS.root[0], repository.signer("root").public_key], SIGNERS.targets)
    bundle = with_signers(pending(shop, repository, now), signers, now=now)
    sign(bundle, [ROOTS[0], TARGETS], root=True)
    bundle.root.sign(repository.signer("root"), append=True)
    assert take(shop, repository, bundle, now) == ["root", "targets"]
    before = documents(shop)["root"]
    with shop.transaction() as tx:
        releases.refresh(tx, repository, now=now + LIFETIMES["root"])
    assert documents(shop)["root"] == before


def test_a_new_server_accepts_no_document_of_another(
    database: Database, repository: releases.Repository, now: datetime
) -> None:
    """Nothing is pending there yet."""
    _, keys = new_signers(1, 1)
    root = signed_metadata._first_root(repository, now)
    bundle = Bundle(Metadata(root), Metadata(Targets(version=1, expires=now)))
    sign(bundle, list(keys.values()))
    with pytest.raises(NotSigned, match="nothing waits"):
        take(database, repository, bundle, now)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"root": 1, "targets": 2}', b"[" * 100_000, b"\xff"])
def test_other_files_are_refused(
    shop: Database, repository: releases.Repository, now: datetime, content: bytes
) -> None:
    """Whatever the file holds, the refusal is clear."""
    with shop.transaction() as tx, pytest.raises(NotSigned, match="pending"):
        releases.accept_signatures(tx, repository, content, now=now)
    with pytest.raises(BadDocument):
        read_signers(content)


def test_metadata_of_another_role_is_refused(shop: Database, repository: releases.Repository, now: datetime) -> None:
    """A snapshot in the place of targets, for example."""
    bundle = pending(shop, repository, now)
    with pytest.raises(BadDocument):
        read_bundle(Bundle(bundle.targets, bundle.root).to_bytes())  # type: ignore[arg-type]
    snapshot: Metadata[Any] = Metadata.from_bytes(documents(shop)["snapshot"] or b"")
    assert snapshot.signed.meta["targets.json"] == MetaFile(version=1)
    with pytest.raises(BadDocument):
        read_bundle(Bundle(bundle.root, snapshot).to_bytes())


def test_signers_are_read_back_from_their_file() -> None:
    """The file holds nothing secret."""
    assert read_signers(SIGNERS.to_bytes()) == SIGNERS
    assert b"PRIVATE" not in SIGNERS.to_bytes()
    with pytest.raises(BadDocument):
        read_signers(replace(SIGNERS, threshold=4).to_bytes())


def test_one_key_under_two_ids_does_not_count_twice() -> None:
    """It could reach the threshold alone."""
    first = SIGNERS.root[0]
    twice = replace(SIGNERS, root=[first, Key.from_dict("ab" * 32, first.to_dict())])
    with pytest.raises(BadDocument, match="twice"):
        read_signers(twice.to_bytes())


def test_a_bundle_that_is_too_large_is_not_read() -> None:
    """The size is checked before anything is parsed."""
    with pytest.raises(BadDocument, match="more than"):
        read_bundle(b" " * (LARGEST_BUNDLE + 1))


def test_the_reason_for_a_refusal_fits_on_one_line() -> None:
    """It has no control characters, because somebody else may have written the file."""
    for content in (b"\xff" * 5000, b'{"root": "\\u001b[2J", "targets": {"signed": {"_type": "\\u001b[2J"}}}'):
        with pytest.raises(BadDocument) as refusal:
            read_bundle(content)
        assert len(str(refusal.value)) < 400
        assert str(refusal.value).isprintable()
