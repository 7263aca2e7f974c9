#!/usr/bin/env python3
"""Build the wheel that `pip install` takes: `build_wheel.py FOLDER`.

It is built from a copy of the sources, so that nothing of an earlier build gets into it, by the pinned build backend of
this environment, and checked: the host program, the shims, the migrations and the recipes must be in it. The same
sources give the same bytes.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import build_host_program

PROJECT = Path(__file__).resolve().parent.parent
HOST_PROGRAM = Path("src") / "backfleet" / "backfleet-host.pyz"
COPIED = ("pyproject.toml", "README.md", "LICENSE")
LONG_AGO = "315532800"  # 1980-01-01, the earliest that a zip file can name
NEEDED = (
    r"backfleet/backfleet-host\.pyz",
    r"backfleet/storage/migrations/env\.py",
    r"backfleet/storage/migrations/script\.py\.mako",
    r"backfleet/storage/migrations/versions/0001_\w+\.py",
    r"backfleet/endpoints/console/templates/\w+\.html",
    r"backfleet/releases/recipes/rclone\.toml",
    r"backfleet_host/shim/binaries/linux-amd64",
)


class CannotBuild(Exception):
    """The wheel could not be built, or lacks something; the text is one line."""


def main() -> int:
    """Build, and print the wheel's path; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    try:
        print(build(asked.folder))
    except (CannotBuild, build_host_program.CannotBuild) as problem:
        print(f"build_wheel: {problem}", file=sys.stderr)
        return 1
    return 0


def build(folder: Path) -> Path:
    """Put the wheel into a folder; return its path.

    Raises:
        CannotBuild: the build backend failed, or the wheel lacks a file.
    """
    with tempfile.TemporaryDirectory(prefix="backfleet-wheel-") as there:
        sources = Path(there) / "sources"
        copy_sources(sources)
        build_host_program.build(sources / HOST_PROGRAM)
        words = ["wheel", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation"]
        made = subprocess.run(
            [sys.executable, "-m", "pip", *words, "--wheel-dir", Path(there) / "made", sources],
            check=False,
            env=os.environ | {"SOURCE_DATE_EPOCH": LONG_AGO},
        )
        found = list((Path(there) / "made").glob("*.whl"))
        if made.returncode or len(found) != 1:
            raise CannotBuild("the build backend failed; run it as `make wheel`")
        check(found[0])
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(found[0], folder))


def copy_sources(target: Path) -> None:
    """Copy what the wheel is built from, without what a checkout has beside it."""
    left_out = shutil.ignore_patterns("__pycache__", "*.egg-info", HOST_PROGRAM.name, "backfleet_sim")
    shutil.copytree(PROJECT / "src", target / "src", ignore=left_out)
    for name in COPIED:
        shutil.copy(PROJECT / name, target / name)


def check(wheel: Path) -> None:
    """Return if everything is in a wheel that the program needs to run.

    Raises:
        CannotBuild: something is missing.
    """
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
    for needed in NEEDED:
        if not any(re.fullmatch(needed, name) for name in names):
            raise CannotBuild(f"{wheel.name} lacks {needed}; see package-data in pyproject.toml")


if __name__ == "__main__":
    sys.exit(main())
