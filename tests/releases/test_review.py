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
    """As a new server writes it, on its way through a file."""
    root = Root(version=1, expires=now + ROOT_LIFE, consistent_snapshot=True)
    for role, signer in SERVER.items():
        root.add_key(signer.public_key, role)
    made = Metadata(root)
    made.sign(SERVER["root"])
    targets = Targets(version=3, expires=now + TARGETS_LIFE, targets={"rclone/1.0/linux-amd64": release()})
    return read_bundle(Bundle(made, Metadata(targets)).to_bytes())


@pytest.fixture
def standing(bundle: Bundle, now: datetime) -> Bundle:
    """After a take-over by all three."""
    made = with_signers(bundle, SIGNERS, now=now)
    sign(made, list(KEYS.values()), root=True)
    return read_bundle(replace(made, replaces=None).to_bytes())


# --- Which keys sign what -------------------------------------------------------------------------------------------


def test_a_root_is_signed_on_an_explicit_wish_only(bundle: Bundle, now: datetime) -> None:
    """Targets are signed without; a root by keys that it names or replaces, and by no stranger's."""
    made = with_signers(bundle, SIGNERS, now=now)
    assert sign(made, list(KEYS.values())) == ["targets"]
    assert not made.root.signatures
    assert sign(made, list(THIEF_KEYS.values()), root=True) == []
    assert sign(made, [KEYS["root-1"]], root=True) == ["root"]


def test_those_who_are_replaced_sign_too(standing: Bundle, now: datetime) -> None:
    """A root that names others needs enough of those before."""
    made = with_signers(standing, THEIRS, now=now)
    assert sign(made, [KEYS["root-1"], KEYS["targets"]], root=True) == ["root"]
    assert not made.targets.signatures.keys() & {THEIRS.targets.keyid}


# --- The root that stands -------------------------------------------------------------------------------------------


def test_the_root_that_stands_is_signed_under(standing: Bundle, now: datetime) -> None:
    """Seen before or not, as long as it lets exactly the folder's keys count."""
    for remembered in (None, standing):
        review.check_current_root(standing.root, SIGNERS, remembered, now=now)
        assert bool(review.root_changes(remembered and remembered.root.signed, standing.root.signed)) is (
            not remembered
        )


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
def test_a_thiefs_root_is_not_signed_under(
    standing: Bundle, now: datetime, change: Callable[[Root], None], remembers: bool
) -> None:
    """Whoever has the server writes it into what is pending; signers.json tells otherwise."""
    root = read_bundle(standing.to_bytes()).root
    change(root.signed)
    with pytest.raises(BadDocument, match=r"names other keys than signers\.json"):
        review.check_current_root(root, SIGNERS, standing if remembers else None, now=now)
    assert review.root_changes(standing.root.signed, root.signed)


@pytest.mark.parametrize("change", [_the_next_version, _another_snapshot_key])
def test_a_root_with_the_same_signers_is_compared_too(
    standing: Bundle, now: datetime, change: Callable[[Root], None]
) -> None:
    """With the one that the folder remembers, to the byte."""
    root = read_bundle(standing.to_bytes()).root
    change(root.signed)
    with pytest.raises(BadDocument, match="not the one this folder knows"):
        review.check_current_root(root, SIGNERS, standing, now=now)


def test_a_root_that_ones_own_signers_let_follow_is_known(standing: Bundle, now: datetime) -> None:
    """Two of three renewed it; the third was away, and judges as a host does. One would not have been enough."""
    renewed = with_signers(standing, SIGNERS, now=now + YEAR)
    sign(renewed, [KEYS["root-1"]], root=True)
    with pytest.raises(BadDocument, match="did not agree"):
        review.check_current_root(renewed.root, SIGNERS, standing, now=now)
    sign(renewed, [KEYS["root-2"]], root=True)
    review.check_current_root(renewed.root, SIGNERS, standing, now=now)


def test_a_root_nobody_finished_is_in_nobodys_way(standing: Bundle, now: datetime) -> None:
    """Agreed on with one key and given up: what was in force before still is."""
    given_up = with_signers(standing, SIGNERS, now=now)
    review.check_current_root(standing.root, SIGNERS, given_up, now=now)
    again = with_signers(standing, SIGNERS, now=now + timedelta(days=2))
    review.check_next_root(again, SIGNERS, given_up, now=now + timedelta(days=2))


def test_a_root_that_has_ended_tells_what_to_do(standing: Bundle, now: datetime) -> None:
    """No host believes what is signed under it."""
    with pytest.raises(BadDocument, match="--take-over"):
        review.check_current_root(standing.root, SIGNERS, None, now=now + ROOT_LIFE)


# --- The root to agree on -------------------------------------------------------------------------------------------


def test_each_signer_makes_the_same_root(bundle: Bundle, now: datetime) -> None:
    """Whoever is first writes it down; the others, days later, find it to be theirs."""
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
    """Somebody put it into the file on its way from one signer to the next."""
    made = with_signers(bundle, SIGNERS, now=now)
    change(made.root.signed)
    with pytest.raises(BadDocument, match="not the one that these signers"):
        review.check_next_root(read_bundle(made.to_bytes()), SIGNERS, None, now=now)


def test_what_the_server_adds_to_its_root_is_not_signed(bundle: Bundle, now: datetime) -> None:
    """The next is made anew: from the one before it has the snapshot's and the timestamp's keys, no more."""
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
def test_a_root_ends_neither_too_soon_nor_too_late(bundle: Bundle, now: datetime, life: timedelta) -> None:
    """Nor does one that a clock which stands wrong made."""
    with pytest.raises(BadDocument, match="too soon or too late"):
        review.check_next_root(with_signers(bundle, SIGNERS, now=now + life - ROOT_LIFE), SIGNERS, None, now=now)


def test_what_is_replaced_must_be_known(standing: Bundle, bundle: Bundle, now: datetime) -> None:
    """A root of other versions would be signed for another day."""
    standing.root.signed.version = 7
    made = with_signers(standing, SIGNERS, now=now)
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
def test_an_offer_that_no_honest_server_writes(
    bundle: Bundle, now: datetime, change: Callable[[Targets], None], text: str
) -> None:
    """A signature under it would vouch for what was never shown."""
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
def test_a_clock_that_stands_wrong_signs_nothing(bundle: Bundle, now: datetime, off: timedelta, fits: bool) -> None:
    """Told with both dates and what to do; an offer for a hundred years looks the same, and is refused with it."""
    if fits:
        review.check_offer(bundle.targets.signed, now=now + off)
        return
    with pytest.raises(BadDocument, match=r"ends on 2027-01-02.*clock says .*: set the clock"):
        review.check_offer(bundle.targets.signed, now=now + off)


# --- What is shown --------------------------------------------------------------------------------------------------


def test_a_manifest_is_part_of_what_is_compared(bundle: Bundle) -> None:
    """The same bytes with another command to run: whoever has the server would run it on every host."""
    after = read_bundle(bundle.to_bytes()).targets.signed
    after.targets["rclone/1.0/linux-amd64"] = release(health={"command": ["rclone", "serve"]})
    shown = review.offer_changes(bundle.targets.signed, after)
    assert shown == [
        f"! rclone/1.0/linux-amd64  sha256 {'ab' * 32}",
        '    health: {"command": ["rclone", "version"]} -> {"command": ["rclone", "serve"]}',
    ]


def test_what_is_new_gone_or_changed_is_shown_and_nothing_else(bundle: Bundle) -> None:
    """A release that is new with its commands, one that has other bytes with both hashes."""
    before = bundle.targets.signed
    assert review.offer_changes(before, before) == []
    new = review.offer_changes(None, before)
    assert new[0].startswith("+ rclone/1.0")
    assert '"command": ["rclone", "version"]' in new[1]
    assert review.offer_changes(before, Targets()) == [f"- rclone/1.0/linux-amd64  sha256 {'ab' * 32}"]
    other = Targets(targets={"rclone/1.0/linux-amd64": release("cd" * 32)})
    assert review.offer_changes(before, other)[1] == f"    sha256 was {'ab' * 32}"


def test_nothing_shown_moves_the_cursor() -> None:
    """A path that wipes the line above it would hide another release."""
    shown = review.offer_changes(None, Targets(targets={"a\x1b[1A\x1b[2K\r\nb\u202e": release()}))
    assert all(line.isascii() and line.isprintable() for line in shown)


def test_whose_word_counts_is_shown_by_role(bundle: Bundle, standing: Bundle) -> None:
    """Keys that go, keys that come, how many must agree, and until when."""
    shown = review.root_changes(bundle.root.signed, standing.root.signed)
    assert f"- root key {SERVER['root'].public_key.keyid}" in shown
    assert f"+ targets key {SIGNERS.targets.keyid}" in shown
    assert "! root: 1 of 1 had to agree, now 2 of 3" in shown
    assert shown[-1].startswith("! root 1 -> 2, ends 2035-12-31")
    assert not [line for line in shown if "snapshot" in line or "timestamp" in line]
    assert review.root_changes(standing.root.signed, standing.root.signed) == []


# --- Keys that count no more ----------------------------------------------------------------------------------------


def test_a_key_counts_by_its_value(standing: Bundle) -> None:
    """Whatever id it is given."""
    assert is_valid_key(standing.root.signed, KEYS["targets"])
    assert not is_valid_key(standing.root.signed, THIEF_KEYS["targets"])
    renamed = Signers(1, [Key.from_dict("ab" * 32, THIEF.to_dict())], SIGNERS.targets)
    root = with_signers(standing, renamed, now=standing.root.signed.expires).root.signed
    assert is_valid_key(root, THIEF_KEYS["targets"])
