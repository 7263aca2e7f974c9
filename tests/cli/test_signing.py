"""Keys that never meet the server, at the command line: no server is needed for what is done beside one."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, TargetFile, Targets

from backfleet.cli import main
from backfleet.releases.offline_signing import (
    ROOT_LIFE,
    TARGETS_LIFE,
    Bundle,
    new_signers,
    read_bundle,
    read_signers,
    with_signers,
)

SERVER = {role: CryptoSigner.generate_ed25519() for role in ("root", "targets", "snapshot", "timestamp")}
_, THIEF = new_signers(1, 1)


def backfleet(*words: object, fails: bool = False) -> str:
    done: Result = CliRunner().invoke(main, ["release", *map(str, words)])
    assert (done.exit_code != 0) == fails, done.output
    assert isinstance(done.exception, SystemExit | None), done.exception
    return done.output


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Two root keys of two, and a targets key."""
    backfleet("keys", tmp_path / "keys", "--root", "2", "--threshold", "2")
    return tmp_path / "keys"


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """What a new server writes down as pending."""
    now = datetime.now(UTC)
    root = Root(version=1, expires=now + ROOT_LIFE, consistent_snapshot=True)
    for role, signer in SERVER.items():
        root.add_key(signer.public_key, role)
    manifest = {"custom": {"backfleet": {"package": "rclone", "health": None}}}
    path = "rclone/1.0/linux-amd64"
    targets = Targets(expires=now + TARGETS_LIFE, targets={path: TargetFile(1, {"sha256": "ab" * 32}, path, manifest)})
    file = tmp_path / "pending.json"
    file.write_bytes(Bundle(Metadata(root), Metadata(targets)).to_bytes())
    return file


def pending_again(document: Path, change: Callable[[Root], None] = lambda root: None) -> None:
    """What the server writes down once it took the root: no signature on what is offered."""
    bundle = read_bundle(document.read_bytes())
    bundle.targets.signatures.clear()
    change(bundle.root.signed)
    document.write_bytes(Bundle(bundle.root, bundle.targets).to_bytes())


def _own_targets_key(root: Root) -> None:
    root.add_key(CryptoSigner(THIEF["targets"]).public_key, "targets")


def test_a_take_over_shows_whose_word_counts(keys: Path, document: Path) -> None:
    """Each signer types the same line; all sign one root."""
    said = backfleet("sign", document, "--keys", keys, "--take-over")
    assert f"- targets key {SERVER['targets'].public_key.keyid}" in said
    assert f"+ targets key {read_signers((keys / 'signers.json').read_bytes()).targets.keyid}" in said
    assert "+ rclone/1.0/linux-amd64" in said
    assert "root 2 has 2 of 2 signatures and 0 of 1 of those it replaces" in said
    first = read_bundle(document.read_bytes()).root.signed_bytes
    assert "root 2 has 2 of 2" in backfleet("sign", document, "--keys", keys, "--take-over")
    assert read_bundle(document.read_bytes()).root.signed_bytes == first


def test_a_thiefs_root_is_shown_and_refused(keys: Path, document: Path) -> None:
    """Whoever has the server puts a next root into what is pending; nothing is signed, wanted or not."""
    backfleet("sign", document, "--keys", keys, "--take-over")

    def put_there(root: Root) -> None:
        root.version += 1
        _own_targets_key(root)

    pending_again(document, put_there)
    theirs = document.read_bytes()
    remembered = (keys / "signed.json").read_bytes()
    said = backfleet("sign", document, "--keys", keys, fails=True)
    assert f"+ targets key {CryptoSigner(THIEF['targets']).public_key.keyid}" in said
    assert "names other keys than signers.json" in said
    assert "not the one this folder knows" in backfleet("sign", document, "--keys", keys, "--take-over", fails=True)
    assert (document.read_bytes(), (keys / "signed.json").read_bytes()) == (theirs, remembered)


def test_a_thiefs_root_among_those_who_agree_is_refused(keys: Path, document: Path) -> None:
    """On its way from one signer to the next it was exchanged."""
    bundle = read_bundle(document.read_bytes())
    theirs = with_signers(bundle, read_signers((keys / "signers.json").read_bytes()), now=datetime.now(UTC))
    _own_targets_key(theirs.root.signed)
    document.write_bytes(theirs.to_bytes())
    before = document.read_bytes()
    assert "not the one that these signers" in backfleet("sign", document, "--keys", keys, "--take-over", fails=True)
    assert document.read_bytes() == before
    assert not (keys / "signed.json").exists()


def test_without_a_wish_no_root_is_signed(keys: Path, document: Path, tmp_path: Path) -> None:
    """A key of root's only: there is nothing for it to do, and what to do is told."""
    backfleet("sign", document, "--keys", keys, "--take-over")
    pending_again(document)
    before = read_bundle(document.read_bytes()).root.to_bytes()
    (tmp_path / "bob").mkdir()
    for name in ("root-2.key", "signers.json"):
        shutil.copy(keys / name, tmp_path / "bob")
    assert "--take-over or --hand-over only" in backfleet("sign", document, "--keys", tmp_path / "bob", fails=True)
    assert "signed targets; root 2" in backfleet("sign", document, "--keys", keys)
    assert read_bundle(document.read_bytes()).root.to_bytes() == before


def test_to_hand_over_is_to_name_whom(keys: Path, document: Path, tmp_path: Path) -> None:
    """Those who go sign a root for those who come, and see the keys; not for anybody else."""
    backfleet("sign", document, "--keys", keys, "--take-over")
    pending_again(document)
    heirs = tmp_path / "heirs"
    backfleet("keys", heirs, "--root", "1", "--threshold", "1")
    said = backfleet("sign", document, "--keys", keys, "--hand-over", heirs / "signers.json")
    assert "! root: 2 of 2 had to agree, now 1 of 1" in said
    assert "signed root; root 3 has 0 of 1 signatures and 2 of 2 of those it replaces" in said
    assert "not the one that these" in backfleet("sign", document, "--keys", keys, "--take-over", fails=True)
    said = backfleet("sign", document, "--keys", heirs, "--take-over")
    assert "signed root and targets; root 3 has 1 of 1 signatures and 2 of 2" in said
    assert "choose one" in backfleet(
        "sign", document, "--keys", heirs, "--take-over", "--hand-over", heirs / "signers.json", fails=True
    )


def test_to_look_is_not_to_sign(keys: Path, document: Path) -> None:
    """The same words, the same checks."""
    before = document.read_bytes()
    assert "+ rclone/1.0" in backfleet("sign", document, "--keys", keys, "--take-over", "--look")
    assert "names other keys than signers.json" in backfleet("sign", document, "--keys", keys, "--look", fails=True)
    assert document.read_bytes() == before
    assert not (keys / "signed.json").exists()


def test_a_clock_behind_the_document_signs_nothing(keys: Path, document: Path) -> None:
    """A machine that is never online has lost its time; a root it makes would have ended before it is taken."""
    bundle = read_bundle(document.read_bytes())
    bundle.targets.signed.expires += timedelta(days=4)
    document.write_bytes(bundle.to_bytes())
    before = document.read_bytes()
    assert "set the clock" in backfleet("sign", document, "--keys", keys, "--take-over", fails=True)
    assert document.read_bytes() == before


def test_a_memory_that_is_broken_is_not_taken_for_none(keys: Path, document: Path) -> None:
    """What was signed before could be shown as new, or a strange root as the first."""
    (keys / "signed.json").write_text("{}")
    assert "take it from a copy" in backfleet("sign", document, "--keys", keys, "--take-over", fails=True)


def test_keys_are_for_their_owner(keys: Path, document: Path) -> None:
    """From the first byte; a key that others can read is told of, for some file systems know no better."""
    assert {file.stat().st_mode & 0o777 for file in keys.iterdir()} == {0o600}
    assert keys.stat().st_mode & 0o777 == 0o700
    (keys / "root-1.key").chmod(0o644)
    said = backfleet("sign", document, "--keys", keys, "--take-over")
    assert "others can read" in said
    assert "root-1.key" in said
    assert not [file for file in keys.iterdir() if file.suffix == ".partial"]


def test_keys_are_never_written_over(keys: Path) -> None:
    """Not even those of a folder that lost the file which says whose they are."""
    before = (keys / "root-1.key").read_bytes()
    (keys / "signers.json").unlink()
    assert "has keys already" in backfleet("keys", keys, fails=True)
    assert (keys / "root-1.key").read_bytes() == before


def test_a_key_that_is_none_is_not_repeated(keys: Path, document: Path) -> None:
    """Somebody's secret may be in the wrong file: the error names the file and nothing of what is in it."""
    (keys / "root-1.key").write_bytes(b"hunter2\xff" * 9)
    said = backfleet("sign", document, "--keys", keys, "--take-over", fails=True)
    assert "root-1.key is not a key" in said
    assert "hunter2" not in said
    (keys / "signers.json").write_bytes(b"hunter2\xff" * 9)
    assert "hunter2" not in backfleet("sign", document, "--keys", keys, "--take-over", fails=True)


def test_a_document_that_is_none(keys: Path, document: Path) -> None:
    """One line."""
    document.write_text(json.dumps({"root": "\x1b[2J", "targets": {}}))
    said = backfleet("sign", document, "--keys", keys, fails=True)
    assert "is not what" in said
    assert said.strip().isprintable()
