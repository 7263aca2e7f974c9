"""Describe a release: what its bytes are for and what a host does with them. Read and written here, on both sides.

A manifest travels as JSON inside signed metadata, and is stored as JSON by both sides. `Manifest.to_json` writes it,
`Manifest.from_json` reads what this program stored itself, and `read_manifest` reads what somebody else signed: its
form is trusted no further than its signature.
"""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Tuple

from backfleet_host import versions
from backfleet_host.archives import FORMATS, Limits
from backfleet_host.layout import PACKAGE, VERSION
from backfleet_host.platforms import PLATFORM
from backfleet_host.texts import is_text

SWITCHES = ("anytime", "idle")
COMMAND = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}"
UNIT = r"[A-Za-z0-9][A-Za-z0-9:_.@\\-]{0,200}\.(service|socket|target)"
MOST_TEXTS = 200  # in one list
LONGEST_SECONDS = 3600  # that an older control plane has signed; today's sign 600 for health at most
REQUIRED = ("package", "version", "platform", "format", "bin", "switch", "unpacked_bytes", "entries")

_JSON_NAMES = {"preserve": "keeps"}  # fields that have another name in JSON


class BadManifest(ValueError):
    """A description that lacks a field or has one that is not of its form; the text says which, in bounded length."""


class UnknownVersionScheme(BadManifest):
    """The versions of the package compare by a scheme that this program does not know: a newer one may."""


@dataclass(frozen=True)
class Health:
    """How a version shows that it is healthy: a command, what its output must contain, and how long to wait."""

    command: Tuple[str, ...]  # the first word is one of the release's own commands
    expect: str  # regular expression, searched for in the output; "" = exit code 0 is enough
    seconds: int


@dataclass(frozen=True)
class Service:
    """How the client's service is run: a systemd unit, or three commands, or both. `idle`: no backup runs in it."""

    unit: str = ""
    start: Tuple[str, ...] = ()
    stop: Tuple[str, ...] = ()
    ready: Tuple[str, ...] = ()
    idle: Tuple[str, ...] = ()
    seconds: int = 60  # to start, to stop


@dataclass(frozen=True)
class Manifest:
    """One release of one package for one platform."""

    package: str
    version: str
    platform: str
    format: str
    bin: Tuple[str, ...] = ()  # paths in the tree; a command is called like the last part
    switch: str = "anytime"
    health: Optional[Health] = None
    upgrades_from: str = ""  # versions that may move here directly, as `>=1.70,<1.75`; "" = any
    repository_format: str = ""  # what this version writes
    readable_by: str = ""  # the lowest version that can read that
    preserve: Tuple[str, ...] = ()  # configuration and state that must survive: absolute paths; `keeps` in JSON
    unpacked_bytes: int = 0
    entries: int = 0
    service: Optional[Service] = None
    compression: str = ""  # of the tar in the artifact, as `zstd`; "" = none, or made before this was recorded
    set_uid: Tuple[str, ...] = ()  # files in the tree that keep the set-uid and set-gid bits they are packed with
    scheme: str = versions.FIRST_SCHEME  # how the versions of the package compare: one of versions.SCHEMES

    @property
    def programs(self) -> Dict[str, str]:
        """Each command, in the order of `bin`, and its path in the tree."""
        return {path.rsplit("/", 1)[-1]: path for path in self.bin}

    @property
    def commands(self) -> Tuple[str, ...]:
        """The names that the shim exposes, in the order of `bin`. A name may come twice, which a check refuses."""
        return tuple(path.rsplit("/", 1)[-1] for path in self.bin)

    @property
    def needs_zstd(self) -> bool:
        """Whether only a host that reads zstd can unpack it (`archives.can_read_zstd`)."""
        return self.compression == "zstd"

    @property
    def limits(self) -> Limits:
        """No more bytes or files than the manifest says."""
        return Limits(self.unpacked_bytes, self.entries)

    @property
    def version_scheme(self) -> versions.Scheme:
        """How the versions of the package compare. Raises versions.UnknownScheme."""
        return versions.scheme_of(self.scheme)

    def accepts(self, version: str) -> bool:
        """Return whether a client of this version may move here directly. "" stands for no client, which may."""
        return not version or self.version_scheme.within(version, self.upgrades_from)

    def to_json(self) -> Dict[str, Any]:
        """Return the manifest as signed metadata and both sides' files carry it.

        The first scheme is left out, as before there were others. A range over another scheme is written so that a
        program that knows no schemes refuses the manifest: it would compare in the wrong order.
        """
        written = {_JSON_NAMES.get(name, name): value for name, value in asdict(self).items()}
        if self.scheme == versions.FIRST_SCHEME:
            del written["scheme"]
        return {**written, "upgrades_from": f"{_range_prefix(self.scheme)}{self.upgrades_from}"}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Manifest:
        """Read what `to_json` gave, here or in another version of this program.

        Further fields, of a newer version, are ignored; those that an older one did not have get their defaults.

        Raises:
            BadManifest: a field that every version has is missing, or one has another type.
        """
        return _as_bad_manifest(_parse, stored)


def read_manifest(value: Any) -> Manifest:
    """Read a manifest that somebody else signed, every field checked.

    Raises:
        BadManifest: it is no object, a field is missing, or one is not of its form.
    """
    return _as_bad_manifest(_read, value)


def is_in_tree(path: str) -> bool:
    """Return whether this is a path of something in a release's tree: relative and normal."""
    return not any(part in ("", ".", "..") for part in path.split("/"))


def can_be_preserved(path: str) -> bool:
    """Return whether state under this path may be preserved: absolute, normal, and below a folder of the root."""
    return path.startswith("/") and path == os.path.normpath(path) and path.count("/") >= 2


def preserved_path(value: Any) -> str:
    """Return a path of state to preserve, as manifests and the host's policy name it.

    Raises:
        ValueError: it is no text, or not such a path.
    """
    path = _text(value)
    if not can_be_preserved(path):
        raise ValueError(f"keeps {path!r}: it must be absolute, normal and below a folder of the root")
    return path


def _as_bad_manifest(read: Any, value: Any) -> Manifest:
    """Call `read`, and turn whatever it stumbles over into a BadManifest."""
    try:
        found: Manifest = read(value)
    except KeyError as problem:
        raise BadManifest(f"it lacks {problem}"[:300]) from None
    except versions.UnknownScheme as problem:
        raise UnknownVersionScheme(str(problem)) from None
    except (TypeError, ValueError, ArithmeticError, AttributeError, RecursionError, re.error) as problem:
        raise BadManifest(f"{type(problem).__name__}: {problem}"[:300]) from None
    return found


def _read(value: Any) -> Manifest:
    lacking = [name for name in REQUIRED if name not in _object(value)]
    if lacking:
        raise KeyError(", ".join(lacking))
    manifest = _parse(value)
    _check(manifest)
    return manifest


def _parse(stored: Mapping[str, Any]) -> Manifest:
    """Check types only: rules about content may have changed since this program stored it."""
    parsers: Dict[str, Callable[[Any], Any]] = {
        "bin": _texts,
        "preserve": _texts,
        "set_uid": _texts,
        "health": lambda value: None if value is None else _health(_object(value)),
        "service": lambda value: None if value is None else _service(_object(value)),
        "unpacked_bytes": _whole_number,
        "entries": _whole_number,
    }
    names = {field.name: _JSON_NAMES.get(field.name, field.name) for field in fields(Manifest)}
    given = {name: stored[key] for name, key in names.items() if key in stored}
    for name in ("package", "version", "platform", "format"):
        if name not in given:
            raise KeyError(name)
    parsed: Dict[str, Any] = {name: parsers[name](value) for name, value in given.items() if name in parsers}
    texts: Dict[str, Any] = {name: _text(value) for name, value in given.items() if name not in parsers}
    found = Manifest(**texts, **parsed)
    return replace(found, upgrades_from=found.upgrades_from.removeprefix(_range_prefix(found.scheme)))


def _range_prefix(scheme: str) -> str:
    """Return what stands before a range in JSON, if it is one over this scheme."""
    return "" if scheme == versions.FIRST_SCHEME else f"{scheme}:"


def _health(value: Mapping[str, Any]) -> Health:
    return Health(_texts(value["command"]), _text(value["expect"]), _whole_number(value["seconds"]))


def _service(value: Mapping[str, Any]) -> Service:
    commands = {name: _texts(value.get(name, ())) for name in ("start", "stop", "ready", "idle")}
    return Service(unit=_text(value.get("unit", "")), seconds=_whole_number(value.get("seconds", 60)), **commands)


def _check(manifest: Manifest) -> None:
    """Raise ValueError if a field is not of the form that hosts rely on."""
    scheme = manifest.version_scheme
    for name, form in (("package", PACKAGE), ("version", VERSION), ("platform", PLATFORM)):
        _match(name, getattr(manifest, name), form)
    _check_one_of("format", manifest.format, FORMATS)
    _check_one_of("switch", manifest.switch, SWITCHES)
    for path in (*manifest.bin, *manifest.set_uid):
        if not is_in_tree(path):
            raise ValueError(f"{path!r}: it must be relative to the tree, and normal")
    for path in manifest.preserve:
        preserved_path(path)
    for command in manifest.programs:
        _match("command", command, COMMAND)
    if not manifest.bin:
        raise ValueError("no command")
    if not scheme.is_range(manifest.upgrades_from):
        raise ValueError(f"upgrades_from {manifest.upgrades_from!r} is no range of versions")
    _check_number("unpacked_bytes", manifest.unpacked_bytes, 0, Limits().unpacked_bytes)
    _check_number("entries", manifest.entries, 0, Limits().entries)
    _check_health(manifest.health)
    _check_service(manifest.service)


def _check_health(health: Optional[Health]) -> None:
    if health is None:
        return
    if not health.command:
        raise ValueError("health.command is empty")
    re.compile(health.expect)
    _check_number("health.seconds", health.seconds, 1, LONGEST_SECONDS)


def _check_service(service: Optional[Service]) -> None:
    if service is None:
        return
    if not service.unit and not (service.start and service.stop and service.ready):
        raise ValueError("a service needs a unit, or the commands start, stop and ready")
    if service.unit:
        _match("service.unit", service.unit, UNIT)
    _check_number("service.seconds", service.seconds, 1, LONGEST_SECONDS)


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{type(value).__name__} where an object should be")
    return value


def _texts(value: Any) -> Tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or len(value) > MOST_TEXTS:
        raise TypeError(f"no list of at most {MOST_TEXTS} texts, but {value!r}")
    return tuple(_text(text) for text in value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not is_text(value):
        raise TypeError(f"{value!r} is not text")
    return value


def _whole_number(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is no whole number")
    return value


def _check_number(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ValueError(f"{name} {value!r} is not from {least} to {most}")


def _check_one_of(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"{name} {value!r} is none of {', '.join(known)}")


def _match(name: str, value: str, form: str) -> None:
    if not re.fullmatch(form, value):
        raise ValueError(f"{name} {value!r} is not of the form {form}")
