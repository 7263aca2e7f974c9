"""What signed metadata says of a release, read field by field: its form is trusted no further than its signature."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass
from typing import Any, Dict, Optional, Tuple

from backfleet_host.archives import FORMATS, Limits
from backfleet_host.upgrader.refusal import Refusal

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

    @property
    def programs(self) -> Dict[str, str]:
        """Each command and its path in the tree."""
        return {path.rsplit("/", 1)[-1]: path for path in self.bin}

    @property
    def limits(self) -> Limits:
        """No more bytes or files than the metadata says."""
        return Limits(self.unpacked_bytes, self.entries)


def read_manifest(said: Any) -> Manifest:
    """A manifest from signed metadata, or from what was kept of it.

    Raises:
        Refusal: UntrustedRelease, a field that is missing or not of its form.
    """
    try:
        return _read(said)
    except (KeyError, TypeError, ValueError, re.error) as problem:
        raise Refusal("UntrustedRelease", f"the release's signed description cannot be read: {problem}") from None


def _read(said: Dict[str, Any]) -> Manifest:
    health = said.get("health")
    manifest = Manifest(
        package=_text(said["package"]),
        version=_text(said["version"]),
        platform=_text(said["platform"]),
        format=_text(said["format"]),
        bin=tuple(_text(path) for path in said["bin"]),
        switch=_text(said["switch"]),
        health=None if health is None else _health(health),
        upgrades_from=_text(said.get("upgrades_from", "")),
        unpacked_bytes=int(said["unpacked_bytes"]),
        entries=int(said["entries"]),
        service=None if said.get("service") is None else _service(said["service"]),
        repository_format=_text(said.get("repository_format", "")),
        readable_by=_text(said.get("readable_by", "")),
        keeps=tuple(kept_path(path) for path in said.get("keeps", ())),
    )
    if manifest.format not in FORMATS or manifest.switch not in ("anytime", "idle") or not manifest.bin:
        raise ValueError(f"format {manifest.format!r}, switch {manifest.switch!r}, {len(manifest.bin)} commands")
    for command, path in manifest.programs.items():
        if not _COMMAND.fullmatch(command) or path.startswith("/") or ".." in path.split("/"):
            raise ValueError(f"the command {path!r}")
    return manifest


def _health(said: Dict[str, Any]) -> Health:
    health = Health(tuple(_text(word) for word in said["command"]), _text(said["expect"]), int(said["seconds"]))
    re.compile(health.expect)
    if not health.command or not 1 <= health.seconds <= 3600:
        raise ValueError("health")
    return health


def _service(said: Dict[str, Any]) -> ServiceWords:
    words = {name: tuple(_text(word) for word in said.get(name, ())) for name in ("start", "stop", "ready", "idle")}
    service = ServiceWords(_text(said.get("unit", "")), **words, seconds=int(said.get("seconds", 60)))
    if not service.unit and not (service.start and service.stop and service.ready):
        raise ValueError("a service needs a unit, or the commands start, stop and ready")
    if service.unit and not _UNIT.fullmatch(service.unit):
        raise ValueError(f"the unit {service.unit!r}")
    if not 1 <= service.seconds <= 3600:
        raise ValueError("service.seconds")
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


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"{value!r} is not text")
    return value


def as_json(manifest: Manifest) -> Dict[str, Any]:
    """What `read_manifest` reads again."""
    return asdict(manifest)
