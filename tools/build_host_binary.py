#!/usr/bin/env python3
"""build_host_binary.py FILE: the host program as one executable for hosts without Python.

A shell script with an archive behind it: a Python, the host program and its packages, put together by PyInstaller. It
unpacks itself once into a folder named by the archive's hash. One that unpacks itself anew for each process would take
the ground from under an upgrade that outlives its agent. It runs on machines of this kind whose C library is not older.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
# Packages of a development environment that ours use where they find them; the host program does without.
LEFT_OUT = ("cryptography", "cffi", "nacl", "brotli", "zstandard", "h2")
PACKAGES = ("backfleet_host", "tuf", "securesystemslib", "urllib3", "websocket")


def main() -> int:
    """Build, and print the SHA-256 of the result."""
    words = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    words.add_argument("file", type=Path)
    asked = words.parse_args()
    with tempfile.TemporaryDirectory(prefix="backfleet-binary-") as folder:
        packed = pack(collect(Path(folder)), Path(folder) / "program.tar.gz")
        made = with_header(packed.read_bytes())
    partial = asked.file.with_name(f".{asked.file.name}.{os.getpid()}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.write_bytes(made)
    partial.chmod(0o755)
    partial.replace(asked.file)
    print(hashlib.sha256(made).hexdigest(), asked.file)
    return 0


def collect(folder: Path) -> Path:
    """Everything the program needs, in one folder."""
    whole = [word for name in PACKAGES for word in ("--collect-submodules", name)]
    whole += [word for name in LEFT_OUT for word in ("--exclude-module", name)]
    subprocess.run(
        [
            sys.executable, "-m", "PyInstaller", "--onedir", "--console", "--noconfirm", "--log-level", "ERROR",
            "--name", "backfleet-host", "--paths", PROJECT / "src", *whole,
            "--distpath", folder / "dist", "--workpath", folder / "work", "--specpath", folder,
            PROJECT / "packaging" / "host" / "entry.py",
        ],
        check=True,
    )  # fmt: skip
    return folder / "dist" / "backfleet-host"


def pack(folder: Path, file: Path) -> Path:
    """As an archive, in the order of names."""
    with tarfile.open(file, "w:gz") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, path.name)
    return file


def with_header(packed: bytes) -> bytes:
    """The script that unpacks it, then the archive; the script knows where that begins."""
    text = (PROJECT / "packaging" / "host" / "unpack.sh").read_text()
    text = text.replace("@SHA256@", hashlib.sha256(packed).hexdigest()[:32])
    start = len(text.replace("@START@", "0000000").encode()) + 1  # `tail` counts from 1
    return text.replace("@START@", f"{start:07d}").encode() + packed


if __name__ == "__main__":
    sys.exit(main())
