"""What the server may say over the notify socket, and what is answered (protocol page, section 5.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, Tuple

_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
LONGEST = 4096  # characters of a message; ours have less than 200


@dataclass(frozen=True)
class Kick:
    """A message understood: the reply to send, and whether the task list is to be fetched, for one id or for all."""

    reply: str
    fetch: bool = False
    task_id: str = ""


_FETCHING: Dict[Tuple[str, str], bool] = {
    ("task", "run"): True,
    ("task", "stop"): True,
    ("file", "create"): True,
    ("file", "stop"): True,
}
"""The list decides what is run or stopped; these words only send us there. Sessions, and the words that would stop,
remove, update or deregister the agent, are not for the server to say: they are answered as unknown."""


def understand(message: str) -> Kick:
    """Total: any text has an answer, none raises."""
    words = message[:LONGEST].split(" ")
    if words == ["kick_vm"]:
        return Kick(f"accept:{message}", fetch=True)
    if words[1:2] == ["noop"]:
        return Kick(f"accept:{message}")
    if len(words) == 4 and tuple(words[1:3]) in _FETCHING and _ID.fullmatch(words[3]):
        return Kick(f"accept:{message}", fetch=True, task_id=words[3])
    return Kick(f"unknow:{message[:LONGEST]}")
