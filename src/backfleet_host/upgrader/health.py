"""Whether a version is well: its health command, with a time limit on the whole of its process tree."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Tuple

from backfleet_host.upgrader.manifest import Manifest
from backfleet_host.upgrader.refusal import Unwell

LONGEST_OUTPUT = 64 * 1024  # bytes that are looked at and kept


def prove(manifest: Manifest, tree: Path) -> None:
    """Run the health command from this tree.

    Raises:
        Unwell: it cannot be run, fails, says something else than expected, or takes too long.
    """
    for command, path in manifest.programs.items():
        if not os.access(str(tree / path), os.X_OK):
            raise Unwell(f"{command} is not executable")
    if manifest.health is None:
        return
    words = manifest.health.command
    program = manifest.programs.get(words[0])
    if program is None:
        raise Unwell(f"the health command {words[0]!r} is not one of the release's own")
    code, output = run([str(tree / program), *words[1:]], manifest.health.seconds)
    if code != 0:
        raise Unwell(f"`{' '.join(words)}` ended with {_ending(code)}", output)
    if not re.search(manifest.health.expect, output):
        raise Unwell(f"`{' '.join(words)}` did not say {manifest.health.expect!r}", output)


def run(words: list[str], seconds: float) -> Tuple[int, str]:
    """Exit code and output of a command, in a process group of its own that ends with it.

    Raises:
        Unwell: it cannot be started, or took longer than `seconds`.
    """
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
        )
    except OSError as problem:
        raise Unwell(f"{words[0]} cannot be started: {problem.strerror}") from None
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Unwell(f"{os.path.basename(words[0])} did not end within {seconds:.0f} s") from None
    finally:
        _end_all(process)
    return process.returncode, output[:LONGEST_OUTPUT].decode("utf-8", "replace")


def _end_all(process: subprocess.Popen[bytes]) -> None:
    """Whatever it left behind in its group ends too."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout:
        process.stdout.close()


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
