"""What somebody is shown before their keys sign, and what no key signs, whoever asks. Rows are named by attack."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from securesystemslib.signer import CryptoSigner, Key
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Root, TargetFile, Targets

from backfleet.releases import review
from backfleet.releases.offline_signing import (
    ROOT_LIFE,
    TARGETS_LIFE,
    BadDocument,
    Bundle,
    Signers,
    is_valid_key,
    new_signers,
    read_bundle,
    sign,
    with_signers,
)

SERVER = {role: CryptoSigner.generate_ed25519() for role in ("root", "targets", "snapshot", "timestamp")}
SIGNERS, KEYS = new_signers(3, 2)
THEIRS, THIEF_KEYS = new_signers(3, 2)
THIEF = THEIRS.targets
YEAR = timedelta(days=365)


def release(sha256: str = "ab" * 32, **changes: object) -> TargetFile:
    manifest = {"package": "rclone", "health": {"command": ["rclone", "version"]}, "service": None, **changes}
    return TargetFile(7, {"sha256": sha256}, "rclone/1.0/linux-amd64", {"custom": {"backfleet": manifest}})


@pytest.fixture
def bundle(now: datetime) -> Bundle:
    """What a new server writes, read back from a file."""
    root = Root(version=1, expires=now + ROOT_LIFE, consistent_snapshot=True)
    for role, signer in SERVER.items():
        root.add_key(signer.public_key, role)
    made = Metadata(root)
    made.sign(SERVER["root"])
    targets = Targets(version=3, expires=now + TARGETS_LIFE, targets={"rclone/1.0/linux-amd64": release()})
    return read_bundle(Bundle(made, Metadata(targets)).to_bytes())


@pytest.fixture
def current(bundle: Bundle, now: datetime) -> Bundle:
    """After a take-over by all three."""
    made = with_signers(bundle, SIGNERS, now=now)
    sign(made, list(KEYS.values()), root=True)
    return read_bundle(replace(made, replaces=None).to_bytes())


# --- Which keys sign what -------------------------------------------------------------------------------------------


def test_a_root_is_signed_only_if_asked_for(bundle: Bundle, now: datetime) -> None:
    """Targets are signed in any case; a root only by keys that it names or replaces."""
    made = with_signers(bundle, SIGNERS, now=now)
    assert sign(made, list(KEYS.values())) == ["targets"]
    assert not made.root.signatures
    assert sign(made, list(THIEF_KEYS.values()), root=True) == []
    assert sign(made, [KEYS["root-1"]], root=True) == ["root"]


def test_signers_who_are_replaced_sign_too(current: Bundle, now: datetime) -> None:
    """A root that names other keys needs enough signatures of those before."""
    made = with_signers(current, THEIRS, now=now)
    assert sign(made, [KEYS["root-1"], KEYS["targets"]], root=True) == ["root"]
    assert not made.targets.signatures.keys() & {THEIRS.targets.keyid}


# --- The root that stands -------------------------------------------------------------------------------------------


def test_targets_are_signed_under_the_current_root(current: Bundle, now: datetime) -> None:
    """Seen before or not, as long as it names exactly the keys of the folder."""
    for remembered in (None, current):
        review.check_current_root(current.root, SIGNERS, remembered, now=now)
        assert bool(review.root_changes(remembered and remembered.root.signed, current.root.signed)) is (not remembered)


def _own_targets_key(root: Root) -> None:
    root.add_key(THIEF, "targets")


def _own_value_under_a_known_id(root: Root) -> None:
    keyid = SIGNERS.targets.keyid
    root.keys[keyid] = Key.from_dict(keyid, THIEF.to_dict())


def _own_root_key(root: Root) -> None:
    root.add_key(THIEF, "root")


def _one_is_enough(root: Root) -> None:
    root.roles["root"].threshold = 1


def _the_next_version(root: Root) -> None:
    root.version += 1


def _another_snapshot_key(root: Root) -> None:
    root.add_key(THIEF, "snapshot")


@pytest.mark.parametrize("remembers", [True, False])
@pytest.mark.parametrize("change", [_own_targets_key, _own_value_under_a_known_id, _own_root_key, _one_is_enough])
def test_targets_are_not_signed_under_a_root_of_other_keys(
    current: Bundle, now: datetime, change: Callable[[Root], None], remembers: bool
) -> None:
    """An attacker who has the server can write such a root, but signers.json names other keys."""
    root = read_bundle(current.to_bytes()).root
    change(root.signed)
    with pytest.raises(BadDocument, match=r"names other keys than signers\.json"):
        review.check_current_root(root, SIGNERS, current if remembers else None, now=now)
    assert review.root_changes(current.root.signed, root.signed)


@pytest.mark.parametrize("change", [_the_next_version, _another_snapshot_key])
def test_a_root_with_the_same_signers_is_compared_with_the_known_one(
    current: Bundle, now: datetime, change: Callable[[Root], None]
) -> None:
    """It must be the one that the folder has seen, to the byte."""
    root = read_bundle(current.to_bytes()).root
    change(root.signed)
    with pytest.raises(BadDocument, match="not the one this folder knows"):
        review.check_current_root(root, SIGNERS, current, now=now)


def test_a_root_that_enough_known_signers_signed_is_known(current: Bundle, now: datetime) -> None:
    """Two of three renewed it, which is enough for the third, as it is for hosts. One would not be."""
    renewed = with_signers(current, SIGNERS, now=now + YEAR)
    sign(renewed, [KEYS["root-1"]], root=True)
    with pytest.raises(BadDocument, match="did not agree"):
        review.check_current_root(renewed.root, SIGNERS, current, now=now)
    sign(renewed, [KEYS["root-2"]], root=True)
    review.check_current_root(renewed.root, SIGNERS, current, now=now)


def test_an_unfinished_root_does_not_block_the_current_one(current: Bundle, now: datetime) -> None:
    """It was signed with one key and given up, so the root before it is still in force."""
    given_up = with_signers(current, SIGNERS, now=now)
    review.check_current_root(current.root, SIGNERS, given_up, now=now)
    again = with_signers(current, SIGNERS, now=now + timedelta(days=2))
    review.check_next_root(again, SIGNERS, given_up, now=now + timedelta(days=2))


def test_an_expired_root_is_refused_with_what_to_do(current: Bundle, now: datetime) -> None:
    """Hosts refuse what is signed under it."""
    with pytest.raises(BadDocument, match="--take-over"):
        review.check_current_root(current.root, SIGNERS, None, now=now + ROOT_LIFE)


# --- The root to agree on -------------------------------------------------------------------------------------------


def test_each_signer_expects_the_same_root(bundle: Bundle, now: datetime) -> None:
    """The first signer writes it; the others compare it with their own days later."""
    made = read_bundle(with_signers(bundle, SIGNERS, now=now).to_bytes())
    for remembered in (None, bundle, made):
        review.check_next_root(made, SIGNERS, remembered, now=now + timedelta(days=20))


def _a_field_more(root: Root) -> None:
    root.unrecognized_fields["more"] = 1


def _no_consistent_snapshot(root: Root) -> None:
    root.consistent_snapshot = False


@pytest.mark.parametrize(
    "change",
    [
        _own_targets_key,
        _own_value_under_a_known_id,
        _own_root_key,
        _one_is_enough,
        _the_next_version,
        _another_snapshot_key,
        _a_field_more,
        _no_consistent_snapshot,
    ],
)
def test_a_root_that_the_signers_would_not_make_is_refused(
    bundle: Bundle, now: datetime, change: Callable[[Root], None]
) -> None:
    """An attacker may change the file between two signers."""
    made = with_signers(bundle, SIGNERS, now=now)
    change(made.root.signed)
    with pytest.raises(BadDocument, match="not the one that these signers"):
        review.check_next_root(read_bundle(made.to_bytes()), SIGNERS, None, now=now)


def test_additions_of_the_server_to_its_root_are_not_signed(bundle: Bundle, now: datetime) -> None:
    """The next root takes only the keys of snapshot and timestamp from the one before it."""
    _own_targets_key(bundle.root.signed)
    _own_root_key(bundle.root.signed)
    _a_field_more(bundle.root.signed)
    made = with_signers(bundle, SIGNERS, now=now).root.signed
    assert made.roles["targets"].keyids == [SIGNERS.targets.keyid]
    assert THIEF.keyid not in made.keys
    assert not made.unrecognized_fields


@pytest.mark.parametrize(
    "life",
    [
        pytest.param(-timedelta(days=1), id="yesterday"),
        pytest.param(timedelta(days=29), id="in a month"),
        pytest.param(ROOT_LIFE * 2, id="never"),
    ],
)
def test_a_root_that_ends_too_soon_or_too_late_is_refused(bundle: Bundle, now: datetime, life: timedelta) -> None:
    """A wrong clock may have made it."""
    with pytest.raises(BadDocument, match="too soon or too late"):
        review.check_next_root(with_signers(bundle, SIGNERS, now=now + life - ROOT_LIFE), SIGNERS, None, now=now)


def test_the_replaced_root_must_be_known(current: Bundle, bundle: Bundle, now: datetime) -> None:
    """An attacker could use a signed root of other versions later."""
    current.root.signed.version = 7
    made = with_signers(current, SIGNERS, now=now)
    with pytest.raises(BadDocument, match="root 7, which root 8 would replace"):
        review.check_next_root(made, SIGNERS, bundle, now=now)


# --- The offer ------------------------------------------------------------------------------------------------------


def _delegates(targets: Targets) -> None:
    role = DelegatedRole("theirs", [THIEF.keyid], 1, terminating=True, paths=["*/*/*"])
    targets.delegations = Delegations({THIEF.keyid: THIEF}, {"theirs": role})


def _says_more(targets: Targets) -> None:
    targets.unrecognized_fields["more"] = 1


def _a_release_says_more(targets: Targets) -> None:
    targets.targets["rclone/1.0/linux-amd64"].unrecognized_fields["custom"]["more"] = 1


def _a_release_without_manifest(targets: Targets) -> None:
    targets.targets["rclone/1.0/linux-amd64"].unrecognized_fields.clear()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        pytest.param(_delegates, "delegations", id="somebody else's word"),
        pytest.param(_says_more, "fields that this program does not know", id="something more"),
        pytest.param(_a_release_says_more, "fields that this program does not know", id="something more of a release"),
        pytest.param(_a_release_without_manifest, "does not know", id="a release that is not described"),
    ],
)
def test_targets_that_no_unchanged_server_writes_are_refused(
    bundle: Bundle, now: datetime, change: Callable[[Targets], None], text: str
) -> None:
    """A signature would cover fields that were never shown."""
    review.check_offer(bundle.targets.signed, now=now)
    change(bundle.targets.signed)
    with pytest.raises(BadDocument, match=text):
        review.check_offer(bundle.targets.signed, now=now)


@pytest.mark.parametrize(
    ("off", "fits"),
    [
        pytest.param(-timedelta(days=20_000), False, id="an empty battery"),
        pytest.param(-timedelta(days=2), False, id="days behind"),
        pytest.param(-timedelta(hours=5), True, id="hours behind"),
        pytest.param(timedelta(days=300), True, id="a file that lay about"),
        pytest.param(TARGETS_LIFE, False, id="a file that lay about for a year"),
    ],
)
def test_nothing_is_signed_on_a_machine_with_a_wrong_clock(
    bundle: Bundle, now: datetime, off: timedelta, fits: bool
) -> None:
    """The message has both dates and what to do. Targets valid for a hundred years are refused by the same check."""
    if fits:
        review.check_offer(bundle.targets.signed, now=now + off)
        return
    with pytest.raises(BadDocument, match=r"ends on 2027-01-02.*clock says .*: set the clock"):
        review.check_offer(bundle.targets.signed, now=now + off)


# --- What is shown --------------------------------------------------------------------------------------------------


def test_a_changed_manifest_is_shown(bundle: Bundle) -> None:
    """The same bytes with another health command would run that command on every host."""
    after = read_bundle(bundle.to_bytes()).targets.signed
    after.targets["rclone/1.0/linux-amd64"] = release(health={"command": ["rclone", "serve"]})
    shown = review.offer_changes(bundle.targets.signed, after)
    assert shown == [
        f"! rclone/1.0/linux-amd64  sha256 {'ab' * 32}",
        '    health: {"command": ["rclone", "version"]} -> {"command": ["rclone", "serve"]}',
    ]


def test_only_new_removed_and_changed_releases_are_shown(bundle: Bundle) -> None:
    """A new release is shown with its commands, one with other bytes with both hashes."""
    before = bundle.targets.signed
    assert review.offer_changes(before, before) == []
    new = review.offer_changes(None, before)
    assert new[0].startswith("+ rclone/1.0")
    assert '"command": ["rclone", "version"]' in new[1]
    assert review.offer_changes(before, Targets()) == [f"- rclone/1.0/linux-amd64  sha256 {'ab' * 32}"]
    other = Targets(targets={"rclone/1.0/linux-amd64": release("cd" * 32)})
    assert review.offer_changes(before, other)[1] == f"    sha256 was {'ab' * 32}"


def test_control_characters_are_not_shown() -> None:
    """A path could otherwise wipe the line above it, and so hide another release."""
    shown = review.offer_changes(None, Targets(targets={"a\x1b[1A\x1b[2K\r\nb\u202e": release()}))
    assert all(line.isascii() and line.isprintable() for line in shown)


def test_changes_of_keys_are_shown_by_role(bundle: Bundle, current: Bundle) -> None:
    """Removed keys, added keys, the threshold, and the end."""
    shown = review.root_changes(bundle.root.signed, current.root.signed)
    assert f"- root key {SERVER['root'].public_key.keyid}" in shown
    assert f"+ targets key {SIGNERS.targets.keyid}" in shown
    assert "! root: 1 of 1 had to agree, now 2 of 3" in shown
    assert shown[-1].startswith("! root 1 -> 2, ends 2035-12-31")
    assert not [line for line in shown if "snapshot" in line or "timestamp" in line]
    assert review.root_changes(current.root.signed, current.root.signed) == []


# --- Keys that count no more ----------------------------------------------------------------------------------------


def test_keys_are_compared_by_their_value(current: Bundle) -> None:
    """An id may be given to any key."""
    assert is_valid_key(current.root.signed, KEYS["targets"])
    assert not is_valid_key(current.root.signed, THIEF_KEYS["targets"])
    renamed = Signers(1, [Key.from_dict("ab" * 32, THIEF.to_dict())], SIGNERS.targets)
    root = with_signers(current, renamed, now=current.root.signed.expires).root.signed
    assert is_valid_key(root, THIEF_KEYS["targets"])
