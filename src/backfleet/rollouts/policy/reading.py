"""Read a policy's file (TOML). A policy is refused as a whole, with every fault at once."""

import re
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from backfleet.filter_expressions import LONGEST, BadExpression, Expression, read_expression
from backfleet.rollouts.policy.amounts import Amount
from backfleet.rollouts.policy.checking import check_policy
from backfleet.rollouts.policy.faults import Fault, PolicyRefused, lines_by_key
from backfleet.rollouts.policy.gates import read_checks
from backfleet.rollouts.policy.model import (
    WHERE_FIELDS,
    AtDeadline,
    Busy,
    Failure,
    Kind,
    Notify,
    Pace,
    Policy,
    Ring,
    Selector,
    Then,
    Verification,
    Window,
)
from backfleet.rollouts.policy.recurrences import Malformed
from backfleet.rollouts.policy.sections import Section
from backfleet.rollouts.policy.times import read_times
from backfleet.rollouts.policy.zones import HOST, zone_of
from backfleet_host.layout import PACKAGE, VERSION

LONGEST_POLICY: Final = 64 * 1024  # characters
MOST_RINGS: Final = 50
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
_COUNTED: Final = ("skipped", "refused")


def read_policy(text: str) -> Policy:
    """Read a policy.

    Raises:
        PolicyRefused: with every fault that the text alone shows.
    """
    if len(text) > LONGEST_POLICY:
        raise PolicyRefused([Fault(0, "policy", f"{len(text)} characters", f"at most {LONGEST_POLICY} are taken")])
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as problem:
        line = re.search(r"at line (\d+)", str(problem))
        raise PolicyRefused(
            [Fault(int(line[1]) if line else 0, "policy", "no TOML", f"{problem}"[:200] or "it is nested too deeply")]
        ) from None
    return policy_of(document, lines_by_key(text))


def policy_of(document: Mapping[str, Any], lines: Mapping[str, int]) -> Policy:
    """Return the policy that a document describes.

    Args:
        document: the tables, as TOML has them.
        lines: the line of each key, for messages; may be empty.

    Raises:
        PolicyRefused: with every fault that the document alone shows.
    """
    faults: list[Fault] = []
    top = Section(document, "", lines, faults)
    policy = Policy(
        name=_named(top, "name", _NAME, "a name of letters, digits, spaces, `.`, `_` and `-`, at most 64 characters"),
        package=_named(
            top, "package", re.compile(PACKAGE), "the name of a package, as `backfleet release list` has it"
        ),
        deadline=top.moment("deadline") or _NEVER,
        kind=top.choice("kind", Kind, Kind.UPGRADE),
        version=_version(top),
        channel=top.text("channel", "", most=64),
        select=_selector(top.table("select")),
        rings=tuple(_ring(each) for each in top.tables("ring", most=MOST_RINGS)),
        pace=_pace(top.table("pace")),
        window=_window(top.table("window")),
        busy=_busy(top.table("busy")),
        failure=_failure(top.table("failure")),
        verification=_verification(top.table("verify")),
        notify=_notify(top.table("notify")),
        overlap=_one_of(top, "overlap", ("refuse", "wait")),
        settings=top.table("settings").pairs(),
    )
    check_policy(policy, top)
    top.finish()
    if faults:
        raise PolicyRefused(faults, policy)
    return policy


def _named(section: Section, key: str, pattern: re.Pattern[str], wanted: str) -> str:
    value = section.text(key)
    if value and not pattern.fullmatch(value):
        section.fault(key, f"give {wanted}")
    return value


def _version(top: Section) -> str:
    value = top.text("version", "", most=64)
    if value and not re.fullmatch(VERSION, value):
        top.fault("version", "give the name of one version")
    return value


def _one_of(section: Section, key: str, values: tuple[str, ...]) -> str:
    value = section.text(key, values[0])
    if value not in values:
        section.fault(key, f"give one of {', '.join(values)}")
        return values[0]
    return value


def _selector(section: Section, *, may_exclude: bool = True) -> Selector:
    tags = section.table("tags").pairs()
    for key, value in tags.items():
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
            section.fault("tags", f"give the tag {key!r} one value, or a list of values")
            tags[key] = []
        else:
            tags[key] = values
    exclude = _selector(section.table("exclude"), may_exclude=False) if may_exclude and section.has("exclude") else None
    found = Selector(
        tags={key: tuple(values) for key, values in tags.items()},
        versions=section.text("versions", ""),
        platforms=section.texts("platforms"),
        channels=section.texts("channels"),
        instances=section.texts("instances", most=100_000),
        clients=section.texts("clients", most=100_000),
        where=_where(section),
        exclude=exclude,
        below_minimum=section.flag("below_minimum", default=False),
        dynamic=section.flag("dynamic", default=False),
    )
    section.finish()
    return found


def _where(section: Section) -> Expression | None:
    text = section.text("where", "", most=LONGEST)
    try:
        return read_expression(text, WHERE_FIELDS) if text else None
    except BadExpression as problem:
        section.fault("where", str(problem))
        return None


def _ring(section: Section) -> Ring:
    count = int(section.number("count", 1, 1, 1_000_000, whole=True)) if section.has("count") else None
    percent = section.number("percent", 0, 0, 100) if section.has("percent") else None
    select = _selector(section.table("select")) if section.has("select") else None
    if sum(each is not None for each in (count, percent, select)) > 1:
        section.fault("name", "a ring has a `count`, a `percent` or a `select`; the last may have none: it is the rest")
    ring = Ring(
        name=_named(section, "name", _NAME, "a name of letters, digits, spaces, `.`, `_` and `-`"),
        count=count,
        percent=percent,
        select=select,
        checks=read_checks(section),
        max_failed=section.amount("max_failed", None),
    )
    section.finish()
    return ring


def _pace(section: Section) -> Pace:
    limits = section.table("per_domain").pairs()
    for key, value in limits.items():
        if not key.startswith("tag:") or isinstance(value, bool) or not isinstance(value, int) or value < 1:
            section.fault("per_domain", f'{key!r}: name a tag and a whole number from 1, such as "tag:site" = 10')
    apart = section.texts("never_together", most=10)
    if not all(each.startswith("tag:") for each in apart):
        section.fault("never_together", 'name tags, such as "tag:backup-set"')
    pace = Pace(
        in_flight=section.amount("in_flight", Pace().in_flight) or Pace().in_flight,
        ramp=section.flag("ramp", default=True),
        jitter_seconds=int(section.number("jitter_seconds", 0, 0, 86400, whole=True)),
        per_hour=section.amount("per_hour", None),
        per_domain={key.removeprefix("tag:"): value for key, value in limits.items()},
        never_together=tuple(each.removeprefix("tag:") for each in apart),
    )
    section.finish()
    return pace


def _window(section: Section) -> Window:
    window = Window(
        times=section.texts("times", most=50),
        time_zone=section.text("time_zone", "UTC", most=64),
        default_time_zone=section.text("default_time_zone", "UTC", most=64),
        calendars=section.texts("calendars", most=50),
    )
    for text in window.times:
        try:
            read_times(text)
        except Malformed as problem:
            section.fault("times", str(problem), text)
    for key, name in (("time_zone", window.time_zone), ("default_time_zone", window.default_time_zone)):
        if zone_of(name) is None and (key, name) != ("time_zone", HOST):
            section.fault(key, "give the name of a time zone such as Europe/Berlin, UTC, or for `time_zone` host")
    section.finish()
    return window


def _busy(section: Section) -> Busy:
    busy = Busy(
        drain_limit_minutes=int(section.number("drain_limit_minutes", 5, 0, 1440, whole=True)),
        at_deadline=section.choice("at_deadline", AtDeadline, AtDeadline.SKIP),
        grace_minutes=int(section.number("grace_minutes", 0, 0, 43200, whole=True)),
    )
    section.finish()
    return busy


def _failure(section: Section) -> Failure:
    counts = section.texts("counts", most=10)
    for each in counts:
        if each not in _COUNTED:
            section.fault("counts", f"name some of {', '.join(_COUNTED)}")
    failure = Failure(
        max_failed=section.amount("max_failed", Amount()) or Amount(),
        then=section.choice("then", Then, Then.HOLD),
        counts=frozenset(counts),
    )
    section.finish()
    return failure


def _verification(section: Section) -> Verification:
    found = Verification(
        first_run_hours=section.number("first_run_hours", 0, 0, 8760),
        without_run=_one_of(section, "without_run", ("fail", "accept")),
    )
    section.finish()
    return found


def _notify(section: Section) -> Notify:
    found = Notify(to=section.texts("to", most=50))
    section.finish()
    return found
