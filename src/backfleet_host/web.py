"""Connections as every part of this host makes them: directly or by way of the proxy, and troubles in plain words."""

from __future__ import annotations

from typing import Any, Callable, Tuple

import urllib3

from backfleet_host.proxy import bare, proxy_authorization


def connections(proxy: str, **settings: Any) -> urllib3.PoolManager:
    """A pool that goes through this proxy, "" for none. The password is in no address that the pool could show."""
    if not proxy:
        return urllib3.PoolManager(**settings)
    return urllib3.ProxyManager(f"http://{bare(proxy)}", proxy_headers=proxy_authorization(proxy), **settings)


def plainly(problem: Exception) -> str:
    """The heart of a library's message, without object addresses."""
    for kind, say in _PLAINLY:
        if isinstance(problem, kind):
            return say(problem).rsplit("object at", 1)[-1].split(": ", 1)[-1]
    return str(problem).split("object at", 1)[-1][:200]


_PLAINLY: Tuple[Tuple[type, Callable[[Any], str]], ...] = (
    (urllib3.exceptions.NameResolutionError, lambda problem: "the name does not resolve"),
    (urllib3.exceptions.NewConnectionError, lambda problem: str(problem.args[0] if problem.args else problem)),
    (urllib3.exceptions.TimeoutError, lambda problem: "no answer in time"),  # after its own children
)
