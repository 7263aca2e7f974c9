"""When the next backup is expected."""

from datetime import UTC, datetime, timedelta

from backfleet.backups.intervals import learned

DAY = timedelta(days=1)
MONDAY = datetime(2026, 1, 5, 22, tzinfo=UTC)


def test_from_few_backups_nothing_is_learned() -> None:
    assert learned([MONDAY + number * DAY for number in range(3)]) is None


def test_a_daily_backup_may_be_a_day_late() -> None:
    """In any order they are given."""
    starts = [MONDAY + number * DAY for number in range(10)]
    assert learned(starts[::-1]) == (DAY, starts[-1] + 2 * DAY)


def test_a_client_that_rests_on_weekends_is_not_overdue_on_sundays() -> None:
    starts = [MONDAY + timedelta(weeks=week, days=day) for week in range(3) for day in range(5)]
    usual, expected_by = learned(starts) or (None, MONDAY)
    assert (usual, expected_by > starts[-1] + 3 * DAY) == (DAY, True)


def test_an_old_rhythm_is_forgotten() -> None:
    """Only the last twenty count."""
    old = [MONDAY + timedelta(days=30 * number) for number in range(10)]
    new = [old[-1] + timedelta(hours=number) for number in range(1, 21)]
    assert learned([*old, *new]) == (timedelta(hours=1), new[-1] + timedelta(hours=2))
