#!/usr/bin/env python3
"""pack_debian.py FILE PROGRAM PACKAGE...: a program of Debian's, with the packages it needs, as one release.

A Debian package shares what it needs with others at fixed paths; a release has a folder of its own. FILE (a .tar.gz)
holds what the named packages hold, and beside that a launcher called like PROGRAM, which lets it find its parts in that
folder and nowhere else. Before it is packed every library is looked for and the program is asked for its version; what
the hosts must bring is printed. The same packages always make the same bytes. Run it on Debian as the hosts have it.
"""

import argparse
import gzip
import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

KEPT = ("bin", "sbin", "lib", "usr/bin", "usr/sbin", "usr/lib", "usr/libexec")
LICENCES = "usr/share/doc/*/copyright"
MODULES = "usr/lib/python3/dist-packages"
OF_GLIBC = ("libc.so", "libm.so", "libpthread.so", "libdl.so", "librt.so", "libresolv.so")

FOR_A_BINARY = """#!/bin/sh
# Starts {program} with the libraries beside it, wherever this folder stands.
here=$(dirname "$(readlink -f "$0")")
{libraries}exec "$here/{program}" "$@"
"""

# Nothing is put into the environment: what the program starts itself (ssh, a password command) finds its own parts.
FOR_PYTHON = """#!/usr/bin/python3 -BIS
# Starts {program} with the modules and libraries beside it, wherever this folder stands.
import ctypes, os, runpy, sys

here = os.path.dirname(os.path.realpath(__file__))
for library in {libraries}:
    ctypes.CDLL(os.path.join(here, library), ctypes.RTLD_GLOBAL)
sys.path.insert(0, os.path.join(here, "{modules}"))
sys.argv[0] = os.path.join(here, "{program}")
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class CannotBePacked(Exception):
    """The text says why."""


def main() -> int:
    """Pack; print what the hosts must bring, and the SHA-256 of the result."""
    words = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    words.add_argument("file", type=Path, help="what is made, a .tar.gz")
    words.add_argument("program", help="path in the packages, for example usr/bin/borg")
    words.add_argument("packages", type=Path, nargs="+", help=".deb files: the program's own, and those it needs")
    words.add_argument("--ask", default="--version", help="what the program answers with its version (--version)")
    asked = words.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="backfleet-debian-") as folder:
            tree = unpack(asked.packages, Path(folder) / "tree")
            launcher = add_launcher(tree, asked.program)
            print("hosts must have:", ", ".join(needed_of_hosts(tree, asked.program)) or "nothing")
            print("it says:", answer(launcher, asked.ask))
            pack(tree, asked.file)
    except CannotBePacked as problem:
        print(f"pack_debian: {problem}", file=sys.stderr)
        return 1
    print(hashlib.sha256(asked.file.read_bytes()).hexdigest(), asked.file)
    return 0


def unpack(packages: list[Path], tree: Path) -> Path:
    """All packages in one folder: programs, libraries, modules, licences. No set-up scripts, no configuration."""
    everything = tree.with_name("everything")
    for package in packages:
        done = subprocess.run(["dpkg-deb", "-x", package, everything], capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotBePacked(f"{package}: {done.stderr.strip()}")
    for path in [*(everything / name for name in KEPT), *everything.glob(LICENCES)]:
        if path.exists() and not path.is_symlink():
            to = tree / path.relative_to(everything)
            to.parent.mkdir(parents=True, exist_ok=True)
            path.rename(to)
    return tree


def add_launcher(tree: Path, program: str) -> Path:
    """The one command of the release: at its top, where no package puts a program."""
    file = tree / program
    if not file.is_file():
        raise CannotBePacked(f"no package holds {program}")
    with file.open("rb") as opened:
        first = opened.readline(200)
    if first.startswith(b"\x7fELF"):
        folders = ":".join(f"$here/{path.relative_to(tree)}" for path in library_folders(tree))
        path = f"LD_LIBRARY_PATH={folders}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}} " if folders else ""
        text = FOR_A_BINARY.format(program=program, libraries=path)
    elif first.startswith(b"#!") and b"python3" in first:
        libraries = [str(path.relative_to(tree)) for path in libraries_in(tree)]
        text = FOR_PYTHON.format(program=program, libraries=libraries, modules=MODULES)
    else:
        raise CannotBePacked(f"{program} is neither a binary nor a program in Python")
    launcher = tree / file.name
    launcher.write_text(text)
    launcher.chmod(0o755)
    return launcher


def library_folders(tree: Path) -> list[Path]:
    """Where Debian keeps shared libraries: a folder per kind of machine."""
    return sorted({path.parent for path in libraries_in(tree)})


def libraries_in(tree: Path) -> list[Path]:
    """The shared libraries themselves, without the links to them."""
    return sorted(path for path in tree.glob("**/lib/*-linux-gnu*/*.so.*") if not path.is_symlink())


def needed_of_hosts(tree: Path, program: str) -> list[str]:
    """What is not in the tree and must be on every host.

    Raises:
        CannotBePacked: a library is neither in the tree nor on this machine.
    """
    found = ["/usr/bin/python3 as here"] if (tree / program).read_bytes().startswith(b"#!") else []
    missing, glibc = set(), 0
    for binary in binaries_in(tree):
        glibc = max(glibc, *map(int, re.findall(rb"GLIBC_2\.(\d+)", binary.read_bytes())), 0)
        for name, place in libraries_of(binary, library_folders(tree)):
            if place == "not found":
                missing.add(name)
            elif not place.startswith(str(tree)) and not name.startswith(OF_GLIBC):
                found.append(name)
    if missing:
        raise CannotBePacked(f"nothing here holds {', '.join(sorted(missing))}; name the packages that do as well")
    return [*([f"glibc 2.{glibc} or newer"] if glibc else []), *sorted(set(found))]


def binaries_in(tree: Path) -> Iterator[Path]:
    """Every program and library."""
    for path in sorted(tree.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as opened:
                if opened.read(4) == b"\x7fELF":
                    yield path


def libraries_of(binary: Path, folders: list[Path]) -> Iterator[tuple[str, str]]:
    """The names of the libraries that a program needs, and where each was found."""
    given = os.environ | {"LD_LIBRARY_PATH": ":".join(map(str, folders))}
    done = subprocess.run(["ldd", binary], capture_output=True, text=True, env=given, check=False)
    for line in done.stdout.splitlines():
        name, arrow, place = line.strip().partition(" => ")
        if arrow:
            yield name, place.split(" (")[0]


def answer(launcher: Path, ask: str) -> str:
    """The first line of what the program says.

    Raises:
        CannotBePacked: it does not run.
    """
    given = {"PATH": os.defpath, "LANG": "C.UTF-8"}
    done = subprocess.run([launcher, ask], capture_output=True, text=True, env=given, cwd="/", check=False)
    if done.returncode:
        raise CannotBePacked(f"{launcher.name} {ask} ended with {done.returncode}: {done.stderr.strip()[-1000:]}")
    return done.stdout.strip().split("\n")[0]


def pack(tree: Path, file: Path) -> None:
    """In the order of names, without times and owners."""
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        with (
            partial.open("wb") as raw,
            gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w") as archive,
        ):
            for path in sorted(tree.rglob("*")):
                archive.add(path, path.relative_to(tree).as_posix(), recursive=False, filter=_plain)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    sys.exit(main())
