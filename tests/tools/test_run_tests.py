"""`make test` runs the files of failed tests once more, alone."""

import subprocess
import sys
from pathlib import Path

import pytest

import run_tests

CHANCE = """
from pathlib import Path

def test_of_chance():
    seen = Path("seen")
    first = not seen.exists()
    seen.touch()
    assert not first

def test_beside_it():
    pass
"""
FAULT = """
import pytest

@pytest.mark.parametrize("number", range({tests}))
def test_of_a_fault(number):
    assert False
"""
RIGHT = """
def test_that_is_right():
    from pathlib import Path
    with Path("runs").open("a") as runs:
        runs.write("x")
"""


def done(folder: Path, **files: str) -> subprocess.CompletedProcess[str]:
    for name, text in files.items():
        (folder / f"test_{name}.py").write_text(text)
    command = [sys.executable, run_tests.__file__, "-q", "-n", "2", "--dist", "loadfile"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)


def test_a_test_that_passes_alone_is_named_and_passes(tmp_path: Path) -> None:
    found = done(tmp_path, chance=CHANCE, right=RIGHT)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "FAILED ONCE, PASSED ALONE: test_chance.py::test_of_chance" in found.stdout
    assert (tmp_path / "runs").read_text() == "x", "files without failures ran once"


def test_a_test_that_finds_a_fault_fails(tmp_path: Path) -> None:
    found = done(tmp_path, chance=CHANCE, fault=FAULT.format(tests=1))
    assert found.returncode == 1
    assert "FAILED TWICE: test_fault.py::test_of_a_fault[0]" in found.stdout
    assert "FAILED ONCE, PASSED ALONE: test_chance.py::test_of_chance" in found.stdout


@pytest.mark.parametrize("tests", [run_tests.MOST_TESTS + 1])
def test_many_failures_are_no_chance(tmp_path: Path, tests: int) -> None:
    found = done(tmp_path, chance=CHANCE, fault=FAULT.format(tests=tests))
    assert (found.returncode, "too many to run them again" in found.stdout) == (1, True)
    assert "PASSED ALONE" not in found.stdout


def test_what_is_no_failed_test_is_not_run_again(tmp_path: Path) -> None:
    """A file that cannot be read; the failures of the run before do not count."""
    done(tmp_path, chance=CHANCE)
    found = done(tmp_path, fault="import nothing_of_this_name\n")
    assert (found.returncode != 0, "PASSED ALONE" in found.stdout) == (True, False), found.stdout
