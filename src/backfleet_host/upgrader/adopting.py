"""Taking over a client that is there already: the distribution's, or one that was installed by hand.

Its program becomes an installed version, as if an order had installed it: the next order upgrades it, and its
roll-back leads to it again. Runs that have begun go on undisturbed. Uninstalling gives back what was there.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import List, Optional, Sequence

from backfleet_host.layout import PACKAGE, VERSION
from backfleet_host.manifest import Health, Manifest
from backfleet_host.platforms import platform_here
from backfleet_host.upgrader import disk, gate
from backfleet_host.upgrader.errors import OrderFailed, Unhealthy
from backfleet_host.upgrader.failpoints import failpoint
from backfleet_host.upgrader.host import adopted, drift, health, owners, rights, shim, trees
from backfleet_host.upgrader.host.adopted import Adoption, Place
from backfleet_host.upgrader.host.installation import RESERVED_NAMES, Installation, PackageFolder
from backfleet_host.upgrader.host.subprocesses import Runner, Subprocess
from backfleet_host.upgrader.transaction.attempt import known_manifest

LOCK_SECONDS = 0.5
ASK_SECONDS = 60.0  # for one way to ask for the version; self-contained builds of Python unpack themselves first
QUESTIONS = ("version", "--version")
MOST_BYTES = 1 << 30  # of a program
USUAL_MODE = 0o555  # of one in a tree
_NUMBER = r"v?(\d+(?:\.\d+)+[0-9A-Za-z.+~-]*)"
OTHER_MANAGERS = ("/etc/alternatives/", "/usr/bin/snap")  # that links to programs lead to


def adopt(installation: Installation, name: str, path: Optional[Path] = None, version: str = "") -> Adoption:
    """Take over the client of this name that is on the host. Done again, it mends what leads elsewhere.

    Args:
        path: where the program is; None = wherever programs are looked for.
        version: which one it is; "" = as the program says itself.

    Raises:
        OrderFailed: it cannot be taken over, and runs as before; the text says why and what to do.
        OSError: the disk refuses. The same command goes on, as does the next order.
    """
    if name in RESERVED_NAMES or not re.fullmatch(PACKAGE, name) or (version and not re.fullmatch(VERSION, version)):
        raise OrderFailed("ManagedElsewhere", f"{name!r} or {version!r} cannot be the name of a client or a version")
    package = installation.package(name)
    umask_before = os.umask(0o022)
    try:
        package.prepare()
        with gate.held(package.folder / "lock", seconds=LOCK_SECONDS):
            if package.journal.exists():
                text = f"an order for {name} was cut off; run `backfleet-host recover` first"
                raise OrderFailed("UpgradeInProgress", text)
            return adopt_locked(installation, package, path, version)
    except gate.NotInTime:
        text = f"an order for {name} is being carried out; run this again when it has ended"
        raise OrderFailed("UpgradeInProgress", text) from None
    finally:
        os.umask(umask_before)


def adopt_locked(
    installation: Installation, package: PackageFolder, path: Optional[Path] = None, version: str = ""
) -> Adoption:
    """As `adopt`, for who holds the lock of the package."""
    known = adopted.read(package)
    if known is not None:
        if path is not None and str(path.absolute()) not in [place.path for place in known.places]:
            text = f"{package.name} was taken over at {', '.join(place.path for place in known.places)} already"
            raise OrderFailed("ManagedElsewhere", f"{text}; `backfleet-host give-back {package.name}` ends that")
        resume(installation, package, known)
        return known
    if package.version():
        text = f"{package.name} {package.version()} is installed already, and its shims are in {installation.bin}"
        raise OrderFailed("ManagedElsewhere", f"{text}; `backfleet-host status` shows what else is there")
    found = [path.absolute()] if path is not None else programs_of(installation, package.name)
    if not found:
        text = f"no program {package.name} was found; name it with --path, or have the server install the client"
        raise OrderFailed("ClientNotInstalled", text)
    places = [_place(installation, package, each) for each in found]
    program = _program(Path(places[0].path), package.name)
    manifest = _describe(program, package.name, version, installation.runner)
    _make_tree(installation, package, manifest, program)
    adoption = Adoption(manifest.version, tuple(places))
    adopted.write(package, adoption)
    failpoint("adoption written")
    resume(installation, package, adoption)
    return adoption


def resume(installation: Installation, package: PackageFolder, adoption: Optional[Adoption] = None) -> None:
    """Finish what was begun; mend what leads elsewhere by now. Does nothing where nothing is taken over.

    Raises:
        OrderFailed: ManagedElsewhere, dpkg refuses. What was begun is undone.
    """
    adoption = adoption or adopted.read(package)
    if adoption is None:
        return
    try:
        _resume(installation, package, adoption)
    except OrderFailed as problem:
        if not adoption.is_done:
            _abandon(installation, package, adoption.version)
            adopted.note_refusal(package, problem.text, installation.clock())
        raise


def _resume(installation: Installation, package: PackageFolder, adoption: Adoption) -> None:
    if not adoption.is_done:
        gate.make_lock_files(package.folder)
        disk.point_link(package.current, adoption.version)
        disk.point_link(package.verified, adoption.version)
        failpoint("adoption switched")
    manifest = known_manifest(package, package.version())
    if manifest is not None:
        adopted.take_over(installation, package, manifest.programs)
    disk.remove_file(package.refused)
    failpoint("adopted")


def _abandon(installation: Installation, package: PackageFolder, version: str) -> None:
    """Undo an adoption that cannot be finished: what was there is at its place."""
    with contextlib.suppress(OrderFailed):
        adopted.give_back(installation, package)
    shim.write_shims(installation.bin, package.folder, package.name, {})
    for link in (package.current, package.verified):
        disk.point_link(link, "")
    disk.remove_tree(package.tree(version))  # nothing runs from it: no shim led there for longer than a moment
    disk.remove_file(package.facts(version))
    disk.remove_file(package.adopted)


def finish_if_cut_off(installation: Installation, package: PackageFolder) -> None:
    """Finish an adoption that a crash cut off. The caller holds the lock of the package."""
    adoption = adopted.read(package)
    if adoption is not None and not adoption.is_done:
        resume(installation, package, adoption)


def programs_of(installation: Installation, name: str) -> List[Path]:
    """Return the programs of this name that are not ours, in the order in which a shell finds them."""
    own = installation.bin / name
    found = list(drift.unmanaged_programs(installation, name, [name]))
    if os.path.lexists(own) and not shim.is_ours(own, name):
        found.append(own)
    system = installation.system or installation.root
    order = [system / folder for folder in drift.FOLDERS]
    return sorted(found, key=lambda path: order.index(path.parent) if path.parent in order else -1)


def _place(installation: Installation, package: PackageFolder, path: Path) -> Place:
    """Return how a program is kept. Raises OrderFailed, ManagedElsewhere: it has another manager, or is no program."""
    if path.name != package.name:
        text = f"{path} is not called {package.name}: its shim would have another name"
        raise OrderFailed("ManagedElsewhere", f"{text}; give the file a link of that name first")
    target = disk.target_of_link(path)
    manager = next((each for each in OTHER_MANAGERS if target.startswith(each)), "")
    if manager:
        text = f"{path} is a link to {target}, which its own manager would write again"
        raise OrderFailed("ManagedElsewhere", f'{text}; `adopt = "shadow"` in /etc/backfleet goes beside it')
    system = installation.system
    owner = owners.dpkg_package_of(system, path) if system is not None else ""
    aside = path.with_name(path.name + (adopted.DIVERTED if owner else adopted.KEPT))
    if os.path.lexists(aside):
        raise OrderFailed("ManagedElsewhere", f"{aside} exists, where {path} would be kept; move it elsewhere first")
    if system is not None and not owner and _has_rpm(installation, path):
        text = f"rpm has {path}, and knows no diversions: its next upgrade would write over our link"
        raise OrderFailed("ManagedElsewhere", f'{text}; `adopt = "shadow"` in /etc/backfleet goes beside it')
    return Place(str(path), str(aside), owner)


def _has_rpm(installation: Installation, path: Path) -> bool:
    rpm = (installation.system or Path("/")) / "usr/bin/rpm"
    if not rpm.exists():
        return False
    try:
        return installation.runner(Subprocess((str(rpm), "-qf", str(path)), ASK_SECONDS))[0] == 0
    except Unhealthy:
        return False


def _program(path: Path, name: str) -> Path:
    """Return the file that is run, once it is one that nobody else can change: it will run as whoever runs the agent.

    Raises:
        OrderFailed: ManagedElsewhere, it is none, or others can change it.
    """
    program = path.resolve()
    try:
        found = program.stat()
        folders = [(folder, folder.stat()) for folder in program.parents]  # whoever can rename one puts another there
    except OSError as problem:
        raise OrderFailed("ManagedElsewhere", f"{path} cannot be read: {problem.strerror}") from None
    if not stat.S_ISREG(found.st_mode) or not found.st_mode & 0o111 or found.st_size > MOST_BYTES:
        raise OrderFailed("ManagedElsewhere", f"{program} is not a program that {name} could be")
    open_to_group = found.st_mode & stat.S_IWGRP and found.st_gid not in (0, os.getegid())
    for where, one in ((program, found), *folders):
        is_open = one.st_mode & stat.S_IWOTH and not one.st_mode & stat.S_ISVTX
        if one.st_uid not in (0, os.geteuid()) or is_open or (where == program and open_to_group):
            text = f"{where} can be changed by others than root, and would then run as root"
            raise OrderFailed("ManagedElsewhere", f"{text}; give it to root (chown root:root, chmod o-w) first")
    return program


def _describe(program: Path, name: str, version: str, runner: Runner) -> Manifest:
    """Return the manifest of a program that has none. Raises OrderFailed, ManagedElsewhere: its version is unknown."""
    outputs = []
    for question in QUESTIONS:
        try:
            code, output = runner(Subprocess((str(program), question), ASK_SECONDS))
        except Unhealthy:
            continue
        found = version if version and version in output else version_in(output, name)
        if code == 0 and found:
            expected = Health((name, question), re.escape(found), int(ASK_SECONDS))
            size = program.stat().st_size
            facts = {"unpacked_bytes": size, "entries": 2, "health": expected, "bin": (f"bin/{name}",)}
            return Manifest(name, version or found, platform_here(), "tar", **facts)  # type: ignore[arg-type]
        outputs.append(output.strip()[:100])
    text = f"{program} does not say which version it is ({', '.join(map(repr, filter(None, outputs))) or 'no answer'})"
    raise OrderFailed("ManagedElsewhere", f"{text}; only a program with an answer to `version` can be taken over")


def version_in(output: str, name: str) -> str:
    """Return the version in what a program prints of itself; "" if there is none."""
    patterns: Sequence[str] = (rf"(?i)\b{re.escape(name)}\S*\s+(?:version\s+)?{_NUMBER}", rf"(?:^|\s){_NUMBER}")
    for pattern in patterns:
        match = re.search(pattern, output)
        if match is not None and re.fullmatch(VERSION, match.group(1)):
            return match.group(1)
    return ""


def _make_tree(installation: Installation, package: PackageFolder, manifest: Manifest, program: Path) -> None:
    """Make a tree of the program, verified: a program that needs what stood beside it shows that here.

    Raises:
        OrderFailed: ManagedElsewhere, the copy does not work.
    """
    partial, tree = package.partial(manifest.version), package.tree(manifest.version)
    disk.remove_tree(tree)  # nothing runs from it: nothing is installed
    disk.remove_tree(partial)
    files = trees.copy_program(program, package.name, partial)
    files[manifest.bin[0]]["mode"] = USUAL_MODE  # any other was given by somebody, and later versions get it too
    shim.write_answers(partial, tree, manifest.programs)
    disk.sync_folder(partial)
    disk.write_json(package.facts(manifest.version), {"manifest": manifest.to_json(), "files": files, "adopted": True})
    own = rights.of_file(program)
    if own is not None:
        mode = (own.mode or 0) & ~rights.WRITABLE
        rights.give(partial, manifest, files, {package.name: replace(own, mode=mode)})
    try:
        health.verify(manifest, partial, installation.runner)
    except Unhealthy as problem:
        disk.remove_tree(partial)
        text = f"a copy of {program} does not run ({problem.text}): it needs what is around it"
        raise OrderFailed("ManagedElsewhere", f'{text}; `adopt = "shadow"` in /etc/backfleet goes beside it') from None
    disk.rename(partial, tree)
    disk.sync_folder(package.versions)
