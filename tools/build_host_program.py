#!/usr/bin/env python3
"""Pack the host program and its packages into one file that Python runs: `build_host_program.py FILE [--fresh]`.

The packages are exactly those of requirements/host.txt. They are taken from the running environment if it has those
versions and every file is still as its installer wrote it (RECORD); otherwise, or with --fresh, pip installs them,
by hash. Python source goes in, and the compiled shims as they are committed; sorted, uncompressed and without dates:
the same sources give the same bytes on every machine.
"""

import argparse
import base64
import hashlib
import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution
from pathlib import Path, PurePosixPath

PROJECT = Path(__file__).resolve().parent.parent
REQUIREMENTS = PROJECT / "requirements" / "host.txt"
SOURCES = PROJECT / "src" / "backfleet_host"
SHEBANG = b"#!/usr/bin/env python3\n"
LEAST_PYTHON = (3, 10)  # what the host program needs; its packages may need a newer one
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the earliest a zip file can name

# In syntax that any Python can read, so that even an old one can print what is wrong.
MAIN = """\
import sys

if sys.version_info < {least}:
    sys.exit(
        "backfleet-host needs Python {dotted} or newer; %s is Python %d.%d. Start it so: python{dotted} %s ..."
        % (sys.executable, sys.version_info[0], sys.version_info[1], sys.argv[0])
    )

from backfleet_host.__main__ import main

sys.exit(main())
"""


class CannotBuild(Exception):
    """A package is missing or altered; the text is one line."""


def main() -> int:
    """Build, and print the SHA-256 of the result; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--fresh", action="store_true", help="install the packages anew")
    asked = parser.parse_args()
    try:
        print(build(asked.file, fresh=asked.fresh), asked.file)
    except CannotBuild as problem:
        print(f"build_host_program: {problem}", file=sys.stderr)
        return 1
    return 0


def build(file: Path, *, fresh: bool = False) -> str:
    """Write the program to `file`, completely or not at all; return its SHA-256.

    Raises:
        CannotBuild: a package is missing, altered, or needs compiled code.
    """
    pinned = read_pins(REQUIREMENTS)
    with tempfile.TemporaryDirectory(prefix="backfleet-host-") as folder:
        found = None if fresh else installed(pinned)
        packages = freshly_installed(pinned, Path(folder)) if found is None else found
        content = dict(own_sources())
        for package in packages:
            content.update(files_of(package))
        content["__main__.py"] = main_file(packages)
        packed = pack(content)
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    partial.write_bytes(packed)
    partial.chmod(0o755)
    partial.replace(file)
    return hashlib.sha256(packed).hexdigest()


def read_pins(requirements: Path) -> dict[str, str]:
    """Return name and version of every package in a requirements file."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", requirements.read_text(), re.MULTILINE))


def installed(pinned: dict[str, str]) -> list[Distribution] | None:
    """Return the packages of the running environment; None if one is missing or has another version."""
    try:
        found = [importlib.metadata.distribution(name) for name in sorted(pinned)]
    except importlib.metadata.PackageNotFoundError:
        return None
    return found if all(package.version == pinned[package.metadata["Name"].lower()] for package in found) else None


def freshly_installed(pinned: dict[str, str], folder: Path) -> list[Distribution]:
    """Install the packages into `folder` with pip, each checked against its hash; return them."""
    words = ["install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps", "--no-compile"]
    done = subprocess.run([sys.executable, "-m", "pip", *words, "--target", folder, "-r", REQUIREMENTS], check=False)
    found = sorted(importlib.metadata.distributions(path=[str(folder)]), key=lambda package: package.metadata["Name"])
    if done.returncode or len(found) != len(pinned):
        raise CannotBuild(f"pip could not install {REQUIREMENTS}")
    return found


def own_sources() -> Iterator[tuple[str, bytes]]:
    """Yield path and content of the host program's files."""
    for path in SOURCES.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".c", ".json"):
            yield path.relative_to(SOURCES.parent).as_posix(), path.read_bytes()


def files_of(package: Distribution) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of a package's source and licence files.

    Raises:
        CannotBuild: a file is missing or altered.
    """
    for entry in package.files or []:
        name = entry.as_posix()
        if not is_wanted(name):
            continue
        try:
            content = Path(str(entry.locate())).read_bytes()
        except OSError as problem:
            raise CannotBuild(f"{package.metadata['Name']}: {problem}; install it again") from None
        if entry.hash is None or digest(entry.hash.mode, content) != entry.hash.value:
            raise CannotBuild(f"{name} is not what its installer wrote; install {package.metadata['Name']} again")
        yield name, content


def is_wanted(name: str) -> bool:
    """Return whether a file is source or a licence. Compiled extensions are left out: each has a pure twin."""
    parts = name.split("/")
    if ".." in parts or "__pycache__" in parts or "tests" in parts or parts[-1].startswith("test_"):
        return False
    if parts[0].endswith(".dist-info"):
        return re.match(r"(LICEN[CS]E|COPYING|NOTICE)", parts[-1]) is not None
    return name.endswith(".py")


def digest(kind: str, content: bytes) -> str:
    """Return a hash as RECORD files write it."""
    return base64.urlsafe_b64encode(hashlib.new(kind, content).digest()).rstrip(b"=").decode()


def main_file(packages: list[Distribution]) -> bytes:
    """Return what runs first: it checks the Python version against the newest that any package needs."""
    least = max([LEAST_PYTHON, *(least_python(package) for package in packages)])
    return MAIN.format(least=least, dotted=".".join(map(str, least))).encode()


def least_python(package: Distribution) -> tuple[int, int]:
    """Return the oldest Python that a package's metadata allows."""
    found = re.search(r"(?:>=|~=)\s*(\d+)\.(\d+)", package.metadata.get("Requires-Python") or "")
    return (int(found[1]), int(found[2])) if found else LEAST_PYTHON


def pack(content: dict[str, bytes]) -> bytes:
    """Return a zip file that starts with the shebang line; the same content gives the same bytes."""
    with tempfile.TemporaryFile() as file:
        file.write(SHEBANG)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as packed:  # compressors differ between machines
            # Folders too: Python imports a package without __init__.py from a zip file only if its folder is named.
            for name in sorted({*content, *folders_of(content)}):
                entry = zipfile.ZipInfo(name, LONG_AGO)
                entry.external_attr = (0o40755 if name.endswith("/") else 0o100644) << 16
                entry.create_system = 3  # Unix, wherever it is built
                packed.writestr(entry, content.get(name, b""))
        file.seek(0)
        return file.read()


def folders_of(names: Iterable[str]) -> set[str]:
    """Return every folder that these files are in, as a zip file names folders."""
    return {f"{folder}/" for name in names for folder in PurePosixPath(name).parents if folder.name}


if __name__ == "__main__":
    sys.exit(main())
