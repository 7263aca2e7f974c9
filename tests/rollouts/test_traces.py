"""Traces of what no call waits for: rollouts, and orders that end without their hosts. A real receiver takes them."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from backfleet import tracing, upgrades
from backfleet.settings import Settings
from backfleet.upgrades import Task
from backfleet.upgrades._tables import tasks
from rollouts.fleet import Fleet, rolls_back
from trace_receiver import Receiver, attributes
from upgrades.helpers import LIFE, Helpers, report_of

POLICY = """
name = "courier to 2.0"
package = "courier"
version = "2.0"
deadline = "{deadline}"

[[ring]]
name = "all"
{more}
"""
PARTS = ["rollout", "task", "command", "report"]  # the hosts here name no times of their own, hence no `host`


@contextmanager
def recording() -> Iterator[Receiver]:
    """Provide a receiver of what happens meanwhile; all of it has come when this ends."""
    receiver = Receiver()
    try:
        tracing.start(Settings(traces_endpoint=receiver.address), {})
        try:
            yield receiver
        finally:
            recorder = tracing._recorder
            assert recorder is not None
            assert recorder._processor.force_flush(60_000)
            tracing.stop()
    finally:
        receiver.close()


def hangs_together(spans: dict[str, Span], parts: list[str]) -> None:
    """Each part is in one trace and hangs from the one before."""
    assert sorted(spans) == sorted(parts)
    assert len({span.trace_id for span in spans.values()}) == 1
    for above, part in itertools.pairwise(parts):
        assert spans[part].parent_span_id == spans[above].span_id, part


@pytest.mark.parametrize("answer", [pytest.param(None, id="well"), pytest.param(rolls_back, id="badly")])
def test_a_rollout_is_one_trace_down_to_the_hosts_reports(sqlite_hosts: Fleet, answer: Callable[..., object]) -> None:
    """Its own span comes when it is over, and is the beginning."""
    hosts = sqlite_hosts
    [client] = hosts.grow(1)
    if answer is not None:
        hosts.answers[hosts.instance_of(client)] = answer  # type: ignore[assignment]
    with recording() as receiver:
        rollout = hosts.roll_out("[failure]\nmax_failed = 1", text=POLICY)
        assert hosts.run(rollout)["State"] == "completed"
    by_name = {span.name.split()[0]: span for span in receiver.spans if not span.name.startswith("call ")}
    spans = {part: by_name[part] for part in PARTS if part in by_name}
    hangs_together(spans, PARTS)
    assert spans["rollout"].parent_span_id == b""
    said = attributes(spans["rollout"])
    assert (said["rollout_id"], said["package"], said["to_version"]) == (rollout, "courier", "2.0")
    assert spans["rollout"].status.message == ""
    assert spans["report"].status.message == ("RolledBack" if answer else "")
    assert len([span for span in receiver.spans if span.name.startswith("rollout ")]) == 1


def test_a_rollout_that_is_cancelled_ends_its_trace(sqlite_hosts: Fleet) -> None:
    """Its host is there, and has not asked for its order: that is withdrawn."""
    hosts = sqlite_hosts
    hosts.grow(1)
    with recording() as receiver:
        rollout = hosts.roll_out(text=POLICY)
        hosts.decide()
        hosts.ask("CancelRollout", RolloutId=rollout)
        hosts.decide()
        hosts.helpers.run_worker(hosts.at)
    spans = {span.name.split()[0]: span for span in receiver.spans if not span.name.startswith("call ")}
    hangs_together(spans, ["rollout", "task", "command"])
    assert spans["rollout"].status.message == "cancelled"
    assert spans["command"].status.message == "TaskCancelled"


def cancelled(helpers: Helpers, task: Task) -> None:
    assert helpers.cancel(task, at=10)


def expired(helpers: Helpers, task: Task) -> None:
    helpers.run_worker(at=LIFE)


@pytest.mark.parametrize(("end", "code"), [(cancelled, "TaskCancelled"), (expired, "TaskExpired")])
def test_an_order_that_ended_without_its_host_has_a_task_and_a_command(
    sqlite_hosts: Fleet, end: Callable[[Helpers, Task], None], code: str
) -> None:
    """What its host reports later hangs from them."""
    helpers = sqlite_hosts.helpers
    with recording() as receiver:
        task, item, command = helpers.under_way()
        end(helpers, task)
        helpers.end(item, command, report_of(item), at=LIFE + 1)
        helpers.run_worker(at=LIFE + 2)
    spans = receiver.of_task(task.id)
    hangs_together(spans, ["task", "command", "report"])
    assert spans["command"].status.message == code
    assert attributes(spans["command"])["order_id"] == item.id
    assert len([span for span in receiver.spans if span.name.startswith(("task ", "command "))]) == 2


def test_a_task_whose_targets_are_all_refused_has_its_span(sqlite_hosts: Fleet) -> None:
    helpers = sqlite_hosts.helpers
    with recording() as receiver:
        task = helpers.start(upgrades.unknown_client("c-1"))
    hangs_together(receiver.of_task(task.id), ["task"])


def test_a_transaction_that_fails_records_nothing(sqlite_hosts: Fleet) -> None:
    helpers = sqlite_hosts.helpers
    task, _, _ = helpers.under_way()
    with recording() as receiver, pytest.raises(ZeroDivisionError), helpers.transaction() as tx:
        assert upgrades.cancel(tx, helpers.account, task.id, now=helpers.moment(1))
        raise ZeroDivisionError
    assert receiver.spans == []


def test_rollouts_name_no_trace_while_traces_are_off(sqlite_hosts: Fleet) -> None:
    hosts = sqlite_hosts
    hosts.grow(1)
    hosts.run(hosts.roll_out(text=POLICY))
    with hosts.helpers.database.reading() as tx:
        found = tx.rows(sa.select(tasks.c.traceparent))
    assert [row.traceparent for row in found] == [""]
