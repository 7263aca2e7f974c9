"""Whether a task may be carried out here: decided before anything of it is done."""

from __future__ import annotations

from typing import NamedTuple, Optional

from backfleet_host.agent.protocol.task_list import Task, Unusable
from backfleet_host.contract import Malformed, is_order, read_order

SHELL, RESTRICTED = "shell", "restricted"


class Refusal(NamedTuple):
    """The parameter that is wrong and what is wrong with it, as an `invalid` report says it."""

    param: str
    value: str


ORDERS_ONLY = Refusal("TypeInvalid", "OrdersOnly")


def refusal(task: Task, mode: str) -> Optional[Refusal]:
    """Why this task is refused, or None.

    In restricted mode orders are taken and nothing else: a stolen control plane cannot run a shell through this host.
    """
    try:
        script, unreadable = task.script(), ""
    except Unusable as problem:
        script, unreadable = "", str(problem)
    order = is_order(script) and task.type == "RunShellScript"
    if mode != SHELL and not order:
        return ORDERS_ONLY
    if task.type != "RunShellScript":
        return Refusal("TypeInvalid", f"TypeInvalid_{task.type}")
    if unreadable:
        return Refusal("CommandContentInvalid", unreadable)
    if task.repeats:
        return Refusal("cron", "RepeatNotSupported")
    if task.in_container:
        return Refusal("UnsupportedContainerRuntime", "ContainersNotSupported")
    return _of_order(script) if order else _of_script(task)


def _of_order(script: str) -> Optional[Refusal]:
    try:
        read_order(script)
    except Malformed as problem:
        return Refusal("CommandContentInvalid", str(problem))
    return None


def _of_script(task: Task) -> Optional[Refusal]:
    from backfleet_host.agent.execution.script import complaint_about  # not before shell mode is asked for

    return complaint_about(task)
