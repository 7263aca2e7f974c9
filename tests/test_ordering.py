"""The order in which the files of these tests begin."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import ordering
from keep_seconds import merged
from ordering import known_seconds, longest_first

PROJECT = Path(__file__).parent.parent
COMPUTES = """
def test_1():
    import subprocess, sys
    program = "import time\\nwhile time.process_time() < 0.5: pass"
    subprocess.run([sys.executable, "-c", program], check=True)
"""


def test_what_took_longest_begins_first() -> None:
    assert longest_first(["a", "b", "c"], {"b": 30, "c": 60}) == ["c", "b", "a"]


def test_files_without_a_measurement_go_by_their_tests_and_then_by_name() -> None:
    files = ["small", "many", *["many"] * 400, "another", "long"]
    assert longest_first(files, {"long": 20}) == ["many", "long", "another", "small"]


def test_a_file_that_was_measured_does_not_go_by_its_tests() -> None:
    assert longest_first(["quick"] * 1000 + ["slow"], {"quick": 5, "slow": 6}) == ["slow", "quick"]


def test_without_a_table_all_files_are_ordered_all_the_same(tmp_path: Path) -> None:
    assert known_seconds(tmp_path / "none.json") == {}


def test_the_table_names_files_that_exist() -> None:
    assert [file for file in known_seconds() if not (PROJECT / file).exists()] == []


def test_a_new_measurement_replaces_the_one_before_and_what_is_short_or_gone_is_left_out(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        (tmp_path / name).touch()
    kept, measured = {"a": 30, "b": 40, "gone": 50}, {"a": 44.6, "c": 4.2, "d": 7.5}
    assert list(merged(kept, measured, tmp_path).items()) == [("a", 45), ("b", 40), ("d", 8)]


def test_a_worker_begins_with_the_longest_file_and_the_run_keeps_what_files_took(tmp_path: Path) -> None:
    """A real run in a project of its own; the tests note when they began."""
    tests, notes = tmp_path / "tests", tmp_path / "notes"
    tests.mkdir()
    shutil.copy(ordering.__file__, tests)
    (tests / "conftest.py").write_text('pytest_plugins = ["ordering"]\n')
    (tests / "seconds.json").write_text(json.dumps({"tests/test_b.py": 60, "tests/test_c.py": 30}))
    for name, count in (("a", 2), ("b", 1), ("c", 1)):
        text = "".join(
            f"def test_{number}(): open({str(notes)!r}, 'a').write('{name}{number}\\n')\n" for number in range(count)
        )
        (tests / f"test_{name}.py").write_text(text if name != "b" else text + COMPUTES)
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = tests\naddopts = --import-mode=importlib\n")
    words = ["-n", "1", "--dist", "loadfile", "--no-loadscope-reorder", "-p", "no:cacheprovider", "tests"]
    command = [sys.executable, "-m", "pytest", *words]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert notes.read_text().split() == ["b0", "c0", "a0", "a1"]
    (computed,) = re.findall(r" s, +([0-9.]+) computed: tests/test_b\.py", run.stdout)
    assert float(computed) >= 0.5, "its processor time, that of processes that it started included"
    measured = json.loads((tmp_path / ".cache" / "test_seconds.json").read_text())
    assert sorted(measured) == ["tests/test_a.py", "tests/test_b.py", "tests/test_c.py"]
