"""A policy on an inventory, in virtual time: what a simulation says."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backfleet.rollouts.model import OrderEnd
from backfleet.rollouts.policy import Policy, PolicyRefused, Window, read_policy
from backfleet.rollouts.simulation import (
    PRESETS,
    Failures,
    FailuresRefused,
    InventoryRefused,
    Limits,
    curves_of,
    draw_curves,
    members_of,
    read_failures,
    read_inventory,
    simulate,
    with_preset,
)
from backfleet.rollouts.simulation.hosts import made_up_hosts
from backfleet.rollouts.timetable import Timetable

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
POLICY = """
name = "courier"
package = "courier"
version = "2.0"
deadline = "2026-12-20T00:00:00Z"
[[ring]]
name = "canary"
count = 5
[[ring]]
name = "rest"
gates = [{ kind = "backups", first_run = "each" }, { kind = "approval", people = 2 }, { kind = "manual" }]
[failure]
max_failed = "5%"
"""


def inventory(number: int, away: int = 0) -> list[str]:
    lines = [f"c{at},{'no' if at < away else 'yes'},s{at % 3}" for at in range(number)]
    return ["client,reachable,tag:site", *lines]


def ask(policy: Policy | None = None, failures: str = "", seed: int = 1, number: int = 200, **more: Any) -> Any:
    found = policy or read_policy(POLICY)
    members = members_of(found, read_inventory(inventory(number, more.pop("away", 0))))
    windows = Timetable(found.window, {})
    return simulate(found, members, windows, failures=read_failures(failures), seed=seed, now=NOW, **more)


def test_a_good_release_gets_everybody_done_ring_by_ring() -> None:
    """People and other systems are taken to agree."""
    report = ask()
    assert (report["State"], report["Done"], report["Reached"], report["BadReached"]) == ("completed", 200, 200, 0)
    canary, rest = report["Rings"]
    assert canary["FinishedTime"] <= rest["StartedTime"] < rest["FinishedTime"] <= report["EndedTime"]
    assert report["Curve"][-1]["Done"] == 200
    assert report["MostOrdersAMinute"] >= 1


def test_a_bad_release_reaches_the_canaries_only() -> None:
    """Those who never got done are counted by their reason."""
    report = ask(failures="bad-canary")
    assert (report["Reached"], report["BadReached"], report["Done"]) == (5, 5, 0)
    assert sum(each["Members"] for each in report["NotDoneByReason"]) == 200
    assert len(report["NotDone"]) == 100


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_ends_and_reaches_at_least_as_many_bad_hosts(preset: str) -> None:
    """The same clients, the same seed."""
    ours, theirs = ask(failures="bad-canary"), ask(with_preset(read_policy(POLICY), preset), "bad-canary")
    assert theirs["IsComplete"]
    assert theirs["FirstStop"]
    assert theirs["BadReached"] >= 1
    good = ask(with_preset(read_policy(POLICY), preset))
    assert (good["State"], good["Done"]) == ("completed", 200)
    assert ours["BadReached"] <= 5


def test_the_same_seed_is_the_same_simulation_and_another_one_is_not() -> None:
    """Whatever the order of the inventory."""
    assert ask(failures="10%", seed=7) == ask(failures="10%", seed=7)
    first = dict(made_up_hosts(map(str, range(500)), Failures(0.1), 1))
    shuffled = list(map(str, range(500)))
    random.Random(3).shuffle(shuffled)
    assert first == dict(made_up_hosts(shuffled, Failures(0.1), 1))
    assert first != dict(made_up_hosts(shuffled, Failures(0.1), 2))


def test_the_share_of_failures_is_what_was_asked_for() -> None:
    """More or less: hosts are drawn one by one."""
    hosts = [host for _, host in made_up_hosts(map(str, range(20_000)), Failures(0.02), 1)]
    rolled_back = sum(host.end is OrderEnd.ROLLED_BACK for host in hosts)
    broken = sum(host.first_run == "failed" for host in hosts)
    assert 300 < rolled_back + broken < 500


def test_hosts_that_stay_away_are_named_with_the_reason() -> None:
    """They expire at the deadline."""
    report = ask(away=20)
    assert (report["State"], report["Done"]) == ("expired", 180)
    assert report["NotDoneByReason"][0] == {
        "State": "expired", "Reason": "the deadline came before it could begin", "Members": 20,
    }  # fmt: skip


def test_windows_are_kept_to() -> None:
    """Nobody begins outside."""
    from dataclasses import replace

    policy = replace(read_policy(POLICY), window=Window(times=("Mon-Sun 22:00-23:30",)))
    report = ask(policy)
    hours = {datetime.fromtimestamp(point["Time"], UTC).hour for point in report["Curve"] if point["Begun"] == 1}
    assert hours == {22}
    assert report["Done"] == 200


def test_a_simulation_that_is_cut_off_says_so() -> None:
    """A server's time is bounded."""
    report = ask(limits=Limits(tick=timedelta(minutes=1), decisions=5))
    assert (report["IsComplete"], report["Decisions"]) == (False, 5)


def test_a_ring_that_the_inventory_cannot_fill_is_refused() -> None:
    """As at `apply`; so is a policy that selects nobody."""
    with pytest.raises(PolicyRefused, match="it asks for 5 reachable clients, 3 of 3 selected are left"):
        ask(number=3)
    with pytest.raises(PolicyRefused, match="no client"):
        ask(read_policy(POLICY + '[select]\ntags = { env = "prod" }'))


def test_the_picture_is_svg_with_each_curve() -> None:
    """Names are escaped."""
    from xml.etree import ElementTree

    report = ask(failures="5%")
    root = ElementTree.fromstring(draw_curves("a <b> & c", curves_of(report), 200))
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"a <b> & c", "Begun", "Done", "Failed"} <= set(texts)
    ElementTree.fromstring(draw_curves("none", {}, 0))


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ([], "line 1: found nothing"),
        (["client"], "lists no client"),
        (["client,colour", "c,red"], "line 1: found client,colour"),
        (["instance", "i"], "line 1: found instance"),
        (["client,client", "a,b"], "line 1: found client,client"),
        (["client,version", "c"], "line 2: 1 fields; the header has 2"),
        (["client", "c", "c"], "line 3: client 'c' is listed twice"),
        (["client,version", ",1"], "line 2: no client"),
        (["client", "c" * 300], "line 2: a field is longer than 256 characters"),
    ],
)
def test_what_is_no_inventory_is_refused_with_its_line(lines: list[str], fault: str) -> None:
    """And with what would do."""
    with pytest.raises(InventoryRefused) as refused:
        read_inventory(lines)
    assert fault in str(refused.value)


def test_an_inventory_knows_what_a_selector_asks_for() -> None:
    """Tags, versions, zones and who is away; empty lines do not matter."""
    lines = ["client,version,zone,reachable,tag:env", "a,1.0,Europe/Berlin,no,prod", "", "b,2.0,,yes,"]
    first, second = read_inventory(lines)
    assert (first.version, first.zone, first.is_reachable, first.tags) == (
        "1.0",
        "Europe/Berlin",
        False,
        {"env": "prod"},
    )
    assert (second.instance_id, second.is_reachable, second.tags) == ("b", True, {})


@pytest.mark.parametrize("text", ["2", "-1%", "101%", "nan%", "canary", "%"])
def test_failures_that_are_not_understood_are_refused(text: str) -> None:
    """With what would do."""
    with pytest.raises(FailuresRefused, match="give a percentage"):
        read_failures(text)


def test_hosts_that_have_a_version_are_no_members_of_an_install() -> None:
    """An inventory without any host that lacks one is refused."""
    install = read_policy(POLICY.replace("[[ring]]", 'kind = "install"\n[[ring]]', 1))
    lines = ["client,version", *(f"c{at},{'1.0' if at % 2 else ''}" for at in range(40))]
    members = members_of(install, read_inventory(lines))
    assert {member.client_id for member in members} == {f"c{at}" for at in range(0, 40, 2)}
    report = simulate(
        install, members, Timetable(install.window, {}), failures=read_failures("bad-canary"), seed=1, now=NOW
    )
    assert (report["Reached"], report["BadReached"]) == (5, 5)
    with pytest.raises(PolicyRefused, match=r"no host.*without a version"):
        members_of(install, read_inventory(["client,version", "c1,1.0"]))
