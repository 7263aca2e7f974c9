"""The chain of events: a change anywhere in it is noticed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backfleet.rollouts.events import LONGEST_WHY, Event, NewEvent, broken_at, chained

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)


def chain(number: int = 6) -> list[Event]:
    found: list[Event] = []
    for at in range(0, number, 2):
        new = [NewEvent("member", f"c-{at}", "upgrading", "why"), NewEvent("ring", "canary", "running", "because")]
        head = found[-1].hash if found else ""
        found += chained(new, after=len(found), head=head, at=NOW + timedelta(minutes=at))
    return found


def test_an_intact_chain_is_not_broken() -> None:
    """Nor is one without events."""
    assert (broken_at(chain()), broken_at([])) == (None, None)


@pytest.mark.parametrize("position", range(6))
@pytest.mark.parametrize(
    "change",
    [{"why": "another"}, {"change": "failed"}, {"name": "c-9"}, {"what": "person"}, {"at": NOW - timedelta(days=1)},
     {"hash": "0" * 64}, {"number": 77}],
)  # fmt: skip
def test_a_changed_event_is_noticed_where_it_stands(position: int, change: dict[str, Any]) -> None:
    """Each of its fields is covered."""
    found = chain()
    found[position] = replace(found[position], **change)
    assert broken_at(found) == position + 1


@pytest.mark.parametrize("position", range(5))
def test_an_event_that_is_taken_out_is_noticed(position: int) -> None:
    """Also where the numbers of the others are made to fit."""
    left = [each for at, each in enumerate(chain()) if at != position]
    assert broken_at(left) == position + 1
    assert broken_at([replace(each, number=at) for at, each in enumerate(left, 1)]) == position + 1


def test_two_events_that_change_places_are_noticed() -> None:
    """At the first of them."""
    found = chain()
    found[2], found[3] = found[3], found[2]
    assert broken_at(found) == 3


def test_an_event_that_is_put_in_is_noticed() -> None:
    """Its own hash may follow; the next one's does not."""
    found = chain()
    extra = chained([NewEvent("person", "x", "approved", "")], after=2, head=found[1].hash, at=NOW)
    assert broken_at([*found[:2], *extra, *found[2:]]) == 4


def test_a_long_reason_is_cut_before_it_is_hashed() -> None:
    """So that what is stored can be checked."""
    found = chained([NewEvent("member", "c", "failed", "x" * 5000)], after=0, head="", at=NOW)
    assert (len(found[0].why), broken_at(found)) == (LONGEST_WHY, None)
