"""Make the private certificate authority and the server's certificate at first start, and renew the latter.

The authority is valid for ten years and is never replaced: every host and every client trusts its file. The server's
certificate is valid for 397 days, the longest that strict clients accept. A start renews it when a third of that is
left, or when the names that it must have changed.

What was made while the clock was ahead is not valid yet once that is right. The server's certificate is then renewed,
and the authority's signed again with the same key: no host could have trusted the old one before its time.
"""

import contextlib
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from backfleet.values import value_object
from backfleet_host.files import hold_lock, make_folder, write_file

AUTHORITY_LIFE = timedelta(days=3650)
SERVER_LIFE = timedelta(days=397)
EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)  # the program is newer: an earlier time is a clock that was never set
RENEW_BEFORE = SERVER_LIFE / 3
LOCK_SECONDS = 30.0  # to wait for another process that makes certificates; it takes less than one
CLOCKS_DIFFER_BY = timedelta(hours=24)  # a host whose clock is behind must not refuse a fresh certificate


@value_object
class Certificates:
    """The files a TLS listener needs, and the one that clients trust."""

    authority: Path
    server: Path
    server_key: Path

    def context(self) -> ssl.SSLContext:
        """Return a server context for TLS 1.2 or newer."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.server, self.server_key)
        return context


def authority_file(data: Path) -> Path:
    """Return where a data folder has the authority's certificate: what hosts and clients trust."""
    return data / "tls" / "ca.pem"


def server_file(data: Path) -> Path:
    """Return where a data folder has the server's certificate."""
    return data / "tls" / "server.pem"


def prepare_certificates(data: Path, names: Sequence[str], *, now: datetime) -> Certificates:
    """Make what is missing or due in the folders tls and keys of a data folder. Everything else stays as it is.

    Args:
        data: the data folder. Several processes may share it.
        names: the host names and addresses under which the server is reached.

    Raises:
        OSError: a file cannot be read or written, or another process has held the lock for too long.
    """
    tls, keys = data / "tls", data / "keys"
    for folder in (tls, keys):
        make_folder(folder)
    files = Certificates(authority=authority_file(data), server=server_file(data), server_key=keys / "server.key")
    authority_key = keys / "ca.key"
    with _alone(tls / ".lock"):
        if not (files.authority.exists() and authority_key.exists()):
            key = ec.generate_private_key(ec.SECP256R1())
            # The key first: a certificate without its key could sign nothing, and hosts might trust it already.
            write_file(authority_key, _private_pem(key))
            _make_authority(files.authority, key, now)
        elif _is_early(files.authority, now):
            _make_authority(files.authority, _read_key(authority_key), now)
        if _is_due(files, names, now):
            _make_server(files, authority_key, names, now)
    return files


def names_of_this_machine() -> list[str]:
    """Return the names and addresses that this machine knows itself by without asking anybody. Never blocks."""
    found = ["localhost", "127.0.0.1", "::1", socket.gethostname()]
    return list(dict.fromkeys(name for name in found if name))


def looked_up_names() -> list[str]:
    """Return this machine's full name and its addresses, as the name service has them. Blocks while that is silent."""
    name = socket.gethostname()
    found = [socket.getfqdn(name)]
    with contextlib.suppress(OSError):  # the machine can be reached even if its own name does not resolve
        found += [str(info[4][0]) for info in socket.getaddrinfo(name, None)]
    return list(dict.fromkeys(each for each in found if each and "%" not in each))


def own_address() -> str:
    """Return the address from which this machine sends to others; "" if it has none. Sends nothing, asks nobody."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # of a network for documentation
        return str(probe.getsockname()[0])
    return ""


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Keep other processes with the same data folder from making another authority meanwhile."""
    held = hold_lock(lock, seconds=LOCK_SECONDS)
    if held is None:
        raise TimeoutError(f"another process has held {lock} for {LOCK_SECONDS:.0f} seconds; end it and start again")
    try:
        yield
    finally:
        os.close(held)


def _make_authority(certificate: Path, key: ec.EllipticCurvePrivateKey, now: datetime) -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Backfleet private CA")])
    made = (
        _certificate(name, name, key.public_key(), now, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_file(certificate, made.public_bytes(serialization.Encoding.PEM), 0o644)


def _make_server(files: Certificates, authority_key_file: Path, names: Sequence[str], now: datetime) -> None:
    authority = x509.load_pem_x509_certificate(files.authority.read_bytes())
    authority_key = _read_key(authority_key_file)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Backfleet")])
    made = (
        _certificate(subject, authority.subject, key.public_key(), now, SERVER_LIFE)
        .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    write_file(files.server_key, _private_pem(key))
    write_file(files.server, made.public_bytes(serialization.Encoding.PEM), 0o644)


def _read_key(file: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{file} is not the key this program made; put back the file that was there before")
    return key


def _is_early(certificate: Path, now: datetime) -> bool:
    """Return whether a certificate is not valid yet by a clock that may be right."""
    kept = x509.load_pem_x509_certificate(certificate.read_bytes())
    return EARLIEST <= now < kept.not_valid_before_utc


def _is_due(files: Certificates, names: Sequence[str], now: datetime) -> bool:
    if not (files.server.exists() and files.server_key.exists()):
        return True
    kept = x509.load_pem_x509_certificate(files.server.read_bytes())
    key = serialization.load_pem_private_key(files.server_key.read_bytes(), password=None)
    carried = kept.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (
        kept.not_valid_after_utc - now < RENEW_BEFORE
        or _is_early(files.server, now)
        or not {_alternative(name) for name in names} <= set(carried)
        or kept.public_key() != key.public_key()  # the power was cut between the two files
    )


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_DIFFER_BY)
        .not_valid_after(now + life)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name.encode("idna").decode())


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
