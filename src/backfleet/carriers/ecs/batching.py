"""Which commands are sent together, and what of a batch is sent: decided on values."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from backfleet.carriers.bootstrap import command_for_many, split_command
from backfleet.carriers.ecs.model import LONGEST_CONTENT, MOST_AT_ONCE, Batch, CloudCommand, EcsHost, Run
from backfleet.commands import SHELL, HandedInvocation

LEAST_SECONDS: Final = 10  # that the cloud gives a command
MANY: Final = "many"  # instead of a content that each instance has with its own ids

Waiting = tuple[EcsHost, HandedInvocation]


def refusal_of(one: HandedInvocation) -> str:
    """Return why a command cannot be sent to the cloud at all, or ""."""
    if one.kind != SHELL:
        return "through the cloud there are shell commands only"
    if encoded_length(one.content) > LONGEST_CONTENT:
        return f"the cloud takes commands of {LONGEST_CONTENT} bytes in base64, not of {encoded_length(one.content)}"
    return ""


def encoded_length(content: str) -> int:
    """Return how long a content is in base64."""
    return len(base64.b64encode(content.encode()))


def batches_of(waiting: Sequence[Waiting], *, token: Callable[[], str], now: datetime) -> list[Batch]:
    """Return how waiting commands are sent: what is alike together, as many as one call takes."""
    alike: dict[tuple[str, str, CloudCommand], list[Waiting]] = {}
    for host, one in waiting:
        parts = split_command(one.content)
        kind, content = (MANY, parts[2]) if parts and "{{" not in one.content else ("", one.content)
        command = CloudCommand(
            content, max(one.timeout_seconds, LEAST_SECONDS), one.working_directory, one.username, one.termination
        )
        alike.setdefault((host.region, kind, command), []).append((host, one))
    made = []
    for (region, kind, command), members in alike.items():
        left = members
        while left:
            some, left = _first_of(left, kind)
            content = _content_of(some, kind)
            is_shared = kind == MANY and len(some) > 1
            runs = tuple(Run(one.task_id, host.instance_id, host.remote_id) for host, one in some)
            host = some[0][0]
            made.append(
                Batch(token(), host.account_id, host.ecs_account, region,
                      replace(command, content=content, has_parameters=is_shared), now, runs)
            )  # fmt: skip
    return made


def _first_of(members: list[Waiting], kind: str) -> tuple[list[Waiting], list[Waiting]]:
    """Return those that fit into one call, each instance once, and the rest."""
    some: dict[str, Waiting] = {}
    rest: list[Waiting] = []
    for member in members:
        remote_id = member[0].remote_id
        if len(some) < MOST_AT_ONCE and remote_id not in some:
            some[remote_id] = member
        else:
            rest.append(member)
    chosen = list(some.values())
    while len(chosen) > 1 and encoded_length(_content_of(chosen, kind)) > LONGEST_CONTENT:
        half = len(chosen) // 2
        chosen, rest = chosen[:half], chosen[half:] + rest
    return chosen, rest


def _content_of(members: Sequence[Waiting], kind: str) -> str:
    first = members[0][1].content
    if kind != MANY or len(members) == 1:
        return first
    orders: dict[str, tuple[str, str]] = {}
    rest = ""
    for host, one in members:
        order_id, label, rest = split_command(one.content) or ("", "", "")
        orders[host.remote_id] = order_id, label
    return command_for_many(rest, orders)


def halves(batch: Batch, *, token: Callable[[], str], now: datetime) -> list[Batch]:
    """Return a batch that was refused as two others, with tokens of their own: one instance spoils it for all."""
    middle = len(batch.runs) // 2
    return [
        replace(batch, token=token(), runs=runs, tries=0, created_at=now)
        for runs in (batch.runs[:middle], batch.runs[middle:])
    ]
