"""A client that was there before: whose program it was, where that stands now, and how it comes back.

What was found at a path stays on the disk beside it. dpkg's file is diverted, so that upgrades of its package go on
beside us; any other file gets a second name. Then a link to our shim takes the path, in one step: at no moment is there
no program. `adopted.json` in the package's folder says what was done, or is being done, and every step can be repeated.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from backfleet_host.upgrader import disk
from backfleet_host.upgrader.failpoints import effect
from backfleet_host.upgrader.host import diversions, shim
from backfleet_host.upgrader.host.installation import Installation, PackageFolder
from backfleet_host.upgrader.host.processes import of_moved_program

DIVERTED, KEPT = ".distrib", ".before-backfleet"
"""What the names of the files end with that were there: those of dpkg, as dpkg-divert(1) has it, and all others."""


@dataclass(frozen=True)
class Place:
    """One path at which a program of the client was found."""

    path: str
    aside: str  # where that program is now
    package: str = ""  # dpkg's, that has it; "" = none


@dataclass(frozen=True)
class Adoption:
    """What was taken over."""

    version: str
    places: Tuple[Place, ...]
    is_done: bool = False


def read(package: PackageFolder) -> Optional[Adoption]:
    """Return what was taken over; None if nothing was, or it was given back."""
    raw = disk.read_json(package.adopted)
    try:
        places = tuple(Place(**each) for each in (raw or {})["places"])
        return Adoption(str((raw or {})["version"]), places, bool((raw or {})["is_done"]))
    except (KeyError, TypeError):
        return None


def write(package: PackageFolder, adoption: Adoption) -> None:
    """Write down what is taken over."""
    raw: Dict[str, Any] = asdict(adoption)
    disk.write_json(package.adopted, raw)
    disk.sync_folder(package.folder)


def note_refusal(package: PackageFolder, why: str, now: float) -> None:
    """Write down why the client could not be taken over; `now` is Unix time. The next one that succeeds ends that."""
    disk.write_json(package.refused, {"why": why, "at": now})


def refusal(package: PackageFolder) -> str:
    """Return why the client could not be taken over; "" if it was, or another one is installed."""
    return "" if package.version() else str((disk.read_json(package.refused) or {}).get("why", ""))


def take_over(installation: Installation, package: PackageFolder, programs: Dict[str, str]) -> None:
    """Let every path lead to our shim, and write the shims. Does nothing for clients that were not taken over.

    Args:
        programs: the commands of the current version.

    Raises:
        OrderFailed: ManagedElsewhere, dpkg refuses.
        OSError: a file cannot be kept or replaced. Repeated, it goes on.
    """
    adoption = read(package)
    if adoption is None:
        return
    for place in adoption.places:
        if place.package and installation.system is not None:
            diversions.divert(installation.system, Path(place.path), Path(place.aside))
        if not leads_here(installation, package, place):
            _keep(Path(place.path), Path(place.aside))
    limit = installation.policy_or_default().wait_limit
    shim.write_shims(installation.bin, package.folder, package.name, programs, limit)
    for place in adoption.places:
        if not leads_here(installation, package, place):
            _put_link(Path(place.path), installation.bin / package.name)
    write(package, replace(adoption, is_done=True))


def give_back(installation: Installation, package: PackageFolder) -> List[str]:
    """Put what was there at its paths again, each in one step; return these paths. The shims stay at theirs.

    Where somebody has put another file at a path, that one stays.
    """
    adoption = read(package)
    for place in () if adoption is None else adoption.places:
        path, aside = Path(place.path), Path(place.aside)
        if os.path.lexists(aside) and not _is_same(path, aside):
            if leads_here(installation, package, place) or not os.path.lexists(path):
                disk.rename(aside, path)
        elif os.path.lexists(aside) or leads_here(installation, package, place):
            disk.remove_file(aside if os.path.lexists(aside) else path)  # dpkg has removed its package meanwhile
        for fresh in (_fresh(path), _fresh(aside)):
            disk.remove_file(fresh)
        disk.sync_folder(path.parent)
        if place.package and installation.system is not None:
            diversions.end_diversion(installation.system, path, aside)
    return [place.path for place in adoption.places] if adoption is not None else []


def runs_from_before(package: PackageFolder) -> List[int]:
    """Return the processes that run what was there before: none of them came through our shim, nor has its locks.

    Once it was given back, nothing is looked for: it stays where it is.
    """
    adoption = read(package)
    places = () if adoption is None else adoption.places
    return sorted({pid for place in places for pid in of_moved_program(Path(place.path), Path(place.aside))})


def leads_here(installation: Installation, package: PackageFolder, place: Place) -> bool:
    """Return whether the path is our shim, or a link of ours to it."""
    path, ours = Path(place.path), installation.bin / package.name
    if is_place_of_shim(installation, path):
        return shim.is_ours(path, package.name)
    return disk.target_of_link(path) == str(ours)


def is_place_of_shim(installation: Installation, path: Path) -> bool:
    """Return whether a path is where the shim itself belongs."""
    return path.parent.resolve() == installation.bin.resolve()


def sentences_about(installation: Installation, package: PackageFolder) -> List[str]:
    """Return one sentence for every path that does not lead to our shim any more, or will not for long."""
    adoption = read(package)
    found, advice = [], f"run `backfleet-host adopt {package.name}` again"
    for place in () if adoption is None else adoption.places:
        path, aside = Path(place.path), Path(place.aside)
        system = installation.system if place.package else None
        if not is_place_of_shim(installation, path) and not leads_here(installation, package, place):
            found.append(f"{path} does not lead to our shim any more; {advice}")
        elif system is not None and not diversions.is_diverted(system, path, aside):
            found.append(f"dpkg does not divert {path} any more, and will write over our link; {advice}")
    return found


def _keep(path: Path, aside: Path) -> None:
    """Give what is at a path its second name, in one step, whatever had that name."""
    if not os.path.lexists(path):
        return
    fresh = _fresh(aside)
    disk.remove_file(fresh)
    with effect("link", fresh):
        os.link(path, fresh, follow_symlinks=False)
    disk.rename(fresh, aside)  # where both are the same file this does nothing at all: rename(2)
    disk.remove_file(fresh)
    disk.sync_folder(aside.parent)


def _put_link(path: Path, target: Path) -> None:
    fresh = _fresh(path)
    disk.remove_file(fresh)
    with effect("link", fresh):
        fresh.symlink_to(target)
    disk.rename(fresh, path)
    disk.sync_folder(path.parent)


def _fresh(path: Path) -> Path:
    return path.with_name(f".{path.name}.backfleet-new")


def _is_same(one: Path, other: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(one.lstat(), other.lstat())
    return False
