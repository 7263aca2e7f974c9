"""What this host's administrator says about upgrades: `host.toml` and `<package>.toml` in /etc/backfleet.

They decide what runs as root, so only their owner may write them, and every field is read or refused.
"""

from __future__ import annotations

import dataclasses
import os
import pwd
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, FrozenSet, List, Mapping, Tuple

from backfleet_host.manifest import preserved_path
from backfleet_host.proxy import BadProxy, read_proxy
from backfleet_host.trusted_files import Unreadable, read_toml
from backfleet_host.upgrader.host.subprocesses import LIMITS
from backfleet_host.upgrader.refusal import Refusal

MOST_PROBES = 20
LONGEST_SECONDS = 3600
_VARIABLE = re.compile("[^=\0]+")
_RUN = frozenset({"user", "seconds", "environment", "limits"})


@dataclass(frozen=True)
class Run:
    """As whom a probe runs, with what, for how long."""

    user: str = ""
    seconds: int = 60
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)  # it may hold a password
    limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Probe:
    """One question to a version: a command that ends with 0, or a sample that comes back as it was."""

    name: str
    run: Run
    command: Tuple[str, ...] = ()
    expect: str = ""
    backup: Tuple[str, ...] = ()  # of {sample}
    restore: Tuple[str, ...] = ()  # to {restored}


@dataclass(frozen=True)
class PackageWords:
    """<package>.toml."""

    probes: Tuple[Probe, ...] = ()
    keeps: Tuple[str, ...] = ()
    oldest_reader: str = ""  # the lowest version of those who must read this host's backups
    changes: bool = True  # whether this package may be installed, upgraded or removed


@dataclass(frozen=True)
class HostWords:
    """host.toml."""

    bytes_per_second: int = 0  # of downloads; 0 = no limit
    changes: bool = True  # whether anything may be installed, upgraded or removed
    waits_for_reboot: bool = False  # nothing is changed while a reboot is pending
    held_back_hours: int = 24  # that a version which was taken back is not tried again
    busiest: int = 0  # load of a minute above which nothing is changed; 0 = any
    proxy: str = field(default="", repr=False)  # it may hold a password


def read_package_words(etc: Path, package: str) -> PackageWords:
    """What is said about a package; nothing if there is no file.

    Raises:
        Refusal: InternalError, others may write the file, or a field is not of its form.
    """
    file = etc / f"{package}.toml"
    said = _read(file)
    try:
        _only(said, frozenset({"probe", "sample", "keeps", "oldest_reader", "changes"}))
        probes = [_probe(one) for one in _list(said, "probe", dict)]
        probes += [_sample(one) for one in _list(said, "sample", dict)]
        if len(probes) > MOST_PROBES:
            raise ValueError(f"more than {MOST_PROBES} probes")
        keeps = tuple(preserved_path(path) for path in _list(said, "keeps", str))
        return PackageWords(tuple(probes), keeps, _text(said, "oldest_reader"), _switch(said, "changes", True))
    except (ValueError, TypeError) as problem:
        raise Refusal("InternalError", f"{file}: {problem}") from None


def read_host_words(etc: Path) -> HostWords:
    """What is said about the host as a whole. Raises as `read_package_words`."""
    file = etc / "host.toml"
    said = _read(file)
    try:
        _only(said, frozenset(field.name for field in dataclasses.fields(HostWords)))
        return HostWords(
            _number(said, "bytes_per_second", 0, 0, 1 << 40),
            _switch(said, "changes", True),
            _switch(said, "waits_for_reboot", False),
            _number(said, "held_back_hours", 24, 0, 10_000),
            _number(said, "busiest", 0, 0, 100_000),
            read_proxy(_text(said, "proxy")),
        )
    except BadProxy as problem:
        raise Refusal("InternalError", f"{file}: proxy {problem}") from None
    except (ValueError, TypeError) as problem:
        raise Refusal("InternalError", f"{file}: {problem}") from None


def _read(file: Path) -> Dict[str, Any]:
    try:
        return read_toml(file)
    except Unreadable as problem:
        raise Refusal("InternalError", str(problem)) from None


def _probe(said: Dict[str, Any]) -> Probe:
    _only(said, _RUN | {"name", "command", "expect"})
    command = tuple(_list(said, "command", str))
    if not command:
        raise ValueError("a probe needs a command")
    return Probe(_name(said, command), _run(said), command, _pattern(said, "expect"))


def _sample(said: Dict[str, Any]) -> Probe:
    _only(said, _RUN | {"name", "backup", "restore"})
    backup, restore = tuple(_list(said, "backup", str)), tuple(_list(said, "restore", str))
    if not any("{sample}" in word for word in backup) or not any("{restored}" in word for word in restore):
        raise ValueError("a sample needs a command `backup` with {sample} and a command `restore` with {restored}")
    return Probe(_name(said, backup), _run(said), backup=backup, restore=restore)


def _name(said: Dict[str, Any], words: Tuple[str, ...]) -> str:
    return _text(said, "name") or os.path.basename(words[0])


def _run(said: Dict[str, Any]) -> Run:
    environment = _table(said, "environment", str)
    limits = _table(said, "limits", int)
    _only(limits, frozenset(LIMITS))
    if not all(_VARIABLE.fullmatch(name) and "\0" not in value for name, value in environment.items()):
        raise ValueError("environment has a name that no variable can have, or a NUL")
    return Run(_user(said), _number(said, "seconds", 60, 1, LONGEST_SECONDS), environment, limits)


def _only(said: Mapping[str, Any], known: FrozenSet[str]) -> None:
    unknown = sorted(set(said) - known)
    if unknown:
        raise ValueError(f"unknown: {', '.join(unknown)}; known are {', '.join(sorted(known))}")


def _list(said: Mapping[str, Any], name: str, kind: type) -> List[Any]:
    """What is said is not repeated in an error, here and below: it may hold a password."""
    value = said.get(name, [])
    if not isinstance(value, list) or not all(isinstance(one, kind) for one in value):
        raise ValueError(
            f"{name} must be a list of tables: [[{name}]]" if kind is dict else f"{name} must be a list of texts"
        )
    if any("\0" in one for one in value if isinstance(one, str)):
        raise ValueError(f"{name} has a NUL")
    return value


def _user(said: Mapping[str, Any]) -> str:
    name = _text(said, "user")
    if name:
        try:
            pwd.getpwnam(name)
        except KeyError:
            raise ValueError("user is nobody on this host") from None
    return name


def _pattern(said: Mapping[str, Any], name: str) -> str:
    value = _text(said, name)
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError) as problem:
        raise ValueError(f"{name} is no regular expression: {problem}") from None
    return value


def _table(said: Dict[str, Any], name: str, kind: type) -> Dict[str, Any]:
    value = said.get(name, {})
    if not isinstance(value, dict) or not all(type(one) is kind for one in value.values()):
        raise ValueError(f"{name} must be a table of {'texts' if kind is str else 'whole numbers'}")
    return value


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name, "")
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"{name} must be text")
    return value


def _switch(said: Mapping[str, Any], name: str, otherwise: bool) -> bool:
    value = said.get(name, otherwise)
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false")
    return value


def _number(said: Mapping[str, Any], name: str, otherwise: int, least: int, most: int) -> int:
    value = said.get(name, otherwise)
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}")
    return value
