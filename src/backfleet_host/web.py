"""Open connections as every part of this host does: directly or through the proxy, with readable errors."""

from __future__ import annotations

from typing import Any, Callable, Tuple

import urllib3

from backfleet_host.proxy import bare, proxy_authorization


def connections(proxy: str, **settings: Any) -> urllib3.PoolManager:
    """Return a pool of connections through a proxy, "" for none. No address that the pool may show has the password."""
    if not proxy:
        return urllib3.PoolManager(**settings)
    return urllib3.ProxyManager(f"http://{bare(proxy)}", proxy_headers=proxy_authorization(proxy), **settings)


def readable(problem: Exception) -> str:
    """Return the essential part of a library's message, without object addresses."""
    for kind, describe in _READABLE:
        if isinstance(problem, kind):
            return describe(problem).rsplit("object at", 1)[-1].split(": ", 1)[-1]
    return str(problem).split("object at", 1)[-1][:200]


_READABLE: Tuple[Tuple[type, Callable[[Any], str]], ...] = (
    (urllib3.exceptions.NameResolutionError, lambda problem: "the name does not resolve"),
    (urllib3.exceptions.NewConnectionError, lambda problem: str(problem.args[0] if problem.args else problem)),
    (
        urllib3.exceptions.TimeoutError,
        lambda problem: "no answer in time",
    ),  # last, because the others are subclasses of it
)
