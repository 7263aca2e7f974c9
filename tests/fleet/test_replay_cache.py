"""Request ids of agents are accepted once, on all nodes."""

from datetime import datetime, timedelta

import pytest

from backfleet import fleet
from backfleet.fleet import replay_cache
from backfleet.storage import Database

MINUTE = timedelta(minutes=1)


def test_a_request_is_accepted_once(database: Database, now: datetime) -> None:
    """The same id of another instance is another request."""
    one, other = (fleet.request_fingerprint(instance, "r-1") for instance in ("mi-1", "mi-2"))
    with database.transaction() as tx:
        assert fleet.remember_request(tx, one, until=now + MINUTE)
        assert fleet.remember_request(tx, other, until=now + MINUTE)
    with database.transaction() as tx:
        assert not fleet.remember_request(tx, one, until=now + MINUTE)


def test_many_requests_are_remembered_at_once(database: Database, now: datetime) -> None:
    """Those that another node has remembered already are no error."""
    with database.transaction() as tx:
        fleet.remember_requests(tx, [(2, now), (1, now)])
        fleet.remember_requests(tx, [(3, now), (1, now)])
    with database.transaction() as tx:
        assert [fleet.remember_request(tx, number, until=now) for number in (1, 2, 3, 4)] == [False, False, False, True]


@pytest.mark.parametrize("extreme", [2**63 - 1, -(2**63), 0], ids=str)
def test_of_many_requests_each_is_accepted_or_not(database: Database, now: datetime, extreme: int) -> None:
    """One statement for all of them; those that another node has remembered are known one by one."""
    with database.transaction() as tx:
        assert fleet.remember_request(tx, 2, until=now + MINUTE)
        assert fleet.remember_each(tx, [1, 2, extreme], until=now + MINUTE) == {1, extreme}
    with database.transaction() as tx:
        assert fleet.remember_each(tx, [extreme, 1, 3], until=now + MINUTE) == {3}
        assert fleet.remember_each(tx, [], until=now + MINUTE) == set()
        assert not fleet.forget_requests(tx, now=now + MINUTE)
        assert not fleet.remember_request(tx, extreme, until=now)


def test_expired_requests_are_forgotten_in_several_calls(
    database: Database, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call says whether there may be more; requests that have not expired stay."""
    monkeypatch.setattr(replay_cache, "PURGED_AT_ONCE", 2)
    with database.transaction() as tx:
        fleet.remember_requests(tx, [(number, now) for number in range(3)] + [(9, now + MINUTE)])
    with database.transaction() as tx:
        assert fleet.forget_requests(tx, now=now + timedelta(seconds=1))
        assert not fleet.forget_requests(tx, now=now + timedelta(seconds=1))
        assert not fleet.remember_request(tx, 9, until=now)
        assert fleet.remember_request(tx, 0, until=now)
