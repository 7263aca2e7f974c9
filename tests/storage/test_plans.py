"""How SQLite finds rows that are named by their ids: by these ids, however many rows an account has."""

import importlib
import pkgutil
import re
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

import backfleet
from backfleet.fleet._tables import instances
from backfleet.storage import Database, Prepared
from backfleet.storage._prepared import _compile
from backfleet.upgrades import _statements as upgrade_statements

MANY = 128  # ids, as of a hundred that are filled up
LARGE = ("agent_runs", "client_upgrades", "clients", "instances", "invocations", "rollout_members", "tasks")
OF_MANY_ROWS = re.compile(
    rf"SCAN ({'|'.join(LARGE)})|SEARCH ({'|'.join(LARGE)}) .*\((account_id=\?( AND region=\?)?\)|state=\?)"
)


def prepared_with_lists() -> Iterator[tuple[str, Prepared]]:
    """Every statement of the product that names rows by a list."""
    for module in pkgutil.walk_packages(backfleet.__path__, "backfleet."):
        if "migrations" not in module.name and not module.name.endswith("__main__"):
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, Prepared) and value._lists:
                    yield f"{module.name.removeprefix('backfleet.')}.{name}", value


def plan_of(database: Database, prepared: Prepared) -> list[str]:
    """Return how SQLite would find rows by lists of MANY."""
    text = _compile(prepared.statement, database.engine.dialect, dict.fromkeys(prepared._lists, MANY)).sql
    with database.engine.connect() as connection:
        found = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", ("x",) * text.count("?"))
        return [str(row.detail) for row in found]


@pytest.mark.parametrize("named", [pytest.param(each, id=each[0]) for each in prepared_with_lists()])
def test_rows_that_are_named_are_not_looked_for_among_all(
    sqlite_database: Database, named: tuple[str, Prepared]
) -> None:
    """A call about a hundred hosts costs the same in a fleet of any size."""
    plan = plan_of(sqlite_database, named[1])
    assert plan
    assert [step for step in plan if OF_MANY_ROWS.search(step)] == [], plan


def test_a_plan_that_reads_an_account_is_recognised(sqlite_database: Database) -> None:
    """If this does not fail, the others prove something."""
    ids, account = sa.bindparam("ids", expanding=True), sa.bindparam("in")
    query = sa.select(instances.c.id).where(instances.c.id.in_(ids), instances.c.account_id == account)
    assert any(OF_MANY_ROWS.search(step) for step in plan_of(sqlite_database, Prepared(query)))


def test_items_whose_wait_is_over_are_not_looked_for_among_all_that_are_open(sqlite_database: Database) -> None:
    """The worker looks several times a second; in a wave every item is open, and none of them waits for its host."""
    plan = plan_of(sqlite_database, upgrade_statements.LATE_ITEMS)
    searches = [step for step in plan if "client_upgrades" in step]
    assert len(searches) == 2
    assert all("waits_until" in step for step in searches), plan
