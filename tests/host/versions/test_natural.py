"""Versions as people sort them: every one is read."""

import subprocess
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet_host.versions import scheme_of
from host.versions.real_versions import sign, upstream_versions

NATURAL = scheme_of("natural")
VERSIONS = st.from_regex(r"\A[0-9A-Za-z][0-9a-cA-C._+~-]{0,7}\Z")


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.9", "1.10"),
        ("3.0.9", "3.0.9c"),
        ("r9", "r10"),
        ("build-9", "build-10"),
        ("1.2~rc1", "1.2"),
        ("1.2", "1.2-rc1"),
        ("1.2", "1.2.0"),
        ("v1.2", "1.3"),
        ("2024-04-01", "2024-10-01"),
        ("1.2a", "1.2.1"),
    ],
)
def test_numbers_count_by_their_value(older: str, newer: str) -> None:
    """And nothing is a pre-release but what has a tilde."""
    assert NATURAL.is_older(older, newer)
    assert NATURAL.is_newer(newer, older)


@pytest.mark.parametrize(("one", "other"), [("v1.75.2", "1.75.2"), ("V2", "2"), ("1.02", "1.2")])
def test_the_v_of_tags_and_leading_zeros_count_for_nothing(one: str, other: str) -> None:
    assert NATURAL.is_equal(one, other)


@pytest.mark.parametrize("version", ["", "1:2", "1^2", "-1", "1 2", "1/2"])
def test_signs_of_other_schemes_are_refused(version: str) -> None:
    assert NATURAL.order_of(version) is None


def test_real_versions_are_sorted_as_sort_does() -> None:
    """Those of which it takes no file suffix off."""
    known = [v for v in upstream_versions() if NATURAL.order_of(v) is not None and v[0].isdigit() and v[-1].isdigit()]
    plain = [v for v in known if not any(part[:1].isalpha() for part in v.replace("~", ".").split("."))][:5000]
    run = subprocess.run(
        ["sort", "-V"], input="\n".join(plain), capture_output=True, text=True, check=True, env={"LC_ALL": "C"}
    )
    in_order = run.stdout.split()
    assert len(in_order) > 200
    assert [(one, other) for one, other in pairwise(in_order) if NATURAL.is_newer(one, other)] == []


@given(VERSIONS, VERSIONS, VERSIONS)
def test_the_order_is_total(a: str, b: str, c: str) -> None:
    x, y, z = map(NATURAL.order_of, (a, b, c))
    assert (x < y) + (x == y) + (x > y) == 1
    assert sign(x, y) == -sign(y, x)
    assert not (x <= y <= z) or x <= z
