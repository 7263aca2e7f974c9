"""File systems of a test's own: small, read-only or layered disks. They need root and a kernel that lets it mount."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def mounted(folder: Path, options: str, kind: str = "tmpfs") -> Iterator[Path]:
    """Mount a file system at `folder` for as long as the block lasts; skip the test where that is impossible."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts file systems")
    folder.mkdir(parents=True, exist_ok=True)
    tried = subprocess.run(["mount", "-t", kind, "-o", options, kind, folder], check=False, capture_output=True)
    if tried.returncode:
        pytest.skip(f"no {kind} can be mounted here: {tried.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def remount(folder: Path, options: str) -> None:
    """Change the options of a mounted file system."""
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


@contextlib.contextmanager
def bound(folder: Path, options: str) -> Iterator[Path]:
    """Mount a folder over itself with these options, such as `ro`, for as long as the block lasts."""
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", f"remount,bind,{options}", folder], check=True)
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)
