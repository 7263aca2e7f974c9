"""An order names the oldest version that must read its host's backups: that of all hosts with the same repository."""

import dataclasses

import pytest

from backfleet import fleet, upgrades
from backfleet.carriers import through_gateway
from backfleet.fleet.readers import REPOSITORY, oldest
from backfleet_host.contract import Order, read_order
from backfleet_host.versions import scheme_of
from operations.environment import REGION
from upgrades.helpers import Helpers


def tag(helpers: Helpers, repository: str, *instances: str) -> None:
    with helpers.transaction() as tx:
        fleet.set_tags(tx, helpers.account, REGION, "instance", instances, {REPOSITORY: repository})


def order_for(helpers: Helpers, instance_id: str) -> Order:
    return read_order(helpers.claim(instance_id).run[0].content)


def test_f41_an_order_names_the_oldest_reader_of_its_repository(helpers: Helpers) -> None:
    """Hosts with the same tag read it; others, and those without a tag, do not."""
    moving, older, other = helpers.target("1.4"), helpers.target("1.2"), helpers.target("0.9")
    tag(helpers, "vault", moving.instance_id, older.instance_id)
    tag(helpers, "cellar", other.instance_id)
    alone = helpers.target("1.4")
    helpers.start(moving, alone)
    helpers.run_worker()
    assert order_for(helpers, moving.instance_id).oldest_reader == "1.2"
    assert order_for(helpers, alone.instance_id).oldest_reader == ""


def test_a_host_without_the_client_is_no_reader(helpers: Helpers) -> None:
    """Only installed clients read backups."""
    moving, gone = helpers.target("1.4"), helpers.target("1.2")
    tag(helpers, "vault", moving.instance_id, gone.instance_id)
    with helpers.transaction() as tx:
        fleet.set_clients(tx, [fleet.Change(gone.client_id, version="")], now=helpers.moment(0))
    helpers.start(moving)
    helpers.run_worker()
    assert order_for(helpers, moving.instance_id).oldest_reader == "1.4"


def test_the_oldest_of_these_versions_is_that_of_the_scheme() -> None:
    """By PEP 440 the first would be none of them, and the rebuild 10 older than the rebuild 9."""
    assert oldest({"1:0.1", "2.0-1+b10", "2.0-1+b9"}, scheme_of("deb")) == "2.0-1+b9"


@pytest.mark.parametrize(
    ("versions", "least"),
    [
        ({"1.10", "1.9", "1.9.1"}, "1.9"),
        ({"1.10", "1.9~rc1", "1.9"}, "1.9~rc1"),
        ({"1.0", "custom-build"}, "custom-build"),
        ({"2.0"}, "2.0"),
    ],
)
def test_the_oldest_of_these_versions(versions: set[str], least: str) -> None:
    """One that cannot be compared may be the oldest of all, and counts as such."""
    assert oldest(versions, scheme_of("pep440")) == least


def test_an_order_says_how_fast_its_host_may_download(helpers: Helpers) -> None:
    """As the server's settings have it for all hosts."""
    target = helpers.target()
    helpers.start(target)
    draw = helpers.env.services.draw
    upgrades.run_once(
        helpers.database, now=helpers.moment(0), draw=draw, carrier=through_gateway(), rules=upgrades.Rules(2_000_000)
    )
    order = order_for(helpers, target.instance_id)
    assert order.bytes_per_second == 2_000_000
    assert dataclasses.replace(order, bytes_per_second=0).oldest_reader == ""
