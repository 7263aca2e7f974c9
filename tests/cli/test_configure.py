"""Profiles: a server, its authority and a key, for machines without a server."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from backfleet.cli import _profiles, main
from backfleet.cli._client import CallFailed, Client
from backfleet.cli._credentials import ConnectionFlags, NoConnection, connect

SECRET = "s3cr3t-of-ann"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A laptop: no server, no key in the environment."""
    for name in list(os.environ):
        if name.startswith(("ALIBABA_CLOUD_", "BACKFLEET_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("BACKFLEET_DATA", str(tmp_path / "none"))
    monkeypatch.setattr(Client, "call", lambda *_asked, **_named: {"Arn": "acs:ram::1:user/ann"})
    return tmp_path


def configure(*arguments: str, secret: str = SECRET) -> Result:
    return CliRunner().invoke(main, ["configure", *arguments], input=f"{secret}\n")


def here(**flags: Any) -> Any:
    return connect(ConnectionFlags(**flags), dict(os.environ))


def test_a_profile_names_the_server_its_authority_and_the_key(home: Path) -> None:
    """`default` needs no flag; others are named by --profile or BACKFLEET_PROFILE."""
    ca = home / "ca.pem"
    ca.write_text("a certificate")
    done = configure("--endpoint", "fleet.example:8443", "--key-id", "LTAIann", "--ca", str(ca), "--region", "ber")
    assert (done.exit_code, SECRET in done.output) == (0, False), done.output
    assert "you are acs:ram::1:user/ann" in done.stderr
    ca.unlink()
    found = here()
    assert (found.endpoint, found.region) == ("https://fleet.example:8443", "ber")
    assert (found.credentials.access_key_id, found.credentials.access_key_secret) == ("LTAIann", SECRET)
    assert found.ca_file.read_text() == "a certificate"
    assert configure("--profile", "lab", "--endpoint", "lab:1", "--key-id", "k", secret="other").exit_code == 0
    assert here(profile="lab").endpoint == "https://lab:1"
    assert connect(ConnectionFlags(), os.environ | {"BACKFLEET_PROFILE": "lab"}).endpoint == "https://lab:1"


def test_the_secret_is_in_one_private_file_and_nowhere_else(home: Path) -> None:
    """Neither in a list, nor in what Python shows of it; a file that others can read is refused."""
    configure("--endpoint", "fleet:1", "--key-id", "k")
    file = _profiles.file_of()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    listed = configure("--list", "--json")
    assert json.loads(listed.stdout)[0]["AccessKeyId"] == "k"
    assert SECRET not in listed.output + configure("--list").output + repr(_profiles.read())
    file.chmod(0o640)
    with pytest.raises(NoConnection, match="run chmod go-rwx"):
        here()
    file.chmod(0o600)
    file.write_text("{")
    with pytest.raises(NoConnection, match="cannot be read"):
        here()


def test_stronger_sources_come_first(home: Path) -> None:
    """The environment's key, and the local server's, before the profile called default."""
    configure("--endpoint", "fleet:1", "--key-id", "k")
    key = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "e", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "s", "BACKFLEET_ENDPOINT": "other:2"}
    found = connect(ConnectionFlags(), os.environ | key)
    assert (found.endpoint, found.credentials.access_key_id) == ("https://other:2", "e")
    assert here(endpoint="third:3").endpoint == "https://third:3"
    assert here(endpoint="third:3").credentials.access_key_id == "k"


@pytest.mark.parametrize(
    ("arguments", "secret", "message"),
    [
        (["--key-id", "k"], SECRET, "give --endpoint and --key-id, and the secret on stdin"),
        (["--endpoint", "a:1", "--key-id", "k"], "", "the secret is empty"),
        (["--profile", "../x", "--endpoint", "a:1", "--key-id", "k"], SECRET, "is no name of a profile"),
        (["--delete"], SECRET, "there is no profile 'default'"),
    ],
)
def test_what_is_missing_is_named(home: Path, arguments: list[str], secret: str, message: str) -> None:
    done = configure(*arguments, secret=secret)
    assert done.exit_code in (1, 2)
    assert message in done.stderr
    assert not _profiles.file_of().exists()


def test_a_profile_that_does_not_work_is_not_stored(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless that is asked for; and a profile can be deleted."""

    def refuse(*_asked: Any, **_named: Any) -> Any:
        raise CallFailed("the secret is wrong", {"Code": "SignatureDoesNotMatch"}, 400)

    monkeypatch.setattr(Client, "call", refuse)
    done = configure("--endpoint", "a:1", "--key-id", "k")
    assert (done.exit_code, "the secret is wrong; nothing was stored" in done.stderr) == (1, True)
    assert not _profiles.file_of().exists()
    assert configure("--endpoint", "a:1", "--key-id", "k", "--no-check").exit_code == 0
    assert configure("--delete").exit_code == 0
    with pytest.raises(NoConnection, match="`backfleet configure`"):
        here()
