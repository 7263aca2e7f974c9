"""Who must read a host's backups is told in its order: the oldest client of all hosts with the same repository."""

import dataclasses

import pytest

from backfleet import fleet
from backfleet.fleet.readers import REPOSITORY, oldest
from backfleet_host.contract import Order, read_order
from operations.environment import REGION
from upgrades.helpers import Helpers


def tag(helpers: Helpers, repository: str, *instances: str) -> None:
    with helpers.transaction() as tx:
        fleet.set_tags(tx, helpers.account, REGION, "instance", instances, {REPOSITORY: repository})


def order_for(helpers: Helpers, instance_id: str) -> Order:
    return read_order(helpers.claim(instance_id).run[0].content)


def test_f41_the_oldest_reader_of_a_repository_is_told(helpers: Helpers) -> None:
    """Hosts with the same tag, whatever their number; others, and those without a tag, need not read it."""
    moving, older, other = helpers.target("1.4"), helpers.target("1.2"), helpers.target("0.9")
    tag(helpers, "vault", moving.instance_id, older.instance_id)
    tag(helpers, "cellar", other.instance_id)
    alone = helpers.target("1.4")
    helpers.start(moving, alone)
    helpers.look()
    assert order_for(helpers, moving.instance_id).oldest_reader == "1.2"
    assert order_for(helpers, alone.instance_id).oldest_reader == ""


def test_a_reader_that_has_nothing_installed_reads_nothing(helpers: Helpers) -> None:
    """Nor does another package's client on the same host."""
    moving, gone = helpers.target("1.4"), helpers.target("1.2")
    tag(helpers, "vault", moving.instance_id, gone.instance_id)
    with helpers.transaction() as tx:
        fleet.set_clients(tx, [fleet.Change(gone.client_id, version="")], now=helpers.moment(0))
    helpers.start(moving)
    helpers.look()
    assert order_for(helpers, moving.instance_id).oldest_reader == "1.4"


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


def test_hosts_are_told_how_fast_they_may_download(helpers: Helpers) -> None:
    """As the operator has set it for all of them."""
    from backfleet import upgrades

    target = helpers.target()
    helpers.start(target)
    upgrades.run_once(
        helpers.database, now=helpers.moment(0), draw=helpers.env.services.draw, most_per_second=2_000_000
    )
    told = order_for(helpers, target.instance_id)
    assert told.bytes_per_second == 2_000_000
    assert dataclasses.replace(told, bytes_per_second=0).oldest_reader == ""
