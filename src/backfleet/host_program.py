"""The host program that this server gives to hosts: one file, built together with the control plane.

Hosts enrol with it, and those with another agent fetch it with every order. A server without it would print lines that
do not work and send orders that no host can carry out. So the parts that need it do not start without it.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).parent / "backfleet-host.pyz"
NEEDED_BY: Final = frozenset({"openapi", "downloads", "workers"})  # parts of a process
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


@lru_cache(maxsize=1)
def _sha256(file: Path, _changed_ns: int, _size: int) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
