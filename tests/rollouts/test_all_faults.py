"""A policy is refused with every fault at once: of its text, the account, the releases, and the server's settings."""

import pytest

from rollouts.fleet import Fleet

BAD = """\
name = "courier\\u001b"
package = "courier"
version = "9.9"
deadline = "2020-01-01T00:00:00Z"
colour = "blue"

[[ring]]
name = "canary"
count = 0
[[ring]]
name = "rest"
gates = [{ kind = "webhook", url = "https://nowhere.example/ask" }]

[select]
tags = { env = "nowhere" }

[notify]
to = ["nobody"]

[pace]
in_flight = 0
ramps = true
"""


@pytest.mark.parametrize("action", ["PreviewRollout", "CreateRollout", "SimulateRollout"])
def test_faults_of_the_text_hide_no_others(sqlite_hosts: Fleet, action: str) -> None:
    """Each with its line: nobody mends some, and is told of others then."""
    hosts = sqlite_hosts
    hosts.grow(3)
    status, body = hosts.try_to(action, Policy=BAD)
    assert (status, body["Code"]) == (400, "PolicyNotAccepted")
    assert {(fault["Key"], fault["Line"]) for fault in body["Faults"]} == {
        ("name", 1),
        ("version", 3),
        ("deadline", 4),
        ("colour", 5),
        ("ring[0].count", 9),
        ("ring[1].gates[0].url", 12),
        ("select", 14),
        ("notify.to", 18),
        ("pace.ramps", 22),
    }
    assert "control characters" in next(fault["Wanted"] for fault in body["Faults"] if fault["Key"] == "name")


def test_nothing_is_said_of_what_depends_on_a_fault(sqlite_hosts: Fleet) -> None:
    """Whether a release of a package that cannot be read is there, nobody knows."""
    hosts = sqlite_hosts
    hosts.grow(3)
    text = hosts.policy().replace('package = "courier"', 'package = "no such/name"').replace("count = 2", "count = 9")
    _, body = hosts.try_to("PreviewRollout", Policy=text)
    assert [fault["Key"] for fault in body["Faults"]] == ["package"]


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('version = "2.0"', 'version = "9.9"', "version"),
        ("count = 2", "count = 9", "ring"),
        ("2026", "2020", "deadline"),
    ],
)
def test_a_simulation_says_the_line_as_a_preview_does(sqlite_hosts: Fleet, old: str, new: str, key: str) -> None:
    """For faults that the text alone does not show."""
    hosts = sqlite_hosts
    hosts.grow(3)
    text = hosts.policy().replace(old, new)
    _, refused = hosts.try_to("SimulateRollout", Policy=text)
    lines = {fault["Key"]: fault["Line"] for fault in refused["Faults"]}
    shown = {fault["Key"]: fault["Line"] for fault in hosts.ask("PreviewRollout", Policy=text)["Faults"]}
    assert lines[key] == shown[key] > 0
