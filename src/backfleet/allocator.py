"""How the C library divides the memory of this process among its threads.

glibc gives each thread an arena of its own, eight for each core. What one thread has freed there the others cannot use,
so each arena keeps the most that it ever needed at once: a server that does the same all day grows for hours.
"""

import ctypes
import os
from collections.abc import Mapping
from typing import Final

MOST_ARENAS: Final = 2
_M_ARENA_MAX: Final = -8  # mallopt(3)


def share_arenas(environment: Mapping[str, str] = os.environ) -> bool:
    """Have all threads that are started from now on share a few arenas. Return whether they do.

    They do not where the C library is another one, or where the environment says how many arenas there may be.
    """
    if "MALLOC_ARENA_MAX" in environment or "arena_max" in environment.get("GLIBC_TUNABLES", ""):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_ARENA_MAX, MOST_ARENAS))
