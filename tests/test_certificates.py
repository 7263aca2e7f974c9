"""The private authority: made once, trusted by a real TLS client, renewed only when due."""

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backfleet.certificates import RENEW_BEFORE, SERVER_LIFE, names_of_this_machine, own_address, prepare_certificates

NAMES = ["localhost", "127.0.0.1"]


def kept(data: Path) -> dict[str, bytes]:
    return {str(path.relative_to(data)): path.read_bytes() for path in data.rglob("*") if path.is_file()}


def test_a_client_that_trusts_the_authority_trusts_the_server(tmp_path: Path) -> None:
    """A real handshake, by name and by address."""
    files = prepare_certificates(tmp_path, NAMES, now=datetime.now(UTC))
    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        for _ in NAMES:
            plain, _address = server.accept()
            with files.context().wrap_socket(plain, server_side=True) as talk:
                talk.recv(1)

    thread = threading.Thread(target=answer)
    thread.start()
    trust = ssl.create_default_context(cafile=str(files.authority))
    for name in NAMES:
        with (
            socket.create_connection(server.getsockname()) as plain,
            trust.wrap_socket(plain, server_hostname=name) as talk,
        ):
            talk.send(b"x")
    thread.join()
    server.close()


def test_a_second_start_changes_nothing(tmp_path: Path, now: datetime) -> None:
    """Every file stays as it was, to the byte."""
    prepare_certificates(tmp_path, NAMES, now=now)
    before = kept(tmp_path)
    prepare_certificates(tmp_path, NAMES, now=now + SERVER_LIFE - RENEW_BEFORE - timedelta(days=1))
    assert kept(tmp_path) == before


@pytest.mark.parametrize(
    ("names", "later"),
    [
        pytest.param(NAMES, SERVER_LIFE - RENEW_BEFORE + timedelta(days=1), id="a third of its life is left"),
        pytest.param([*NAMES, "backup.example"], timedelta(0), id="a new name"),
    ],
)
def test_the_server_certificate_is_renewed_when_due(
    tmp_path: Path, now: datetime, names: list[str], later: timedelta
) -> None:
    """The authority stays, so that hosts need no new one."""
    prepare_certificates(tmp_path, NAMES, now=now)
    before = kept(tmp_path)
    prepare_certificates(tmp_path, names, now=now + later)
    after = kept(tmp_path)
    assert {name for name in after if after[name] != before[name]} == {"tls/server.pem", "keys/server.key"}


def test_what_was_made_while_the_clock_was_ahead_is_valid_once_it_is_right(tmp_path: Path) -> None:
    """A real handshake succeeds; the key of the authority stays, and the next start changes nothing."""
    right = datetime.now(UTC)
    prepare_certificates(tmp_path, NAMES, now=right + timedelta(days=500))
    key = (tmp_path / "keys" / "ca.key").read_bytes()
    prepare_certificates(tmp_path, NAMES, now=right)
    assert (tmp_path / "keys" / "ca.key").read_bytes() == key
    test_a_client_that_trusts_the_authority_trusts_the_server(tmp_path)


@pytest.mark.parametrize("year", [1970, 2000, 2025])
def test_a_clock_that_was_never_set_renews_nothing(tmp_path: Path, now: datetime, year: int) -> None:
    """A certificate of 1970 would be over once the clock is set, while the server runs."""
    prepare_certificates(tmp_path, NAMES, now=now)
    before = kept(tmp_path)
    prepare_certificates(tmp_path, NAMES, now=datetime(year, 6, 1, tzinfo=UTC))
    assert kept(tmp_path) == before


def test_a_key_from_before_a_power_cut_is_noticed(tmp_path: Path, now: datetime) -> None:
    """Key and certificate are two files; a cut between them must not keep the server from starting."""
    files = prepare_certificates(tmp_path, NAMES, now=now)
    old = files.server.read_bytes()
    files.server_key.unlink()
    prepare_certificates(tmp_path, NAMES, now=now)
    files.server.write_bytes(old)
    prepare_certificates(tmp_path, NAMES, now=now).context()


def test_keys_are_for_their_owner_alone(tmp_path: Path, now: datetime) -> None:
    """Mode 0600 in a folder of mode 0700."""
    prepare_certificates(tmp_path, NAMES, now=now)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()} == {0o600}
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700


def test_the_names_of_a_start_ask_no_name_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead one would delay it; what is known without it is there."""

    def asked(*_names: object) -> str:
        raise AssertionError("the name service was asked")

    for name in ("getfqdn", "getaddrinfo", "gethostbyname", "gethostbyaddr"):
        monkeypatch.setattr(socket, name, asked)
    names = names_of_this_machine()
    assert ":" not in own_address()
    assert {"localhost", "127.0.0.1", "::1", socket.gethostname()} == set(names)
