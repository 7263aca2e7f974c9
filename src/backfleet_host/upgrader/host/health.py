"""Whether a version is well: its health command, with a time limit on the whole of its process tree."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import Callable, Tuple

from backfleet_host.manifest import Manifest
from backfleet_host.upgrader.host.subprocesses import Command, Runner, run
from backfleet_host.upgrader.refusal import Unwell

AGAIN_SECONDS = 0.2  # between two tries of what is not ready yet
SOON_SECONDS = 0.01  # between two looks at what will be ready in a moment: backups wait for it
MATCH_SECONDS = 2.0  # for comparing an output with what is expected
NOT_YET = 75  # EX_TEMPFAIL of sysexits.h: "not my fault, and it may be better in a moment"


def prove(manifest: Manifest, tree: Path, runner: Runner = run) -> None:
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
    asked = Command((str(tree / program), *words[1:]), manifest.health.seconds)
    expect(asked, manifest.health.expect, " ".join(words), runner)


def expect(command: Command, expected: str, name: str, runner: Runner) -> None:
    """Run a command until it has ended well and said what is expected; silence and NOT_YET are asked again.

    Raises:
        Unwell: it ended badly, said something else, or was not ready within its seconds.
    """
    until = time.monotonic() + command.seconds
    code, output = runner(command)
    while _is_not_yet(code, output, expected):
        time.sleep(AGAIN_SECONDS)
        left = until - time.monotonic()
        if left <= 0:
            break
        code, output = runner(dataclasses.replace(command, seconds=left))
    if code != 0:
        raise Unwell(f"`{name}` ended with {ending(code)}", output, passing=code == NOT_YET)
    if not says(expected, output):
        raise Unwell(f"`{name}` did not say {expected!r}", output)


def _is_not_yet(code: int, output: str, expected: str) -> bool:
    return code == NOT_YET or (code == 0 and not output.strip() and not says(expected, output))


def says(expected: str, output: str) -> bool:
    """Whether the output is as expected. A pattern may take longer than anybody lives: backups wait for this.

    Raises:
        Unwell: it cannot be told within MATCH_SECONDS.
    """
    if threading.current_thread() is not threading.main_thread():  # only it hears alarms
        return re.search(expected, output) is not None
    before = signal.signal(signal.SIGALRM, _too_slow)
    signal.setitimer(signal.ITIMER_REAL, MATCH_SECONDS)
    try:
        return re.search(expected, output) is not None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _too_slow(*_: object) -> None:
    raise Unwell("the pattern for what a command must say takes too long; make it simpler")


def ending(code: int) -> str:
    """An exit code in words."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def waited(ready: Callable[[], bool], seconds: float) -> Tuple[bool, float]:
    """Ask until the answer is yes; whether it came within the time, and how long it took."""
    began = time.monotonic()
    while not ready():
        if time.monotonic() - began >= seconds:
            return False, time.monotonic() - began
        time.sleep(SOON_SECONDS)
    return True, time.monotonic() - began
