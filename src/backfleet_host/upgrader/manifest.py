"""What signed metadata says of a release, read field by field: its form is trusted no further than its signature."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

from backfleet_host.archives import FORMATS, Limits
from backfleet_host.upgrader.refusal import Refusal

_COMMAND = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


@dataclass(frozen=True)
class Health:
    """How a version shows that it is well."""

    command: Tuple[str, ...]
    expect: str
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


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"{value!r} is not text")
    return value
