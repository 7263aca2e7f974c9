"""DescribeFleet, on both engines."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from backfleet import fleet
from backfleet.fleet import ClientStatus
from backfleet.fleet._tables import clients
from backfleet.ids import draw as really_draw
from backfleet.operations.catalogue import BACKFLEET
from backfleet.storage import Database
from operations.environment import REGION, Environment, make_environment


@pytest.fixture
def env(database: Database, tmp_path: Path, now: datetime) -> Environment:
    """Two sites: one host is current, one behind, one failed and silent; one has no site."""
    env = make_environment(database, tmp_path, now, really_draw)
    env.release("2.0")
    env.client(at(env, "Lyon", name="current"), "2.0")
    env.client(at(env, "Lyon", name="behind"), "1.0")
    env.client(at(env, "Bonn", name="broken", silent=True), "1.0", status=ClientStatus.UPGRADE_FAILED)
    env.client(env.host(name="100%_sure"), "1.0")
    return env


def at(env: Environment, site: str, **host: Any) -> str:
    made = env.host(**host)
    with env.services.database.transaction() as tx:
        fleet.set_tags(tx, env.root.account_id, REGION, "instance", [made], {"site": site, "rack": "r1"})
    return made


def ask(env: Environment, **fields: Any) -> dict[str, Any]:
    status, body = env.ask(BACKFLEET.version, "DescribeFleet", **fields)
    assert status == 200, body
    return body


def names(env: Environment, **fields: Any) -> list[str]:
    return [row["InstanceName"] for row in ask(env, **fields)["Clients"]]


def test_it_counts_states_and_a_client_may_be_in_several(env: Environment) -> None:
    counts = ask(env)["Counts"]
    assert counts == {"Clients": 4, "Current": 1, "Behind": 3, "Withdrawn": 0, "Moving": 0, "Failed": 1, "Silent": 1,
                      "Drifted": 0}  # fmt: skip


def test_the_map_has_a_cell_for_each_version_at_each_site(env: Environment) -> None:
    cells = {(cell["ClientVersion"], cell["Site"]): cell["Clients"] for cell in ask(env)["Map"]}
    assert cells == {("1.0", ""): 1, ("1.0", "Bonn"): 1, ("1.0", "Lyon"): 1, ("2.0", "Lyon"): 1}
    assert {cell["Site"] for cell in ask(env, SiteTag="rack")["Map"]} == {"", "r1"}


def test_a_search_finds_clients_by_the_host_program(env: Environment) -> None:
    """Its total is right too, also beside other conditions; another agent has none."""
    env.client(at(env, "Bonn", name="newer", agent="backfleet-0.2.0"), "2.0")
    env.client(at(env, "Bonn", name="other", agent="2.2.3.1040"), "2.0")
    versions = {row["InstanceName"]: row["HostVersion"] for row in ask(env)["Clients"]}
    assert (versions["newer"], versions["current"], versions["other"]) == ("0.2.0", "0.1.0", "")
    found = ask(env, HostVersion="0.2.0")
    assert ([row["InstanceName"] for row in found["Clients"]], found["TotalCount"]) == (["newer"], 1)
    assert names(env, HostVersion="0.1.0", Site="Lyon") == ["behind", "current"]
    assert names(env, HostVersion="0.1.0", Query="broken") == ["broken"]
    assert ask(env, HostVersion="0.3.0")["TotalCount"] == 0


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ["100%_sure", "behind", "broken", "current"]),
        ({"State": "Current"}, ["current"]),
        ({"State": "Behind"}, ["100%_sure", "behind", "broken"]),
        ({"State": "Silent"}, ["broken"]),
        ({"State": "Failed"}, ["broken"]),
        ({"State": "Moving"}, []),
        ({"State": "Withdrawn"}, []),
        ({"State": "Drifted"}, []),
        ({"State": "Behind", "Site": "Lyon"}, ["behind"]),
        ({"State": "Behind", "Query": "bonn"}, ["broken"]),
        ({"State": "Current", "PageNumber": "2"}, []),
        ({"Query": "LYON"}, ["behind", "current"]),
        ({"Query": "%"}, ["100%_sure"]),
        ({"Query": "_"}, ["100%_sure"]),
        ({"Query": "' OR 1=1 --"}, []),
        ({"Site": "Lyon", "ClientVersion": "1.0"}, ["behind"]),
        ({"WithoutSite": "true"}, ["100%_sure"]),
        ({"PackageName": "other"}, []),
        ({"PageSize": "2", "PageNumber": "2"}, ["broken", "current"]),
    ],
)
def test_the_list_is_what_is_asked_for(env: Environment, asked: dict[str, str], expected: list[str]) -> None:
    assert names(env, **asked) == expected
    whole = {name: value for name, value in asked.items() if not name.startswith("Page")}
    assert ask(env, **asked)["TotalCount"] == len(names(env, **whole)), "whether it was counted or summed up"


SEARCHES: list[tuple[dict[str, str], list[str]]] = [
    ({"Query": "LYON", "State": "Behind"}, ["behind"]),
    ({"Query": "lyon", "PageSize": "1", "PageNumber": "2"}, ["current"]),
    ({"Query": "lyon", "Site": "Bonn"}, []),
    ({"Query": "2.0"}, ["current"]),
    ({"Query": "COURIER", "WithoutSite": "true"}, ["100%_sure"]),
    ({"Query": "mi-", "PageSize": "3"}, ["100%_sure", "behind", "broken"]),
    ({"Query": "KÖLN"}, ["far"]),
    ({"Query": "köln"}, ["far"]),
    ({"Query": "Köln"}, ["far"]),
    ({"Query": "\\"}, []),
]


@pytest.mark.parametrize("many", [0, 2000])
def test_a_search_finds_the_same_whether_few_or_many_have_the_text(
    env: Environment, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr("backfleet.fleet._store.overview.MANY", many)
    env.client(at(env, "KÖLN", name="far"), "1.0")
    assert [names(env, **asked) for asked, _ in SEARCHES] == [expected for _, expected in SEARCHES]


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize("asked", [{}, {"State": "Behind"}, {"Query": "o"}, {"Query": "Lyon", "Site": "Lyon"}])
def test_pages_are_parts_of_one_list_whichever_end_they_are_read_from(
    env: Environment, asked: dict[str, str], size: int
) -> None:
    for number in range(3):
        env.client(at(env, "Lyon", name=f"other-{number % 2}"), "1.0")
    whole = [row["ClientId"] for row in ask(env, **asked)["Clients"]]
    pages = [ask(env, **asked, PageSize=str(size), PageNumber=str(at))["Clients"] for at in range(1, 10)]
    assert [len(page) for page in pages] == [min(size, max(0, len(whole) - at * size)) for at in range(9)]
    assert [row["ClientId"] for page in pages for row in page] == whole
    assert len(whole) >= 4


def test_sqlite_does_not_look_for_those_that_have_drifted_among_all(
    sqlite_database: Database, tmp_path: Path, now: datetime
) -> None:
    """PostgreSQL plans by how many rows there are, and reads the few of a test whole."""
    plans: list[str] = []

    def explain(_: object, cursor: Any, statement: str, values: Any, *others: object) -> None:
        if "drift != ''" in statement and " AS drifted" not in statement:
            found = cursor.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", values)
            plans.extend(row[-1] for row in found)

    sa.event.listen(sqlite_database.engine, "before_cursor_execute", explain)
    ask(make_environment(sqlite_database, tmp_path, now, really_draw))
    assert plans[0] == "SEARCH clients USING INDEX ix_clients_drifted (account_id=?)", plans


def test_what_is_silent_and_what_has_drifted_is_counted_once(env: Environment) -> None:
    """Both are counted apart from the others."""
    with env.services.database.transaction() as tx:
        tx.run(sa.update(clients).values(drift="bin/x: changed").where(clients.c.version == "1.0"))
    counts, cells = ask(env)["Counts"], ask(env)["Map"]
    assert (counts["Clients"], counts["Silent"], counts["Drifted"], counts["Behind"]) == (4, 1, 3, 3)
    assert {(cell["Site"], cell["Silent"], cell["Drifted"]) for cell in cells if cell["ClientVersion"] == "1.0"} == {
        ("", 0, 1), ("Bonn", 1, 1), ("Lyon", 0, 1),
    }  # fmt: skip
    assert names(env, State="Drifted") == ["100%_sure", "behind", "broken"]
    assert names(env, State="Silent") == ["broken"]


def test_another_account_sees_nothing_of_it(env: Environment) -> None:
    status, body = env.ask(BACKFLEET.version, "DescribeFleet", env.other_account, Query="Lyon")
    assert (status, body["TotalCount"], body["Map"]) == (200, 0, [])
