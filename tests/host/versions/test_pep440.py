"""Versions compare as those of Python packages, by the library that reads them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import InvalidVersion, Version

from backfleet_host.versions import scheme_of
from host.versions.real_versions import pairs_of, sign, upstream_versions

PEP440 = scheme_of("pep440")

NUMBERS = st.lists(st.integers(0, 12), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
VERSIONS = st.builds(
    "{}{}".format, NUMBERS, st.sampled_from(["", "", "a1", "b2", "rc1", "-1", ".post2", ".dev3", "~rc1", "+local"])
)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.9", "1.10"),
        ("1.75.2", "1.75.20"),
        ("1.75rc1", "1.75"),
        ("1.75~rc1", "1.75"),
        ("1.75-beta.2", "1.75-rc.1"),
        ("1.75", "1.75-1"),
        ("1.75.dev1", "1.75a1"),
        ("0.18.0", "1.0"),
        ("v1.2", "1.3"),
        ("2024.12.31", "2025.1.1"),
        ("1.2", "1.2+ours.1"),
    ],
)
def test_versions_compare_as_people_expect(older: str, newer: str) -> None:
    """Also pre-releases, revisions and other forms."""
    assert PEP440.order_of(older) < PEP440.order_of(newer)


@pytest.mark.parametrize("version", ["", "latest", "1..2", "abc123", "1.2~3", "2.0~bpo12+1", "1.2~post1", "1.2-rc-x"])
def test_versions_that_do_not_compare_are_refused(version: str) -> None:
    """Some compare differently elsewhere: for Debian, 1.2~3 comes before 1.2."""
    assert PEP440.order_of(version) is None
    assert not PEP440.within(version, ">=0")
    assert PEP440.within(version, ""), "no range is no question"


@given(VERSIONS, VERSIONS, VERSIONS)
def test_the_order_is_total(a: str, b: str, c: str) -> None:
    """Exactly one of less, equal, greater; and what is less than the less is less."""
    x, y, z = map(PEP440.order_of, (a, b, c))
    assert (x < y) + (x == y) + (x > y) == 1
    assert not (x < y < z) or x < z
    assert not (x == y == z) or x == z


@given(VERSIONS, VERSIONS)
def test_ranges_agree_with_the_order_of_versions(version: str, bound: str) -> None:
    """At least and at most, pre-releases and all; local versions cannot be bounds."""
    if "+" in bound or "+" in version:
        return
    limit = bound.replace("~", ".")
    x, y = PEP440.order_of(version), PEP440.order_of(bound)
    assert PEP440.within(version, f">={limit}") is (x >= y)
    assert PEP440.within(version, f"<={limit}") is (x <= y)
    assert PEP440.within(version, f">={limit},<={limit}") is (x == y)


@pytest.mark.parametrize(
    ("version", "allowed", "is_within"),
    [
        ("1.75.2", ">=1.70,<1.75", False),
        ("1.74.9", ">=1.70,<1.75", True),
        ("1.70", ">=1.70,<1.75", True),
        ("1.75rc1", ">=1.70,<1.75", False),
        ("1.74rc1", ">=1.70,<1.75", True),
        ("1.75.20", "==1.75.2", False),
        ("1.75.20", "==1.75.*", True),
        ("1.75", "==1.75.0", True),
        ("1.75.2", "!=1.75.2", False),
        ("1.75.9", "~=1.75.2", True),
        ("1.76", "~=1.75.2", False),
        ("1.75", "", True),
        ("1.75", "nonsense", False),
        ("1.75", "1.75", False),
    ],
)
def test_a_version_is_within_a_range(version: str, allowed: str, is_within: bool) -> None:
    """A range that cannot be read allows nothing."""
    assert PEP440.within(version, allowed) is is_within


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("", True),
        (">=1", True),
        (">=1,<2,!=1.5", True),
        ("1", False),
        (">=", False),
        ("≥1", False),
        (">=1," * 200, False),
    ],
)
def test_ranges_differ_from_other_text(text: str, is_one: bool) -> None:
    """Empty means any version."""
    assert PEP440.is_range(text) is is_one


def test_real_versions_compare_as_the_library_compares_them() -> None:
    """What it reads, we read, and in its order."""
    known = []
    for version in upstream_versions():
        with contextlib.suppress(InvalidVersion):
            known.append((Version(version), version))
    assert len(known) > 200
    by_name = {version: order for order, version in known}
    for one, other in pairs_of(sorted(by_name), 4000):
        assert sign(PEP440.order_of(one), PEP440.order_of(other)) == sign(by_name[one], by_name[other])
