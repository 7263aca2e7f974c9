"""The tool that packs programs of Debian refuses what would not run on a host."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "pack_debian.py"


def packed(file: Path, program: str, *packages: Path | str) -> "subprocess.CompletedProcess[str]":
    """Run the packing tool to its end."""
    words = [sys.executable, TOOL, file, program, *packages]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def deb_of(folder: Path, program: str, content: bytes) -> Path:
    """Make a package with one program, /usr/bin/PROGRAM."""
    tree = folder / f"{program}-tree"
    (tree / "usr" / "bin").mkdir(parents=True)
    (tree / "DEBIAN").mkdir()
    control = f"Package: {program}\nVersion: 1\nArchitecture: all\nMaintainer: nobody <a@example.com>\nDescription: x\n"
    (tree / "DEBIAN" / "control").write_text(control)
    (tree / "usr" / "bin" / program).write_bytes(content)
    (tree / "usr" / "bin" / program).chmod(0o755)
    file = folder / f"{program}.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, file], capture_output=True, check=True)
    return file


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg-deb: no Debian packages")
@pytest.mark.parametrize(
    ("program", "content", "expected"),
    [
        pytest.param("linked", b"libc.so.6 -> libq.so.6", "libq.so.6: in none of these", id="a library is missing"),
        pytest.param("asker", b"#!/usr/bin/python3\nimport nobodys", "named 'nobodys'", id="a module is missing"),
        pytest.param("acme", b"", "usr/bin/acme is in none of", id="the program is missing"),
        pytest.param("script", b"#!/bin/sh\n", "neither a binary nor", id="it is of no kind that we know"),
    ],
)
def test_what_would_not_run_is_not_packed(tmp_path: Path, program: str, content: bytes, expected: str) -> None:
    """One line says what is missing, and no file is made. No machine has what these programs need."""
    if b" -> " in content:
        library, nobodys = content.split(b" -> ")
        content = Path("/bin/true").read_bytes().replace(library, nobodys)
    packages = [deb_of(tmp_path, program if content else "other", content)]
    file = tmp_path / "packed" / "none.tar.gz"
    file.parent.mkdir()
    done = packed(file, f"usr/bin/{program}", *packages)
    assert done.returncode == 1, done.stdout
    assert expected in done.stderr
    assert not list(file.parent.iterdir())
