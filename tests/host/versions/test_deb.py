"""Versions of Debian packages compare as dpkg compares them."""

import subprocess
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet_host.versions import scheme_of
from host.versions.real_versions import debian_versions, histories, pairs_of, sign

DEB = scheme_of("deb")
WORDS = {-1: "lt", 0: "eq", 1: "gt"}
CHECKED = 2000  # pairs; dpkg compares one at a time

NUMBER = st.sampled_from(["0", "1", "2", "9", "10", "01", "00", "20240101"])
SIGNS = st.sampled_from(["", "~", "+", ".", "a", "b", "rc", "~~", "+b", "+deb12u", "~bpo12+", "-", "Z", ".~"])
UPSTREAM = st.builds(
    lambda first, parts: first + "".join(sign + number for sign, number in parts),
    NUMBER,
    st.lists(st.tuples(SIGNS, NUMBER), max_size=4),
)
VERSIONS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "", "0:", "1:", "10:"]),
    UPSTREAM,
    st.sampled_from(["", "-0", "-1", "-1+b9", "-1+b10", "-1.1", "-2~bpo1"]),
)


def refused_by_dpkg(pairs: list[tuple[str, str]]) -> list[str]:
    """Return the comparisons of ours that dpkg does not agree with."""
    ours = [(one, WORDS[sign(DEB.order_of(one), DEB.order_of(other))], other) for one, other in pairs]
    script = (
        'while read -r one is other; do dpkg --compare-versions "$one" "$is" "$other" || echo "$one $is $other"; done'
    )
    asked = "".join(f"{one} {word} {other}\n" for one, word, other in ours)
    run = subprocess.run(["sh", "-c", script], input=asked, capture_output=True, text=True, check=True)
    assert run.stderr == "", "dpkg warned of a version"
    return run.stdout.splitlines()


def test_every_version_of_debian_is_read() -> None:
    """A quarter of them could not be: those with epochs, and binary rebuilds."""
    known = debian_versions()
    assert len(known) > 300
    assert [version for version in known if DEB.order_of(version) is None] == []


def test_real_versions_compare_as_dpkg_compares_them() -> None:
    """Versions of changelogs and installed packages, neighbours and others."""
    assert refused_by_dpkg(pairs_of(debian_versions(), CHECKED)) == []


def test_a_changelog_goes_down_from_its_newest_version() -> None:
    """Nearly all of them do: a few maintainers counted back."""
    steps = [(newer, older) for history in histories() for newer, older in pairwise(history)]
    backwards = [(newer, older) for newer, older in steps if DEB.is_older(newer, older)]
    assert len(backwards) <= len(steps) / 50, backwards[:20]


def test_made_up_versions_compare_as_dpkg_compares_them() -> None:
    """Every sign that a version may have, beside every other."""
    parts = ["", "~", "a", "Z", "+", ".", "0", "1", "09", "10", "a~", "~a", "+1", ".0"]
    made = [f"{before}1{part}{after}" for before in ("", "0:", "2:") for part in parts for after in ("", "-0", "-1~")]
    assert refused_by_dpkg(pairs_of(made, 800)) == []


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("4.96-15+deb12u9", "4.96-15+deb12u10"),
        ("0.10.0-6+b9", "0.10.0-6+b10"),
        ("3.3.0-1", "3.3.0+ds1-2"),
        ("7.15-1", "7.15+repack-1"),
        ("3.0.9", "3.0.9c"),
        ("2.9", "1:0.1"),
        ("1.2~rc1-1", "1.2-1"),
        ("1.2-1~bpo12+1", "1.2-1"),
        ("1.2-1", "1.2-1.1"),
        ("1.2", "1.2-1"),
        ("1.0~~", "1.0~"),
        ("1.2a", "1.2+"),
    ],
)
def test_versions_compare_as_debian_policy_says(older: str, newer: str) -> None:
    assert DEB.is_older(older, newer)
    assert DEB.is_newer(newer, older)
    assert not DEB.is_older(newer, older)


@pytest.mark.parametrize(
    ("one", "other"), [("1.0", "0:1.0"), ("1.0", "1.0-0"), ("1.0", "1.00"), ("1.a", "1.a0"), ("1.2-01", "1.2-1")]
)
def test_versions_may_be_equal_and_written_differently(one: str, other: str) -> None:
    assert DEB.is_equal(one, other)


@pytest.mark.parametrize(
    "version",
    ["", "1:", ":1", "a:1", "-1:1", "1-", "v1.2", "latest", "1_2", "1^2", "1 2", "1/2", "2147483648:1", "1.2-1_3", "²"],
)
def test_what_dpkg_refuses_is_refused(version: str) -> None:
    assert DEB.order_of(version) is None


@given(VERSIONS, VERSIONS, VERSIONS)
def test_the_order_is_total(a: str, b: str, c: str) -> None:
    """Exactly one of less, equal, greater; and what is less than the less is less."""
    x, y, z = map(DEB.order_of, (a, b, c))
    assert (x < y) + (x == y) + (x > y) == 1
    assert sign(x, y) == -sign(y, x)
    assert not (x <= y <= z) or x <= z
    assert not (x == y == z) or x == z
