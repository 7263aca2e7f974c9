"""What agents report while PostgreSQL fails over: a real primary, a real streaming standby, one address for both."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from backfleet.commands import State
from backfleet.storage import Database, Trouble, Unavailable, check_writing, migrate, open_database
from endpoints.agents.hosts import AgentServer, eventually
from standby import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TIMES = "start=1700000000000&end=1700000001000"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A primary with a standby that has all of it."""
    found = Cluster()
    yield found
    found.end()


@pytest.fixture
def database(cluster: Cluster) -> Iterator[Database]:
    """The database behind the address."""
    found = open_database(cluster.url)
    migrate(found)
    yield found
    found.close()


def test_connections_to_a_standby_are_dropped(database: Database, cluster: Cluster) -> None:
    """The server goes on by itself once the address leads to a primary: sessions that cannot write are not kept."""
    cluster.wait_until_copied()
    cluster.lead_to("standby")
    for _ in range(2):
        with pytest.raises(Unavailable) as found:
            check_writing(database, NOW)
        assert found.value.trouble in (Trouble.READ_ONLY, Trouble.AWAY)
    with database.reading() as tx:
        assert tx.scalar(sa.text("SELECT pg_is_in_recovery()")) is True
    cluster.lead_to("primary", cut=False)  # sessions that are open stay where they are
    with pytest.raises(Unavailable) as found:
        check_writing(database, NOW)
    assert found.value.trouble is Trouble.READ_ONLY
    check_writing(database, NOW)


def test_a_session_that_loses_its_transaction_is_replaced(database: Database) -> None:
    """The server ends what stood still in a transaction; the next transaction gets another session."""
    with pytest.raises(Unavailable), database.transaction() as tx:
        tx.run(sa.text("SET LOCAL idle_in_transaction_session_timeout = '50ms'"))
        time.sleep(0.5)  # longer than that, which is what is tested
        tx.scalar(sa.text("SELECT 1"))
    check_writing(database, NOW)


def test_a_failover_loses_no_report(
    database: Database, start_on: Callable[..., AgentServer], cluster: Cluster, tmp_path: Path
) -> None:
    """A report that comes while the address leads to a standby that is not promoted is stored after the promotion."""
    server = start_on(database)
    host = server.enrol()
    first, second = host.handed("r-1"), host.handed("r-2")
    cluster.wait_until_copied()
    cluster.lead_to("standby")
    cluster.kill_primary()
    assert host.report(f"finish?taskId={first}&{TIMES}&exitCode=0&dropped=0", b"one\n").status == 200
    assert host.report(f"finish?taskId={second}&{TIMES}&exitCode=3&dropped=0", b"two\n").status == 200
    assert len(list((tmp_path / "reports").glob("[0-9]*"))) == 2
    cluster.promote()
    eventually(lambda: server.states() == [State.FINISHED, State.FINISHED], 30)
    assert {outcome.output for outcome in server.outcomes()} == {b"one\n", b"two\n"}
    eventually(lambda: not list((tmp_path / "reports").glob("[0-9]*")), 30)
    assert not list((tmp_path / "reports").glob(".*.bad")), "nothing is set aside"
