"""How often a worker collects how far hosts are: with much news once a second. Ends are collected in every round."""

from datetime import datetime, timedelta

import pytest

from backfleet import commands, upgrades
from backfleet.carriers import through_gateway
from backfleet.upgrades import PROGRESS_APART, TOPIC, ItemState, ProgressPace
from backfleet.upgrades.pacing import FEW_NEWS
from upgrades.helpers import Helpers, report_of

MANY = FEW_NEWS + 1


def run_worker(helpers: Helpers, pace: ProgressPace, at: float) -> None:
    while upgrades.run_once(
        helpers.database,
        now=helpers.moment(at),
        draw=helpers.env.services.draw,
        carrier=through_gateway(),
        progress=pace,
    ):
        pass


def test_in_a_wave_ends_are_collected_before_progress(helpers: Helpers) -> None:
    """What is left stays news, and the worker knows that it has to look again."""
    task = helpers.start(*(helpers.target() for _ in range(MANY + 1)))
    pace = ProgressPace()
    run_worker(helpers, pace, at=1)
    found = [(item, helpers.begin(item, "admit", at=1.1)) for item in task.items]
    run_worker(helpers, pace, at=1.2)
    assert {item.stage for item in helpers.task(task).items} == {"admit"}
    ended, command = found[0]
    helpers.end(ended, command, report_of(helpers.item(task)), at=1.3)
    for item, command in found[1:]:
        helpers.print_stages(item, command, "fetch", at=1.3)
    run_worker(helpers, pace, at=1.4)
    items = helpers.task(task).items
    assert (items[0].state, {item.stage for item in items[1:]}) == (ItemState.SUCCEEDED, {"admit"})
    assert pace.is_left
    with helpers.database.reading() as tx:
        assert commands.count_news(tx, TOPIC, most=100) == MANY
    run_worker(helpers, pace, at=1.2 + PROGRESS_APART.total_seconds())
    assert {item.stage for item in helpers.task(task).items[1:]} == {"fetch"}
    assert not pace.is_left


def test_an_order_that_took_no_time_is_collected_once(helpers: Helpers) -> None:
    """At its end, with all that it printed; it has begun, although nobody had collected that."""
    task = helpers.start(*(helpers.target() for _ in range(MANY)))
    pace = ProgressPace()
    run_worker(helpers, pace, at=1)
    pace.collected_all(helpers.moment(1))
    for item in task.items:
        helpers.end(item, helpers.begin(item, "admit", at=1.1), report_of(helpers.item(task, item.position)), at=1.2)
    run_worker(helpers, pace, at=1.3)
    over = helpers.task(task)
    assert (over.progress, {item.started_at for item in over.items}) == (100, {helpers.moment(1.3)})


@pytest.mark.parametrize(
    ("pieces", "seconds", "only_ends"),
    [
        pytest.param(FEW_NEWS, 0.1, False, id="few pieces are collected at once"),
        pytest.param(MANY, 0.1, True, id="many wait"),
        pytest.param(MANY, 1.0, False, id="for a second"),
        pytest.param(MANY, -0.1, False, id="or until the clock is set back"),
    ],
)
def test_progress_waits_only_in_a_wave(pieces: int, seconds: float, only_ends: bool, now: datetime) -> None:
    """And never before it was collected for the first time."""
    pace = ProgressPace()
    assert not pace.only_ends(MANY, now)
    pace.collected_all(now)
    assert pace.only_ends(pieces, now + timedelta(seconds=seconds)) is only_ends
    assert pace.is_left is only_ends
