"""How many arenas the threads of a server have, counted by the C library itself in a process of its own."""

import ctypes
import os
import subprocess
import sys

import pytest

from backfleet.allocator import MOST_ARENAS, share_arenas

PROGRAM = """
import ctypes, sys, tempfile, threading
from backfleet.allocator import share_arenas
shared = share_arenas() if sys.argv[1] == "share" else False
ready = threading.Barrier(13)
def work():
    kept = [bytes(100_000) for _ in range(3)]
    ready.wait()
    ready.wait()
for _ in range(12):
    threading.Thread(target=work, daemon=True).start()
ready.wait()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as file:
    stream = ctypes.c_void_p(libc.fdopen(file.fileno(), b"w"))
    libc.malloc_info(0, stream)
    libc.fflush(stream)
    print(shared, open(file.name).read().count("<heap "))
ready.wait()
"""

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="the C library is not glibc")


def arenas(how: str, **environment: str) -> tuple[bool, int]:
    """Return whether threads share arenas, and how many arenas twelve of them have."""
    given = {name: value for name, value in os.environ.items() if name not in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")}
    shared, count = subprocess.check_output([sys.executable, "-c", PROGRAM, how], env=given | environment).split()
    return shared == b"True", int(count)


def test_threads_share_a_few_arenas() -> None:
    """Without that each has its own, up to eight for each core."""
    assert arenas("share") == (True, MOST_ARENAS)
    assert arenas("")[1] > MOST_ARENAS


def test_the_environment_decides_where_it_says_how_many() -> None:
    """Whoever has set it knows why."""
    assert arenas("share", MALLOC_ARENA_MAX="5") == (False, 5)
    assert arenas("share", GLIBC_TUNABLES="glibc.malloc.arena_max=6") == (False, 6)


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no such function."""
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: object())
    assert share_arenas({}) is False
