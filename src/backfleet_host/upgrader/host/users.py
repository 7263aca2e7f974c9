"""The users of a client: whether its shims run for each of them, from their own folder, as cron runs them.

A version's health command is run from its tree, as the user that runs the agent. What people, cron and services run is
the shim, as somebody else: folders that they cannot enter, a mount without programs or a locale stop only them.
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, List, Optional, Tuple

from backfleet_host.manifest import Manifest
from backfleet_host.upgrader.errors import Unhealthy
from backfleet_host.upgrader.host import health, modes
from backfleet_host.upgrader.host.installation import Installation
from backfleet_host.upgrader.host.policy import Policy
from backfleet_host.upgrader.host.subprocesses import Runner, Subprocess

UNPRIVILEGED = "nobody"  # runs the shim where the host policy names nobody
MOST_USERS = 8  # backups wait meanwhile
NOT_RUN = (69, 126, 127)  # exit codes of shims and shells that could not become the client
CHECK_SECONDS = 10
LONGEST_PRINTED = 300  # characters of an output that a message has
ENVIRONMENT = {"LANG": "C"}  # as cron has it on many hosts

# Prints the first of its arguments that its user cannot run.
_CAN_RUN = 'for file; do [ -x "$file" ] || { echo "$file: Permission denied"; exit 126; }; done'


@dataclass(frozen=True)
class User:
    """One who runs the client."""

    name: str
    is_named: bool = True  # the host policy or a run names him; else he stands for all that have no rights


@dataclass(frozen=True)
class ShimFailure:
    """Why the shims do not run for a user."""

    text: str
    output: str = ""
    is_of_shim: bool = False  # it could not become the client; else the client itself failed
    passing: bool = False


def users_of(installation: Installation, policy: Policy, seen: Iterable[str] = ()) -> List[User]:
    """Return the users that the shims are run as: our own first, those of the host policy, and those that were seen.

    Where the policy names none, one without rights stands for all the others, unless a folder around the root keeps
    them out: whoever put the root there wants no others.

    Args:
        seen: the names of users that ran the client lately.
    """
    own = own_name()
    if os.geteuid() != 0:  # only root can be somebody else
        return [User(own)]
    listed = policy.package.users or policy.host.users
    probes = [probe.run.user for probe in policy.package.probes if probe.run.user]
    names = dict.fromkeys([own, *listed, *probes, *seen])
    found = [User(name) for name in names if name == own or _exists(name)]
    if not listed and UNPRIVILEGED not in names and _exists(UNPRIVILEGED) and not _keeps_others_out(installation):
        found.append(User(UNPRIVILEGED, is_named=False))
    return found[:MOST_USERS]


def own_name() -> str:
    """Return the name of the user that runs this program; its number if it has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def failure(user: User, manifest: Manifest, shims: Path, tree: Path, runner: Runner) -> Optional[ShimFailure]:
    """Run the shims of a version as a user; return why they fail, None if they do not.

    The health command is run by its shim. What other commands do is not known: of them is checked that they can be run.

    Args:
        shims: the folder of the shims.
        tree: that of the version.
    """
    try:
        _run_health_command(user, manifest, shims, runner)
        others = [name for name in manifest.programs if manifest.health is None or name != manifest.health.command[0]]
        if others:
            paths = [path for name in others for path in (shims / name, tree / manifest.programs[name])]
            _check_can_be_run(user, paths, runner)
    except _Fails as problem:
        return problem.failure
    return None


class _Fails(Exception):
    def __init__(self, failure: ShimFailure) -> None:
        super().__init__(failure.text)
        self.failure = failure


def _run_health_command(user: User, manifest: Manifest, shims: Path, runner: Runner) -> None:
    health_check = manifest.health
    if health_check is None or health_check.command[0] not in manifest.programs:
        return
    shim, arguments = shims / health_check.command[0], health_check.command[1:]
    codes: List[int] = []

    def run(command: Subprocess) -> Tuple[int, str]:
        code, output = runner(command)
        codes.append(code)
        return code, output

    command = _command(user, (str(shim), *arguments), health_check.seconds)
    try:
        health.expect(command, health_check.expect, " ".join(command.arguments), run)
    except Unhealthy as problem:
        is_of_shim = codes[-1] in NOT_RUN if codes else problem.reason not in ("TimedOut", "NotAnswering")
        raise _Fails(_failure(user, shim, problem, is_of_shim)) from None


def _check_can_be_run(user: User, paths: List[Path], runner: Runner) -> None:
    command = _command(user, ("/bin/sh", "-c", _CAN_RUN, "sh", *map(str, paths)), CHECK_SECONDS)
    try:
        health.expect(command, "", "checking which commands can be run", _silent_is_ready(runner))
    except Unhealthy as problem:
        printed = Path(problem.output.partition(":")[0])
        raise _Fails(_failure(user, printed if printed in paths else paths[0], problem, True)) from None


def _silent_is_ready(runner: Runner) -> Runner:
    """Return a runner for a command that prints nothing if all is well."""

    def run(command: Subprocess) -> Tuple[int, str]:
        code, output = runner(command)
        return code, output or "fine"

    return run


def _command(user: User, arguments: Tuple[str, ...], seconds: float) -> Subprocess:
    return Subprocess(arguments, seconds, "" if user.name == own_name() else user.name, ENVIRONMENT)


def _failure(user: User, shim: Path, problem: Unhealthy, is_of_shim: bool) -> ShimFailure:
    printed = " ".join(problem.output.split())
    printed = printed if len(printed) <= LONGEST_PRINTED else f"{printed[:LONGEST_PRINTED]}..."
    text = f"{shim} does not run for {user.name}: {problem.text}" + (f", and printed: {printed}" if printed else "")
    return ShimFailure(text, problem.output, is_of_shim, problem.passing)


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _keeps_others_out(installation: Installation) -> bool:
    """Return whether a folder around the root or the shims, which is not ours, is closed to others. Not on the system's
    own paths: there others run the client, or the host policy names those who do."""
    if installation.host == Path("/"):
        return False
    return any(not folder.stat().st_mode & stat.S_IXOTH for folder in modes.folders_around(installation))
