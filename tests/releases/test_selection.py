"""Which version a client should have."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from backfleet.releases import Manifest, Release, Selection, newest, select
from backfleet_host.versions import scheme_of

PEP440 = scheme_of("pep440")
ORDER = PEP440.order_of
THEN = datetime(2026, 1, 1, tzinfo=UTC)


def release(version: str, upgrades_from: str = "", *, withdrawn: bool = False) -> Release:
    manifest = Manifest("acme", version, "linux-amd64", "tar", upgrades_from=upgrades_from)
    gone = THEN if withdrawn else None
    return Release("acme", version, "linux-amd64", "0" * 64, 1, "acme.tar", manifest, THEN, gone, ("stable",))


NONE, REFUSED, CURRENT = (
    Selection(refusal="NoRelease"),
    Selection(refusal="NotAllowedFrom"),
    Selection(already_current=True),
)


@pytest.mark.parametrize(
    ("offered", "current", "pin", "expected"),
    [
        pytest.param([], "1.0", "", NONE, id="nothing is offered"),
        pytest.param([release("2.0", withdrawn=True)], "1.0", "", NONE, id="what there was is withdrawn"),
        pytest.param([release("2.0")], "1.0", "<2", NONE, id="nothing is within the pin"),
        pytest.param([release("2.0")], "1.0", "nonsense", NONE, id="the pin cannot be read"),
        pytest.param([release("2.0"), release("1.0")], "2.0", "", CURRENT, id="it has the newest"),
        pytest.param([release("2.0.0")], "2.0", "", CURRENT, id="it has the newest, written in another way"),
        pytest.param([release("1.0")], "2.0", "", CURRENT, id="it has a newer one than any"),
        pytest.param([release("1.0")], "2.0", "<2", CURRENT, id="the pin is below what it has"),
        pytest.param([release("2.0", withdrawn=True), release("1.0")], "2.0", "", "1.0", id="what it has is gone"),
        pytest.param([release("1.9"), release("1.10"), release("1.2")], "1.0", "", "1.10", id="newest in any order"),
        pytest.param([release("1.9"), release("2.0rc1")], "1.0", "", "2.0rc1", id="an offered pre-release"),
        pytest.param([release("1.9"), release("2.0")], "1.0", "<2", "1.9", id="the newest within the pin"),
        pytest.param([release("3.0", ">=2"), release("2.0")], "1.0", "", "3.0", id="over an intermediate version"),
        pytest.param([release("4.0", ">=3"), release("3.0", ">=2"), release("2.0")], "1.0", "", "4.0", id="over two"),
        pytest.param([release("4.0", ">=3"), release("2.0")], "1.0", "", "2.0", id="no way to the newest"),
        pytest.param([release("2.0", ">=0.9")], "1.0~rc1", "", "2.0", id="from what Debian calls a candidate"),
        pytest.param([release("3.0", ">=2"), release("2.0")], "2.0", "", "3.0", id="from the intermediate version on"),
        pytest.param([release("3.0", ">=2"), release("2.0", ">=1.5")], "1.0", "", REFUSED, id="none in between"),
        pytest.param([release("3.0", ">=2"), release("0.9")], "1.0", "", REFUSED, id="an older intermediate"),
        pytest.param([release("3.0", ">=2"), release("2.0", withdrawn=True)], "1.0", "", REFUSED, id="it is withdrawn"),
        pytest.param([release("3.0", ">=2"), release("2.0")], "1.0", ">2", REFUSED, id="it is outside the pin"),
        pytest.param([release("3.0", ">=2")], "", "", "3.0", id="from nothing every version may be installed"),
        pytest.param([release("3.0")], "", "<4", "3.0", id="a pin holds for an install too"),
        pytest.param([release("1.0")], "custom-build", "", "1.0", id="from a version that cannot be compared"),
        pytest.param([release("3.0", ">=2")], "custom-build", "", REFUSED, id="from who knows where to a careful one"),
    ],
)  # fmt: skip
def test_the_newest_allowed_release_is_selected(
    offered: list[Release], current: str, pin: str, expected: Selection | str
) -> None:
    """Each row is one rule."""
    found = select(offered, current=current, pin=pin)
    if isinstance(expected, str):
        assert found.target is not None
        assert (found.target.version, found.already_current, found.refusal) == (expected, False, "")
    else:
        assert found == expected


VERSION = st.builds("{}.{}{}".format, st.integers(0, 4), st.integers(0, 12), st.sampled_from(["", "", "rc1", "-1"]))
RANGE = st.one_of(st.just(""), st.builds("{}{}".format, st.sampled_from([">=", "<", "==", "!="]), st.integers(0, 4)))
RELEASES = st.lists(
    st.builds(lambda version, rest, gone: release(version, rest, withdrawn=gone), VERSION, RANGE, st.booleans()),
    max_size=6,
)


@given(RELEASES, st.one_of(VERSION, st.just("")), RANGE)
def test_a_selected_release_is_always_allowed(offered: list[Release], current: str, pin: str) -> None:
    """It is no downgrade, not withdrawn, within the pin and reachable; no newer release is."""
    assume(not any(one.version == current and one.withdrawn_at is not None for one in offered))  # it may go down
    found = select(offered, current=current, pin=pin)
    assert [found.target is not None, found.already_current, found.refusal != ""].count(True) == 1

    def may_be_on_the_way(candidate: Release) -> bool:
        is_forward = not current or ORDER(candidate.version) > ORDER(current)
        return is_forward and PEP440.within(candidate.version, pin) and candidate.withdrawn_at is None

    on_the_way = [candidate for candidate in offered if may_be_on_the_way(candidate)]
    fit = [candidate for candidate in on_the_way if leads(on_the_way, current, candidate)]
    assert (found.target is not None) is bool(fit)
    if found.target is not None:
        assert found.target in fit
        assert ORDER(found.target.version) == max(ORDER(one.version) for one in fit)


def leads(offered: list[Release], current: str, goal: Release) -> bool:
    """Return whether an upgrade path exists, by a simple search forwards."""
    if goal.manifest.accepts(current):
        return True
    reached = {current}
    while current:
        fresh = {
            candidate.version
            for candidate in offered
            for before in reached
            if candidate.manifest.accepts(before) and ORDER(before) < ORDER(candidate.version) < ORDER(goal.version)
        }
        if fresh <= reached:
            return any(goal.manifest.accepts(before) for before in reached)
        reached |= fresh
    return False


@given(RELEASES, st.one_of(VERSION, st.just("")), RANGE, st.randoms())
def test_the_order_of_releases_does_not_matter(offered: list[Release], current: str, pin: str, chance: object) -> None:
    """Hosts of one task never disagree."""
    unlike = {ORDER(one.version): one for one in offered}
    shuffled = list(unlike.values())
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert select(shuffled, current=current, pin=pin) == select(list(unlike.values()), current=current, pin=pin)


def test_the_newest_release_is_not_withdrawn() -> None:
    """Withdrawn ones are left out."""
    assert newest([]) is None
    first, last = release("1.0"), release("2.0")
    assert newest([first, last]) == last
    assert newest([first, replace(last, withdrawn_at=THEN)]) == first
