"""Messages of the server on the notify socket, and the answers to them (protocol page, section 5.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass

LONGEST_MESSAGE = 4096  # characters that are looked at; messages of our server have less than 200

_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_FETCHES = frozenset({("task", "run"), ("task", "stop"), ("file", "create"), ("file", "stop")})


@dataclass(frozen=True)
class Kick:
    """A message that was read: the reply to send, and whether to fetch the task list, for one task or for all."""

    reply: str
    fetch: bool = False
    task_id: str = ""


def read_kick(message: str) -> Kick:
    """Return how to answer a message. Any text has an answer; nothing is raised.

    A message never does more than cause a fetch: the task list says what to run or stop. Messages that open sessions,
    or that stop, remove, update or deregister the agent, are answered as unknown, because the server must not be able
    to do that.
    """
    parts = message[:LONGEST_MESSAGE].split(" ")
    if parts == ["kick_vm"]:
        return Kick(f"accept:{message}", fetch=True)
    if parts[1:2] == ["noop"]:
        return Kick(f"accept:{message}")
    if len(parts) == 4 and tuple(parts[1:3]) in _FETCHES and _ID.fullmatch(parts[3]):
        return Kick(f"accept:{message}", fetch=True, task_id=parts[3])
    return Kick(f"unknow:{message[:LONGEST_MESSAGE]}")  # spelt so on the wire
