"""The address of a proxy, read once and strictly: whoever parses it again must find the password where we did."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path
from typing import Dict, Mapping
from urllib.parse import quote, unquote, urlsplit

from backfleet_host.trusted_files import Unreadable, read_toml

FORM = "http://[USER:PASSWORD@]HOST:PORT"

# The last @ ends the password, whatever stands in it: people paste passwords with / and # as they are.
_ADDRESS = re.compile(
    r"http://(?:(?P<user>[^\s:]*)(?::(?P<password>\S*))?@)?(?P<host>[^\s/@:\[\]#?]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})/?"
)


class BadProxy(ValueError):
    """Not of the form. The text does not show it: it may hold a password."""


def read_proxy(text: object) -> str:
    """The same address with name and password quoted, so that every parser splits it alike; "" stays "".

    Raises:
        BadProxy: another kind of proxy, or none that can be read.
    """
    if text == "":
        return ""
    found = _ADDRESS.fullmatch(text) if isinstance(text, str) else None
    if found is None or not 0 < int(found["port"]) < 65536:
        raise BadProxy(f"must be {FORM}")
    who = ":".join(quote(unquote(part or ""), safe="") for part in (found["user"], found["password"]))
    return f"http://{who + '@' if found['user'] else ''}{found['host']}:{found['port']}"


def proxy_for(etc: Path, environment: Mapping[str, str] = os.environ) -> str:
    """The proxy that everything of this host goes through, "" for none: BACKFLEET_PROXY, else what host.toml says.

    Other proxy variables do not count: the host's way must not change with somebody's shell.

    Raises:
        BadProxy: where it is said, and what is wrong with it.
    """
    where, said = "BACKFLEET_PROXY", environment.get("BACKFLEET_PROXY", "")
    try:
        if not said:
            where, said = f"{etc / 'host.toml'}: proxy", read_toml(etc / "host.toml").get("proxy", "")
        return read_proxy(said)
    except Unreadable as problem:
        raise BadProxy(str(problem)) from None
    except BadProxy as problem:
        raise BadProxy(f"{where} {problem}") from None


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
