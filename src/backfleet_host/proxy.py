"""Read the address of a proxy, once and strictly: every later parser must find the password in the same place."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path
from typing import Dict, Mapping
from urllib.parse import quote, unquote, urlsplit

from backfleet_host.trusted_files import Unreadable, read_toml

FORM = "http://[USER:PASSWORD@]HOST:PORT"

# The last @ ends the password: people paste passwords that contain /, # and @ without quoting them.
_ADDRESS = re.compile(
    r"http://(?:(?P<user>[^\s:]*)(?::(?P<password>\S*))?@)?(?P<host>[^\s/@:\[\]#?]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})/?"
)


class BadProxy(ValueError):
    """The address is not of the form. The text does not show it, because it may contain a password."""


def read_proxy(text: object) -> str:
    """Return the address with name and password quoted, so that every parser splits it alike; "" stays "".

    Raises:
        BadProxy: it is another kind of proxy, or no address.
    """
    if text == "":
        return ""
    found = _ADDRESS.fullmatch(text) if isinstance(text, str) else None
    if found is None or not 0 < int(found["port"]) < 65536:
        raise BadProxy(f"must be {FORM}")
    who = ":".join(quote(unquote(part or ""), safe="") for part in (found["user"], found["password"]))
    return f"http://{who + '@' if found['user'] else ''}{found['host']}:{found['port']}"


def proxy_for(etc: Path, environment: Mapping[str, str] = os.environ) -> str:
    """Return the proxy for every connection of this host, "" for none: BACKFLEET_PROXY, else `proxy` in host.toml.

    Other variables are ignored: connections must not depend on the shell from which the program was started.

    Args:
        etc: the folder of the host policy.

    Raises:
        BadProxy: it cannot be used; the text says where it was found, and what is wrong.
    """
    source, address = "BACKFLEET_PROXY", environment.get("BACKFLEET_PROXY", "")
    try:
        if not address:
            source, address = f"{etc / 'host.toml'}: proxy", read_toml(etc / "host.toml").get("proxy", "")
        return read_proxy(address)
    except Unreadable as problem:
        raise BadProxy(str(problem)) from None
    except BadProxy as problem:
        raise BadProxy(f"{source} {problem}") from None


def bare(proxy: str) -> str:
    """Return HOST:PORT of a proxy, which may be shown."""
    return urlsplit(proxy).netloc.rpartition("@")[2]


def proxy_authorization(proxy: str) -> Dict[str, str]:
    """Return the header that authenticates at this proxy; nothing if its address has no name."""
    parts = urlsplit(proxy)
    if not parts.username:
        return {}
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(credentials.encode()).decode()}"}
