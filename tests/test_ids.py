"""Ids that nobody can guess."""

import re

from backfleet.ids import draw, new_id, new_ids


def test_ids_are_unguessable_and_safe_anywhere() -> None:
    """Twenty drawn characters, each another time."""
    found = {new_id("t") for _ in range(200)}
    assert len(found) == 200
    assert all(re.fullmatch(r"t-[a-z0-9]{20}", one) for one in found)


def test_ids_of_one_batch_lie_side_by_side() -> None:
    """They begin alike, those of the next batch otherwise, and each has as much of its own as a single id."""
    one, other = new_ids("u", draw, 100), new_ids("u", draw, 100)
    assert len({*one, *other}) == 200
    assert all(re.fullmatch(r"u-[a-z0-9]{25}", each) for each in one)
    assert len({each[:7] for each in one}) == 1
    assert one[0][:7] != other[0][:7]
    assert len({each[7:] for each in one}) == 100
    assert new_ids("u", draw, 0) == []
