"""Read what a deb or a wheel declares about itself, and compare it with what it is added as."""

import re
from collections.abc import Collection
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import Final

from packaging.tags import parse_tag

from backfleet.releases.errors import ReleaseRefused
from backfleet.releases.package_names import usual_name
from backfleet.values import value_object
from backfleet_host.archives import Limits, control_of, walk
from backfleet_host.platforms import architecture_of
from backfleet_host.versions import Scheme, default_scheme

LONGEST: Final = 64 << 10  # bytes of a metadata file that are read
ANY: Final = "any"
DEB: Final = default_scheme("deb")
ARM: Final = ("armv4tl", "armv5tel", "armv5tejl", "armv6l", "armv7l", "armv8l")
"""One Debian architecture serves several of these, and what runs on which is not declared."""

_LINUX_TAG: Final = re.compile(r"(?:manylinux\d*(?:_\d+_\d+)?|musllinux_\d+_\d+|linux)_(\w+)")
_REVISION: Final = re.compile(r"-\d[A-Za-z0-9+.~]*")  # at the end; what Debian or an operator has counted
_OWN_NUMBER: Final = re.compile(r"-\d{1,4}")


@value_object
class Declared:
    """What an artifact declares about itself. Empty fields are not declared."""

    by: str  # what messages call the file that declares it
    name: str = ""
    version: str = ""
    architectures: tuple[str, ...] = ()  # as platforms name them, or ANY
    depends: str = ""  # other packages, which hosts do not install


def read_declared(form: str, artifact: Path) -> Declared:
    """Return what an artifact declares; nothing for formats that have no place for it."""
    if form == "deb":
        return _of_deb(control_of(artifact).decode("utf-8", "replace"))
    return _of_wheel(artifact) if form == "wheel" else Declared("")


def check_declared(
    declared: Declared, *, package: str, version: str, platform: str, commands: Collection[str], scheme: Scheme
) -> None:
    """Check that an artifact is added as what it declares to be.

    Args:
        scheme: how the versions of the package compare.
        commands: the names of the release's commands: a package may be called like one of them.

    Raises:
        ReleaseRefused: it declares another package, version or architecture; the text names both.
    """
    by = declared.by
    if declared.name and not (package in commands or _names_agree(package, declared.name)):
        raise ReleaseRefused(
            f"{by} declares package {declared.name!r}, and the package given is {package!r}; "
            "check --package, or get the right file"
        )
    if declared.version and not _versions_agree(version, declared.version, scheme):
        raise ReleaseRefused(
            f"{by} declares version {declared.version!r}, and the version given is {version!r}; "
            "check --version, or get the right file"
        )
    architecture = platform.partition("-")[2]
    if not _architectures_agree(architecture, declared.architectures):
        found = ", ".join(declared.architectures)
        raise ReleaseRefused(
            f"{by} declares that it is for {found[:200]}, and the platform given is {platform!r}; "
            "check --platform, or get the right file"
        )


def upstream_versions(version: str) -> tuple[str, ...]:
    """Return the versions that a program in a release of this version may print, the whole one first.

    That is the version without an epoch, without the number that Debian or an operator gives to a rebuild, and without
    what follows a plus sign: `4.96-15+deb12u10` prints `4.96`, a rebuild `1.75.2-2` prints `1.75.2`.
    """
    without_epoch = re.sub(r"^\d+:", "", version)
    revision = re.search(rf"{_REVISION.pattern}\Z", without_epoch)
    upstream = without_epoch[: revision.start()] if revision else without_epoch
    found = (version, without_epoch, upstream, upstream.partition("+")[0])
    return tuple(dict.fromkeys(text for text in found if text))


def _of_deb(control: str) -> Declared:
    fields = HeaderParser().parsestr(control)
    architecture = _field(fields, "Architecture")
    depends = ", ".join(filter(None, (_field(fields, "Pre-Depends"), _field(fields, "Depends"))))
    names = ({"all": ANY, "any": ANY}.get(architecture) or architecture_of(architecture),) if architecture else ()
    return Declared(
        "the Debian package", _field(fields, "Package"), _field(fields, "Version"), names, " ".join(depends.split())
    )


def _of_wheel(artifact: Path) -> Declared:
    found = {}
    for entry, stream in walk(artifact, "wheel", Limits()):
        folder, _, name = entry.path.partition("/")
        if stream is not None and folder.endswith(".dist-info") and name in ("METADATA", "WHEEL"):
            found[name] = HeaderParser().parsestr(stream.read(LONGEST).decode("utf-8", "replace"))
    if not found:
        return Declared("")
    nothing = HeaderParser().parsestr("")
    metadata, tags = found.get("METADATA", nothing), found.get("WHEEL", nothing).get_all("Tag", [])
    return Declared("the wheel", _field(metadata, "Name"), _field(metadata, "Version"), _of_tags(tags))


def _of_tags(tags: Collection[str]) -> tuple[str, ...]:
    platforms = set()
    for tag in list(tags)[:200]:
        if str(tag).count("-") == 2:
            platforms |= {found.platform for found in parse_tag(str(tag))}
    names = {found: _LINUX_TAG.fullmatch(found) for found in sorted(platforms)}
    return tuple(dict.fromkeys(architecture_of(match[1]) if match else name for name, match in names.items()))


def _field(fields: Message, name: str) -> str:
    return str(fields.get(name) or "").strip()[:1000]


def _names_agree(package: str, declared: str) -> bool:
    ours, theirs = _normal(package), _normal(declared)
    parts = theirs.split("-")
    return usual_name(ours) == usual_name(theirs) or ours in parts or theirs in ours.split("-")


def _normal(name: str) -> str:
    """Return a name as package indexes compare names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _versions_agree(given: str, declared: str, scheme: Scheme) -> bool:
    """Return whether a version is the declared one, a part of it, or that with a number of the operator's own.

    A number beside the same upstream version reads like Debian's: if it is below that, it is another package's.
    """
    allowed = upstream_versions(declared)
    if given in allowed or scheme.is_equal(given, declared):
        return True
    bare = re.sub(rf"{_OWN_NUMBER.pattern}\Z", "", given)
    if bare == given or not any(scheme.is_equal(bare, one) for one in allowed):
        return False
    counts_like_debian = scheme.name == DEB and bare == re.sub(rf"^\d+:|{_REVISION.pattern}\Z", "", declared)
    return not counts_like_debian or not scheme.is_older(given, declared)


def _architectures_agree(given: str, declared: tuple[str, ...]) -> bool:
    if not declared or ANY in declared or given in declared:
        return True
    return given in ARM and any(name in ARM for name in declared)
