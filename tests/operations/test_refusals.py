"""Refused calls leave a bounded number of rows in the audit trail, and a number for the rest."""

from datetime import datetime, timedelta

from backfleet.operations.refusals import WHILE, Refusals

NOW = datetime.fromisoformat("2026-03-01T12:00:00+00:00")


def test_the_first_refusals_of_a_while_are_recorded_and_the_others_counted() -> None:
    refusals = Refusals(most=3)
    assert [refusals.is_recorded("key", NOW) for _ in range(5)] == [True] * 3 + [False] * 2
    assert refusals.is_recorded("another key", NOW)
    assert refusals.counted_before("key", NOW + WHILE - timedelta(seconds=1)) == 0
    assert refusals.counted_before("key", NOW + WHILE) == 2
    assert refusals.counted_before("key", NOW + WHILE) == 0
    assert refusals.is_recorded("key", NOW + WHILE)


def test_a_clock_that_goes_back_ends_the_while() -> None:
    """Otherwise nothing would be recorded until it is there again."""
    refusals = Refusals(most=1)
    assert refusals.is_recorded("key", NOW)
    assert not refusals.is_recorded("key", NOW)
    assert refusals.is_recorded("key", NOW - timedelta(hours=1))
