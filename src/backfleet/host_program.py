"""The host program that this server gives to hosts: one file, built together with the control plane.

For hosts without a Python that is new enough there are further files, one for each kind of machine. They are optional,
lie in the data folder or beside the other one, and say themselves which machine they are for.

Hosts enrol with it, and those with another agent fetch it with every order. A server without it would print lines that
do not work and send orders that no host can carry out. So the parts that need it do not start without it.
"""

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import Final

from backfleet.values import value_object

FILE: Final = Path(__file__).parent / "backfleet-host.pyz"
OLDEST_SUPPORTED: Final = "0.1.0"  # version on hosts: those that are older may fail orders of this server
NEEDED_BY: Final = frozenset({"openapi", "downloads", "workers"})  # parts of a process
_MADE_FOR: Final = re.compile(rb"^made_for=([a-z0-9_]{1,20})\n", re.MULTILINE)  # see packaging/host/unpack.sh
_HEADER: Final = 2048  # bytes within which that line is
MISSING: Final = (
    f"{FILE} is missing, without which no host can enrol or be upgraded; build it with `make host-program` or "
    f"`tools/build_host_program.py {FILE}`, or install the package that contains it"
)


def find() -> Path | None:
    """Return the file of the host program; None if it was not built with this control plane."""
    return FILE if FILE.is_file() else None


def sha256() -> str:
    """Return the host program's SHA-256 in hex; "" if there is none."""
    try:
        found = FILE.stat()
        return _sha256(FILE, found.st_mtime_ns, found.st_size)
    except OSError:
        return ""


@value_object
class Binary:
    """A host program that needs no Python."""

    machine: str  # as `uname -m` says there
    sha256: str
    size: int  # bytes


def find_binaries(data: Path) -> dict[str, Path]:
    """Return the programs for hosts without Python, by machine. Those in the data folder have precedence."""
    found: dict[str, Path] = {}
    for folder in (FILE.parent, data):
        for file in sorted(folder.glob("backfleet-host*")):
            machine = _made_for(file)
            if machine:
                found[machine] = file
    return found


def describe_binaries(data: Path) -> list[Binary]:
    """Return what is known of the programs for hosts without Python, in the order of their machines."""
    made: list[Binary] = []
    for machine, file in sorted(find_binaries(data).items()):
        try:
            found = file.stat()
            made.append(Binary(machine, _sha256(file, found.st_mtime_ns, found.st_size), found.st_size))
        except OSError:
            continue  # it was taken away meanwhile
    return made


def _made_for(file: Path) -> str:
    """Return the machine in the header of a self-contained program; "" if the file is something else."""
    try:
        with file.open("rb") as opened:
            found = _MADE_FOR.search(opened.read(_HEADER))
    except OSError:
        return ""
    return found[1].decode() if found else ""


@lru_cache(maxsize=16)
def _sha256(file: Path, _changed_ns: int, _size: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
