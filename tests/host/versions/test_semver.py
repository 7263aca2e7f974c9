"""Semantic versions compare as semver.org says; the examples are those of its specification."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet_host.versions import scheme_of
from host.versions.real_versions import sign

SEMVER = scheme_of("semver")
IDENTIFIERS = st.lists(st.sampled_from(["0", "1", "9", "10", "alpha", "beta", "rc", "a-1", "0a", "-"]), max_size=3)
VERSIONS = st.builds(
    lambda numbers, before, build: (
        ".".join(map(str, numbers)) + (f"-{'.'.join(before)}" if before else "") + ("+b.1" if build else "")
    ),
    st.tuples(*[st.integers(0, 11)] * 3),
    IDENTIFIERS,
    st.booleans(),
)
IN_ORDER = {
    "section 11.2": ["1.0.0", "2.0.0", "2.1.0", "2.1.1"],
    "section 11.3": ["1.0.0-alpha", "1.0.0"],
    "section 11.4": [
        "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11",
        "1.0.0-rc.1", "1.0.0",
    ],
    "numbers by value": ["1.9.0", "1.10.0", "1.11.0"],
    "numbers before words": ["1.0.0-1", "1.0.0-9", "1.0.0-10", "1.0.0-1a", "1.0.0-a"],
}  # fmt: skip


VALID = """
0.0.4 1.2.3 10.20.30 1.1.2-prerelease+meta 1.1.2+meta 1.1.2+meta-valid 1.0.0-alpha 1.0.0-beta 1.0.0-alpha.beta
1.0.0-alpha.beta.1 1.0.0-alpha.1 1.0.0-alpha0.valid 1.0.0-alpha.0valid 1.0.0-rc.1+build.1 2.0.0-rc.1+build.123
1.2.3-beta 10.2.3-DEV-SNAPSHOT 1.2.3-SNAPSHOT-123 1.0.0 2.0.0 1.1.7 2.0.0+build.1848 2.0.1-alpha.1227
1.0.0-alpha+beta 1.2.3----RC-SNAPSHOT.12.9.1--.12+788 1.2.3----R-S.12.9.1--.12+meta 1.2.3----RC-SNAPSHOT.12.9.1--.12
1.0.0+0.build.1-rc.10000aaa-kk-0.1 99999999999999999999999.999999999999999999.99999999999999999 1.0.0-0A.is.legal
"""
INVALID = """
1 1.2 1.2.3-0123 1.2.3-0123.0123 1.1.2+.123 +invalid -invalid -invalid+invalid -invalid.01 alpha alpha.beta
alpha.beta.1 alpha.1 alpha+beta alpha_beta alpha. alpha.. beta 1.0.0-alpha_beta -alpha. 1.0.0-alpha.. 1.0.0-alpha..1
1.0.0-alpha...1 01.1.1 1.01.1 1.1.01 1.2.3.DEV 1.2-SNAPSHOT 1.2.31.2.3----RC-SNAPSHOT.12.09.1--..12+788
1.2-RC-SNAPSHOT -1.0.3-gamma+b7718 +justmeta 9.8.7+meta+meta 9.8.7-whatever+meta+meta 1:1.2.3 1.2.3~rc1
"""


@pytest.mark.parametrize("section", IN_ORDER)
def test_the_examples_of_the_specification_are_in_order(section: str) -> None:
    for older, newer in pairwise(IN_ORDER[section]):
        assert SEMVER.is_older(older, newer), (older, newer)
        assert SEMVER.is_newer(newer, older), (older, newer)


@pytest.mark.parametrize(
    ("one", "other"), [("1.0.0+20130313144700", "1.0.0+exp.sha.5114f85"), ("1.0.0+a", "1.0.0"), ("v1.75.2", "1.75.2")]
)
def test_build_metadata_and_the_v_of_tags_count_for_nothing(one: str, other: str) -> None:
    assert SEMVER.is_equal(one, other)


@pytest.mark.parametrize("version", VALID.split())
def test_valid_versions_of_the_specification_are_read(version: str) -> None:
    assert SEMVER.order_of(version) is not None


@pytest.mark.parametrize("version", [*INVALID.split(), ""])
def test_invalid_versions_of_the_specification_are_refused(version: str) -> None:
    assert SEMVER.order_of(version) is None


@given(VERSIONS, VERSIONS, VERSIONS)
def test_the_order_is_total(a: str, b: str, c: str) -> None:
    x, y, z = map(SEMVER.order_of, (a, b, c))
    assert (x < y) + (x == y) + (x > y) == 1
    assert sign(x, y) == -sign(y, x)
    assert not (x <= y <= z) or x <= z
