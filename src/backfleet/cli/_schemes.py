"""An address with the wrong scheme: https for a listener that speaks plain HTTP, or http for one that speaks TLS.

What a library says of that helps nobody ("wrong version number"), so the listener is asked once more, in the other way.
"""

import socket
import ssl
from typing import Final, NamedTuple
from urllib.parse import urlsplit

CONNECT_SECONDS: Final = 3.0
ANSWER_SECONDS: Final = 3.0


class WrongScheme(NamedTuple):
    """What a listener speaks instead, and what to write."""

    found: str
    advice: str


def wrong_scheme(endpoint: str) -> WrongScheme | None:
    """Return what is wrong with the scheme of an address; None if nothing is, or nobody can tell.

    Args:
        endpoint: With its scheme, http or https. It was asked in that way, and gave no answer that is one.
    """
    parts = urlsplit(endpoint)
    try:
        place = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        if parts.scheme == "https" and _speaks_plainly(place):
            return WrongScheme("it speaks plain HTTP", f"write http://{parts.netloc}, or name its https listener")
        if parts.scheme == "http" and _speaks_tls(place):
            return WrongScheme("it speaks TLS", f"write https://{parts.netloc}")
    except (OSError, ValueError):
        pass
    return None


def _speaks_plainly(place: tuple[str, int]) -> bool:
    with socket.create_connection(place, CONNECT_SECONDS) as opened:
        opened.settimeout(ANSWER_SECONDS)
        opened.sendall(f"HEAD /healthz HTTP/1.1\r\nHost: {place[0]}\r\nConnection: close\r\n\r\n".encode())
        return opened.recv(5) == b"HTTP/"


def _speaks_tls(place: tuple[str, int]) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # only asked whether it shows a certificate
    with socket.create_connection(place, CONNECT_SECONDS) as opened:
        opened.settimeout(ANSWER_SECONDS)
        with context.wrap_socket(opened, server_hostname=place[0]) as wrapped:
            return bool(wrapped.getpeercert(binary_form=True))
