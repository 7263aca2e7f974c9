"""What a host must know of a release besides its bytes: carried as signed metadata."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from backfleet_host.archives import FORMATS, BadArchive, Limits, walk

RECIPES = Path(__file__).parent / "recipes"
SWITCHES: Final = ("anytime", "idle")
LONGEST_HEALTH_SECONDS = 600
MOST_COMMANDS = 50  # commands one release may expose

_NAME = re.compile(r"[a-z0-9][a-z0-9._+-]{0,63}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,63}")
_PLATFORM = re.compile(r"[a-z]{3,16}-[a-z0-9_]{3,16}")
_COMMAND = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_GIVEN: Final = ("bin", "switch", "health", "upgrades_from", "repository_format", "readable_by", "keeps")


class ReleaseRefused(ValueError):
    """A release that cannot be offered; `code` is the wire's, the text says what is wrong and what to do."""

    def __init__(self, text: str, code: str = "InvalidParameter.Release") -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Health:
    """How a version shows that it is well: the command, what its output must contain, and for how long to wait."""

    command: tuple[str, ...]  # the first word is one of the release's own commands
    expect: str  # regular expression, searched for in the output; "" = exit code 0 is enough
    seconds: int


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

    def to_json(self) -> dict[str, Any]:
        """As signed metadata carries it."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Manifest":
        """What `to_json` gave."""
        health = kept.get("health")
        lists = {name: tuple(kept.get(name, ())) for name in ("bin", "keeps")}
        read = Health(tuple(health["command"]), health["expect"], health["seconds"]) if health else None
        return cls(**{**kept, **lists, "health": read})

    def accepts(self, version: str) -> bool:
        """Whether a client of this version may move here directly."""
        if not self.upgrades_from or not version:
            return True
        return SpecifierSet(self.upgrades_from, prereleases=True).contains(order_of(version), prereleases=True)


def order_of(version: str) -> Version:
    """A version as it is compared.

    Raises:
        ReleaseRefused: it cannot be ordered among others.
    """
    try:
        return Version(version.replace("~", "."))
    except InvalidVersion:
        raise ReleaseRefused(
            f"version {version!r} cannot be compared with others; use numbers such as 1.75.2, with -1 or rc1 after them"
        ) from None


def make_manifest(*, package: str, version: str, platform: str, form: str, given: Mapping[str, Any] | None) -> Manifest:
    """A manifest from what the operator gave, or from the recipe of this package, or with nothing special.

    Raises:
        ReleaseRefused: a name or a field that is not of its form; unknown fields.
    """
    for what, value, pattern in (
        ("package", package, _NAME), ("version", version, _VERSION), ("platform", platform, _PLATFORM)
    ):  # fmt: skip
        if not pattern.fullmatch(value):
            raise ReleaseRefused(f"{what} {value!r} is not of the form {pattern.pattern}")
    if form not in FORMATS:
        raise ReleaseRefused(f"format {form!r} is not one of {', '.join(FORMATS)}")
    order_of(version)
    fields = dict(given) if given is not None else _recipe(package)
    unknown = sorted(set(fields) - set(_GIVEN))
    if unknown:
        raise ReleaseRefused(f"the manifest has unknown fields: {', '.join(unknown)}; known are {', '.join(_GIVEN)}")
    switch = fields.get("switch", "anytime")
    if switch not in SWITCHES:
        raise ReleaseRefused(f"switch is {switch!r}; it must be one of {', '.join(SWITCHES)}")
    return Manifest(
        package,
        version,
        platform,
        form,
        bin=_strings(fields, "bin"),
        switch=switch,
        health=_health(fields.get("health"), version),
        upgrades_from=_range(fields, "upgrades_from"),
        repository_format=_text(fields, "repository_format"),
        readable_by=_text(fields, "readable_by"),
        keeps=_strings(fields, "keeps"),
    )


def inspect(manifest: Manifest, artifact: Path) -> Manifest:
    """Read the artifact through as a host will, and complete the manifest: commands, size, number of entries.

    Raises:
        ReleaseRefused: broken, hostile, or without the commands it should have.
    """
    size, count, programs = 0, 0, []
    try:
        for entry, stream in walk(artifact, manifest.format, Limits(), manifest.package):
            count, size = count + 1, size + entry.size
            while stream is not None and stream.read(1 << 20):
                pass
            if entry.mode & 0o100 and not entry.is_folder and entry.link is None:
                programs.append(entry.path)
    except BadArchive as problem:
        raise ReleaseRefused(f"the artifact is refused: {problem}") from None
    found = manifest.bin or _commands(manifest, programs)
    missing = [path for path in found if path not in programs]
    if missing:
        raise ReleaseRefused(f"bin names {missing[0]!r}, which is no program in the artifact")
    if not found:
        raise ReleaseRefused("no program was found in the artifact; name its commands as bin in a manifest")
    _check_commands(manifest, found)
    return replace(manifest, bin=found, unpacked_bytes=size, entries=count)


def _check_commands(manifest: Manifest, found: tuple[str, ...]) -> None:
    names = [path.rsplit("/", 1)[-1] for path in found]
    if len(set(names)) != len(names) or len(names) > MOST_COMMANDS:
        raise ReleaseRefused(f"bin must name at most {MOST_COMMANDS} commands, each with a name of its own")
    for name in names:
        if not _COMMAND.fullmatch(name):
            raise ReleaseRefused(f"the command {name!r} is not of the form {_COMMAND.pattern}")
    if manifest.health and manifest.health.command[0] not in names:
        raise ReleaseRefused(
            f"the health command {manifest.health.command[0]!r} is not one of the release's own: {', '.join(names)}"
        )


def _commands(manifest: Manifest, programs: list[str]) -> tuple[str, ...]:
    """The commands to expose if nobody named them: the one called like the package, else all in the usual places."""
    same = [path for path in programs if path.rsplit("/", 1)[-1] == manifest.package]
    if same:
        return (min(same, key=len),)
    usual = ("usr/bin/", "usr/sbin/", "bin/", "sbin/")
    return tuple(path for path in programs if path.startswith(usual) or ".data/scripts/" in path)[:MOST_COMMANDS]


def _recipe(package: str) -> dict[str, Any]:
    file = RECIPES / f"{package}.toml"
    return tomllib.loads(file.read_text()) if file.is_file() else {}


def _health(given: Any, version: str) -> Health | None:
    if given is None:
        return None
    if not isinstance(given, dict) or not set(given) <= {"command", "expect", "seconds"} or "command" not in given:
        raise ReleaseRefused("health must have a command, and may have expect and seconds")
    command = _strings(given, "command")
    expect = _text(given, "expect").replace("{version}", re.escape(version))
    seconds = given.get("seconds", 30)
    if type(seconds) is not int or not 1 <= seconds <= LONGEST_HEALTH_SECONDS:
        raise ReleaseRefused(f"health.seconds must be a whole number from 1 to {LONGEST_HEALTH_SECONDS}")
    try:
        re.compile(expect)
    except re.error as problem:
        raise ReleaseRefused(f"health.expect is no regular expression: {problem}") from None
    if not command:
        raise ReleaseRefused("health.command is empty")
    return Health(command, expect, seconds)


def _strings(fields: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = fields.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value) or len(value) > 200:
        raise ReleaseRefused(f"{name} must be a list of strings")
    return tuple(value)


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str) or len(value) > 500:
        raise ReleaseRefused(f"{name} must be text of at most 500 characters")
    return value


def _range(fields: Mapping[str, Any], name: str) -> str:
    value = _text(fields, name)
    try:
        SpecifierSet(value)
    except InvalidSpecifier:
        raise ReleaseRefused(f"{name} is {value!r}; it must be a version range such as >=1.70,<1.75") from None
    return value
