"""Name platforms: one table, from which hosts, enrolment and releases take their names.

A platform is `<system>-<architecture>`, as `linux-amd64`. The kernel's architecture counts (`uname -m`), also under a
32-bit userland; docs/decisions/0025-shared-modules.md says why. An architecture that is not in the table keeps the
name that `uname -m` has for it, on both sides.
"""

from __future__ import annotations

import functools
import os
import re
from typing import Dict, Tuple

PLATFORM = r"[a-z]{3,16}-[a-z0-9_]{3,16}"
"""The form of a platform's name."""

ARCHITECTURES: Dict[str, Tuple[str, ...]] = {
    "amd64": ("x86_64", "x64"),
    "386": ("i386", "i486", "i586", "i686", "x86", "i686-at386"),
    "arm64": ("aarch64",),
    # 32-bit ARM keeps the kernel's names: what is built for one of them may not run on the ones before it.
    "armv8l": (),
    "armv7l": ("armhf",),
    "armv6l": (),
    "armv5tel": ("armel",),
    "armv5tejl": (),
    "armv4tl": (),
    "ppc64le": ("ppc64el",),
    "ppc64": (),
    "ppc": ("powerpc",),
    "s390x": (),
    "riscv64": (),
    "loongarch64": ("loong64",),
    "mips64": ("mips64el", "mips64le"),  # the kernel has one name for both byte orders; Debian has the little one
    "mips": ("mipsel",),
    "alpha": (),
    "arc": (),
    "csky": (),
    "e2k": (),
    "ia64": (),
    "m68k": (),
    "parisc": (),
    "parisc64": (),
    "riscv32": (),
    "s390": (),
    "sparc": (),
    "sw_64": (),
    "sh4a": (),
    "sparc64": (),
}
"""The names that releases use, and what else the same architecture is called by kernels, distributions and people."""

KNOWN_PLATFORMS = tuple(f"linux-{name}" for name in ARCHITECTURES)
"""The platforms that a release may be for."""

_NAMES = {spelling: name for name, spellings in ARCHITECTURES.items() for spelling in (name, *spellings)}
_LONGEST_FIRST = sorted(_NAMES, key=len, reverse=True)


def architecture_of(machine: str) -> str:
    """Return what releases call an architecture that `uname -m` calls `machine`: `amd64` for `x86_64`."""
    lowered = machine.lower()
    return _NAMES.get(lowered, lowered)


def architecture_here() -> str:
    """Return this machine's architecture as releases name it."""
    return architecture_of(os.uname().machine)


def platform_here() -> str:
    """Return this machine's platform as releases name it: `linux-amd64`."""
    return f"{os.uname().sysname.lower()}-{architecture_here()}"


@functools.lru_cache(maxsize=256)
def canonical(platform: str) -> str:
    """Return the name that releases use for a platform: `linux-386` for `linux-i686`, what is unknown as it is.

    Hosts that enrolled with an older program are known under names such as `linux-i686`.
    """
    system, dash, machine = platform.partition("-")
    return f"{system}-{architecture_of(machine)}" if dash else platform


def platform_of(reported: str, os_type: str, os_version: str) -> str:
    """Return the platform of a host that enrols, or "" if it cannot be known.

    Args:
        reported: what the agent calls it; the official agent says nothing.
        os_type: `linux`.
        os_version: what the official agent tells instead, with the machine's name at its end: `Linux_#1 SMP_x86_64`.
    """
    if re.fullmatch(PLATFORM, reported):
        return canonical(reported)
    lowered = os_version.lower()
    machine = next((name for name in _LONGEST_FIRST if lowered.endswith(f"_{name}")), "")
    return f"{os_type.lower()}-{_NAMES[machine]}" if machine and os_type.isalnum() else ""
