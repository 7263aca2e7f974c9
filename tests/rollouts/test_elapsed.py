"""Waits of a length: measured by time in which somebody looked, however the clock was set meanwhile."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from backfleet.rollouts.elapsed import MOST_GAPS, Gap, begin_of, end_of, read_gaps, with_gap, write_gaps

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)

jumps = st.one_of(st.just(0), st.integers(-600, -10), st.integers(11, 600))  # minutes; most rounds have none
rounds = st.lists(st.tuples(st.integers(1, 5), st.one_of(st.just(0), st.just(0), jumps)), min_size=5, max_size=60)


@given(rounds, st.integers(0, 59), st.integers(1, 120))
def test_no_wait_ends_before_so_much_time_has_really_passed(course: list[tuple[int, int]], at: int, span: int) -> None:
    """Rounds a few minutes apart, and a clock that is set forwards and backwards by up to ten hours between them."""
    shown, last, since = NOW, NOW, None
    gaps: tuple[Gap, ...] = ()
    passed = timedelta()
    for number, (minutes, jump) in enumerate(course):
        shown += minutes * MINUTE + jump * MINUTE
        gaps = with_gap(gaps, last, shown)
        if since is not None:
            passed += minutes * MINUTE
            since = min(since, shown)  # as the worker does for a moment that is still to come
            assert shown < end_of(since, span * MINUTE, gaps) or passed >= span * MINUTE
        if number == min(at, len(course) - 1):
            since = shown
        last = shown


@given(rounds, st.integers(1, 300))
def test_the_two_ways_of_counting_agree(course: list[tuple[int, int]], span: int) -> None:
    """What began then is over now, and what began a moment later is not."""
    gaps: tuple[Gap, ...] = ()
    last = shown = NOW
    for minutes, jump in course:
        shown = last + minutes * MINUTE + abs(jump) * MINUTE
        gaps, last = with_gap(gaps, last, shown), shown
    begin = begin_of(shown, span * MINUTE, gaps)
    assert end_of(begin, span * MINUTE, gaps) <= shown < end_of(begin + timedelta(0, 1), span * MINUTE, gaps)


def test_a_clock_that_is_put_right_again_costs_no_wait() -> None:
    """It skipped five hours, and is set back to what it was: they are still to come."""
    gaps = with_gap((), NOW, NOW + 5 * HOUR)
    assert end_of(NOW - HOUR, 2 * HOUR, gaps) == NOW + 6 * HOUR
    assert with_gap(gaps, NOW + 5 * HOUR, NOW + MINUTE) == ((NOW, NOW + MINUTE),)
    assert end_of(NOW - HOUR, 2 * HOUR, with_gap(gaps, NOW + 5 * HOUR, NOW + MINUTE)) == NOW + HOUR + MINUTE


def test_gaps_are_bounded_and_stored_as_they_are() -> None:
    """The oldest ones become one: what lies between them does not count any more, so a wait ends later."""
    gaps: tuple[Gap, ...] = ()
    for day in range(2 * MOST_GAPS):
        gaps = with_gap(gaps, NOW + 24 * day * HOUR, NOW + (24 * day + 1) * HOUR)
    assert (len(gaps), gaps[0][0], gaps[-1][1]) == (MOST_GAPS, NOW, NOW + (24 * (2 * MOST_GAPS - 1) + 1) * HOUR)
    assert read_gaps(write_gaps(gaps)) == gaps
    assert with_gap(gaps, None, NOW) == gaps
