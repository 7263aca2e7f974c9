#!/usr/bin/env python3
"""Compile the native shims: `build_shims.py [--check]`, with the compiler of requirements/shims.txt installed.

They are committed, because a host program must be buildable without a compiler of 100 MB. `digests.json` beside them
has the SHA-256 of the source and of each of them. With `--check` nothing is written, and the exit code says whether the
same source gives the same bytes again.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
FOLDER = PROJECT / "src" / "backfleet_host" / "shim"
SOURCE, BINARIES, DIGESTS = FOLDER / "shim.c", FOLDER / "binaries", FOLDER / "digests.json"
# For each file the compiler's name for it and the oldest processor that it may have.
TARGETS = {
    "linux-amd64": ("x86_64-linux-musl", ""),
    "linux-386": ("x86-linux-musl", "pentium"),
    "linux-arm64": ("aarch64-linux-musl", ""),
    "linux-arm": ("arm-linux-musleabi", "arm926ej_s"),  # all 32-bit ones from ARMv5TE on
    "linux-ppc64le": ("powerpc64le-linux-musl", ""),
    "linux-s390x": ("s390x-linux-musl", ""),
    "linux-riscv64": ("riscv64-linux-musl", ""),
    "linux-loongarch64": ("loongarch64-linux-musl", ""),
}
FLAGS = [
    "-Os", "-static", "-s", "-Wall", "-Wextra", "-Werror", "-ffunction-sections", "-fdata-sections",
    "-Wl,--gc-sections",
]  # fmt: skip


def main() -> int:
    """Build or check; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="compare with the committed files, and write nothing")
    parser.add_argument("platform", nargs="*", help="only these files; all if there are none")
    asked = parser.parse_args()
    platforms = asked.platform or list(TARGETS)
    if not asked.check:
        write(platforms)
        return 0
    differing = [platform for platform in platforms if compiled(platform) != (BINARIES / platform).read_bytes()]
    for platform in differing:
        print(f"build_shims: {BINARIES / platform} is not what the source gives; run `make shims`", file=sys.stderr)
    return 1 if differing else 0


def compiled(platform: str) -> bytes:
    """Return the shim for one platform."""
    target, processor = TARGETS[platform]
    with tempfile.TemporaryDirectory(prefix="backfleet-shim-") as folder:
        words = [sys.executable, "-m", "ziglang", "cc", "-target", target, *FLAGS]
        words += [f"-mcpu={processor}"] if processor else []
        subprocess.run([*words, "-o", f"{folder}/shim", SOURCE.name], cwd=SOURCE.parent, check=True)
        return (Path(folder) / "shim").read_bytes()


def write(platforms: list[str]) -> None:
    """Write the shims of these platforms, and the digests of all."""
    BINARIES.mkdir(exist_ok=True)
    for platform in platforms:
        path = BINARIES / platform
        path.write_bytes(compiled(platform))
        path.chmod(0o755)
        print(len(path.read_bytes()), path, flush=True)
    DIGESTS.write_text(json.dumps(digests(), indent=1, sort_keys=True) + "\n")


def digests() -> dict[str, str]:
    """Return the SHA-256 of the source and of every shim as they are now, by name."""
    files = [SOURCE, *sorted(BINARIES.iterdir())]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


if __name__ == "__main__":
    sys.exit(main())
