"""Recognise an artifact by its first bytes, and name what no host can use together with what to do about it."""

import zipfile
from pathlib import Path
from typing import Final

from backfleet.releases.errors import ReleaseRefused
from backfleet_host.archives import BadArchive, begins_with_tar, head_of

HEAD: Final = 4096  # bytes that are looked at
SHOWN: Final = 60  # characters of a text that messages quote

REFUSED: Final = (
    (b"\xed\xab\xee\xdb", "an RPM package, which hosts do not unpack: run `rpm2archive FILE` and add FILE.tgz"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive: unpack it and pack it again as tar.gz"),
    (b"Rar!\x1a\x07", "a RAR archive: unpack it and pack it again as tar.gz"),
    (b"hsqs", "a SquashFS image (a snap): unpack it with `unsquashfs` and pack it again as tar.gz"),
    (b"070701", "a cpio archive: unpack it and pack it again as tar.gz"),
    (b"xar!", "an installer for macOS: get the file for Linux"),
    (b"MZ", "a program or installer for Windows: get the file for Linux"),
    (b"\xcf\xfa\xed\xfe", "a program for macOS: get the file for Linux"),
    (b"\xce\xfa\xed\xfe", "a program for macOS: get the file for Linux"),
    (b"\xca\xfe\xba\xbe", "a program for macOS or Java: get the file for Linux"),
    (b"%PDF", "a PDF document: get the program"),
)
HTML: Final = ("<!doctype", "<html", "<head", "<body", "<?xml", "<!--")
UNPACKERS: Final = {"gzip": "gunzip", "bzip2": "bunzip2", "xz": "unxz", "zstd": "unzstd"}


def format_of(artifact: Path, given: str) -> str:
    """Return the format of an artifact, one of `archives.FORMATS`.

    Args:
        given: the format that it is added as; "" where none is named.

    Raises:
        ReleaseRefused: no host can use such a file, or it has another format than the one given.
    """
    found = _recognise(artifact)
    if found == "wheel" and given == "zip":  # every wheel is a zip
        return given
    if given not in ("", found):
        advice = f"add it with --from {found}, or without --from"
        raise ReleaseRefused(f"the file is in the format {found}, and the format given is {given}: {advice}")
    return found


def _recognise(artifact: Path) -> str:
    with artifact.open("rb") as opened:
        head = opened.read(HEAD)
    for magic, what in REFUSED:
        if head.startswith(magic):
            raise ReleaseRefused(f"the file is {what}")
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "wheel" if _is_wheel(artifact) else "zip"
    if head.startswith(b"!<arch>\n"):
        return _deb(head)
    if head.startswith((b"\x7fELF", b"#!")):
        return "binary"
    return _tar(artifact) or _refuse(head)


def _is_wheel(artifact: Path) -> bool:
    try:
        with zipfile.ZipFile(artifact) as archive:
            return any(name.count("/") == 1 and name.endswith(".dist-info/WHEEL") for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return False  # reading it through says what is wrong with it


def _deb(head: bytes) -> str:
    if not head[8:].startswith(b"debian-binary"):
        raise ReleaseRefused(
            "the file is an ar archive (a library to link with) and no Debian package: add the program"
        )
    return "deb"


def _tar(artifact: Path) -> str:
    """Return "tar" for a tar, compressed or not; "" for what is neither."""
    try:
        compression, inside = head_of(artifact, HEAD)
    except BadArchive as problem:
        raise ReleaseRefused(f"the artifact is refused: {problem}") from None
    if begins_with_tar(inside):
        return "tar"
    if compression:
        advice = f"run `{UNPACKERS[compression]} FILE` and add what comes out"
        raise ReleaseRefused(f"the file is compressed with {compression} and has no tar in it: {advice}")
    return ""


def _refuse(head: bytes) -> str:
    text = _as_text(head)
    if text is None:
        raise ReleaseRefused(
            f"the file is neither a program for Linux nor an archive that hosts unpack; it begins with "
            f"{head[:8].hex(' ')}"
        )
    if text.lstrip("\ufeff \t\r\n").lower().startswith(HTML):
        raise ReleaseRefused(
            "the file is an HTML page and no program: a download has probably saved an error page; "
            "look at it, and download the file again"
        )
    begin = " ".join(text.split())[:SHOWN]
    raise ReleaseRefused(f"the file is plain text and no program; it begins with {begin!r}. A script begins with #!")


def _as_text(head: bytes) -> str | None:
    """Return the beginning of a file as text, None if it is none. A character may be cut off at the end."""
    for cut in range(4):
        try:
            text = head[: len(head) - cut].decode()
        except UnicodeDecodeError:
            continue
        return None if "\0" in text else text
    return None
