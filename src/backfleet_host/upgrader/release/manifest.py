"""What signed metadata says of a release, read field by field: its form is trusted no further than its signature."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass
from typing import Any, Dict, Optional, Sequence, Tuple

from backfleet_host.archives import FORMATS, Limits
from backfleet_host.upgrader.errors import OrderFailed

SWITCHES = ("anytime", "idle")
MOST_TEXTS = 200  # in one list

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9._+-]{0,63}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,63}")
_PLATFORM = re.compile(r"[a-z0-9]+-[a-z0-9_]+")
_COMMAND = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_UNIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_.@\\-]{0,200}\.(service|socket|target)")


@dataclass(frozen=True)
class Health:
    """How a version shows that it is well."""

    command: Tuple[str, ...]
    expect: str
    seconds: int


@dataclass(frozen=True)
class ServiceWords:
    """How the release's service is run: a systemd unit, or three commands, or both."""

    unit: str
    start: Tuple[str, ...]
    stop: Tuple[str, ...]
    ready: Tuple[str, ...]
    idle: Tuple[str, ...]
    seconds: int


@dataclass(frozen=True)
class Manifest:
    """One release as its metadata describes it."""

    package: str
    version: str
    platform: str
    format: str
    bin: Tuple[str, ...]
    switch: str
    health: Optional[Health]
    upgrades_from: str
    unpacked_bytes: int
    entries: int
    service: Optional[ServiceWords] = None
    repository_format: str = ""  # what this version writes
    readable_by: str = ""  # the lowest version that can read that
    keeps: Tuple[str, ...] = ()  # configuration and state that must survive: absolute paths
    compression: str = ""  # of the tar in it, as `zstd`; "" = none, or made before this was said
    set_uid: Tuple[str, ...] = ()  # files in the tree that keep the set-uid and set-gid bits they are packed with

    @property
    def programs(self) -> Dict[str, str]:
        """Each command and its path in the tree."""
        return {path.rsplit("/", 1)[-1]: path for path in self.bin}

    @property
    def needs_zstd(self) -> bool:
        """Whether only a host that reads zstd can unpack it (`archives.can_read_zstd`)."""
        return self.compression == "zstd"

    @property
    def limits(self) -> Limits:
        """No more bytes or files than the metadata says."""
        return Limits(self.unpacked_bytes, self.entries)


def read_manifest(said: Any) -> Manifest:
    """A manifest from signed metadata, or from what was kept of it.

    Raises:
        OrderFailed: UntrustedRelease, a field that is missing or not of its form.
    """
    try:
        return _read(_object(said))
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError, re.error) as problem:
        text = f"the release's signed description cannot be read: {type(problem).__name__}: {str(problem)[:300]}"
        raise OrderFailed("UntrustedRelease", text) from None


def _read(said: Dict[str, Any]) -> Manifest:
    health, service, most = said.get("health"), said.get("service"), Limits()
    manifest = Manifest(
        package=_matching(_PACKAGE, said["package"]),
        version=_matching(_VERSION, said["version"]),
        platform=_matching(_PLATFORM, said["platform"]),
        format=_one_of(FORMATS, said["format"]),
        bin=tuple(path_in_tree(path) for path in _texts(said["bin"])),
        switch=_one_of(SWITCHES, said["switch"]),
        health=None if health is None else _health(_object(health)),
        upgrades_from=_range(said.get("upgrades_from", "")),
        unpacked_bytes=_number(said["unpacked_bytes"], 0, most.unpacked_bytes),
        entries=_number(said["entries"], 0, most.entries),
        service=None if service is None else _service(_object(service)),
        repository_format=_text(said.get("repository_format", "")),
        readable_by=_text(said.get("readable_by", "")),
        keeps=tuple(kept_path(path) for path in _texts(said.get("keeps", ()))),
        compression=_text(said.get("compression", "")),
        set_uid=tuple(path_in_tree(path) for path in _texts(said.get("set_uid", ()))),
    )
    for command in manifest.programs:
        _matching(_COMMAND, command)
    if not manifest.bin:
        raise ValueError("no command")
    return manifest


def _health(said: Dict[str, Any]) -> Health:
    # Newer control planes allow 600 seconds at most; what older ones signed is still good.
    health = Health(_texts(said["command"]), _text(said["expect"]), _number(said["seconds"], 1, 3600))
    re.compile(health.expect)
    if not health.command:
        raise ValueError("health.command is empty")
    return health


def _service(said: Dict[str, Any]) -> ServiceWords:
    words = {name: _texts(said.get(name, ())) for name in ("start", "stop", "ready", "idle")}
    service = ServiceWords(_text(said.get("unit", "")), **words, seconds=_number(said.get("seconds", 60), 1, 3600))
    if not service.unit and not (service.start and service.stop and service.ready):
        raise ValueError("a service needs a unit, or the commands start, stop and ready")
    if service.unit:
        _matching(_UNIT, service.unit)
    return service


def kept_path(value: Any) -> str:
    """A path of state to keep: absolute and normal, and not the whole machine.

    Raises:
        ValueError: it is not.
    """
    path = _text(value)
    if not path.startswith("/") or path != os.path.normpath(path) or path.count("/") < 2:
        raise ValueError(f"keeps {path!r}: it must be absolute, normal and below a folder of the root")
    return path


def path_in_tree(value: Any) -> str:
    """A path of something in a tree: relative and normal.

    Raises:
        ValueError: it is not.
    """
    path = _text(value)
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError(f"{path!r}: it must be relative to the tree, and normal")
    return path


def _range(value: Any) -> str:
    """Versions, as `>=1.70,<1.75`: what could not be read could not be compared with either."""
    from packaging.specifiers import SpecifierSet

    text = _text(value)
    SpecifierSet(text)
    return text


def _object(value: Any) -> Dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{type(value).__name__} where an object should be")
    return value


def _texts(value: Any) -> Tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or len(value) > MOST_TEXTS:
        raise ValueError(f"no list of at most {MOST_TEXTS} texts, but {value!r}")
    return tuple(_text(text) for text in value)


def _number(value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"no whole number from {least} to {most}, but {value!r}")
    return value


def _one_of(known: Sequence[str], value: Any) -> str:
    if value not in known:
        raise ValueError(f"none of {', '.join(known)}, but {value!r}")
    return str(value)


def _matching(form: re.Pattern[str], value: Any) -> str:
    text = _text(value)
    if not form.fullmatch(text):
        raise ValueError(f"{text!r} is not of the form {form.pattern}")
    return text


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"{value!r} is not text")
    value.encode()  # half a character, as JSON can write it, is no text either: UnicodeEncodeError
    return value


def as_json(manifest: Manifest) -> Dict[str, Any]:
    """What `read_manifest` reads again."""
    return asdict(manifest)
