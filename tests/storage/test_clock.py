"""The clock of the database decides, whatever the machine's clock does."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from backfleet.clock import utc_now
from backfleet.storage import Database, DatabaseClock

CLOSE = timedelta(seconds=5)  # between two looks at the same clock, on a loaded machine


@dataclass
class Machine:
    """A machine whose clock and whose count of seconds a test moves."""

    now: datetime
    seconds: float = 100.0

    def clock(self) -> datetime:
        return self.now

    def passed(self) -> float:
        return self.seconds


@pytest.mark.parametrize("minutes", [-2, 2, 60 * 24 * 365])
def test_a_machine_whose_clock_is_off_goes_by_that_of_postgresql(postgresql_database: Database, minutes: int) -> None:
    """And the difference is known."""
    shift = timedelta(minutes=minutes)
    clock = DatabaseClock(postgresql_database, lambda: utc_now() + shift, lambda: utc_now().timestamp())
    clock.measure()
    assert abs(clock() - utc_now()) < CLOSE
    assert abs(clock.skew() - shift) < CLOSE


def test_sqlite_has_the_machines_clock(sqlite_database: Database) -> None:
    """There is one machine."""
    machine = Machine(datetime(2030, 1, 1, tzinfo=UTC))
    clock = DatabaseClock(sqlite_database, machine.clock, machine.passed)
    clock.measure()
    assert (clock(), clock.skew()) == (machine.now, timedelta())


def test_a_machine_whose_clock_is_set_goes_on_as_before(postgresql_database: Database) -> None:
    """Between two measurements time goes on by what has passed, not by what the machine's clock shows."""
    machine = Machine(utc_now())
    clock = DatabaseClock(postgresql_database, machine.clock, machine.passed)
    clock.measure()
    before = clock()
    machine.now += timedelta(hours=3)
    machine.seconds += 7
    assert clock() - before == timedelta(seconds=7)
    assert abs(clock.skew() - timedelta(hours=3)) < CLOSE + timedelta(seconds=7)


def test_a_later_measurement_corrects_the_time(postgresql_database: Database) -> None:
    """As after a machine was suspended: its count of seconds stood still."""
    machine = Machine(utc_now())
    clock = DatabaseClock(postgresql_database, machine.clock, machine.passed)
    clock.measure()
    machine.seconds -= 3600
    assert abs(clock() - utc_now()) > timedelta(minutes=59)
    clock.measure()
    assert abs(clock() - utc_now()) < CLOSE
