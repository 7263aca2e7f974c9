#!/usr/bin/env python3
"""Build the host program as one executable for hosts without Python: `build_host_binary.py FILE`.

The result is a shell script with an archive behind it: a Python, the host program and its packages, collected by
PyInstaller. It unpacks itself once into a folder named by the archive's hash. If each process unpacked its own copy, an
upgrade that outlives its agent would lose its files. It runs on machines of this kind whose C library is not older, and
says so on others: a server reads that line to know which hosts the file is for.
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
# Optional packages that a development environment may have; the host program works without them.
LEFT_OUT = ("cryptography", "cffi", "nacl", "brotli", "zstandard", "h2")
SHIMS = PROJECT / "src" / "backfleet_host" / "shim" / "binaries"
PACKAGES = ("backfleet_host", "tuf", "securesystemslib", "urllib3", "websocket")


def main() -> int:
    """Build, and print the SHA-256 of the result; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("file", type=Path)
    asked = parser.parse_args()
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
    """Collect everything the program needs in one folder; return it."""
    modules = [word for name in PACKAGES for word in ("--collect-submodules", name)]
    modules += ["--add-data", f"{SHIMS}{os.pathsep}{SHIMS.relative_to(PROJECT / 'src')}"]
    modules += [word for name in LEFT_OUT for word in ("--exclude-module", name)]
    subprocess.run(
        [
            sys.executable, "-m", "PyInstaller", "--onedir", "--console", "--noconfirm", "--log-level", "ERROR",
            "--name", "backfleet-host", "--paths", PROJECT / "src", *modules,
            "--distpath", folder / "dist", "--workpath", folder / "work", "--specpath", folder,
            PROJECT / "packaging" / "host" / "entry.py",
        ],
        check=True,
    )  # fmt: skip
    return folder / "dist" / "backfleet-host"


def pack(folder: Path, file: Path) -> Path:
    """Pack the folder as an archive, in the order of names; return the file."""
    with tarfile.open(file, "w:gz") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, path.name)
    return file


def with_header(packed: bytes) -> bytes:
    """Return the script that unpacks the archive, with the archive behind it."""
    text = (PROJECT / "packaging" / "host" / "unpack.sh").read_text()
    text = text.replace("@SHA256@", hashlib.sha256(packed).hexdigest()[:32])
    text = text.replace("@MACHINE@", os.uname().machine)
    start = len(text.replace("@START@", "0000000").encode()) + 1  # `tail` counts from 1
    return text.replace("@START@", f"{start:07d}").encode() + packed


if __name__ == "__main__":
    sys.exit(main())
