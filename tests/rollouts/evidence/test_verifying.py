"""A file of evidence: whatever is changed, taken out, moved or cut off in it is noticed, with the public key alone."""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backfleet.rollouts.events import NewEvent, chained
from backfleet.rollouts.evidence import (
    EvidenceKey,
    Found,
    Unsigned,
    digest_of,
    line_of,
    lines_of,
    opened,
    read_public_key,
    sign,
    verify,
)
from backfleet.rollouts.evidence.logs import digest_of_logs, within_bounds

TEXT = "no such option: --fast"
NOW = datetime(2026, 12, 1, 12, 0, 0, 123000, tzinfo=UTC)
KEY, OTHER = EvidenceKey(b"k" * 32), EvidenceKey(b"o" * 32)
PUBLIC = read_public_key(KEY.public.encode())
POLICY = 'name = "to 2.0"\n'
EVENTS, HEADS, MEMBERS, LOGS = range(1, 7), (7, 8), (9, 10), (11, 12)
"""The places of the lines in the file: the policy is the first, the seal the last."""

Lines = list[str]


def statement(kind: str, **more: Any) -> dict[str, Any]:
    return {"statement": kind, "rollout_id": "ro-1", "account_id": "1", "signed_at": "now", **more}


def whole(key: EvidenceKey = KEY, why: str = "why", *, has_logs: bool = True) -> Lines:
    """Return a file with six events, two heads, two members, and two logs unless it is of the first format."""
    events: list[Any] = []
    for at in range(3):
        new = [NewEvent("member", f"c-{at}", "upgrading", why), NewEvent("ring", "canary", "finished", "because")]
        head = events[-1].hash if events else ""
        events += chained(new, after=len(events), head=head, at=NOW + timedelta(minutes=at))
    rows = [
        {"number": e.number, "at": round(e.at.timestamp() * 1000), "what": e.what, "name": e.name, "change": e.change,
         "why": e.why, "hash": e.hash}
        for e in events
    ]  # fmt: skip
    members = [{"client_id": f"c-{at}", "state": "succeeded"} for at in range(2)]
    logs, _ = within_bounds([{"client_id": f"c-{at}", "text": TEXT} for at in range(2)])
    about_logs = {"logs": 2, "logs_sha256": digest_of_logs(logs), "logs_left_out": 0} if has_logs else {}
    heads = [sign(key, statement("head", events=each, head=events[each - 1].hash)) for each in (2, 6)]
    sealed = statement(
        "seal",
        policy_sha256=hashlib.sha256(POLICY.encode()).hexdigest(),
        events=6,
        head=events[-1].hash,
        heads=2,
        members=2,
        members_sha256=digest_of(members),
        **about_logs,
    )
    return list(lines_of(POLICY, rows, heads, members, logs if has_logs else None, sign(key, sealed)))


def checked(lines: Lines) -> Found:
    return verify((f"{line}\n" for line in lines), PUBLIC)


def changed(line: str, **fields: Any) -> str:
    """Return a line with other values in its one part."""
    [(kind, part)] = json.loads(line).items()
    return line_of({kind: {**part, **fields}})


def with_two_signatures(line: str) -> str:
    head, other = json.loads(line)["head"], sign(OTHER, statement("head"))
    return line_of({"head": {**head, "signatures": [*head["signatures"], *other["signatures"]]}})


def without(lines: Lines, *places: int) -> Lines:
    return [line for at, line in enumerate(lines) if at not in places]


def swapped(lines: Lines, one: int, other: int) -> Lines:
    found = list(lines)
    found[one], found[other] = found[other], found[one]
    return found


def put(lines: Lines, at: int, line: str) -> Lines:
    return [*lines[:at], line, *lines[at + 1 :]]


def relabelled(lines: Lines, number: int) -> Lines:
    """Return a file that says it is of another format."""
    return put(lines, 0, line_of({**json.loads(lines[0]), "format": f"backfleet rollout evidence {number}"}))


def with_text(line: str, text: str) -> str:
    """Return a log with another text and the hash of it."""
    return changed(line, text=text, sha256=hashlib.sha256(text.encode()).hexdigest())


def test_a_file_as_it_was_written_is_intact() -> None:
    """And says what was sealed."""
    found = checked(whole())
    assert (found.faults, found.seal["events"]) == ([], 6)


TAMPERED: dict[str, Callable[[Lines], Lines]] = {
    "a reason is another": lambda lines: put(lines, 3, changed(lines[3], why="all is well")),
    "a time is a millisecond later": lambda lines: put(
        lines, 3, changed(lines[3], at=json.loads(lines[3])["event"]["at"] + 1)
    ),
    "a member's name is another": lambda lines: put(lines, 1, changed(lines[1], name="c-7")),
    "an event is taken out": lambda lines: without(lines, 4),
    "the last event is taken out": lambda lines: without(lines, 6),
    "the last events and the head over them are taken out": lambda lines: without(lines, 3, 4, 5, 6, 8),
    "all events are taken out": lambda lines: without(lines, *EVENTS),
    "two events change places": lambda lines: swapped(lines, 2, 3),
    "an event is there twice": lambda lines: [*lines[:3], lines[2], *lines[3:]],
    "every event is chained anew": lambda lines: [lines[0], *whole(why="all is well")[1:7], *lines[7:]],
    "a head is taken out": lambda lines: without(lines, 7),
    "all heads are taken out": lambda lines: without(lines, *HEADS),
    "heads change places": lambda lines: swapped(lines, 7, 8),
    "a head is there twice": lambda lines: put(lines, 8, lines[7]),
    "a head is signed by somebody else": lambda lines: put(lines, 7, whole(OTHER)[7]),
    "a member's state is another": lambda lines: put(lines, 9, changed(lines[9], state="failed")),
    "a member is taken out": lambda lines: without(lines, 10),
    "a member is added": lambda lines: [*lines[:10], line_of({"member": {"client_id": "c-9"}}), *lines[10:]],
    "a log's text is another": lambda lines: put(lines, 11, changed(lines[11], text="all is well")),
    "a log's text and hash are others": lambda lines: put(lines, 11, with_text(lines[11], "all is well")),
    "a log is of another client": lambda lines: put(lines, 11, changed(lines[11], client_id="c-9")),
    "a log is taken out": lambda lines: without(lines, 12),
    "all logs are taken out": lambda lines: without(lines, *LOGS),
    "all logs are taken out, and the format is that of before": lambda lines: relabelled(without(lines, *LOGS), 1),
    "the format is that of before": lambda lines: relabelled(lines, 1),
    "logs change places": lambda lines: swapped(lines, 11, 12),
    "a log is there twice": lambda lines: [*lines[:12], lines[11], *lines[12:]],
    "a log is none": lambda lines: put(lines, 11, line_of({"log": 7})),
    "a log is added to a file of before": lambda lines: [
        *whole(has_logs=False)[:-1],
        lines[11],
        whole(has_logs=False)[-1],
    ],
    "a file of before says it is of now": lambda _: relabelled(whole(has_logs=False), 2),
    "the policy is another": lambda lines: put(lines, 0, lines[0].replace("to 2.0", "to 3.0")),
    "the policy is taken out": lambda lines: without(lines, 0),
    "the seal is taken out": lambda lines: lines[:-1],
    "the seal is signed by somebody else": lambda lines: [*lines[:-1], whole(OTHER)[-1]],
    "the seal is there twice": lambda lines: [*lines, lines[-1]],
    "everything is signed by somebody else": lambda _: whole(OTHER),
    "the seal is a head": lambda lines: [*lines[:-1], line_of({"seal": json.loads(lines[8])["head"]})],
    "a head has a note beside it": lambda lines: put(lines, 7, changed(lines[7], note="x")),
    "a head has a second signature": lambda lines: put(lines, 7, with_two_signatures(lines[7])),
    "a line has one space more": lambda lines: put(lines, 2, lines[2].replace(":", ": ", 1)),
    "a line has a key more": lambda lines: put(lines, 2, changed(lines[2], note="x")),
    "a line is no JSON": lambda lines: put(lines, 2, "{"),
    "a line is empty": lambda lines: [*lines[:2], "", *lines[2:]],
    "something follows the seal": lambda lines: [*lines, line_of({"member": {}})],
    "a time is none": lambda lines: put(lines, 3, changed(lines[3], at=10**30)),
    "a number is a truth": lambda lines: put(lines, 1, changed(lines[1], number=True)),
    "the file is empty": lambda _: [],
}


@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED)
def test_whatever_is_changed_is_noticed(tamper: Callable[[Lines], Lines]) -> None:
    """With a reason, and without anything but the file and the key."""
    found = checked(tamper(whole()))
    assert found.faults
    assert all(found.faults)


@pytest.mark.parametrize("place", range(14))
def test_every_byte_of_the_file_counts(place: int) -> None:
    """A character of each line is replaced by another, at three places."""
    lines = whole()
    text = lines[place]
    for at in (len(text) // 4, len(text) // 2, len(text) - 3):
        other = text[:at] + ("x" if text[at] != "x" else "y") + text[at + 1 :]
        assert checked(put(lines, place, other)).faults


def test_a_file_of_before_there_were_logs_is_intact() -> None:
    """As it was written then; in it, too, each byte counts."""
    lines = whole(has_logs=False)
    assert lines[0].startswith('{"format":"backfleet rollout evidence 1",')
    assert '"log' not in "".join(lines)
    assert checked(lines).faults == []
    assert checked(put(lines, 3, changed(lines[3], why="all is well"))).faults


def test_a_file_of_a_later_version_is_refused_with_one_sentence() -> None:
    """Nothing else is said of it: it may have kinds of lines that nobody here knows."""
    lines = relabelled(whole(), 3)
    [fault] = checked([lines[0], line_of({"odd": 1}), *lines[1:]]).faults
    assert "'backfleet rollout evidence 3'" in fault
    assert "verify the file with a newer Backfleet" in fault


@pytest.mark.parametrize("number", ["0", "02", "-1", "x", "3 ", "9999999"])
def test_what_is_no_format_is_no_later_one(number: str) -> None:
    """It was changed."""
    first = line_of({**json.loads(whole()[0]), "format": f"backfleet rollout evidence {number}"})
    assert any("expected" in fault for fault in checked(put(whole(), 0, first)).faults)


def test_it_is_told_whose_log_was_changed() -> None:
    """By its place and its client."""
    assert any("log 2, of 'c-1'" in fault for fault in checked(put(whole(), 12, changed(whole()[12], text=""))).faults)


def test_it_is_told_which_event_does_not_follow() -> None:
    """By its number."""
    lines = whole()
    assert any("event 4" in fault for fault in checked(put(lines, 4, changed(lines[4], why="x"))).faults)


def test_the_key_is_the_same_for_the_same_secret_and_shows_nothing_of_it() -> None:
    """All servers of an installation sign alike."""
    assert EvidenceKey(b"k" * 32).public == KEY.public != OTHER.public
    assert "kkkk" not in repr(KEY)


@pytest.mark.parametrize("pem", [b"", b"no key", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_what_is_no_key_is_refused(pem: bytes) -> None:
    """With one kind of error."""
    with pytest.raises(ValueError, match="no public key"):
        read_public_key(pem)


@pytest.mark.parametrize(
    "envelope", [None, {}, {"payload": 1}, [], {"payload": "", "payloadType": "x", "signatures": 3}]
)
def test_what_is_no_envelope_is_unsigned(envelope: Any) -> None:
    """Whatever it is."""
    with pytest.raises(Unsigned):
        opened(envelope, PUBLIC)
