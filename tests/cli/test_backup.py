"""Where the passphrase of a backup comes from, and what the commands refuse."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from backfleet.cli import main
from backfleet.clock import utc_now
from backfleet.ids import draw
from backfleet.opening import open_services
from backfleet.pubsub import open_pubsub
from backfleet.settings import Settings

Run = Callable[..., Result]
PASSPHRASE = "correct horse battery"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a server that is stopped."""
    folder = tmp_path_factory.mktemp("server") / "data"
    services, _ = open_services(Settings(data=folder), open_pubsub(""), clock=utc_now, draw=draw)
    services.database.close()
    return folder


@pytest.fixture
def run(data: Path) -> Run:
    def run(*words: object) -> Result:
        return CliRunner().invoke(main, [*map(str, words)], env={"BACKFLEET_DATA": str(data)})

    return run


def test_a_backup_is_encrypted_unless_somebody_says_plain(run: Run, tmp_path: Path) -> None:
    refused = run("backup", tmp_path / "copy")
    assert (refused.exit_code, "--plain if it is kept where nobody" in refused.output) == (1, True)
    assert not (tmp_path / "copy").exists()
    assert run("backup", tmp_path / "copy", "--plain").exit_code == 0
    assert b"age-encryption" not in (tmp_path / "copy").read_bytes()[:100]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--plain", "--recipient", "age1x"), "name one of"),
        (("--recipient", "age1x"), "no key of age"),
        (("--passphrase-file", "none"), "No such file"),
        (("--passphrase-file", "empty"), "has no passphrase in its first line"),
        (("--passphrase-file", "short"), "has 5 characters; it needs at least 8"),
        (("--passphrase-fd", "999999"), "cannot be read"),
    ],
)
def test_what_cannot_encrypt_is_refused(run: Run, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "short").write_text("short\n")
    named = [tmp_path / word if word in ("none", "empty", "short") else word for word in words]
    refused = run("backup", tmp_path / "copy", *named)
    assert (refused.exit_code, message in refused.output) == (1, True), refused.output
    assert not (tmp_path / "copy").exists()


def test_a_passphrase_in_a_file_opens_what_one_in_a_descriptor_locked(run: Run, tmp_path: Path) -> None:
    """Without the end of its line. The wrong one is refused in one line."""
    read, write = os.pipe()
    os.write(write, PASSPHRASE.encode())
    os.close(write)
    assert run("backup", tmp_path / "copy", "--passphrase-fd", read).exit_code == 0
    (tmp_path / "right").write_text(f"{PASSPHRASE}\r\nanother line\n")
    (tmp_path / "wrong").write_text("something else\n")
    after = tmp_path / "after"
    was_there = tmp_path / "was there"
    was_there.mkdir()
    for words, message in (
        (("--passphrase-file", tmp_path / "wrong"), "the passphrase is wrong"),
        ((), "it is encrypted; name its passphrase"),
    ):
        refused = run("restore", tmp_path / "copy", "--data", after, *words)
        assert (refused.exit_code, message in refused.output, refused.output.count("\n")) == (1, True, 1)
        assert not after.exists(), "nothing is left of what was refused"
        assert run("restore", tmp_path / "copy", "--data", was_there, *words).exit_code == 1
        assert list(was_there.iterdir()) == []
    done = run("restore", tmp_path / "copy", "--data", after, "--passphrase-file", tmp_path / "right")
    assert (done.exit_code, "release-hold" in done.output) == (0, True), done.output
    readable = [path for path in (after, *after.iterdir()) if path.stat().st_mode & 0o077]
    assert readable == [], "no other user may read what was restored"


def test_a_folder_without_a_server_has_nothing_to_back_up(run: Run, tmp_path: Path) -> None:
    refused = run("backup", tmp_path / "copy", "--plain", "--data", tmp_path / "nothing")
    assert (refused.exit_code, "is no data folder of a server" in refused.output) == (1, True)
    assert not (tmp_path / "nothing").exists()


def test_scripts_read_a_backup_and_a_restore_as_json(run: Run, tmp_path: Path) -> None:
    """With the times as numbers. A refusal is JSON too."""
    written = json.loads(run("backup", tmp_path / "copy", "--plain", "--json").stdout)
    assert (written["IsPlain"], written["Damaged"]) == (True, [])
    assert written["Bytes"] == (tmp_path / "copy").stat().st_size
    restored = json.loads(run("restore", tmp_path / "copy", "--data", tmp_path / "after", "--json").stdout)
    assert (restored["Rows"], restored["IsHeld"], restored["EndedTasks"]) == (written["Rows"], True, 0)
    assert abs(restored["CopiedTime"] - time.time()) < 3600
    refused = run("restore", tmp_path / "copy", "--data", tmp_path / "after", "--json")
    assert "has an installation already" in json.loads(refused.stderr)["Error"]["Message"]
