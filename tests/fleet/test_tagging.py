"""Tags of resources."""

import pytest

from backfleet import fleet
from backfleet.fleet import MOST_TAGS, ResourceTag
from backfleet.paging import Page
from backfleet.storage import Database
from fleet.conftest import ACCOUNT, OTHER, REGION

ALL = Page(1, 50)


def test_a_key_has_one_value(database: Database) -> None:
    """Setting it again replaces the value; other keys stay; resources without tags are left out."""
    with database.transaction() as tx:
        fleet.set_tags(tx, ACCOUNT, REGION, "instance", ["a", "b"], {"env": "test", "team": "night"})
        fleet.set_tags(tx, ACCOUNT, REGION, "instance", ["a"], {"env": "prod"})
        assert fleet.tags_of(tx, "instance", ["a", "b", "c"]) == {
            "a": {"env": "prod", "team": "night"},
            "b": {"env": "test", "team": "night"},
        }
        assert fleet.tags_of(tx, "command", ["a"]) == {}


def test_some_or_all_tags_are_removed(database: Database) -> None:
    """By key, or without keys all of them."""
    with database.transaction() as tx:
        fleet.set_tags(tx, ACCOUNT, REGION, "instance", ["a", "b"], {"env": "test", "team": "night"})
        fleet.remove_tags(tx, "instance", ["a"], ["env", "unknown"])
        fleet.remove_tags(tx, "instance", ["b"], None)
        assert fleet.tags_of(tx, "instance", ["a", "b"]) == {"a": {"team": "night"}}


def test_a_resource_has_a_limited_number_of_tags(database: Database) -> None:
    """One more than the limit is refused, and nothing is stored."""
    full = {f"key-{number}": "" for number in range(MOST_TAGS)}
    with database.transaction() as tx:
        fleet.set_tags(tx, ACCOUNT, REGION, "instance", ["a"], full)
    with pytest.raises(fleet.TooManyTags), database.transaction() as tx:
        fleet.set_tags(tx, ACCOUNT, REGION, "instance", ["a"], {"one-more": ""})
    with database.reading() as tx:
        assert fleet.tags_of(tx, "instance", ["a"]) == {"a": full}


def test_tags_are_found_by_key_and_value(database: Database) -> None:
    """A resource must have all of them; None matches any value; other accounts are left out."""
    with database.transaction() as tx:
        fleet.set_tags(tx, ACCOUNT, REGION, "instance", ["a"], {"env": "prod", "team": "night"})
        fleet.set_tags(tx, ACCOUNT, REGION, "instance", ["b"], {"env": "test"})
        fleet.set_tags(tx, OTHER, REGION, "instance", ["c"], {"env": "prod"})

        def found(*wanted: tuple[str, str | None], page: Page = ALL) -> tuple[list[ResourceTag], int]:
            listing = fleet.find_tags(tx, ACCOUNT, REGION, "instance", None, wanted, page)
            return listing.items, listing.total

        env, team, test = (
            ResourceTag("a", "env", "prod"),
            ResourceTag("a", "team", "night"),
            ResourceTag("b", "env", "test"),
        )
        assert found() == ([env, team, test], 3)
        assert found(page=Page(2, 2)) == ([test], 3)
        assert found(("env", "prod")) == ([env, team], 2)
        assert found(("env", None)) == ([env, team, test], 3)
        assert found(("env", None), ("team", "night")) == ([env, team], 2)
        assert found(("env", "prod"), ("team", "day")) == ([], 0)
