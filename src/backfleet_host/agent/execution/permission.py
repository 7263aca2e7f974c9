"""Whether a task may be carried out on this host: decided before anything of it is done."""

from __future__ import annotations

import os
from typing import NamedTuple, Optional

from backfleet_host.agent.protocol.task_list import Task, Unusable
from backfleet_host.contract import Malformed, is_order, read_order

SHELL, RESTRICTED = "shell", "restricted"
FOLDER_SECONDS = 3.0  # for finding out whether a task's working directory is there: other tasks wait


class NotPermitted(NamedTuple):
    """Why a task is refused: the parameters of an `invalid` report (protocol page, section 8)."""

    param: str
    value: str


ORDERS_ONLY = NotPermitted("TypeInvalid", "OrdersOnly")


def why_not_permitted(task: Task, mode: str) -> Optional[NotPermitted]:
    """Return why this task is refused, or None if it is permitted.

    In restricted mode only orders are permitted, so that a server that was taken over cannot run commands of its choice
    on this host.
    """
    try:
        script, unreadable = task.script(), ""
    except Unusable as problem:
        script, unreadable = "", str(problem)
    is_an_order = is_order(script) and task.type == "RunShellScript"
    if mode != SHELL and not is_an_order:
        return ORDERS_ONLY
    if task.type != "RunShellScript":
        return NotPermitted("TypeInvalid", f"TypeInvalid_{task.type}")
    if unreadable:
        return NotPermitted("CommandContentInvalid", unreadable)
    if task.repeats:
        return NotPermitted("cron", "RepeatNotSupported")
    if task.in_container:
        return NotPermitted("UnsupportedContainerRuntime", "ContainersNotSupported")
    return _problem_of_order(script) if is_an_order else _problem_of_script(task)


def _problem_of_order(script: str) -> Optional[NotPermitted]:
    try:
        read_order(script)
    except Malformed as problem:
        return NotPermitted("CommandContentInvalid", str(problem))
    return None


def _problem_of_script(task: Task) -> Optional[NotPermitted]:
    import pwd  # only shell mode needs it

    if task.working_directory and not _is_folder(task.working_directory):
        return NotPermitted("workingDirectory", "WorkingDirectoryNotExist")
    if task.user:
        try:
            pwd.getpwnam(task.user)
        except KeyError:
            return NotPermitted("UsernameOrPasswordInvalid", f"UserInvalid_{task.user}")
        if os.geteuid() != 0:
            return NotPermitted("UsernameOrPasswordInvalid", "the agent is not root and cannot run as another user")
    return None


def _is_folder(path: str) -> bool:
    """Return whether there is such a folder. One on a file system that does not answer cannot be used.

    Asked by a process that can be left behind: the agent itself would fetch no task any more.
    """
    from backfleet_host.upgrader.errors import Unhealthy
    from backfleet_host.upgrader.host.subprocesses import Subprocess, run  # only shell mode needs them

    try:
        return run(Subprocess(("/bin/sh", "-c", '[ -d "$1" ]', "sh", path), FOLDER_SECONDS, outlives=True))[0] == 0
    except Unhealthy:
        return False
    except OSError:  # no place for its output: the disk is full
        return os.path.isdir(path)
