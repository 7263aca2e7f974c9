"""Offline keys at the command line: no server is needed to make keys and to sign."""

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
_, ATTACKER = new_signers(1, 1)


def backfleet(*arguments: object, fails: bool = False) -> str:
    done: Result = CliRunner().invoke(main, ["release", *map(str, arguments)])
    assert (done.exit_code != 0) == fails, done.output
    assert isinstance(done.exception, SystemExit | None), done.exception
    return done.output


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Two root keys, of which two must sign, and a targets key."""
    backfleet("keys", tmp_path / "keys", "--root", "2", "--threshold", "2")
    return tmp_path / "keys"


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """What a new server writes as pending."""
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
    """Write what the server has pending after it accepted the root: the offered metadata without a signature."""
    bundle = read_bundle(document.read_bytes())
    bundle.targets.signatures.clear()
    change(bundle.root.signed)
    document.write_bytes(Bundle(bundle.root, bundle.targets).to_bytes())


def _own_targets_key(root: Root) -> None:
    root.add_key(CryptoSigner(ATTACKER["targets"]).public_key, "targets")


def test_a_take_over_shows_which_keys_will_count(keys: Path, document: Path) -> None:
    """Each signer types the same line; all sign one root."""
    output = backfleet("sign", document, "--keys", keys, "--take-over")
    assert f"- targets key {SERVER['targets'].public_key.keyid}" in output
    assert f"+ targets key {read_signers((keys / 'signers.json').read_bytes()).targets.keyid}" in output
    assert "+ rclone/1.0/linux-amd64" in output
    assert "root 2 has 2 of 2 signatures and 0 of 1 of those it replaces" in output
    first = read_bundle(document.read_bytes()).root.signed_bytes
    assert "root 2 has 2 of 2" in backfleet("sign", document, "--keys", keys, "--take-over")
    assert read_bundle(document.read_bytes()).root.signed_bytes == first


def test_an_attackers_root_is_shown_and_refused(keys: Path, document: Path) -> None:
    """An attacker on the server offers another root: nothing is signed, with and without --take-over."""
    backfleet("sign", document, "--keys", keys, "--take-over")

    def put_there(root: Root) -> None:
        root.version += 1
        _own_targets_key(root)

    pending_again(document, put_there)
    theirs = document.read_bytes()
    remembered = (keys / "signed.json").read_bytes()
    output = backfleet("sign", document, "--keys", keys, fails=True)
    assert f"+ targets key {CryptoSigner(ATTACKER['targets']).public_key.keyid}" in output
    assert "names other keys than signers.json" in output
    assert "not the one this folder knows" in backfleet("sign", document, "--keys", keys, "--take-over", fails=True)
    assert (document.read_bytes(), (keys / "signed.json").read_bytes()) == (theirs, remembered)


def test_an_attackers_root_between_two_signers_is_refused(keys: Path, document: Path) -> None:
    """It was exchanged on its way from one signer to the next."""
    bundle = read_bundle(document.read_bytes())
    theirs = with_signers(bundle, read_signers((keys / "signers.json").read_bytes()), now=datetime.now(UTC))
    _own_targets_key(theirs.root.signed)
    document.write_bytes(theirs.to_bytes())
    before = document.read_bytes()
    assert "not the one that these signers" in backfleet("sign", document, "--keys", keys, "--take-over", fails=True)
    assert document.read_bytes() == before
    assert not (keys / "signed.json").exists()


def test_without_a_flag_no_root_is_signed(keys: Path, document: Path, tmp_path: Path) -> None:
    """A folder with a root key only has nothing to sign, and the message says what to do."""
    backfleet("sign", document, "--keys", keys, "--take-over")
    pending_again(document)
    before = read_bundle(document.read_bytes()).root.to_bytes()
    (tmp_path / "bob").mkdir()
    for name in ("root-2.key", "signers.json"):
        shutil.copy(keys / name, tmp_path / "bob")
    assert "--take-over or --hand-over only" in backfleet("sign", document, "--keys", tmp_path / "bob", fails=True)
    assert "signed targets; root 2" in backfleet("sign", document, "--keys", keys)
    assert read_bundle(document.read_bytes()).root.to_bytes() == before


def test_a_hand_over_names_the_new_keys(keys: Path, document: Path, tmp_path: Path) -> None:
    """The old signers sign a root for the new keys, and see them; not for any others."""
    backfleet("sign", document, "--keys", keys, "--take-over")
    pending_again(document)
    successors = tmp_path / "successors"
    backfleet("keys", successors, "--root", "1", "--threshold", "1")
    output = backfleet("sign", document, "--keys", keys, "--hand-over", successors / "signers.json")
    assert "! root: 2 of 2 had to agree, now 1 of 1" in output
    assert "signed root; root 3 has 0 of 1 signatures and 2 of 2 of those it replaces" in output
    assert "not the one that these" in backfleet("sign", document, "--keys", keys, "--take-over", fails=True)
    output = backfleet("sign", document, "--keys", successors, "--take-over")
    assert "signed root and targets; root 3 has 1 of 1 signatures and 2 of 2" in output
    assert "choose one" in backfleet(
        "sign", document, "--keys", successors, "--take-over", "--hand-over", successors / "signers.json", fails=True
    )


def test_only_shown_is_not_signed(keys: Path, document: Path) -> None:
    """With the same flags and the same checks."""
    before = document.read_bytes()
    assert "+ rclone/1.0" in backfleet("sign", document, "--keys", keys, "--take-over", "--look")
    assert "names other keys than signers.json" in backfleet("sign", document, "--keys", keys, "--look", fails=True)
    assert document.read_bytes() == before
    assert not (keys / "signed.json").exists()


def test_a_clock_behind_the_document_signs_nothing(keys: Path, document: Path) -> None:
    """An offline machine may have lost its time: its root would expire too early."""
    bundle = read_bundle(document.read_bytes())
    bundle.targets.signed.expires += timedelta(days=4)
    document.write_bytes(bundle.to_bytes())
    before = document.read_bytes()
    assert "set the clock" in backfleet("sign", document, "--keys", keys, "--take-over", fails=True)
    assert document.read_bytes() == before


def test_a_broken_record_of_the_last_signature_is_an_error(keys: Path, document: Path) -> None:
    """Without it, old releases would be shown as new, or an unknown root as the first."""
    (keys / "signed.json").write_text("{}")
    assert "restore it from a copy" in backfleet("sign", document, "--keys", keys, "--take-over", fails=True)


def test_keys_are_readable_by_their_owner_only(keys: Path, document: Path) -> None:
    """From the first byte. A key that others can read gets a note, because some file systems cannot do better."""
    assert {file.stat().st_mode & 0o777 for file in keys.iterdir()} == {0o600}
    assert keys.stat().st_mode & 0o777 == 0o700
    (keys / "root-1.key").chmod(0o644)
    output = backfleet("sign", document, "--keys", keys, "--take-over")
    assert "others can read" in output
    assert "root-1.key" in output
    assert not [file for file in keys.iterdir() if file.suffix == ".partial"]


def test_keys_are_never_overwritten(keys: Path) -> None:
    """Not even in a folder without the file that describes them."""
    before = (keys / "root-1.key").read_bytes()
    (keys / "signers.json").unlink()
    assert "has keys already" in backfleet("keys", keys, fails=True)
    assert (keys / "root-1.key").read_bytes() == before


def test_a_file_that_is_not_a_key_is_not_shown(keys: Path, document: Path) -> None:
    """It may hold another secret: the error has the file's name and nothing of its content."""
    (keys / "root-1.key").write_bytes(b"hunter2\xff" * 9)
    output = backfleet("sign", document, "--keys", keys, "--take-over", fails=True)
    assert "root-1.key is not a key" in output
    assert "hunter2" not in output
    (keys / "signers.json").write_bytes(b"hunter2\xff" * 9)
    assert "hunter2" not in backfleet("sign", document, "--keys", keys, "--take-over", fails=True)


def test_a_malformed_document_is_refused(keys: Path, document: Path) -> None:
    """In one line, without control characters."""
    document.write_text(json.dumps({"root": "\x1b[2J", "targets": {}}))
    output = backfleet("sign", document, "--keys", keys, fails=True)
    assert "is not what" in output
    assert output.strip().isprintable()


def test_scripts_read_keys_and_signatures_as_json(document: Path, tmp_path: Path) -> None:
    """What changes is part of it, as it is shown to people; errors are JSON too."""
    made = json.loads(backfleet("keys", tmp_path / "keys", "--root", "2", "--threshold", "1", "--json"))
    assert made == {"Folder": str(tmp_path / "keys"), "RootKeys": 2, "Threshold": 1}
    shown = json.loads(backfleet("sign", document, "--keys", tmp_path / "keys", "--take-over", "--look", "--json"))
    assert (shown["Signed"], "+ rclone/1.0/linux-amd64" in " ".join(shown["Changes"])) == ([], True)
    signed = json.loads(backfleet("sign", document, "--keys", tmp_path / "keys", "--take-over", "--json"))
    assert signed["Signed"] == ["root", "targets"]
    assert "has 2 of 1 signatures" in signed["State"]
    refused = json.loads(backfleet("keys", tmp_path / "keys", "--json", fails=True))
    assert "has keys already" in refused["Error"]["Message"]
