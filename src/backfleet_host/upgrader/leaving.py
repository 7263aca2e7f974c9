"""Letting clients go: hand each back as a plain program in place, or remove it. For hosts that leave.

A client that is handed back runs without a shim: each of its commands becomes a text for sh that executes the program
in the tree of the version that is installed. The tree stays where it is, since programs may know their own path.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Dict, List

from backfleet_host.contract import Order
from backfleet_host.layout import version_folder
from backfleet_host.upgrader import adopting, disk, gate
from backfleet_host.upgrader.failpoints import failpoint
from backfleet_host.upgrader.host import adopted, shim
from backfleet_host.upgrader.host.installation import Installation, PackageFolder
from backfleet_host.upgrader.orders import carry_out_on

KEPT = frozenset({"versions", "aside"})
"""What stays of the folder of a package that is handed back; `aside` has copies of people's own files."""
MARK = "# left by `backfleet-host remove`: starts the client, which nobody upgrades any more"


class InTheWay(Exception):
    """A client cannot be let go now; the text says why and what to do."""


def versions_to_keep(installation: Installation) -> Dict[str, str]:
    """Return the installed version of every package that has one, by package."""
    found = {package.name: package.version() for package in installation.packages()}
    return {name: version for name, version in found.items() if version}


def check_idle(installation: Installation) -> None:
    """Return if no order is being carried out, none was cut off, and no client runs.

    Raises:
        InTheWay: one is or does.
    """
    for package in installation.packages():
        try:
            with gate.held(package.folder / "lock", seconds=0.5):
                is_cut_off = package.journal.exists()
        except gate.NotInTime:
            raise InTheWay(f"an order for {package.name} is being carried out; run this again after it") from None
        foreign = package.unmanaged_links()
        if foreign:
            raise InTheWay(f"{foreign[0]}; point it to one of ours, or remove it")
        if is_cut_off:
            raise InTheWay(f"an order for {package.name} was cut off; run `backfleet-host recover` first")
        _check_no_run(installation, package)


def _check_no_run(installation: Installation, package: PackageFolder) -> None:
    lock, version = package.folder / "running", package.version()
    if lock.exists() and gate.is_anything_running(lock):
        raise InTheWay(f"{package.name} runs, perhaps a backup; run this again when it has ended")
    pids = installation.running(package.tree(version)) if version else []
    if pids:
        raise InTheWay(f"{package.name} runs (process {pids[0]}), perhaps a backup; run this again when it has ended")


def hand_back(installation: Installation, name: str, version: str) -> List[str]:
    """Make every command of a client a plain one, and return their paths. Done again, it changes nothing."""
    package = installation.package(name)
    answers = package.tree(version) / shim.ANSWERS
    handed = []
    for answer in sorted(answers.iterdir()) if answers.is_dir() else []:
        path = installation.bin / answer.name
        if path.exists() and shim.is_ours(path, name):
            program = os.fsdecode(answer.read_bytes().rstrip(b"\n"))
            text = f'#!/bin/sh\n{MARK}\nexec {shlex.quote(program)} "$@"\n'
            disk.write_file(path, os.fsencode(text), shim.MODE)
        if path.exists():
            handed.append(str(path))
        failpoint("handed back")
    return handed


def is_as_adopted(installation: Installation, name: str) -> bool:
    """Return whether a client is still the version that was taken over from others: it goes back to them."""
    adoption = adopted.read(installation.package(name))
    return adoption is not None and adoption.version == installation.package(name).version()


def kept_aside(installation: Installation, name: str) -> List[str]:
    """Return the files of others that a client took the place of, where they are now."""
    adoption = adopted.read(installation.package(name))
    return [place.aside for place in adoption.places if os.path.lexists(place.aside)] if adoption is not None else []


def remove_client(installation: Installation, name: str, order_id: str) -> None:
    """Remove a client as an order of the server would; its configuration and state stay.

    Raises:
        InTheWay: it was not removed; it is there as before.
    """
    if not installation.package(name).version():
        return
    report = carry_out_on(installation, Order(order_id, "uninstall", name), lambda _line: None)
    failpoint("removed client")
    if report.outcome != "succeeded":
        raise InTheWay(f"{name} was not removed: {report.code} {report.message}")


def give_back(installation: Installation, name: str, order_id: str) -> List[str]:
    """Put back what was there before a client, and remove the client; return the paths. Waits until it is idle.

    Raises:
        InTheWay: nothing of others was taken over; or it was not removed, and is there as before.
    """
    adoption = adopted.read(installation.package(name))
    if adoption is None:
        raise InTheWay(f"{name} took no place of others: there is nothing to give back")
    if not installation.package(name).version():
        adopting.resume(installation, installation.package(name))
    remove_client(installation, name, order_id)
    return [place.path for place in adoption.places]


def clear_package(installation: Installation, name: str, version: str) -> List[str]:
    """Delete everything of a package but the tree of a version that stays ("" = none); return the folders that stay."""
    package = installation.package(name)
    stays = []
    for entry in sorted(package.folder.iterdir()):
        if entry.name == "versions" and version:
            for tree in sorted(entry.iterdir()):
                if tree.name == version_folder(version):
                    stays.append(str(tree))
                else:
                    disk.remove_tree(tree)
        elif entry.name == "aside" and any(entry.iterdir()):
            stays.append(str(entry))
        else:
            _delete(entry)
        failpoint("cleared")
    if not stays:
        package.folder.rmdir()
    return stays


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        disk.remove_tree(path)
    else:
        path.unlink()
