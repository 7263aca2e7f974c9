"""Which clients a policy selects, and in which ring each is."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from backfleet.filter_expressions import Expression, read_expression
from backfleet.rollouts.assignment import Candidate, assign, matches, rank_of, ring_of_newcomer
from backfleet.rollouts.policy import Pace, Policy, Ring, Selector
from backfleet.rollouts.policy.model import WHERE_FIELDS


def one(name: str = "c", **changes: Any) -> Candidate:
    known = {"instance_id": f"i-{name}", "version": "1.5", "platform": "linux-amd64", "channel": "stable"}
    return Candidate(name, **known | changes)


def many(number: int, **changes: Any) -> list[Candidate]:
    return [one(f"c{at}", **changes) for at in range(number)]


def policy(*rings: Ring, **changes: Any) -> Policy:
    return Policy("p", "courier", datetime(2099, 1, 1, tzinfo=UTC), rings, **changes)


def where(text: str) -> Expression:
    return read_expression(text, WHERE_FIELDS)


def test_a_version_that_cannot_be_compared_is_neither_selected_nor_spared() -> None:
    """Not by the condition, not by its opposite; an exclusion that cannot be decided excludes."""
    odd = one(version="built-yesterday")
    for text in ("version<2", "not version<2"):
        assert not matches(Selector(where=where(text)), odd)
        assert not matches(Selector(exclude=Selector(where=where(text))), odd)


def sizes(found: dict[str, int]) -> dict[int, int]:
    return dict(Counter(found.values()))


CANARY_AND_REST = (Ring("canary", count=3), Ring("rest"))


@pytest.mark.parametrize(
    ("selector", "is_meant"),
    [
        (Selector(), True),
        (Selector(tags={"env": ("prod",)}), True),
        (Selector(tags={"env": ()}), True),
        (Selector(tags={"env": ("test",)}), False),
        (Selector(tags={"env": ("test", "prod")}), True),
        (Selector(tags={"owner": ()}), False),
        (Selector(tags={"env": ("prod",), "owner": ()}), False),
        (Selector(versions="<2.0"), True),
        (Selector(where=where("version<2 and tag:site=ber")), False),
        (Selector(where=where("version<2 and not tag:site=ber and platform~linux-* and channel=stable")), True),
        (Selector(where=where("version<2"), channels=("beta",)), False),
        (Selector(exclude=Selector(where=where("version>=1.5"))), False),
        (Selector(versions="<1.5"), False),
        (Selector(platforms=("linux-arm64",)), False),
        (Selector(channels=("stable", "next")), True),
        (Selector(channels=("next",)), False),
        (Selector(instances=("i-c",)), True),
        (Selector(clients=("c",), instances=("other",)), True),
        (Selector(clients=("other",)), False),
        (Selector(exclude=Selector(clients=("c",))), False),
        (Selector(exclude=Selector(tags={"env": ("test",)})), True),
    ],
)
def test_a_selector_means_a_client_by_every_field_that_is_given(selector: Selector, is_meant: bool) -> None:
    """All of them must hold; an exclusion wins."""
    assert matches(selector, one(tags={"env": "prod"})) is is_meant


def test_every_client_is_in_one_ring_whatever_the_order_of_storage() -> None:
    """A hash decides: the same again, another choice for another rollout."""
    document = policy(Ring("canary", count=3), Ring("early", percent=10), Ring("rest"))
    first = assign(document, "ro-1", many(100)).rings
    assert first == assign(document, "ro-1", reversed(many(100))).rings
    assert first != assign(document, "ro-2", many(100)).rings
    assert sizes(dict(first)) == {0: 3, 1: 10, 2: 87}


def test_ranks_differ_between_rollouts_and_stay_for_one() -> None:
    """Nobody is always the first."""
    assert rank_of("ro-1", "c") == rank_of("ro-1", "c") != rank_of("ro-2", "c")


def test_canaries_are_reachable_and_spread_over_sites() -> None:
    """Three canaries of three sites, however many clients each site has."""
    candidates = [one(f"c{at}", tags={"site": "abc"[min(at // 30, 2)]}, is_reachable=at % 2 == 0) for at in range(70)]
    found = assign(policy(*CANARY_AND_REST), "ro-1", candidates).rings
    canaries = [each for each in candidates if found[each.client_id] == 0]
    assert {each.tags["site"] for each in canaries} == {"a", "b", "c"}
    assert all(each.is_reachable for each in canaries)


def test_canaries_are_spread_over_the_tags_of_the_pace() -> None:
    """Not both replicas of one set."""
    candidates = [one(f"c{at}", tags={"set": str(at // 10)}) for at in range(30)]
    found = assign(policy(*CANARY_AND_REST, pace=Pace(never_together=("set",))), "ro-1", candidates).rings
    assert len({each.tags["set"] for each in candidates if found[each.client_id] == 0}) == 3


@pytest.mark.parametrize(
    ("rings", "candidates", "fault"),
    [
        (CANARY_AND_REST, many(2),
         "ring canary: it asks for 3 reachable clients, 2 of 2 selected are left; write `count = 2`"),
        (CANARY_AND_REST, many(9, is_reachable=False),
         "ring canary: it asks for 3 reachable clients, 0 of 9 selected are left (9 cannot be reached now); "
         "wait until enough hosts are back, see `backfleet instance list`"),
        (CANARY_AND_REST, many(1, is_reachable=False),
         "ring canary: it asks for 3 reachable clients, 0 of 1 selected are left (1 cannot be reached now); "
         "select more clients, or leave the ring out"),
        (CANARY_AND_REST, [*many(4, is_pinned=True), one("away", is_reachable=False), one("x")],
         "ring canary: it asks for 3 reachable clients, 1 of 6 selected are left (1 cannot be reached now, "
         "4 are pinned); wait for the end of pins, see `backfleet client pins`, or write `count = 1`"),
        (CANARY_AND_REST, [one("both", is_pinned=True, is_reachable=False), *many(3, is_reachable=False)],
         "ring canary: it asks for 3 reachable clients, 0 of 4 selected are left (3 cannot be reached now, "
         "1 is pinned); wait until enough hosts are back, see `backfleet instance list`"),
        ((Ring("half", percent=50), Ring("rest")), [*many(4, is_reachable=False), one("x")],
         "ring half: it asks for 2 reachable clients, 1 of 5 selected are left (4 cannot be reached now); "
         "wait until enough hosts are back, see `backfleet instance list`, or write `count = 1`"),
        ((Ring("a", count=1), Ring("b", count=9), Ring("rest")), many(5),
         "ring b: it asks for 9 clients, 4 of 5 selected are left; write `count = 4`"),
        ((Ring("a", count=5), Ring("rest")), many(5), "ring rest: no client is left for it; 5 are selected"),
        ((Ring("a", count=1), Ring("b", select=Selector(tags={"x": ()})), Ring("rest")), many(5),
         "ring b: no client is left for it; 5 are selected"),
    ],
)  # fmt: skip
def test_a_ring_that_cannot_be_filled_says_what_to_write(
    rings: tuple[Ring, ...], candidates: list[Candidate], fault: str
) -> None:
    """What was asked for, what was found, what would do."""
    assert fault in assign(policy(*rings), "ro-1", candidates).unfilled


def test_a_pinned_client_is_no_canary() -> None:
    """Nothing would be learned of the version from it."""
    found = assign(policy(*CANARY_AND_REST), "ro-1", [*many(3), one("pinned", is_pinned=True)]).rings
    assert found["pinned"] == 1


def test_a_policy_of_one_ring_also_takes_hosts_that_are_away() -> None:
    """They wait for their hosts; only canaries must be reachable at once."""
    candidates = [*many(3), one("away", is_reachable=False)]
    found = assign(policy(Ring("all")), "ro-1", candidates)
    assert (len(found.rings), found.left_out) == (4, ())


def test_those_that_no_ring_takes_are_named() -> None:
    """Nobody is forgotten silently."""
    found = assign(policy(Ring("a", count=2), Ring("b", percent=20)), "ro-1", many(10))
    assert (sizes(dict(found.rings)), len(found.left_out)) == ({0: 2, 1: 2}, 6)


@pytest.mark.parametrize(
    ("rings", "members", "ring"),
    [
        ((Ring("c", count=5), Ring("rest")), (3, 9), 1),
        ((Ring("p", percent=10), Ring("rest")), (1, 18), 0),
        ((Ring("p", percent=10), Ring("rest")), (1, 17), 1),
        ((Ring("p", percent=29), Ring("rest")), (28, 71), 0),
        ((Ring("p", percent=10), Ring("s", select=Selector(tags={"env": ()})), Ring("rest")), (5, 5, 0), 1),
        ((Ring("p", percent=10),), (1,), None),
    ],
)  # fmt: skip
def test_a_newcomer_comes_into_a_ring_whose_share_is_not_full(
    rings: tuple[Ring, ...], members: tuple[int, ...], ring: int | None
) -> None:
    """Or into the rest, or into none."""
    assert ring_of_newcomer(policy(*rings), one(tags={"env": "x"}), members) == ring
