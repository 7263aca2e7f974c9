"""Where the server may be sent by a policy: names and networks of its own settings, checked on resolved addresses."""

import ipaddress
import socket
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from backfleet.values import value_object

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], list[str]]
"""Returns the addresses of a name: (name, port)."""

_INTERNAL: Final = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))
_TRANSLATED: Final = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")))


class NotAllowed(Exception):
    """The server's settings do not allow a destination. The text says why."""


@value_object
class Place:
    """One address to connect to, and the name that its certificate must have."""

    scheme: str
    name: str
    address: str
    port: int
    path: str  # with the query


@value_object
class Destinations:
    """What a setting such as `outbound_allowed` names.

    These are names (`*.` for those below one), with a port or without, and networks.
    """

    names: tuple[tuple[str, int | None], ...] = ()
    networks: tuple[Network, ...] = ()
    prometheus_url: str = ""  # of the settings: allowed as it is
    setting: str = "outbound_allowed"  # what an operator has to change

    @classmethod
    def read(cls, text: str, prometheus_url: str = "", setting: str = "outbound_allowed") -> "Destinations":
        """Read the setting: entries with commas between them.

        Raises:
            ValueError: an entry is none of these.
        """
        names, networks = [], []
        for entry in filter(None, (each.strip().lower() for each in text.split(","))):
            try:
                networks.append(ipaddress.ip_network(entry.strip("[]")))
                continue
            except ValueError:
                name, _, port = entry.partition(":")
            if (
                not name
                or "/" in entry
                or (port and not (port.isascii() and port.isdecimal() and 0 < int(port) < 65_536))
            ):
                raise ValueError(f"{entry!r} is neither a name, a name with a port, nor a network")
            names.append((name.rstrip("."), int(port) if port else None))
        return cls(tuple(names), tuple(networks), prometheus_url.rstrip("/"), setting)

    def refusal(self, url: str) -> str:
        """Return why the settings do not allow a URL, as far as that is known before its name is resolved; or ""."""
        try:
            parts = urlsplit(url)
            name, port = _name_of(url), parts.port or _default_port(parts.scheme)
        except ValueError as problem:
            return str(problem)
        if self._is_the_servers(url):
            return ""
        literal = _literal(name)
        if literal is not None:
            is_named = self._is_in_networks(literal)
        else:
            is_named = any(_fits(name, pattern) and wanted in (None, port) for pattern, wanted in self.names)
        return "" if is_named else f"{name}:{port} does not match `{self.setting}` in the server's settings"

    def place_of(self, url: str, resolve: Resolve) -> Place:
        """Return the one address that a URL is asked at. Nothing is resolved again after it was checked.

        Raises:
            NotAllowed: the settings do not allow the URL, or an address of its name.
            OSError: the name has no address.
        """
        why = self.refusal(url)
        if why:
            raise NotAllowed(why)
        parts = urlsplit(url)
        name, port = _name_of(url), parts.port or _default_port(parts.scheme)
        literal = _literal(name)
        addresses = [literal] if literal is not None else [_plain(found) for found in resolve(name, port)]
        for address in addresses:
            if not self._is_the_servers(url) and not self._is_fit(address):
                raise NotAllowed(f"{name} is {address}, and no network of `{self.setting}` has that")
        if not addresses:
            raise NotAllowed(f"{name} has no address")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Place(parts.scheme, name, str(addresses[0]), port, path)

    def _is_fit(self, address: Address) -> bool:
        """Return whether a name may stand for this address: loopback, link-local and the like only if named."""
        if self._is_in_networks(address):
            return True
        if any(address.version == one.version and address in one for one in _TRANSLATED):
            return False
        is_internal = any(address.version == one.version and address in one for one in _INTERNAL)
        return is_internal or (address.is_global and not address.is_multicast)

    def _is_in_networks(self, address: Address) -> bool:
        return any(address.version == one.version and address in one for one in self.networks)

    def _is_the_servers(self, url: str) -> bool:
        return bool(self.prometheus_url) and url.startswith(f"{self.prometheus_url}/")


def resolve(name: str, port: int) -> list[str]:
    """Return the addresses of a name, as the system resolves it."""
    return [str(found[4][0]) for found in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)]


def _name_of(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("give an address that begins with https:// or http://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address must not hold a user or a password")
    return parts.hostname.rstrip(".").lower()


def _literal(name: str) -> Address | None:
    try:
        return _plain(name)
    except ValueError:
        return None


def _plain(text: str) -> Address:
    """Return an address; one of IPv4 in its IPv6 form is that of IPv4."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


def _fits(name: str, pattern: str) -> bool:
    return name.endswith(pattern[1:]) if pattern.startswith("*.") else name == pattern


def _default_port(scheme: str) -> int:
    return 443 if scheme == "https" else 80
