"""The address of a proxy, read once and strictly: whoever parses it again must find the password where we did."""

from __future__ import annotations

import base64
import re
from typing import Dict
from urllib.parse import quote, unquote, urlsplit

FORM = "http://[USER:PASSWORD@]HOST:PORT"

# The last @ ends the password, whatever stands in it: people paste passwords with / and # as they are.
_ADDRESS = re.compile(
    r"http://(?:(?P<user>[^\s:]*)(?::(?P<password>\S*))?@)?(?P<host>[^\s/@:\[\]#?]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})/?"
)


class BadProxy(ValueError):
    """Not of the form. The text does not show it: it may hold a password."""


def read_proxy(text: str) -> str:
    """The same address with name and password quoted, so that every parser splits it alike; "" stays "".

    Raises:
        BadProxy: another kind of proxy, or none that can be read.
    """
    found = _ADDRESS.fullmatch(text)
    if text and (found is None or not 0 < int(found["port"]) < 65536):
        raise BadProxy(f"must be {FORM}")
    if found is None:
        return ""
    who = ":".join(quote(unquote(part or ""), safe="") for part in (found["user"], found["password"]))
    return f"http://{who + '@' if found['user'] else ''}{found['host']}:{found['port']}"


def bare(proxy: str) -> str:
    """HOST:PORT of a proxy: what may be shown."""
    return urlsplit(proxy).netloc.rpartition("@")[2]


def proxy_authorization(proxy: str) -> Dict[str, str]:
    """The header that opens this proxy, if its address holds a name and a password."""
    parts = urlsplit(proxy)
    if not parts.username:
        return {}
    said = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(said.encode()).decode()}"}
