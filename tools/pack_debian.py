#!/usr/bin/env python3
"""Pack a program of Debian with the packages it needs as one release: `pack_debian.py FILE PROGRAM PACKAGE...`.

Debian packages share files at fixed paths; a release has a folder of its own. FILE (a .tar.gz) gets the content of the
named packages and a launcher called like PROGRAM, which makes it find its parts in that folder and nowhere else. Before
it is packed, every library is looked up and the program is run for its version. What the hosts must have is printed.
The same packages always make the same bytes. Run it on the same Debian as the hosts.
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

# The environment stays as it is: programs that it starts (ssh, a password command) must find their own parts.
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
    """A program cannot be packed; the text has the reason."""


def main() -> int:
    """Pack, and print what the hosts must have and the SHA-256 of the result; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("file", type=Path, help="the result, a .tar.gz")
    parser.add_argument("program", help="path in the packages, for example usr/bin/borg")
    parser.add_argument("packages", type=Path, nargs="+", help=".deb files: the program's own, and those it needs")
    parser.add_argument("--ask", default="--version", help="the argument that prints the version (--version)")
    parser.add_argument(
        "--with", dest="scripts", type=Path, action="append", default=[], metavar="SCRIPT",
        help="another command of the release, for example one that stops its service; may be repeated",
    )  # fmt: skip
    asked = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="backfleet-debian-") as folder:
            tree = unpack(asked.packages, Path(folder) / "tree")
            launcher = add_launcher(tree, asked.program)
            add_scripts(tree, asked.scripts)
            print("hosts must have:", ", ".join(needed_of_hosts(tree, asked.program)) or "nothing")
            print("version:", version_line(launcher, asked.ask))
            pack(tree, asked.file)
    except CannotBePacked as problem:
        print(f"pack_debian: {problem}", file=sys.stderr)
        return 1
    print(hashlib.sha256(asked.file.read_bytes()).hexdigest(), asked.file)
    return 0


def unpack(packages: list[Path], tree: Path) -> Path:
    """Unpack programs, libraries, modules and licences into one folder, without set-up scripts and configuration."""
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
    """Write the one command of the release, at its top, where no package puts a program; return it."""
    file = tree / program
    if not file.is_file():
        raise CannotBePacked(f"{program} is in none of these packages")
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


def add_scripts(tree: Path, scripts: list[Path]) -> None:
    """Copy further commands beside the launcher.

    Raises:
        CannotBePacked: one is missing, is no script, or has a name that is taken.
    """
    for script in scripts:
        copy = tree / script.name
        if not script.is_file() or not script.read_bytes().startswith(b"#!") or copy.exists():
            raise CannotBePacked(f"--with {script}: it must be a script with a first line `#!`, and a name of its own")
        copy.write_bytes(script.read_bytes())
        copy.chmod(0o755)


def library_folders(tree: Path) -> list[Path]:
    """Return the folders of shared libraries: Debian has one for each kind of machine."""
    return sorted({path.parent for path in libraries_in(tree)})


def libraries_in(tree: Path) -> list[Path]:
    """Return the shared libraries, without the links to them."""
    return sorted(path for path in tree.glob("**/lib/*-linux-gnu*/*.so.*") if not path.is_symlink())


def needed_of_hosts(tree: Path, program: str) -> list[str]:
    """Return what is not in the tree and must be on every host.

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
        names = ", ".join(sorted(missing))
        raise CannotBePacked(f"{names}: in none of these packages, nor here; name the packages that have it, too")
    return [*([f"glibc 2.{glibc} or newer"] if glibc else []), *sorted(set(found))]


def binaries_in(tree: Path) -> Iterator[Path]:
    """Yield every program and library."""
    for path in sorted(tree.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as opened:
                if opened.read(4) == b"\x7fELF":
                    yield path


def libraries_of(binary: Path, folders: list[Path]) -> Iterator[tuple[str, str]]:
    """Yield the names of the libraries that a program needs, and where each was found."""
    given = os.environ | {"LD_LIBRARY_PATH": ":".join(map(str, folders))}
    done = subprocess.run(["ldd", binary], capture_output=True, text=True, env=given, check=False)
    for line in done.stdout.splitlines():
        name, arrow, place = line.strip().partition(" => ")
        if arrow:
            yield name, place.split(" (")[0]


def version_line(launcher: Path, ask: str) -> str:
    """Run the program; return the first line of its output.

    Raises:
        CannotBePacked: it fails.
    """
    given = {"PATH": os.defpath, "LANG": "C.UTF-8"}
    done = subprocess.run([launcher, ask], capture_output=True, text=True, env=given, cwd="/", check=False)
    if done.returncode:
        raise CannotBePacked(f"{launcher.name} {ask} ended with {done.returncode}: {done.stderr.strip()[-1000:]}")
    return done.stdout.strip().split("\n")[0]


def pack(tree: Path, file: Path) -> None:
    """Pack the tree in the order of names, without times and owners."""
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
