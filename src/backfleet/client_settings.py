"""What can be set for a client, and within which limits: the same for calls and for policies of rollouts. Pure."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

NETWORKS: Final = ("PUBLIC", "VPC", "CLASSIC")
CUSTOM: Final = "CUSTOM"
"""The kind of proxy that has a host of its own."""
PROXY_KINDS: Final = ("DISABLE", "USE_CONTROL_PROXY", CUSTOM)
HOST: Final = r"[A-Za-z0-9.:_-]*"
LONGEST_HOST: Final = 255  # characters
LONGEST_USER: Final = 128  # characters
MOST_UNITS: Final = 1024  # cores, workers
LARGEST: Final = 2**53  # bytes; what JSON's numbers hold exactly

_Rule = tuple[Callable[[Any], bool], str]


def _choice(values: tuple[str, ...]) -> _Rule:
    return (lambda value: isinstance(value, str) and value in values), f"give one of {', '.join(values)}"


def _whole(least: int, most: int) -> _Rule:
    def holds(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    return holds, f"give a whole number from {least} to {most}"


def _text(pattern: str, longest: int, wanted: str) -> _Rule:
    def holds(value: Any) -> bool:
        return isinstance(value, str) and len(value) <= longest and re.fullmatch(pattern, value) is not None

    return holds, wanted


_FLAG: Final[_Rule] = ((lambda value: isinstance(value, bool)), "give true or false")

RULES: Final[Mapping[str, _Rule]] = {
    "network": _choice(NETWORKS),
    "proxy_kind": _choice(PROXY_KINDS),
    "proxy_host": _text(HOST, LONGEST_HOST, "give the name or the address of a host"),
    "proxy_port": _whole(1, 65535),
    "proxy_user": _text(r"[^\x00-\x1f\x7f-\x9f]*", LONGEST_USER, f"give a name of at most {LONGEST_USER} characters"),
    "most_cores": _whole(0, MOST_UNITS),
    "most_workers": _whole(0, MOST_UNITS),
    "most_memory": _whole(0, LARGEST),
    "https": _FLAG,
    "alert_on_partial": _FLAG,
}
"""For each setting, under the name that hosts know it by: whether a value will do, and what would."""


def faults_of(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with settings, by name: what would do instead."""
    found = {}
    for name, value in settings.items():
        if "password" in name:
            found[name] = "leave it out: a policy holds no secrets; UpdateClientSettings sets it for each client"
        elif name not in RULES:
            found[name] = f"there is no such setting; known here: {', '.join(RULES)}"
        elif not RULES[name][0](value):
            found[name] = RULES[name][1]
    if settings.get("proxy_kind") == CUSTOM and not settings.get("proxy_host"):
        found.setdefault("proxy_kind", f"a proxy of kind {CUSTOM} needs a `proxy_host`")
    return found
