"""Who must read a host's backups is told in its order: the oldest client of all hosts with the same repository."""

import dataclasses

import pytest

from backfleet import fleet
from backfleet.fleet.readers import REPOSITORY, oldest
from backfleet_host.contract import Order, read_order
from operations.environment import REGION
from upgrades.hands import Hands


def tag(hands: Hands, repository: str, *instances: str) -> None:
    with hands.transaction() as tx:
        fleet.set_tags(tx, hands.account, REGION, "instance", instances, {REPOSITORY: repository})


def order_for(hands: Hands, instance_id: str) -> Order:
    return read_order(hands.claim(instance_id).run[0].content)


def test_f41_the_oldest_reader_of_a_repository_is_told(hands: Hands) -> None:
    """Hosts with the same tag, whatever their number; others, and those without a tag, need not read it."""
    moving, older, other = hands.target("1.4"), hands.target("1.2"), hands.target("0.9")
    tag(hands, "vault", moving.instance_id, older.instance_id)
    tag(hands, "cellar", other.instance_id)
    alone = hands.target("1.4")
    hands.start(moving, alone)
    hands.look()
    assert order_for(hands, moving.instance_id).oldest_reader == "1.2"
    assert order_for(hands, alone.instance_id).oldest_reader == ""


def test_a_reader_that_has_nothing_installed_reads_nothing(hands: Hands) -> None:
    """Nor does another package's client on the same host."""
    moving, gone = hands.target("1.4"), hands.target("1.2")
    tag(hands, "vault", moving.instance_id, gone.instance_id)
    with hands.transaction() as tx:
        fleet.set_clients(tx, [fleet.Change(gone.client_id, version="")], now=hands.moment(0))
    hands.start(moving)
    hands.look()
    assert order_for(hands, moving.instance_id).oldest_reader == "1.4"


@pytest.mark.parametrize(
    ("versions", "least"),
    [
        ({"1.10", "1.9", "1.9.1"}, "1.9"),
        ({"1.10", "1.9~rc1", "1.9"}, "1.9~rc1"),
        ({"1.0", "custom-build"}, "custom-build"),
        ({"2.0"}, "2.0"),
    ],
)
def test_the_oldest(versions: set[str], least: str) -> None:
    """One that nobody can compare may be the oldest of all."""
    assert oldest(versions) == least


def test_hosts_are_told_how_fast_they_may_download(hands: Hands) -> None:
    """As the operator has set it for all of them."""
    from backfleet import upgrades

    target = hands.target()
    hands.start(target)
    upgrades.look(hands.database, now=hands.moment(0), draw=hands.env.services.draw, most_per_second=2_000_000)
    told = order_for(hands, target.instance_id)
    assert told.bytes_per_second == 2_000_000
    assert dataclasses.replace(told, bytes_per_second=0).oldest_reader == ""
