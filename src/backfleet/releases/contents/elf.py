"""Read the few fields of an ELF program that decide where it can be started. Source: elf(5), System V ABI, chapter 4.

The file may be damaged or hostile: every count and length is bounded, and whatever does not fit is DamagedElf.
docs/decisions/0032-what-releases-show.md says why no library does this.
"""

import struct
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import IO, Final

from backfleet.values import value_object

MAGIC: Final = b"\x7fELF"
MOST_SEGMENTS: Final = 256
MOST_DYNAMIC: Final = 4096  # entries of the dynamic section
MOST_LIBRARIES: Final = 200
LONGEST_NAME: Final = 255  # bytes of a library's or interpreter's name

_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3  # types of segments
_NEEDED, _STRINGS = 1, 5  # tags of dynamic entries
_PROGRAM, _SHARED = 2, 3  # types of files; programs of today are of the second
_OTHER_SYSTEMS: Final = MappingProxyType({2: "NetBSD", 6: "Solaris", 9: "FreeBSD", 12: "OpenBSD"})

_ARM: Final = ("armv7l", "armv6l", "armv8l", "armv5tel", "armv5tejl", "armv4tl")
ARCHITECTURES: Final[Mapping[tuple[int, int, str], tuple[str, ...]]] = MappingProxyType({
    (62, 64, "<"): ("amd64",), (62, 32, "<"): ("x32",), (3, 32, "<"): ("386",), (183, 64, "<"): ("arm64",),
    (40, 32, "<"): _ARM, (21, 64, "<"): ("ppc64le",), (21, 64, ">"): ("ppc64",), (20, 32, ">"): ("ppc",),
    (22, 64, ">"): ("s390x",), (22, 32, ">"): ("s390",), (243, 64, "<"): ("riscv64",), (243, 32, "<"): ("riscv32",),
    (258, 64, "<"): ("loongarch64",), (8, 64, "<"): ("mips64",), (8, 64, ">"): ("mips64",), (8, 32, "<"): ("mips",),
    (8, 32, ">"): ("mips",), (0x9026, 64, "<"): ("alpha",), (50, 64, "<"): ("ia64",), (4, 32, ">"): ("m68k",),
    (15, 32, ">"): ("parisc", "parisc64"), (15, 64, ">"): ("parisc64",), (42, 32, "<"): ("sh4a",),
    (43, 64, ">"): ("sparc64",), (2, 32, ">"): ("sparc",),
})  # fmt: skip
"""Machine, bits and byte order of a program, and the architectures of platforms that start it, the usual one first."""


class DamagedElf(ValueError):
    """The file begins as ELF and goes on as something else."""


@value_object
class Elf:
    """Where a program can be started."""

    architectures: tuple[str, ...]  # as platforms name them; empty where the machine is not in the table
    machine: int
    system: str  # "" = Linux, or any
    is_program: bool  # no object file, no core dump
    interpreter: str  # the loader; "" where the program is static
    libraries: tuple[str, ...]  # that the loader must find


@value_object
class _Segment:
    kind: int
    offset: int
    address: int
    size: int  # bytes in the file


class _Layout:
    """How numbers are written in one file."""

    def __init__(self, ident: bytes) -> None:
        if len(ident) < 16 or ident[4] not in (1, 2) or ident[5] not in (1, 2):
            raise DamagedElf("its header is cut off or damaged")
        self.bits, self.order = 32 * ident[4], "<" if ident[5] == 1 else ">"
        word = "Q" if self.bits == 64 else "I"
        self.header = struct.Struct(f"{self.order}16sHHI{word}{word}{word}IHHHHHH")
        self.segment = struct.Struct(f"{self.order}{'IIQQQQQQ' if self.bits == 64 else 'IIIIIIII'}")
        self.dynamic = struct.Struct(f"{self.order}{word}{word}")


def read_elf(file: IO[bytes]) -> Elf:
    """Read a program from its first byte on.

    Raises:
        DamagedElf: it is cut off, damaged, or larger in some respect than any program is.
    """
    layout = _Layout(_read(file, 0, 16))
    header = layout.header.unpack(_read(file, 0, layout.header.size))
    kind, machine, at, size, count = header[1], header[2], header[5], header[9], header[10]
    segments = list(_segments(file, layout, at, size, count))
    interpreter = next((_text(file, s.offset, s.size) for s in segments if s.kind == _INTERPRETER), "")
    return Elf(
        ARCHITECTURES.get((machine, layout.bits, layout.order), ()),
        machine,
        _OTHER_SYSTEMS.get(header[0][7], ""),
        kind in (_PROGRAM, _SHARED) and bool(segments),
        interpreter,
        tuple(_libraries(file, layout, segments)),
    )


def _segments(file: IO[bytes], layout: _Layout, at: int, size: int, count: int) -> Iterator[_Segment]:
    if count > MOST_SEGMENTS or (count and size != layout.segment.size):
        raise DamagedElf("its program headers are damaged")
    for number in range(count):
        fields = layout.segment.unpack(_read(file, at + number * size, size))
        if layout.bits == 64:
            yield _Segment(fields[0], fields[2], fields[3], fields[5])
        else:
            yield _Segment(fields[0], fields[1], fields[2], fields[4])


def _libraries(file: IO[bytes], layout: _Layout, segments: list[_Segment]) -> list[str]:
    dynamic = next((segment for segment in segments if segment.kind == _DYNAMIC), None)
    if dynamic is None:
        return []
    size = layout.dynamic.size
    entries = []
    for number in range(min(dynamic.size // size, MOST_DYNAMIC)):
        tag, value = layout.dynamic.unpack(_read(file, dynamic.offset + number * size, size))
        if tag == 0:
            break
        entries.append((tag, value))
    names = [value for tag, value in entries if tag == _NEEDED]
    if not names:
        return []
    if len(names) > MOST_LIBRARIES:
        raise DamagedElf(f"it needs more than {MOST_LIBRARIES} libraries")
    strings = _offset_of(next((value for tag, value in entries if tag == _STRINGS), -1), segments)
    return [_text(file, strings + name, LONGEST_NAME + 1) for name in names]


def _offset_of(address: int, segments: list[_Segment]) -> int:
    for segment in segments:
        if segment.kind == _LOAD and segment.address <= address < segment.address + segment.size:
            return segment.offset + address - segment.address
    raise DamagedElf("its table of names is nowhere")


def _text(file: IO[bytes], at: int, most: int) -> str:
    """Read text that ends with a NUL."""
    _seek(file, at)
    text, nul, _ = file.read(min(most, LONGEST_NAME + 1)).partition(b"\0")
    name = text.decode("utf-8", "replace")
    if not nul or not name.isprintable():
        raise DamagedElf("a name in it is damaged")
    return name


def _read(file: IO[bytes], at: int, size: int) -> bytes:
    _seek(file, at)
    found = file.read(size)
    if len(found) != size:
        raise DamagedElf("it is cut off")
    return found


def _seek(file: IO[bytes], at: int) -> None:
    try:
        file.seek(at)
    except (OSError, ValueError, OverflowError):
        raise DamagedElf("an offset in it is damaged") from None
