"""What a host must know of a release besides its bytes: carried as signed metadata."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from backfleet.releases import versions


@dataclass(frozen=True, slots=True)
class Health:
    """How a version shows that it is well: the command, what its output must contain, and for how long to wait."""

    command: tuple[str, ...]  # the first word is one of the release's own commands
    expect: str  # regular expression, searched for in the output; "" = exit code 0 is enough
    seconds: int


@dataclass(frozen=True, slots=True)
class Service:
    """How the client's service is run: a systemd unit, or three commands, or both. `idle`: no backup runs in it."""

    unit: str = ""
    start: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    ready: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    seconds: int = 60  # to start, to stop


@dataclass(frozen=True, slots=True)
class Manifest:
    """One release of one package for one platform, as a host sees it."""

    package: str
    version: str
    platform: str
    format: str
    bin: tuple[str, ...] = ()  # paths in the tree; a command is called like the last part
    switch: str = "anytime"
    health: Health | None = None
    upgrades_from: str = ""  # versions that may move here directly, as `>=1.70,<1.75`; "" = any
    repository_format: str = ""
    readable_by: str = ""
    keeps: tuple[str, ...] = ()
    unpacked_bytes: int = 0
    entries: int = 0
    service: Service | None = None
    compression: str = ""  # of the tar in the artifact, as `zstd`; a host learns from it whether it can read that
    set_uid: tuple[str, ...] = ()  # files in the tree that keep the set-uid and set-gid bits they are packed with

    def to_json(self) -> dict[str, Any]:
        """As signed metadata carries it."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Manifest":
        """What `to_json` gave, here or in a newer version of this program, whose further fields are passed over."""
        known = {field.name: kept[field.name] for field in fields(cls) if field.name in kept}
        health = known.get("health")
        lists = {name: tuple(known.get(name, ())) for name in ("bin", "keeps", "set_uid")}
        read = Health(tuple(health["command"]), health["expect"], health["seconds"]) if health else None
        return cls(**{**known, **lists, "health": read, "service": _service(known.get("service"))})

    def accepts(self, version: str) -> bool:
        """Whether a client of this version may move here directly. "" stands for no client, which may."""
        return not version or versions.within(version, self.upgrades_from)

    @property
    def commands(self) -> tuple[str, ...]:
        """What the shim exposes, in the order of `bin`."""
        return tuple(path.rsplit("/", 1)[-1] for path in self.bin)


def _service(kept: Mapping[str, Any] | None) -> Service | None:
    if kept is None:
        return None
    words = {name: tuple(kept.get(name, ())) for name in ("start", "stop", "ready", "idle")}
    return Service(unit=kept.get("unit", ""), seconds=kept.get("seconds", 60), **words)
