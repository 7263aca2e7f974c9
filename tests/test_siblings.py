"""What a process of a server gets from its parent."""

import fcntl
import os
import sys
from collections.abc import Iterator, Sequence

import pytest

from backfleet.siblings import LOCKS, VARIABLE, Shared, Siblings, inherited_siblings
from backfleet.storage import TurnsBetween

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="several processes need Linux")

COUNT = 2
FREE = 500  # no test has so many descriptors


@pytest.fixture
def shared() -> Iterator[Shared]:
    found = Shared.make(COUNT)
    yield found
    found.close()


def inherited(descriptors: Sequence[int], number: int, first: int) -> Siblings:
    """Take descriptors over as the process of this number does."""
    for place, descriptor in enumerate(descriptors, first):
        assert fcntl.fcntl(descriptor, fcntl.F_DUPFD, place) == place
    found = inherited_siblings({VARIABLE: f"{number}:{COUNT}:{first}"})
    assert found is not None
    return found


def turns(siblings: Siblings) -> TurnsBetween:
    return TurnsBetween(siblings.locks, siblings.events)


def test_all_processes_see_the_same_events(shared: Shared) -> None:
    """So does one that replaces another."""
    for _ in range(2):
        here, there = (inherited(shared.descriptors_of(n), n, FREE + 20 * n) for n in range(COUNT))
        assert turns(here).acquire(0)
        assert not turns(there).acquire(0)
        turns(here).release()
        assert os.eventfd_read(there.events[1]) > 0
        assert not any(os.get_inheritable(each) for each in (*here.events, *here.locks, *here.figures))
        here.close()
        there.close()


@pytest.mark.parametrize("taken", [False, True])
def test_a_parent_from_before_an_upgrade_hands_no_events_over(shared: Shared, taken: bool) -> None:
    """What is open at their numbers then is something else, which nobody sets; turns are taken all the same."""
    before = FREE + 1 + 2 * COUNT + LOCKS
    others = [os.dup2(shared.figures[0], before + number) for number in range(LOCKS)] if taken else []
    here = inherited(shared.descriptors_of(0)[:-LOCKS], 0, FREE)
    there = inherited(shared.descriptors_of(1), 1, FREE + 20)
    assert turns(here).acquire(0)
    assert not turns(there).acquire(0.01)
    turns(here).release()
    assert turns(there).acquire(0)
    assert os.fstat(shared.figures[0]).st_size == 0
    here.close()
    there.close()
    for descriptor in others:
        os.close(descriptor)
