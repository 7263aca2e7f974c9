"""What hosts said of orders that failed, as evidence has it: bounded, each text with its hash. Pure."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from backfleet.rollouts.evidence.lines import line_of
from backfleet_host.texts import first_and_last

MOST_LOGS: Final = 200  # of a rollout
MOST_OF_ONE: Final = 3  # of a member: one for each order that failed
LONGEST_LOG: Final = 4000  # characters
MOST_CHARACTERS: Final = 256 * 1024  # of all logs together


def chosen(spoken: Iterable[tuple[str, str]], client_ids: Iterable[str]) -> tuple[list[str], int]:
    """Choose whose logs are kept: the first that failed, as they show what stopped the rollout.

    Args:
        spoken: the id and the client of every item whose host said something, the first to end first.
        client_ids: the rollout's members; items of others are not its own.

    Returns:
        The ids of the items that are kept, and how many of its members' are not.
    """
    members, seen = set(client_ids), Counter[str]()
    ids: list[str] = []
    left_out = 0
    for item_id, client_id in spoken:
        if client_id not in members:
            continue
        if len(ids) == MOST_LOGS or seen[client_id] == MOST_OF_ONE:
            left_out += 1
            continue
        seen[client_id] += 1
        ids.append(item_id)
    return ids, left_out


def within_bounds(logs: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """Return as many logs as have space, each text shortened to its bound and hashed; and how many are left out.

    A text that is shortened keeps its first and last lines, and has `[...]` for what is between them.
    """
    kept: list[dict[str, Any]] = []
    space = MOST_CHARACTERS
    for log in logs:
        text = first_and_last(str(log["text"]), LONGEST_LOG)
        space -= len(text)
        if space < 0:
            break
        kept.append({**log, "text": text, "sha256": hash_of_text(text)})
    return kept, len(logs) - len(kept)


def hash_of_text(text: str) -> str:
    """Return the hash of what a host said."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def digest_of_logs(logs: Iterable[Any]) -> str:
    """Return the hash of logs in their order."""
    digest = hashlib.sha256()
    for log in logs:
        digest.update(line_of(log).encode() + b"\n")
    return digest.hexdigest()


def faults_of_logs(logs: Sequence[Any]) -> list[str]:
    """Return which logs of a file do not have the hash that stands beside them."""
    faults = []
    for place, log in enumerate(logs, 1):
        text = log.get("text") if isinstance(log, dict) else None
        if not isinstance(text, str):
            faults.append(f"log {place}: it is none")
        elif log.get("sha256") != hash_of_text(text):
            faults.append(f"log {place}, of {str(log.get('client_id'))[:64]!r}: what its host said was changed")
    return faults
