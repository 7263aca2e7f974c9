"""Check that a version is healthy: run its health command, with a time limit on its whole process tree.

A release without a health command has every command started once: what cannot even be started is not healthy.
"""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import Callable, Collection, Dict, Optional

from backfleet_host.manifest import Manifest
from backfleet_host.upgrader.errors import Reason, Unhealthy
from backfleet_host.upgrader.host.subprocesses import Runner, Subprocess, run

RETRY_SECONDS = 0.2  # between two tries of what is not ready yet
FAIR_SECONDS = 1.0  # a last try with less time than this gives no verdict by running out of it
POLL_SECONDS = 0.01  # between two looks at what will be ready in a moment: backups wait for it
MATCH_SECONDS = 2.0  # for comparing an output with what is expected
KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)  # from outside, often because memory was short; the latter by a shell
START_ARGUMENTS = ("--version", "--help", "-V")  # tried in this order, until one shows that the program starts
START_SECONDS = 10.0  # for one try; what runs for longer has been started
ALL_STARTS_SECONDS = 60.0  # for all commands of a version: backups wait
CANNOT_BE_RUN = (126, 127)  # of shells and loaders: found but not executable, and not found
MISSING_PARTS = re.compile(
    r"error while loading shared libraries|cannot open shared object file|Error (?:loading shared library|relocating)"
    r"|symbol lookup error|version [`'][^\n]{1,80}' not found|ModuleNotFoundError|ImportError"
)
"""What loaders of glibc and musl, and Python, print about libraries and modules that are missing or too old."""
NOT_YET = 75  # EX_TEMPFAIL of sysexits.h: "not my fault, and it may be better in a moment"


def verify(manifest: Manifest, tree: Path, runner: Runner = run, excused: Collection[str] = ()) -> None:
    """Check that the commands of a version are executable, and run its health command from this tree.

    Args:
        excused: commands that need not start where there is no health command: those of the old version did not.

    Raises:
        Unhealthy: it cannot be run, fails, prints something else than expected, or takes too long.
    """
    for command, path in manifest.programs.items():
        if not os.access(str(tree / path), os.X_OK):
            raise Unhealthy(f"{command} is not executable")
    if manifest.health is None:
        _check_commands_start(manifest, tree, runner, excused)
        return
    arguments = manifest.health.command
    program = manifest.programs.get(arguments[0])
    if program is None:
        raise Unhealthy(f"the health command {arguments[0]!r} is not one of the release's own commands")
    command_line = Subprocess((str(tree / program), *arguments[1:]), manifest.health.seconds)
    expect(command_line, manifest.health.expect, " ".join(arguments), runner)


def _check_commands_start(manifest: Manifest, tree: Path, runner: Runner, excused: Collection[str]) -> None:
    """Start every command once. Raise Unhealthy if one cannot be started that is not excused.

    A command that does not know an argument, or is still running when its time is over, has been started.
    """
    found: Dict[str, Unhealthy] = {}
    until = time.monotonic() + ALL_STARTS_SECONDS
    for command, path in manifest.programs.items():
        left = until - time.monotonic()
        problem = _start(command, str(tree / path), min(START_SECONDS, left), runner) if left > 0 else None
        if problem is not None and command not in excused:
            found[command] = problem
    for problem in found.values():
        problem.cannot_start = frozenset(found)
        raise problem


def _start(command: str, program: str, seconds: float, runner: Runner) -> Optional[Unhealthy]:
    """Start a command with one argument after the other; return None as soon as it has been started, else why not."""
    first = None
    for argument in START_ARGUMENTS:
        try:
            code, output = runner(Subprocess((program, argument), seconds))
        except Unhealthy as problem:
            return None if problem.reason == "TimedOut" else problem
        missing = MISSING_PARTS.search(output)
        if code >= 0 and code not in CANNOT_BE_RUN and not (code and missing):
            return None
        line = next((line for line in output.splitlines() if MISSING_PARTS.search(line)), "")
        text = f"`{command} {argument}` ended with {describe_exit(code)}{f': {line.strip()[:200]}' if line else ''}"
        first = first or Unhealthy(text, output)
    return first


def expect(command: Subprocess, pattern: str, name: str, runner: Runner) -> None:
    """Run a command until it has succeeded and its output matches. Silence and NOT_YET are tried again.

    Args:
        pattern: a regular expression that is searched for in the output; "" matches all.
        name: what messages call the command.

    Raises:
        Unhealthy: it failed, its output does not match, or it was not ready within its seconds.
    """
    until = time.monotonic() + command.seconds
    code, output = runner(command)
    while _is_not_ready_yet(code, output, pattern):
        time.sleep(RETRY_SECONDS)
        left = until - time.monotonic()
        if left <= 0:
            break
        try:
            code, output = runner(dataclasses.replace(command, seconds=left))
        except Unhealthy as problem:
            if problem.reason != "TimedOut" or problem.passing or left >= FAIR_SECONDS:
                raise
            break  # its time was too short for another verdict: it said before that it is not ready
    if code != 0:
        reason: Reason = "TemporaryFailure" if code == NOT_YET else ""
        passing = code == NOT_YET or code in KILLED
        raise Unhealthy(f"`{name}` ended with {describe_exit(code)}", output, passing=passing, reason=reason)
    if not matches(pattern, output):
        raise Unhealthy(f"the output of `{name}` does not match {pattern!r}", output)


def _is_not_ready_yet(code: int, output: str, pattern: str) -> bool:
    return code == NOT_YET or (code == 0 and not output.strip() and not matches(pattern, output))


def matches(pattern: str, output: str) -> bool:
    """Return whether a pattern is found in an output. Some patterns take practically for ever, and backups wait.

    Raises:
        Unhealthy: it could not be decided within MATCH_SECONDS.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread receives alarms
        return re.search(pattern, output) is not None
    began = time.monotonic()
    before = signal.signal(signal.SIGALRM, _give_up_matching)
    left, _ = signal.setitimer(signal.ITIMER_REAL, MATCH_SECONDS)
    try:
        return re.search(pattern, output) is not None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:  # the process has a limit of its own
            signal.setitimer(signal.ITIMER_REAL, max(0.001, left - (time.monotonic() - began)))


def _give_up_matching(*_: object) -> None:
    text = f"comparing a command's output with its pattern took more than {MATCH_SECONDS:.0f} s"
    raise Unhealthy(f"{text}; make the pattern simpler")


def describe_exit(code: int) -> str:
    """Return an exit code as text; a negative one is a signal."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll a condition until it is true; return False if it was not within `seconds`."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began >= seconds:
            return False
        time.sleep(POLL_SECONDS)
    return True
