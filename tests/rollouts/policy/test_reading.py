"""Reading a policy's file: every fault at once, each with its line."""

import pytest

from backfleet.rollouts.policy import Amount, Backups, Kind, PolicyRefused, Soak, Then, read_policy

GOOD = """name = "rclone to 1.75"
package = "rclone"
version = "1.75.2"
deadline = "2026-12-20T06:00:00+01:00"
[select]
tags = { env = "prod", site = ["a", "b"] }
[[ring]]
name = "canary"
count = 5
[[ring]]
name = "rest"
max_failed = "2%"
gates = [{ kind = "soak", hours = 24 }, { kind = "backups", first_run = "each", watch = true }]
[pace]
in_flight = "5%"
never_together = ["tag:backup-set"]
per_domain = { "tag:site" = 10 }
[failure]
max_failed = 3
then = "roll-back-ring"
"""


def faults(text: str) -> dict[str, tuple[int, str]]:
    with pytest.raises(PolicyRefused) as refused:
        read_policy(text)
    return {fault.key: (fault.line, str(fault)) for fault in refused.value.faults}


def test_a_policy_is_read_as_its_owner_wrote_it() -> None:
    """With times in UTC and tags without their prefix."""
    policy = read_policy(GOOD)
    assert policy.deadline.isoformat() == "2026-12-20T05:00:00+00:00"
    assert policy.select.tags == {"env": ("prod",), "site": ("a", "b")}
    assert policy.rings[1].checks == (Soak(24), Backups("each", watches=True))
    assert (policy.rings[0].count, policy.rings[1].max_failed) == (5, Amount(percent=2))
    assert (policy.pace.never_together, policy.pace.per_domain) == (("backup-set",), {"site": 10})
    assert (policy.failure.then, policy.failure.max_failed) == (Then.ROLL_BACK_RING, Amount(3))
    assert (policy.kind, policy.pace.ramp) == (Kind.UPGRADE, True)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
@pytest.mark.parametrize("quote", ['"', ""])
def test_a_deadline_that_its_zone_takes_out_of_the_calendar_is_a_fault(moment: str, quote: str) -> None:
    """As text and as a time of TOML."""
    assert "deadline" in faults(GOOD.replace('"2026-12-20T06:00:00+01:00"', f"{quote}{moment}{quote}"))


WRONG = """name = "a/b"
package = 7
version = "1"
channel = "stable"
deadline = "tomorrow"
kind = "upgrad"
overlap = "perhaps"
color = "red"
[select]
tags = { env = 3 }
dynamic = "yes"
[[ring]]
name = "canary"
count = 0
percent = 5
gates = [{ kind = "backups", first_run = "each" }, { kind = "sook" }, { kind = "soak", hours = -1 }]
[[ring]]
name = "canary"
percent = 101
[[ring]]
name = "third"
gates = [{ kind = "prometheus", query = "q", below = 1, above = 2 }, { kind = "webhook", url = "ftp://x" },
  { kind = "approval", people = 0 }, { kind = "budget" }, { kind = "backups" }]
[pace]
in_flight = "120%"
ramp = 1
jitter_seconds = 1.5
per_domain = { site = 1 }
never_together = ["set"]
[window]
times = 5
[busy]
at_deadline = "wait"
drain_limit_minutes = 99999
[failure]
max_failed = -1
then = "panic"
counts = ["sick"]
[verify]
without_run = "pray"
[settings]
x = 1
"""


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("name", 1), ("package", 2), ("version", 3), ("deadline", 5), ("kind", 6), ("overlap", 7), ("color", 8),
        ("select.tags", 10), ("select.dynamic", 11), ("ring[0].count", 14), ("ring[0].name", 13),
        ("ring[0].gates[1].kind", 16), ("ring[0].gates[2].hours", 16), ("ring[1].percent", 19), ("ring", 12),
        ("ring[2].gates[0].query", 22), ("ring[2].gates[1].url", 22), ("ring[2].gates[2].people", 22),
        ("ring[2].gates[3].max_failed", 22), ("ring[2].gates[4].kind", 22), ("pace.in_flight", 25), ("pace.ramp", 26),
        ("pace.jitter_seconds", 27), ("pace.per_domain", 28), ("pace.never_together", 29), ("window.times", 31),
        ("busy.drain_limit_minutes", 34), ("busy", 32), ("failure.max_failed", 36), ("failure.then", 37),
        ("failure.counts", 38), ("verify.without_run", 40), ("settings", 41),
    ],
)  # fmt: skip
def test_every_fault_is_listed_at_once_with_its_line(key: str, line: int) -> None:
    """One run shows all of them; `ring` has faults of the list as a whole."""
    found = faults(WRONG)
    assert key in found
    assert found[key][0] == line
    assert "found " in found[key][1]


@pytest.mark.parametrize(
    ("change", "key", "hint"),
    [
        (("[pace]", '[window]\ntimes = "2026-12-24 22:00-05:00"\n[pace]'), "window.times", "dates belong to calendars"),
        (("count = 5", "cuont = 5"), "ring[0].cuont", "did you mean `count`?"),
        (('then = "roll', 'than = "roll'), "failure.than", "did you mean `then`?"),
        (('"2%"', '"2 percent"'), "ring[1].max_failed", "a percentage"),
        (('"2%"', '"nan%"'), "ring[1].max_failed", "a percentage"),
        (("+01:00", ""), "deadline", "with its zone"),
        (('version = "1.75.2"', ""), "version", "one of them"),
        (('name = "rest"', 'name = "canary"'), "ring", "name of its own"),
        (("count = 5", ""), "ring", "only the last ring may be the rest"),
        (("count = 5", "count = true"), "ring[0].count", "whole number"),
        (("count = 5", "count = 5000001"), "ring[0].count", "to 1000000"),
        (('name = "canary"', 'name = "a\\u0007"'), "ring[0].name", "text"),
    ],
)
def test_a_fault_says_what_would_do(change: tuple[str, str], key: str, hint: str) -> None:
    """In the words of the file."""
    found = faults(GOOD.replace(*change))
    assert hint in found[key][1]


@pytest.mark.parametrize("text", ["name = ", "a = 1\na = 2", "[" * 5000, "\x00", "x" * 70_000])
def test_what_is_no_policy_at_all_is_refused_by_one_fault(text: str) -> None:
    """It never raises anything else."""
    assert list(faults(text)) == ["policy"]


def test_the_line_of_broken_toml_is_named() -> None:
    """As the parser reports it."""
    assert faults('name = "a"\npackage = \n')["policy"][0] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version<", "a value is wanted, the end was found (at character 9)"),
        ("name=web-1", "there is no field 'name'"),
        ("version<2 tag:site=ber", "join conditions with `and` or `or` (at character 11)"),
    ],
)
def test_an_expression_of_a_selector_that_cannot_be_read_is_a_fault(text: str, message: str) -> None:
    """With its place in the expression."""
    found = faults(GOOD.replace("[select]", f"[select]\nwhere = {text!r}", 1))
    assert list(found) == ["select.where"]
    assert message in found["select.where"][1]
    assert read_policy(GOOD.replace("[select]", '[select]\nwhere = "version<2"', 1)).select.where is not None
