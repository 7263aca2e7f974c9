"""Where an order may have releases downloaded from: the enrolled server, and what this host's administrator allows.

Without that rule, whoever controls the server could have the host knock at every address it can reach, and learn from
its reports what answers there.
"""

from __future__ import annotations

from typing import Iterable, Tuple
from urllib.parse import urlsplit

from backfleet_host.upgrader.errors import OrderFailed

_PORTS = {"https": 443, "http": 80}


def check_address(address: str, server: str, allowed: Iterable[str]) -> None:
    """Check that an order may name this address. Nothing is connected to, nor looked up.

    Args:
        server: HOST:PORT of the enrolled server, which is reached by https.
        allowed: the addresses in the host policy; what is below them is allowed too.

    Raises:
        OrderFailed: DownloadFailed, with the same text for every address.
    """
    if not any(_is_below(address, known) for known in (f"https://{urlsplit(f'//{server}').netloc}", *allowed)):
        text = "the order names an address of releases that is neither the enrolled server's nor in `downloads` of"
        raise OrderFailed("DownloadFailed", f"{text} /etc/backfleet/host.toml; nothing was connected to", "NotAllowed")


def is_plain_address(address: str) -> bool:
    """Return whether this is an http(s) address that every parser reads alike, without a name, password or query."""
    try:
        _parts(address)
    except ValueError:
        return False
    return True


def _is_below(address: str, known: str) -> bool:
    try:
        (origin, path), (known_origin, known_path) = _parts(address), _parts(known)
    except ValueError:
        return False
    return origin == known_origin and f"{path}/".startswith(f"{known_path}/") and ".." not in path.split("/")


def _parts(address: str) -> Tuple[Tuple[str, str, int], str]:
    """Return scheme, host and port of an address, and its path without a last slash.

    Raises:
        ValueError: parsers may disagree about it, or it has a name, a password or a query.
    """
    parts = urlsplit(address)
    if (
        parts.scheme not in _PORTS
        or not parts.hostname
        or any(sign in address for sign in "@\\?#%")
        or not address.isascii()
    ):
        raise ValueError(address)
    return (parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]), parts.path.rstrip("/")
