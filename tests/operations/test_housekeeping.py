"""What is too old is deleted, and a clock that jumped ahead deletes nothing."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from backfleet import identity
from backfleet.identity._tables import nonces
from backfleet.ids import Draw
from backfleet.operations import Housekeeping
from backfleet.operations._tables import audit_events
from backfleet.storage import Database
from operations.environment import Environment, make_environment

YEAR = timedelta(days=365)


class Passed:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def environment(database: Database, tmp_path: Path, now: datetime, draw: Draw) -> Environment:
    return make_environment(database, tmp_path, now, draw)


def ask(environment: Environment, at: datetime) -> None:
    """Make a call that the audit trail has and whose nonce is used up."""
    environment.now = at
    assert environment.ask("2015-05-01", "ListUsers")[0] == 200
    with environment.services.database.transaction() as tx:
        keep = timedelta(seconds=environment.services.settings.nonce_seconds)
        assert identity.spend_nonce(tx, "LTAItest", f"nonce-{at.timestamp()}", now=at, keep=keep)


def left(environment: Environment) -> tuple[int, int]:
    """Return how many audit rows and nonces there are."""
    with environment.services.database.reading() as tx:
        return (
            tx.scalar(sa.select(sa.func.count()).select_from(audit_events)),
            tx.scalar(sa.select(sa.func.count()).select_from(nonces)),
        )


def test_what_is_too_old_is_deleted(environment: Environment, now: datetime) -> None:
    """Calls older than audit_days and expired nonces go, the others stay."""
    ask(environment, now - 2 * YEAR)
    ask(environment, now - timedelta(hours=1))
    passed = Passed()
    rounds = Housekeeping(environment.services, now, passed)
    passed.seconds = 7200
    rounds.run_once(now + timedelta(seconds=7200))
    assert left(environment) == (1, 0)


@pytest.mark.parametrize("calls", [0, 3])
def test_a_start_with_a_clock_that_is_ahead_deletes_nothing(
    environment: Environment, now: datetime, calls: int
) -> None:
    """Nor do calls at that time: what they show is the same clock."""
    ask(environment, now)
    ahead = now + 2 * YEAR
    rounds = Housekeeping(environment.services, ahead, Passed())
    for number in range(calls):
        ask(environment, ahead + timedelta(seconds=number))
    rounds.run_once(ahead + timedelta(seconds=calls))
    assert left(environment) == (1 + calls, 1 + calls)


def test_a_clock_that_jumps_ahead_while_the_server_runs_deletes_nothing(
    environment: Environment, now: datetime
) -> None:
    """Time that has not passed does not count."""
    ask(environment, now - timedelta(minutes=1))
    passed = Passed()
    rounds = Housekeeping(environment.services, now, passed)
    ask(environment, now + timedelta(minutes=5))
    passed.seconds = 1900
    rounds.run_once(now + 2 * YEAR)
    # The first nonce lives for 1900 seconds from a minute before the start.
    assert left(environment) == (2, 1)


def test_days_that_have_passed_count(environment: Environment, now: datetime) -> None:
    """A server that runs for longer than audit_days deletes what it wrote itself."""
    ask(environment, now)
    passed = Passed()
    rounds = Housekeeping(environment.services, now, passed)
    passed.seconds = 401 * 86400.0
    rounds.run_once(now + timedelta(days=401))
    assert left(environment) == (0, 0)
