"""The file of a rollout's evidence: a JSON text a line, and the seal over all of them as the last.

{"format", "policy"}   {"event": ...} ...   {"head": ...} ...   {"member": ...} ...   {"log": ...} ...   {"seal": ...}

Files of format 1 have no logs; they stay valid.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from securesystemslib.signer import Key

from backfleet.rollouts.events import hash_of
from backfleet.rollouts.evidence.envelopes import Unsigned, opened
from backfleet.rollouts.evidence.lines import line_of
from backfleet.rollouts.evidence.logs import digest_of_logs, faults_of_logs

NEWEST: Final = 2
FORMAT: Final = f"backfleet rollout evidence {NEWEST}"
WITHOUT_LOGS: Final = "backfleet rollout evidence 1"
_FORMATS: Final = (WITHOUT_LOGS, FORMAT)
_NUMBERED: Final = re.compile(r"backfleet rollout evidence ([1-9][0-9]{0,5})")
MOST_FAULTS: Final = 20
LONGEST_LINE: Final = 1 << 20  # characters
_EVENT: Final = {"number": int, "at": int, "what": str, "name": str, "change": str, "why": str, "hash": str}
_ORDER: Final = ("event", "head", "member", "log", "seal")


@dataclass(slots=True)
class Found:
    """What a file proves, or everything in it that does not agree."""

    seal: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def digest_of(members: Iterable[Mapping[str, Any]]) -> str:
    """Return the hash of members with their states, in the order of their clients' ids."""
    digest = hashlib.sha256()
    for member in sorted(members, key=lambda each: str(each.get("client_id"))):
        digest.update(line_of(member).encode() + b"\n")
    return digest.hexdigest()


def lines_of(
    policy: str,
    events: Iterable[Mapping[str, Any]],
    heads: Iterable[Any],
    members: Iterable[Mapping[str, Any]],
    logs: Iterable[Any] | None,
    seal: Any,
) -> Iterator[str]:
    """Yield the lines of a file, without their ends.

    Args:
        policy: as its owner wrote it.
        events: every event, oldest first; `at` in milliseconds since 1970.
        heads: the envelopes that were signed on the way, oldest first.
        members: every member as it is now.
        logs: what hosts said of orders that failed, as it is sealed; None where the seal does not cover any.
        seal: the envelope over all of that.
    """
    yield line_of({"format": WITHOUT_LOGS if logs is None else FORMAT, "policy": policy})
    parts = {"event": events, "head": heads, "member": members, "log": logs or (), "seal": [seal]}
    for kind, values in parts.items():
        for value in values:
            yield line_of({kind: value})


def verify(lines: Iterable[str], key: Key) -> Found:
    """Read a file's lines and find everything that does not agree with what was signed. Nothing else is asked.

    Args:
        lines: of the file, with or without their ends.
        key: the public key of the installation, from a source that is trusted: not from the file.
    """
    found = Found()
    parts: dict[str, list[Any]] = {kind: [] for kind in _ORDER}
    form, policy = _read(lines, parts, found)
    if _is_newer(form):
        found.faults = [_newer(form)]
        return found
    if len(parts["seal"]) != 1:
        found.faults.append(
            "the seal is missing: the file was cut off, or is none" if not parts["seal"] else "two seals"
        )
        return found
    try:
        found.seal = opened(parts["seal"][0], key)
    except Unsigned as problem:
        found.faults.append(f"the seal: {problem}")
        return found
    hashes = _chain(parts["event"], found)
    _compare_seal(found, policy, hashes, parts)
    _compare_logs(found, form, parts["log"])
    _check_heads(parts["head"], hashes, key, found)
    del found.faults[MOST_FAULTS:]
    return found


def _read(lines: Iterable[str], parts: dict[str, list[Any]], found: Found) -> tuple[str, str | None]:
    """Sort lines into parts; return the format and the policy."""
    form, policy = "", None
    place = 0
    for number, text in enumerate(lines, 1):
        line = text.rstrip("\n")
        value = _value(line)
        if value is None or len(value) != (2 if number == 1 else 1):
            found.faults.append(f"line {number}: it is no line of evidence, or was changed")
        elif number == 1:
            form = str(value.get("format"))[:60]
            if _is_newer(form):
                break
            if form not in _FORMATS or not isinstance(value.get("policy"), str):
                found.faults.append(f"line 1: found {form!r}, expected {FORMAT!r} and a policy")
            else:
                policy = value["policy"]
        else:
            [(kind, part)] = value.items()
            if kind not in _ORDER or _ORDER.index(kind) < place:
                found.faults.append(f"line {number}: {kind[:20]!r} does not belong there")
                continue
            place = _ORDER.index(kind)
            parts[kind].append(part)
        if len(found.faults) >= MOST_FAULTS:
            break
    return form, policy


def _is_newer(form: str) -> bool:
    numbered = _NUMBERED.fullmatch(form)
    return numbered is not None and int(numbered[1]) > NEWEST


def _newer(form: str) -> str:
    return f"line 1: found {form!r}, this version reads up to {FORMAT!r}: verify the file with a newer Backfleet"


def _value(line: str) -> dict[str, Any] | None:
    if len(line) > LONGEST_LINE:
        return None
    try:
        value = json.loads(line)
        return value if isinstance(value, dict) and line_of(value) == line else None
    except (ValueError, RecursionError):
        return None


def _chain(events: Sequence[Any], found: Found) -> list[str]:
    """Return the hash of each event as it follows from the events before it."""
    hashes: list[str] = []
    for expected, event in enumerate(events, 1):
        if not isinstance(event, dict) or {name: type(value) for name, value in event.items()} != _EVENT:
            found.faults.append(f"event {expected}: it is no event")
            return hashes
        try:
            at = datetime.fromtimestamp(event["at"] / 1000, UTC)
        except (ValueError, OverflowError, OSError):
            found.faults.append(f"event {expected}: its time is none")
            return hashes
        texts = (event["what"], event["name"], event["change"], event["why"])
        hashes.append(hash_of(hashes[-1] if hashes else "", expected, at, *texts))
        if (event["number"], event["hash"]) != (expected, hashes[-1]):
            found.faults.append(
                f"event {expected}: it does not follow from the one before: changed, moved or taken out"
            )
            return hashes
    return hashes


def _compare_seal(found: Found, policy: str | None, hashes: Sequence[str], parts: Mapping[str, Sequence[Any]]) -> None:
    members = [each for each in parts["member"] if isinstance(each, dict)]
    here = {
        "statement": "seal",
        "policy_sha256": None if policy is None else hashlib.sha256(policy.encode()).hexdigest(),
        "events": len(parts["event"]),
        "head": hashes[-1] if hashes else "",
        "heads": len(parts["head"]),
        "members": len(parts["member"]),
        "members_sha256": digest_of(members),
    }
    for name, value in here.items():
        if found.seal.get(name) != value:
            found.faults.append(f"{name}: the file has {value}, sealed was {found.seal.get(name)}")


def _compare_logs(found: Found, form: str, logs: Sequence[Any]) -> None:
    """Compare what hosts said with what was sealed. Seals of format 1 cover none, and have no word of them."""
    if form == WITHOUT_LOGS:
        if logs or "logs" in found.seal:
            found.faults.append("logs: the seal and the format do not agree: logs were taken out, or added")
        return
    found.faults += faults_of_logs(logs)
    for name, value in {"logs": len(logs), "logs_sha256": digest_of_logs(logs)}.items():
        if found.seal.get(name) != value:
            found.faults.append(f"{name}: the file has {value}, sealed was {found.seal.get(name)}")


def _check_heads(heads: Sequence[Any], hashes: Sequence[str], key: Key, found: Found) -> None:
    before = 0
    for place, envelope in enumerate(heads, 1):
        try:
            head = opened(envelope, key)
        except Unsigned as problem:
            found.faults.append(f"head {place}: {problem}")
            continue
        number = head.get("events")
        if head.get("statement") != "head" or head.get("rollout_id") != found.seal.get("rollout_id"):
            found.faults.append(f"head {place}: it is of another rollout")
        elif (
            not isinstance(number, int) or not before < number <= len(hashes) or hashes[number - 1] != head.get("head")
        ):
            found.faults.append(f"head {place}: it was signed over other events")
        else:
            before = number
