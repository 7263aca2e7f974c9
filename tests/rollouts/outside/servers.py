"""Real local servers that answer outside checks, well or badly."""

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Talk = Callable[[socket.socket, bytes], None]
"""Answers one request: (connection, what came)."""


def says(body: str, status: int = 200, *more: str) -> Talk:
    """Answer with a body."""
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status} OK", f"Content-Length: {len(body)}", *more))

    def talk(link: socket.socket, asked: bytes) -> None:
        link.sendall(f"{head}\r\n{body}".encode())

    return talk


def drips(link: socket.socket, asked: bytes) -> None:
    """Send one byte after the other, for ever: no single read waits for long."""
    link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    with contextlib.suppress(OSError):
        while True:
            link.sendall(b" ")
            time.sleep(0.02)


def drips_headers(link: socket.socket, asked: bytes) -> None:
    """Never get to the end of the headers."""
    link.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
    with contextlib.suppress(OSError):
        while True:
            link.sendall(b"x")
            time.sleep(0.02)


def is_huge(link: socket.socket, asked: bytes) -> None:
    """Send as much as the other side takes."""
    link.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    with contextlib.suppress(OSError):
        while True:
            link.sendall(b" " * 65_536)


def closes(link: socket.socket, asked: bytes) -> None:
    """Say nothing."""


def breaks_off(link: socket.socket, asked: bytes) -> None:
    """Promise more than comes."""
    link.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"proceed": true}')


def is_no_http(link: socket.socket, asked: bytes) -> None:
    link.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")


@contextlib.contextmanager
def serving(talk: Talk, tls: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[bytes]]]:
    """Serve on a loopback port; give it, and the requests that came. No thread outlives the block."""
    listener = socket.create_server(("127.0.0.1", 0))
    asked: list[bytes] = []
    links: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def begin(work: Callable[..., None], *arguments: socket.socket) -> None:
        threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        threads[-1].start()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = listener.accept()
                links.append(link)
                begin(answer, link)

    def answer(link: socket.socket) -> None:
        with contextlib.suppress(OSError), link:
            secure = link if tls is None else tls.wrap_socket(link, server_side=True)
            links.append(secure)
            with secure:
                asked.append(_request(secure))
                talk(secure, asked[-1])

    begin(serve)
    try:
        yield listener.getsockname()[1], asked
    finally:
        _shut(listener)
        threads[0].join()
        for link in links:
            _shut(link)
        for thread in threads:
            thread.join()


def _shut(link: socket.socket) -> None:
    """Close a connection or a listener; whoever waits for it in another thread is woken."""
    with contextlib.suppress(OSError):
        link.shutdown(socket.SHUT_RDWR)
    link.close()


def _request(link: socket.socket) -> bytes:
    found = b""
    while b"\r\n\r\n" not in found:
        found += _received(link)
    head, _, body = found.partition(b"\r\n\r\n")
    lengths = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while len(body) < sum(lengths):
        body += _received(link)
    return head + b"\r\n\r\n" + body


def _received(link: socket.socket) -> bytes:
    found = link.recv(65_536)
    if not found:
        raise ConnectionError("the caller has gone")
    return found


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def make_certificate(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """Return a file with a certificate that vouches for itself, and a server's context that shows it."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([_general_name(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / f"{name}.crt", folder / f"{name}.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, secret)
    return certificate, context
