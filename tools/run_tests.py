"""Run the tests as CI does, and once more, alone, the files whose tests failed: `run_tests.py [OPTION OF PYTEST ...]`.

Two workers beside each other, on a machine that others use too, make time limits pass by in one of some ten thousand
tests. Such a test passes by itself; one that finds a fault fails again. Both are named at the end, so that nothing that
depends on chance is hidden. Why: docs/decisions/0080-failures-are-run-again.md.

Exits with 0 if every test passed, or passed alone; otherwise with the exit code of the run that failed.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

MOST_TESTS = 20
"""If more fail, this is no chance: none is run again."""
MOST_FILES = 10
FAILED = Path(".pytest_cache/v/cache/lastfailed")
TESTS_FAILED = 1
"""pytest's exit code for failed tests; others are interruptions, wrong options and the like."""


def run(options: Sequence[str]) -> int:
    """Run pytest in this folder; return its exit code. On Ctrl-C it ends by itself, for it is interrupted too."""
    process = subprocess.Popen([sys.executable, "-m", "pytest", *options])
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def failed_tests() -> list[str]:
    """Return the ids of the tests that failed in the last run."""
    return sorted(json.loads(FAILED.read_text())) if FAILED.exists() else []


def main(options: Sequence[str]) -> int:
    """Run all tests, then the files of failed ones alone. Return the exit code."""
    FAILED.unlink(missing_ok=True)
    code = run(options)
    failed = failed_tests()
    files = sorted({each.partition("::")[0] for each in failed})
    if code != TESTS_FAILED or not failed:
        return code
    if len(failed) > MOST_TESTS or len(files) > MOST_FILES:
        print(f"\n{len(failed)} tests in {len(files)} files failed: too many to run them again.", flush=True)
        return code
    print(f"\n{len(failed)} tests failed beside others; their files run once more, alone.", flush=True)
    again = run(["-n", "0", *files])
    still = set(failed_tests())
    for each in failed:
        print(f"{'FAILED TWICE' if each in still else 'FAILED ONCE, PASSED ALONE'}: {each}", flush=True)
    return again


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
