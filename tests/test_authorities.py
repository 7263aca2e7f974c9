"""Authorities that a TLS client believes: read once, and anew where they are others."""

import ssl
from datetime import datetime
from pathlib import Path

import pytest

from backfleet.authorities import believing, believing_also
from backfleet.certificates import prepare_certificates


@pytest.fixture
def authority(tmp_path: Path, now: datetime) -> Path:
    """The certificate of some authority."""
    return prepare_certificates(tmp_path / "some", ["localhost"], now=now).authority


def believed(context: ssl.SSLContext, authority: Path) -> bool:
    return ssl.PEM_cert_to_DER_cert(authority.read_text()) in context.get_ca_certs(binary_form=True)


def test_the_authorities_of_the_system_are_read_once(monkeypatch: pytest.MonkeyPatch, authority: Path) -> None:
    """And once more where an administrator named others meanwhile."""
    first = believing(None)
    assert believing("") is first
    assert not believed(first, authority)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    assert believed(believing(None), authority)


def test_an_authority_that_is_named_is_believed_alone_or_also(authority: Path) -> None:
    alone, also = believing(authority), believing_also(authority)
    assert (believed(alone, authority), len(alone.get_ca_certs())) == (True, 1)
    assert (believed(also, authority), len(also.get_ca_certs())) == (True, len(believing(None).get_ca_certs()) + 1)
    assert believing_also(authority) is also
    assert not believed(believing(None), authority)


def test_a_file_that_changed_is_read_anew(authority: Path, tmp_path: Path, now: datetime) -> None:
    other = prepare_certificates(tmp_path / "other", ["localhost"], now=now).authority
    before = believing_also(authority)
    authority.write_bytes(other.read_bytes())
    assert (believed(before, other), believed(believing_also(authority), other)) == (False, True)


def test_a_file_without_a_certificate_is_refused(tmp_path: Path) -> None:
    """As is one that is missing."""
    (tmp_path / "empty").touch()
    for read in (believing, believing_also):
        for name in ("empty", "missing"):
            with pytest.raises(OSError, match=r"file|cert"):
                read(tmp_path / name)
