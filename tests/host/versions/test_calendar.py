"""Versions that are dates compare as dates do."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet_host.versions import scheme_of
from host.versions.real_versions import sign

CALENDAR = scheme_of("calendar")
DAYS = st.dates(date(1990, 1, 1), date(2199, 12, 31))
FORMS = st.sampled_from(["%Y.%m.%d", "%Y-%m-%d", "%Y%m%d", "v%Y.%m.%d", "%Y_%m_%d"])
ENDS = st.sampled_from(["", "", ".0", ".1", "-2", "-rc1", "rc2", "b1", ".dev3", "-post1", "a"])
VERSIONS = st.builds(lambda day, form, end: day.strftime(form) + end, DAYS, FORMS, ENDS)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("2023.12.31", "2024.1.1"),
        ("2024.4", "2024.10"),
        ("2024.04.1", "2024.04.2"),
        ("24.04", "24.10"),
        ("23.10", "2024.04"),
        ("20240401", "20240402"),
        ("20240401", "2024.04.02"),
        ("2024-04-01T11-59-59Z", "2024-04-01T12-00-00Z"),
        ("2024.04-rc1", "2024.04"),
        ("2024.04.dev1", "2024.04a1"),
        ("2024.04b1", "2024.04rc1"),
        ("2024.04", "2024.04-post1"),
        ("2024.04", "2024.04.1"),
        ("2024.04-post1", "2024.04.1"),
        ("2024.04rc9", "2024.04rc10"),
    ],
)
def test_a_later_date_is_newer(older: str, newer: str) -> None:
    assert CALENDAR.is_older(older, newer)
    assert CALENDAR.is_newer(newer, older)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("24.04", "2024.4"),
        ("2024.04.01", "20240401"),
        ("2024.4", "2024.04.0"),
        ("v24.4", "24.4"),
        ("24.4-rc1", "24.4c1"),
    ],
)
def test_the_same_date_is_equal_however_it_is_written(one: str, other: str) -> None:
    assert CALENDAR.is_equal(one, other)


@pytest.mark.parametrize(
    "version",
    [
        "",
        "2024",
        "202404",
        "20241301",
        "20240132",
        "12024.1",
        "1066.10",
        "3.0.10",
        "april",
        "2024.x",
        "1:24.4",
        "24.4~1",
    ],
)
def test_what_is_no_date_is_refused(version: str) -> None:
    assert CALENDAR.order_of(version) is None


@given(DAYS, DAYS, FORMS, FORMS)
def test_days_compare_in_every_form(one: date, other: date, form: str, form_of_other: str) -> None:
    first, second = CALENDAR.order_of(one.strftime(form)), CALENDAR.order_of(other.strftime(form_of_other))
    assert sign(first, second) == sign(one, other)


@given(VERSIONS, VERSIONS, VERSIONS)
def test_the_order_is_total(a: str, b: str, c: str) -> None:
    x, y, z = map(CALENDAR.order_of, (a, b, c))
    assert (x < y) + (x == y) + (x > y) == 1
    assert sign(x, y) == -sign(y, x)
    assert not (x <= y <= z) or x <= z
