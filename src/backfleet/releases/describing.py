"""Make a manifest from what an administrator gives, or from a recipe. Unknown fields are refused, never ignored."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from backfleet.releases.contents import upstream_versions
from backfleet.releases.errors import ReleaseRefused
from backfleet.releases.package_names import usual_name
from backfleet.releases.schemes import check_readable
from backfleet_host.archives import FORMATS, LONGEST_PATH
from backfleet_host.files import PARTIAL
from backfleet_host.layout import PACKAGE, VERSION
from backfleet_host.manifest import MOST_TEXTS, SWITCHES, UNIT, Health, Manifest, Service, can_be_preserved, is_in_tree
from backfleet_host.platforms import KNOWN_PLATFORMS, PLATFORM, canonical
from backfleet_host.texts import is_text
from backfleet_host.versions import FIRST_SCHEME, Scheme, scheme_of

RECIPES: Final = Path(__file__).parent / "recipes"
GIVEN: Final = (
    "bin",
    "switch",
    "health",
    "upgrades_from",
    "repository_format",
    "readable_by",
    "keeps",
    "preserve",
    "service",
    "set_uid",
)
LONGEST_HEALTH_SECONDS: Final = 600
LONGEST_SERVICE_SECONDS: Final = 3600
LONGEST_TEXT: Final = 500  # characters
USUAL: Final = scheme_of(FIRST_SCHEME)

FILE_NAME: Final = r"[A-Za-z0-9_][A-Za-z0-9._+~:%@=-]{0,254}"


def describe(
    *, package: str, version: str, platform: str, form: str, given: Mapping[str, Any] | None, scheme: Scheme = USUAL
) -> Manifest:
    """Make the manifest of a release.

    Args:
        form: the artifact's format.
        given: fields from the administrator; None takes the recipe of the package, if there is one.
        scheme: how the versions of the package compare.

    Raises:
        ReleaseRefused: a name or a field is not of its form, or a field is unknown.
    """
    check_name("package", package, PACKAGE)
    check_name("version", version, VERSION)
    if version.endswith(PARTIAL):
        raise ReleaseRefused(f"version {version!r} ends in {PARTIAL}, which hosts use for versions not unpacked yet")
    check_name("platform", platform, PLATFORM)
    if canonical(platform) != platform:
        raise ReleaseRefused(f"platform {platform!r} is called {canonical(platform)!r} by hosts; use that name")
    if platform not in KNOWN_PLATFORMS:
        raise ReleaseRefused(f"platform {platform!r} is not known; known are {', '.join(KNOWN_PLATFORMS)}")
    if form not in FORMATS:
        raise ReleaseRefused(f"format {form!r} is not one of {', '.join(FORMATS)}")
    check_readable(scheme, version)
    fields = dict(given) if given is not None else recipe_of(package)
    unknown = sorted(set(fields) - set(GIVEN))
    if unknown:
        raise ReleaseRefused(f"the manifest has unknown fields: {_some(unknown)}; known are {', '.join(GIVEN)}")
    return Manifest(
        package,
        version,
        platform,
        form,
        bin=_paths_in_tree(fields, "bin"),
        switch=_switch(fields),
        health=_health(fields.get("health"), version),
        upgrades_from=_range(fields, "upgrades_from", scheme),
        repository_format=_text(fields, "repository_format"),
        readable_by=_text(fields, "readable_by"),
        preserve=_preserved(fields),
        service=_service(fields.get("service")),
        set_uid=_paths_in_tree(fields, "set_uid"),
        scheme=scheme.name,
    )


def recipe_of(package: str) -> dict[str, Any]:
    """Return the manifest's fields that come with this program for a package; empty if there are none.

    Args:
        package: its name, or another that people use for it (`package_names.ALIASES`).
    """
    file = RECIPES / f"{usual_name(package)}.toml"
    return tomllib.loads(file.read_text()) if file.is_file() else {}


def packages_with_recipe() -> tuple[str, ...]:
    """Return the packages that have a recipe."""
    return tuple(sorted(file.stem for file in RECIPES.glob("*.toml")))


def check_name(what: str, value: str, form: str) -> None:
    """Raise ReleaseRefused if a name is not of its form."""
    if not re.fullmatch(form, value):
        raise ReleaseRefused(f"{what} {value[:80]!r} is not of the form {form}")


def _switch(fields: Mapping[str, Any]) -> str:
    switch = fields.get("switch", "anytime")
    if switch not in SWITCHES:
        raise ReleaseRefused(f"switch is {_short(switch)}; it must be one of {', '.join(SWITCHES)}")
    return str(switch)


def _health(given: Any, version: str) -> Health | None:
    if given is None:
        return None
    if not isinstance(given, dict) or not set(given) <= {"command", "expect", "seconds"} or "command" not in given:
        raise ReleaseRefused("health must have a command, may have expect and seconds, and nothing else")
    command, seconds = _strings(given, "command"), given.get("seconds", 30)
    if not command:
        raise ReleaseRefused("health.command is empty")
    if type(seconds) is not int or not 1 <= seconds <= LONGEST_HEALTH_SECONDS:
        raise ReleaseRefused(f"health.seconds must be a whole number from 1 to {LONGEST_HEALTH_SECONDS}")
    return Health(command, _expectation(given, version), seconds)


def _service(given: Any) -> Service | None:
    if given is None:
        return None
    names = ("start", "stop", "ready", "idle")
    if not isinstance(given, dict) or not set(given) <= {"unit", "seconds", *names}:
        raise ReleaseRefused("service may have a unit, start, stop, ready, idle and seconds, and nothing else")
    unit, seconds, commands = _text(given, "unit"), given.get("seconds", 60), [_strings(given, name) for name in names]
    if not unit and not all(commands[:3]):
        raise ReleaseRefused("service needs a unit, or the commands start, stop and ready")
    if unit and not re.fullmatch(UNIT, unit):
        raise ReleaseRefused(f"service.unit is {_short(unit)}; it must be the name of a unit such as acme.service")
    if type(seconds) is not int or not 1 <= seconds <= LONGEST_SERVICE_SECONDS:
        raise ReleaseRefused(f"service.seconds must be a whole number from 1 to {LONGEST_SERVICE_SECONDS}")
    return Service(unit, commands[0], commands[1], commands[2], commands[3], seconds)


def _preserved(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Read `preserve`, or `keeps` as it was called first and still is in signed metadata."""
    if "keeps" in fields and "preserve" in fields:
        raise ReleaseRefused("keeps and preserve are two names of the same field; give one of them")
    return _paths(fields, "preserve" if "preserve" in fields else "keeps")


def _paths(fields: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Read paths of state to preserve, which hosts refuse unless they are absolute, normal and two folders deep."""
    paths = _strings(fields, name)
    for path in paths:
        if not can_be_preserved(path):
            raise ReleaseRefused(f"{name} has {_short(path)}; it must be absolute, normal and two folders deep")
    return paths


def _paths_in_tree(fields: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Read paths in the artifact, which hosts refuse unless they are relative and normal."""
    paths = _strings(fields, name)
    for path in paths:
        if not is_in_tree(path):
            raise ReleaseRefused(f"{name} has {_short(path)}; it must be relative to the tree, and normal")
    return paths


def _expectation(given: Mapping[str, Any], version: str) -> str:
    expect = _text(given, "expect").replace("{version}", _printed(version))
    try:
        re.compile(expect)
    except (re.error, OverflowError, RecursionError) as problem:
        raise ReleaseRefused(f"health.expect is no regular expression: {problem}") from None
    return expect


def _printed(version: str) -> str:
    """Return the expression for what a program prints as its version: a rebuild prints the number it had before."""
    found = [re.escape(text) for text in upstream_versions(version)]
    return found[0] if len(found) == 1 else f"(?:{'|'.join(found)})"


def _strings(fields: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = fields.get(name, [])
    if not isinstance(value, list) or len(value) > MOST_TEXTS or not all(map(_is_plain_text, value)):
        raise ReleaseRefused(
            f"{name} must be a list of at most {MOST_TEXTS} strings, each of 1 to {LONGEST_PATH} characters"
        )
    return tuple(value)


def _is_plain_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_PATH and value.isprintable()


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str) or len(value) > LONGEST_TEXT or not is_text(value):
        raise ReleaseRefused(f"{name} must be text of at most {LONGEST_TEXT} characters")
    return value


def _range(fields: Mapping[str, Any], name: str, scheme: Scheme) -> str:
    value = _text(fields, name)
    if not scheme.is_range(value):
        raise ReleaseRefused(
            f"{name} is {_short(value)}; it must be a version range such as >=1.70,<1.75, by the scheme {scheme.name}"
        )
    return value


def _some(names: list[str]) -> str:
    return ", ".join(_short(name) for name in names[:5])


def _short(value: object) -> str:
    return repr(value)[:80]
