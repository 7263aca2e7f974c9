"""When the parts of an order's trace began and ended, whatever a host says of its clock."""

from datetime import UTC, datetime, timedelta

import pytest

from backfleet.carriers import Outcome, State
from backfleet.upgrades.model import Task
from backfleet.upgrades.states import Kind, TaskState
from backfleet.upgrades.traces import _moments

NOW = datetime(2026, 11, 28, tzinfo=UTC)
MS = int(NOW.timestamp() * 1000)


@pytest.mark.parametrize(
    ("started", "ended", "seconds"),
    [
        (MS, MS + 2000, 2.0),
        (MS, MS - 2000, 0.0),  # its clock was set back
        (None, MS, None),
        (0, 0, None),
        (-1, MS, None),
        (MS, 1 << 62, None),
    ],
)
def test_a_hosts_times_are_shown_if_a_clock_can_show_them(
    started: int | None, ended: int | None, seconds: float | None
) -> None:
    outcome = Outcome(
        "t-1", "u-1", State.FINISHED, 0, "", "", b"", NOW, 1, started_ms=started, ended_ms=ended
    )  # fmt: skip
    task = Task(
        "t-2", "1", Kind.UPGRADE, TaskState.COMPLETED, 100, "ann", NOW - timedelta(seconds=9), NOW, NOW, NOW
    )  # fmt: skip
    found = _moments(task, outcome, NOW)
    assert list(found) == ["command", *(["host"] if seconds is not None else []), "report"]
    if seconds is not None:
        began, over = found["host"]
        assert (over - began).total_seconds() == seconds
