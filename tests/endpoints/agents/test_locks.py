"""Agents' requests beside another node's transactions, on PostgreSQL: neither waits for what the other one has."""

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa

from backfleet import commands, fleet
from backfleet.commands import AgentReport, FinalReport, NewInvocation, State
from backfleet.fleet import ClientStatus
from backfleet.ids import draw
from backfleet.storage import Database, Transaction
from endpoints.agents.hosts import ACCOUNT, REGION, TOPIC, AgentServer, Host

HANDED = timedelta(seconds=90)
WAIT = 10.0  # seconds that a request may take


@pytest.fixture
def server(postgresql_database: Database, start_on: Callable[..., AgentServer]) -> AgentServer:
    return start_on(postgresql_database)


def test_an_agent_that_starts_waits_for_a_node_that_hands_out_and_records_for_its_host(
    server: AgentServer, host: Host
) -> None:
    """The other node has the host's turn, and then writes what the agent reported before it was restarted."""
    task_id = host.handed("r-1")
    host.report(f"running?taskId={task_id}&start=1")
    server.send(host, "r-2", silently=True)
    now, statuses = server.clock(), list[int]()
    starting = threading.Thread(target=lambda: statuses.append(host.post("/v1/task/list", reason="startup").status))
    with server.database.transaction() as tx:
        tx.run(sa.text("SET LOCAL deadlock_timeout = '50ms'"))  # so that this transaction would be the one to fail
        assert len(commands.claim(tx, host.instance_id, now=now, lease=HANDED).run) == 1
        starting.start()
        starting.join(0.5)
        assert starting.is_alive(), "it did not wait"
        assert commands.record_final_report(tx, host.instance_id, task_id, FinalReport("finish"), now=now)
    starting.join(WAIT)
    assert statuses == [200]
    assert server.states() == [State.FINISHED]


def test_reports_after_a_stop_put_clients_in_doubt_in_the_same_order_on_each_node(server: AgentServer) -> None:
    """Whatever the order in which they come: here that of the host whose client has the higher id is the first."""
    now, hosts = server.clock(), [server.enrol(number) for number in range(2)]
    with server.database.transaction() as tx:
        known = sorted((a_client(tx, server, host) for host in hosts), key=lambda one: one.id)
    low, high = (client.instance_id for client in known)
    reports = []
    for host in (high, low):
        asked = NewInvocation(ACCOUNT, host, "true", 60, host)
        with server.database.transaction() as tx:
            commands.send(tx, [asked], topic=TOPIC, now=now, draw=draw)
            (command,) = commands.claim(tx, host, now=now, lease=HANDED).run
            assert commands.record_final_report(tx, host, command.task_id, FinalReport("stopped"), now=now)
        reports.append(AgentReport(host, command.task_id, now, chunk=b"goes on"))

    def record() -> None:
        with server.database.transaction() as tx:
            commands.record_reports(tx, reports, lease=HANDED)

    other = threading.Thread(target=record)
    with server.database.transaction() as tx:
        tx.run(sa.text("SET LOCAL deadlock_timeout = '50ms'"))
        fleet.doubt_clients(tx, low)
        other.start()
        other.join(0.5)
        assert other.is_alive(), "it did not wait"
        fleet.doubt_clients(tx, high)
    other.join(WAIT)
    with server.database.reading() as tx:
        found = fleet.resolve(tx, ACCOUNT, REGION, [], [client.id for client in known]).clients
    assert [client.in_doubt for client in found.values()] == [True, True]


def a_client(tx: Transaction, server: AgentServer, host: Host) -> fleet.Client:
    instance = server.instance(host)
    assert instance is not None
    return fleet.ensure_client(
        tx, instance, "rclone", "stable", status=ClientStatus.ACTIVATED, now=server.clock(), draw=draw
    )
