"""Leases that no agent let run out: those that a clock, or a halt of the server, would have ended."""

import pytest
import sqlalchemy as sa

from backfleet import commands
from backfleet.commands import State
from backfleet.commands._tables import invocations
from backfleet.fleet._tables import instances
from commands.helpers import HANDED, RUNNING, Helpers

HOURS = 5 * 3600.0


def look(helpers: Helpers, at: float) -> bool:
    """What a server does every few seconds; return whether leases were renewed."""
    now = helpers.moment(at)
    renewed = commands.note_round(helpers.database, handed=HANDED, lease=RUNNING, now=now)
    commands.run_once(helpers.database, now=now)
    return renewed


def state_of(helpers: Helpers, task_id: str) -> State:
    with helpers.database.reading() as tx:
        return State(tx.scalar(sa.select(invocations.c.state).where(invocations.c.id == task_id)))


@pytest.mark.parametrize("jump", [HOURS, -HOURS, 61.0, -61.0])
def test_a_clock_that_is_set_loses_no_command_and_keeps_none_for_hours(helpers: Helpers, jump: float) -> None:
    """An agent that reports within its lease goes on; one that does not is lost then, and not hours later."""
    alive, dead = helpers.running("alive"), helpers.running("dead")
    look(helpers, 0)
    assert look(helpers, jump)
    assert (state_of(helpers, alive), state_of(helpers, dead)) == (State.RUNNING, State.RUNNING)
    helpers.hear(alive, at=jump + 50)
    for at in (50.0, 89.0):
        assert not look(helpers, jump + at)
    assert state_of(helpers, dead) is State.RUNNING
    look(helpers, jump + 91)
    assert (state_of(helpers, alive), state_of(helpers, dead)) == (State.RUNNING, State.LOST)


def test_one_that_was_handed_out_before_a_clock_was_set_waits_again_after_its_lease(helpers: Helpers) -> None:
    """Ten seconds, and not five hours."""
    handed = helpers.handed()
    look(helpers, 0)
    look(helpers, -HOURS)
    assert state_of(helpers, handed) is State.HANDED
    look(helpers, -HOURS + 11)
    assert state_of(helpers, handed) is State.WAITING


def test_rounds_that_come_in_time_renew_nothing(helpers: Helpers) -> None:
    """A lease that an agent let run out has run out."""
    silent = helpers.running()
    for at in range(0, 100, 5):
        assert not look(helpers, at)
    assert state_of(helpers, silent) is State.LOST


def test_a_host_that_was_heard_in_the_future_was_heard_now(helpers: Helpers) -> None:
    """Otherwise one that died would be given work for hours after the clock was set back."""
    look(helpers, 0)
    with helpers.transaction() as tx:
        row = {column.name: "" for column in instances.c if isinstance(column.type, sa.String | sa.Text)}
        moments = {"registered_at": helpers.moment(0), "last_heard_at": helpers.moment(0)}
        tx.add(instances, [row | {"id": "mi-9", "agent_kind": "official", "reachable_at": helpers.moment(0)} | moments])
    look(helpers, -HOURS)
    with helpers.database.reading() as tx:
        found = tx.first(sa.select(instances.c.reachable_at, instances.c.last_heard_at))
    assert found == (helpers.moment(-HOURS), helpers.moment(-HOURS))
