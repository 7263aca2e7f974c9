"""Small artifacts of every format, honest and hostile, packed in memory: the same things give the same bytes."""

import bz2
import gzip
import importlib
import io
import lzma
import stat
import sys
import tarfile
import zipfile
from dataclasses import dataclass

TAR_KINDS = {
    "file": tarfile.REGTYPE,
    "folder": tarfile.DIRTYPE,
    "link": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
    "device": tarfile.CHRTYPE,
    "fifo": tarfile.FIFOTYPE,
}
ZSTD = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


def zstd(plain: bytes) -> bytes:
    return bytes(ZSTD.compress(plain, options={ZSTD.CompressionParameter.checksum_flag: 1}))


COMPRESS = {
    "": bytes,
    "gz": lambda plain: gzip.compress(plain, mtime=0),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd,
}
ZIP_KINDS = {"file": stat.S_IFREG, "link": stat.S_IFLNK, "device": stat.S_IFCHR, "fifo": stat.S_IFIFO}


@dataclass(frozen=True)
class Packed:
    """One thing to pack."""

    path: str
    content: bytes = b""
    mode: int = 0o644
    kind: str = "file"
    target: str = ""  # of a link


def file(path: str, content: bytes = b"x", mode: int = 0o644) -> Packed:
    return Packed(path, content, mode)


def program(path: str, says: str = "") -> Packed:
    return Packed(path, f"#!/bin/sh\necho {says}\n".encode(), 0o755)


def folder(path: str) -> Packed:
    return Packed(path, mode=0o755, kind="folder")


def link(path: str, target: str) -> Packed:
    return Packed(path, mode=0o777, kind="link", target=target)


def hard_link(path: str, target: str) -> Packed:
    return Packed(path, kind="hard link", target=target)


def tar(*things: Packed, compression: str = "", form: int = tarfile.PAX_FORMAT) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as archive:
        for thing in things:
            info = tarfile.TarInfo(thing.path)
            info.type, info.mode, info.size = TAR_KINDS[thing.kind], thing.mode, len(thing.content)
            info.linkname = thing.target
            archive.addfile(info, io.BytesIO(thing.content))
    return COMPRESS[compression](packed.getvalue())


def zipped(*things: Packed, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for thing in things:
            is_folder = thing.kind == "folder"
            info = zipfile.ZipInfo("x")
            info.filename = thing.path + "/" * is_folder  # the constructor would end it at a NUL
            info.create_system, info.compress_type = 3, compression
            info.external_attr = (thing.mode | (stat.S_IFDIR if is_folder else ZIP_KINDS[thing.kind])) << 16
            archive.NameToInfo.clear()  # it would warn of a name it knows
            archive.writestr(info, thing.target or thing.content)
    return packed.getvalue()


def ar(*members: tuple[str, bytes]) -> bytes:
    packed = b"!<arch>\n"
    for name, content in members:
        packed += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        packed += content + b"\n" * (len(content) % 2)
    return packed


def deb(*things: Packed, compression: str = "xz") -> bytes:
    data = tar(*things, compression=compression, form=tarfile.GNU_FORMAT)
    name = "data.tar" + f".{compression}" * bool(compression)
    return ar(("debian-binary", b"2.0\n"), ("control.tar.xz", tar(file("control"), compression="xz")), (name, data))
