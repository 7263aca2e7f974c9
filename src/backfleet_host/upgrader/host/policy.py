"""Host policy: what this host's administrator allows, in `host.toml` and `<package>.toml` in /etc/backfleet.

These files decide what runs as root. So only their owner may be able to write them, and an unknown field is an error.
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
from backfleet_host.upgrader.errors import OrderFailed
from backfleet_host.upgrader.host.subprocesses import LIMITS
from backfleet_host.upgrader.release.addresses import is_plain_address

MOST_PROBES = 20
MOST_RELAYS = 4
MOST_USERS = 6  # that run the shim while backups wait
LONGEST_SECONDS = 3600
LONGEST_LIMIT = 24 * 3600  # seconds
_VARIABLE = re.compile("[^=\0]+")
ADOPT = ("refuse", "shadow", "divert")
_PACKAGE_FIELDS = frozenset(
    {"probe", "sample", "keeps", "oldest_reader", "changes", "allows_downgrade", "units", "users", "adopt"}
)
_RUN_FIELDS = frozenset({"user", "seconds", "environment", "limits"})


@dataclass(frozen=True)
class ProbeRun:
    """As which user a probe runs, with what environment and limits, and for how long."""

    user: str = ""  # "" = the upgrader's own
    seconds: int = 60
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)  # it may hold a password
    limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Probe:
    """A check of the administrator: a command that exits with 0, or a sample that is backed up and restored."""

    name: str
    run: ProbeRun
    command: Tuple[str, ...] = ()
    expect: str = ""
    backup: Tuple[str, ...] = ()  # of {sample}
    restore: Tuple[str, ...] = ()  # to {restored}


@dataclass(frozen=True)
class PackagePolicy:
    """<package>.toml."""

    probes: Tuple[Probe, ...] = ()
    keeps: Tuple[str, ...] = ()  # absolute paths of state to preserve
    oldest_reader: str = ""  # the lowest version of those who must read this host's backups
    changes: bool = True  # whether this package may be installed, upgraded or removed
    allows_downgrade: bool = False  # whether an order may name an older version than the installed one
    units: Tuple[str, ...] = ()  # systemd units that its service may be, besides those named for the package
    users: Tuple[str, ...] = ()  # who runs the client, besides the agent's own user
    adopt: str = ""  # what an install does with the same program of others; "" = as in host.toml


@dataclass(frozen=True)
class HostPolicy:
    """host.toml. The fields have the names of its keys."""

    bytes_per_second: int = 0  # of downloads; 0 = no limit
    changes: bool = True  # whether anything may be installed, upgraded or removed
    waits_for_reboot: bool = False  # nothing is changed while a reboot is pending
    held_back_hours: int = 24  # how long a version that was rolled back is quarantined
    busiest: int = 0  # load average of a minute above which nothing is changed; 0 = any
    wait_limit: int = 300  # seconds that a run waits at the gate before it runs the last verified version
    drain_limit: int = 300  # seconds for which the gate may be kept closed to wait for running backups
    verify_limit: int = 60  # seconds that verifying may take in all while the gate is closed
    state_limit: int = 30  # seconds for which a file system with preserved state may not answer
    left_overs_are_runs: bool = False  # whether what a run left behind counts as a running backup
    proxy: str = field(default="", repr=False)  # it may hold a password
    sends_output: bool = False  # what a failed probe printed is sent to the server; it may hold secrets
    downloads: Tuple[str, ...] = ()  # addresses that orders may name besides those of the enrolled server
    relays: Tuple[str, ...] = ()  # addresses of relays: releases are downloaded there first, and else from the server
    allows_downgrade: bool = False  # the same for every package
    users: Tuple[str, ...] = ()  # who runs the clients, where a package does not name its own; () = anybody
    adopt: str = "refuse"  # the same for every package: refuse, go beside it, or take its place


@dataclass(frozen=True)
class Policy:
    """Both files, as far as one package is concerned."""

    host: HostPolicy = HostPolicy()
    package: PackagePolicy = PackagePolicy()

    @property
    def allows_downgrade(self) -> bool:
        """Whether an order may name an older version than the installed one."""
        return self.host.allows_downgrade or self.package.allows_downgrade

    @property
    def adopt(self) -> str:
        """What an install does with the same program of others: one of ADOPT."""
        return self.package.adopt or self.host.adopt


def read_policy(etc: Path, package: str) -> Policy:
    """Return the policy for a package; defaults where there is no file.

    Raises:
        OrderFailed: InternalError, other users may write a file, or a field is malformed.
    """
    return Policy(read_host_policy(etc), read_package_policy(etc, package))


def read_package_policy(etc: Path, package: str) -> PackagePolicy:
    """Return what `<package>.toml` says. Raises as `read_policy`."""
    file = etc / f"{package}.toml"
    raw = _read(file)
    try:
        _only(raw, _PACKAGE_FIELDS)
        probes = [_probe(one) for one in _list(raw, "probe", dict)]
        probes += [_sample(one) for one in _list(raw, "sample", dict)]
        if len(probes) > MOST_PROBES:
            raise ValueError(f"there are {len(probes)} probes; at most {MOST_PROBES} are allowed")
        keeps = tuple(preserved_path(path) for path in _list(raw, "keeps", str))
        return PackagePolicy(
            tuple(probes),
            keeps,
            _text(raw, "oldest_reader"),
            _boolean(raw, "changes", True),
            _boolean(raw, "allows_downgrade", False),
            tuple(_list(raw, "units", str)),
            _users(raw),
            _adopt(raw),
        )
    except (ValueError, TypeError) as problem:
        raise OrderFailed("InternalError", f"{file}: {problem}") from None


def read_host_policy(etc: Path) -> HostPolicy:
    """Return what `host.toml` says. Raises as `read_policy`."""
    file = etc / "host.toml"
    raw = _read(file)
    try:
        _only(raw, frozenset(field.name for field in dataclasses.fields(HostPolicy)))
        return HostPolicy(
            _number(raw, "bytes_per_second", 0, 0, 1 << 40),
            _boolean(raw, "changes", True),
            _boolean(raw, "waits_for_reboot", False),
            _number(raw, "held_back_hours", 24, 0, 10_000),
            _number(raw, "busiest", 0, 0, 100_000),
            _number(raw, "wait_limit", 300, 1, LONGEST_LIMIT),
            _number(raw, "drain_limit", 300, 0, LONGEST_LIMIT),
            _number(raw, "verify_limit", 60, 1, LONGEST_LIMIT),
            _number(raw, "state_limit", 30, 1, LONGEST_LIMIT),
            _boolean(raw, "left_overs_are_runs", False),
            proxy=read_proxy(_text(raw, "proxy")),
            sends_output=_boolean(raw, "sends_output", False),
            downloads=tuple(_list(raw, "downloads", str)),
            relays=_relays(raw),
            allows_downgrade=_boolean(raw, "allows_downgrade", False),
            users=_users(raw),
            adopt=_adopt(raw) or ADOPT[0],
        )
    except BadProxy as problem:
        raise OrderFailed("InternalError", f"{file}: proxy {problem}") from None
    except (ValueError, TypeError) as problem:
        raise OrderFailed("InternalError", f"{file}: {problem}") from None


def _read(file: Path) -> Dict[str, Any]:
    try:
        return read_toml(file)
    except Unreadable as problem:
        raise OrderFailed("InternalError", str(problem)) from None


def _probe(raw: Dict[str, Any]) -> Probe:
    _only(raw, _RUN_FIELDS | {"name", "command", "expect"})
    command = tuple(_list(raw, "command", str))
    if not command:
        raise ValueError("a probe needs a command")
    return Probe(_name(raw, command), _run(raw), command, _pattern(raw, "expect"))


def _sample(raw: Dict[str, Any]) -> Probe:
    _only(raw, _RUN_FIELDS | {"name", "backup", "restore"})
    backup, restore = tuple(_list(raw, "backup", str)), tuple(_list(raw, "restore", str))
    if not any("{sample}" in argument for argument in backup) or not any("{restored}" in text for text in restore):
        raise ValueError("a sample needs a command `backup` with {sample} and a command `restore` with {restored}")
    return Probe(_name(raw, backup), _run(raw), backup=backup, restore=restore)


def _name(raw: Dict[str, Any], arguments: Tuple[str, ...]) -> str:
    return _text(raw, "name") or os.path.basename(arguments[0])


def _run(raw: Dict[str, Any]) -> ProbeRun:
    environment = _table(raw, "environment", str)
    limits = _table(raw, "limits", int)
    _only(limits, frozenset(LIMITS))
    if not all(_VARIABLE.fullmatch(name) and "\0" not in value for name, value in environment.items()):
        raise ValueError("environment has a name that no variable can have, or a NUL")
    return ProbeRun(_user(raw), _number(raw, "seconds", 60, 1, LONGEST_SECONDS), environment, limits)


def _only(raw: Mapping[str, Any], known: FrozenSet[str]) -> None:
    unknown = sorted(set(raw) - known)
    if unknown:
        raise ValueError(f"unknown: {', '.join(unknown)}; known are {', '.join(sorted(known))}")


def _list(raw: Mapping[str, Any], name: str, kind: type) -> List[Any]:
    """Return a list of this kind. No error repeats a value, here and below: it may be a password."""
    value = raw.get(name, [])
    if not isinstance(value, list) or not all(isinstance(one, kind) for one in value):
        raise ValueError(
            f"{name} must be a list of tables: [[{name}]]" if kind is dict else f"{name} must be a list of texts"
        )
    if any("\0" in one for one in value if isinstance(one, str)):
        raise ValueError(f"{name} has a NUL")
    return value


def _user(raw: Mapping[str, Any]) -> str:
    name = _text(raw, "user")
    if name:
        try:
            pwd.getpwnam(name)
        except KeyError:
            raise ValueError("user does not exist on this host") from None
    return name


def _users(raw: Mapping[str, Any]) -> Tuple[str, ...]:
    names = tuple(_list(raw, "users", str))
    if len(names) > MOST_USERS:
        raise ValueError(f"users has {len(names)} names; at most {MOST_USERS} are allowed")
    for name in names:
        _user({"user": name})
    return names


def _adopt(raw: Mapping[str, Any]) -> str:
    value = _text(raw, "adopt")
    if "adopt" in raw and value not in ADOPT:
        raise ValueError(f"adopt must be one of {', '.join(ADOPT)}")
    return value


def _relays(raw: Mapping[str, Any]) -> Tuple[str, ...]:
    addresses = tuple(_list(raw, "relays", str))
    if len(addresses) > MOST_RELAYS:
        raise ValueError(f"relays has {len(addresses)} addresses; at most {MOST_RELAYS} are allowed")
    if not all(is_plain_address(address) for address in addresses):
        raise ValueError("relays takes addresses as http://HOST:PORT or https://HOST:PORT, without name or password")
    return addresses


def _pattern(raw: Mapping[str, Any], name: str) -> str:
    value = _text(raw, name)
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError) as problem:
        raise ValueError(f"{name} is not a regular expression: {problem}") from None
    return value


def _table(raw: Dict[str, Any], name: str, kind: type) -> Dict[str, Any]:
    value = raw.get(name, {})
    if not isinstance(value, dict) or not all(type(one) is kind for one in value.values()):
        raise ValueError(f"{name} must be a table of {'texts' if kind is str else 'whole numbers'}")
    return value


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name, "")
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"{name} must be text")
    return value


def _boolean(raw: Mapping[str, Any], name: str, default: bool) -> bool:
    value = raw.get(name, default)
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false")
    return value


def _number(raw: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    value = raw.get(name, default)
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}")
    return value
