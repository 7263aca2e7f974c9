"""The fields of ELF programs, compared with readelf; damaged programs are refused in bounded time."""

import contextlib
import io
import os
import random
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

import backfleet_host
from backfleet.releases.contents.elf import MAGIC, DamagedElf, read_elf

SHIMS = Path(backfleet_host.__file__).parent / "shim" / "binaries"
ARCHITECTURES = {"linux-arm": "armv7l"}  # a shim that is not called like the first architecture that starts it
TRUE = Path(shutil.which("true") or "")


@pytest.mark.parametrize("shim", sorted(path.name for path in SHIMS.iterdir()))
def test_the_architecture_of_every_platform_is_read(shim: str) -> None:
    """From real static programs: 32 and 64 bits, both byte orders."""
    with (SHIMS / shim).open("rb") as file:
        found = read_elf(file)
    assert found.architectures[0] == ARCHITECTURES.get(shim, shim.removeprefix("linux-"))
    assert (found.is_program, found.interpreter, found.libraries, found.system) == (True, "", (), "")


def programs_of_this_machine(most: int) -> list[Path]:
    """Return some programs in ELF, the same every time."""
    readable = [path for path in sorted(Path("/usr/bin").iterdir()) if path.is_file() and os.access(path, os.R_OK)]
    found = [path for path in readable if path.read_bytes()[:4] == MAGIC]
    return random.Random(1).sample(found, min(most, len(found)))


def test_libraries_and_loaders_are_those_that_readelf_shows() -> None:
    """Of programs of this machine, small and large."""
    programs = programs_of_this_machine(60)
    assert programs
    for path in programs:
        shown = subprocess.run(["readelf", "-dlW", path], capture_output=True, text=True, check=True).stdout
        with path.open("rb") as file:
            found = read_elf(file)
        loader = re.search(r"\[Requesting program interpreter: (.*)\]", shown)
        assert list(found.libraries) == re.findall(r"\(NEEDED\).*\[(.*)\]", shown), path
        assert found.interpreter == (loader[1] if loader else ""), path


def test_no_damage_leads_anywhere_else() -> None:
    """Cut off anywhere, or with random bytes in its headers: it is read, or it is DamagedElf."""
    whole, chance = TRUE.read_bytes(), random.Random(2)
    for size in (4, 5, 16, 20, 63, 64, 100, 500, 1000, len(whole) // 2):
        with pytest.raises(DamagedElf):
            read_elf(io.BytesIO(whole[:size]))
    for _ in range(3000):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(4, 1200)] = chance.randrange(256)
        with contextlib.suppress(DamagedElf):
            assert len(read_elf(io.BytesIO(damaged)).libraries) <= 200


def test_a_program_of_another_system_is_known_by_its_header() -> None:
    """FreeBSD marks its programs."""
    marked = bytearray(TRUE.read_bytes())
    marked[7] = 9
    assert read_elf(io.BytesIO(marked)).system == "FreeBSD"


def test_an_object_file_is_no_program() -> None:
    """It has no segments, and another type."""
    header = struct.pack("<16sHHIQQQIHHHHHH", MAGIC + b"\2\1\1" + bytes(9), 1, 62, 1, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0)
    assert not read_elf(io.BytesIO(header)).is_program
