"""The server's address as people write it: HOST:PORT."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit


class BadAddress(ValueError):
    """An address that cannot be used; the text shows what was found and what is wanted."""


@dataclass(frozen=True)
class Address:
    """HOST:PORT, with a path if the server is reached under one."""

    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}{self.path}"


def read_address(text: str) -> Address:
    """Return the address in this text, with port 443 if it names none.

    Raises:
        BadAddress: it has a scheme, a blank, a name and password, or a port that is not a number in range.
    """
    parts = urlsplit(f"//{text}")
    try:
        port = parts.port or 443
    except ValueError:
        port = -1
    is_plain = not (parts.query or parts.fragment or "@" in parts.netloc or "//" in text or text.split() != [text])
    if not parts.hostname or port < 0 or not is_plain:
        raise BadAddress(f"the server must be HOST:PORT (for example backfleet.example.com:8443), not {text!r}")
    return Address(parts.hostname, port, parts.path.rstrip("/"))
