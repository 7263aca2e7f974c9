"""Migrations make exactly the schema that the code describes, on both engines."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import backfleet.app  # noqa: F401 - every module registers its tables
from backfleet.storage import Database, metadata, migrate, open_database


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without tables."""
    if request.param == "sqlite":
        database = open_database(f"sqlite:///{tmp_path / 'fresh.db'}")
    else:
        url = sa.make_url(request.getfixturevalue("postgresql_url"))
        with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS fresh")
            connection.execute("CREATE DATABASE fresh")
        database = open_database(url.set(database="fresh").render_as_string(hide_password=False))
    yield database
    database.close()


def test_migrations_make_the_schema_of_the_code(empty: Database) -> None:
    """No table, column or index is missing, and there is none besides."""
    migrate(empty)
    with empty.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = [d for d in compare_metadata(context, metadata) if "alembic_version" not in str(d)]
    assert differences == []


def test_a_second_start_changes_nothing(empty: Database) -> None:
    """A database that has this version's schema is left as it is."""
    migrate(empty)
    migrate(empty)
    assert set(sa.inspect(empty.engine).get_table_names()) == {*metadata.tables, "alembic_version"}


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        pytest.param("backfleet-0.1.0", "backfleet", id="our own agent"),
        pytest.param("2.2.3.578", "official", id="the official agent"),
        pytest.param("", "official", id="an agent that never reported its version"),
    ],
)
def test_0002_tells_the_kind_of_agent_from_its_version(empty: Database, version: str, kind: str) -> None:
    """The kind of an instance that enrolled before comes from its agent's version. Rows that refer to it stay."""
    migrate(empty, "0001")
    old = {
        "id": "mi-1", "account_id": "1", "region": "r", "activation_id": "a-1", "name": "n", "hostname": "h",
        "machine_id": "m", "public_key": "k", "os_type": "linux", "os_version": "v", "platform": "linux-amd64",
        "agent_version": version, "agent_mode": "", "intranet_ip": "", "internet_ip": "", "registered_at": 1,
    }  # fmt: skip
    task = {
        "id": "t-1", "account_id": "1", "kind": "upgrade", "state": "created", "progress": 0, "requested_by": "a",
        "created_at": 1, "updated_at": 1, "deadline": 2,
    }  # fmt: skip
    inventory = {
        "instance_id": "mi-1", "kind": "ACS:Application", "content_hash": "c", "captured_at": "", "received_at": 1,
        "count": 0, "content": b"",
    }  # fmt: skip
    with empty.transaction() as tx:
        for name, row in (("instances", old), ("tasks", task), ("inventories", inventory)):
            tx.run(sa.table(name, *map(sa.column, row)).insert().values(row))
    migrate(empty)
    with empty.reading() as tx:
        assert tx.scalar(sa.text("SELECT agent_kind FROM instances")) == kind
        assert tx.scalar(sa.text("SELECT topic FROM tasks")) == ""
        assert tx.scalar(sa.text("SELECT count(*) FROM inventories")) == 1


def test_0003_keeps_running_agents_reachable(empty: Database) -> None:
    """Until now every request counted, so the last one is the first value of the new column."""
    migrate(empty, "0002")
    old = {
        "account_id": "1", "region": "r", "activation_id": "a-1", "name": "n", "hostname": "h",
        "machine_id": "m", "public_key": "k", "os_type": "linux", "os_version": "v", "platform": "linux-amd64",
        "agent_version": "2.2.3.578", "agent_mode": "", "intranet_ip": "", "internet_ip": "", "registered_at": 1,
    }  # fmt: skip
    with empty.transaction() as tx:
        for row in ({**old, "id": "mi-1", "last_heard_at": 5}, {**old, "id": "mi-2", "last_heard_at": None}):
            tx.run(sa.table("instances", *map(sa.column, row)).insert().values(row))
    migrate(empty)
    with empty.reading() as tx:
        found = tx.rows(sa.text("SELECT reachable_at, agent_started_at FROM instances ORDER BY id"))
    assert [tuple(row) for row in found] == [(5, None), (None, None)]


def test_0009_packages_from_before_keep_their_order(empty: Database) -> None:
    """Once each, however many releases they have; an operator may change it."""
    migrate(empty, "0008")
    row = {"platform": "linux-amd64", "sha256": "0", "size": 1, "file_name": "f", "manifest": "{}", "created_at": 1}
    with empty.transaction() as tx:
        for package, version in (("rclone", "1.0"), ("rclone", "1.1"), ("restic", "1.0")):
            named = {**row, "package": package, "version": version}
            tx.run(sa.table("releases", *map(sa.column, named)).insert().values(named))
    migrate(empty)
    with empty.reading() as tx:
        found = tx.rows(sa.text("SELECT package, scheme FROM package_schemes ORDER BY package"))
    assert [tuple(row) for row in found] == [("rclone", "pep440"), ("restic", "pep440")]


def test_an_instance_has_a_known_kind_of_agent(empty: Database) -> None:
    """The database refuses a kind that the code does not know."""
    migrate(empty)
    names = {column.name: column for column in metadata.tables["instances"].columns if not column.nullable}
    row = {name: 1 if name == "registered_at" else "x" for name in names}
    with pytest.raises(sa.exc.IntegrityError), empty.engine.begin() as connection:
        connection.execute(sa.table("instances", *map(sa.column, row)).insert().values(row))


def test_0007_keeps_versions_that_may_have_been_fetched_and_fixes_the_only_package(empty: Database) -> None:
    """Where several packages are offered, none becomes the default."""
    migrate(empty, "0006")
    with empty.transaction() as tx:
        for package, platform, withdrawn in (
            ("rclone", "linux-amd64", None),
            ("restic", "linux-amd64", 5),
            ("rclone", "linux-arm64", None),
            ("restic", "linux-arm64", None),
        ):
            names = {"package": package, "version": "1", "platform": platform}
            rest = {"sha256": "0", "size": 1, "file_name": "f", "manifest": "{}", "created_at": 3}
            row = {**names, **rest, "withdrawn_at": withdrawn}
            tx.run(sa.table("releases", *map(sa.column, row)).insert().values(row))
            offer = {**names, "channel": "stable"}
            tx.run(sa.table("release_offers", *map(sa.column, offer)).insert().values(offer))
    migrate(empty)
    with empty.reading() as tx:
        defaults = [tuple(row) for row in tx.rows(sa.text("SELECT channel, platform, package FROM default_packages"))]
        assert defaults == [("stable", "linux-amd64", "rclone")]
        assert {row[0] for row in tx.rows(sa.text("SELECT fetched_at FROM releases"))} == {3}


def test_0038_deltas_that_were_given_up_are_tried_again(empty: Database) -> None:
    """Those that lacked memory or time. What is of no use stays so, and what is made stays as it is."""
    migrate(empty, "0037")
    row = {
        "package": "rclone", "platform": "linux-amd64", "base_version": "1.0", "size": 1, "base_sha256": "0",
        "base_length": 1, "result_sha256": "0", "result_length": 1, "made_at": 1,
    }  # fmt: skip
    notes = {
        "1.1": ("", "making it needs 900 MB, and delta_megabytes is 500"),
        "1.2": ("", "making it took more than 3600 s"),
        "1.3": ("", "the delta has 90 percent of the artifact's bytes: it is of no use"),
        "1.4": ("abc", ""),
    }
    with empty.transaction() as tx:
        for version, (sha256, note) in notes.items():
            one = {**row, "version": version, "sha256": sha256, "note": note}
            tx.run(sa.table("release_deltas", *map(sa.column, one)).insert().values(one))
    migrate(empty)
    with empty.reading() as tx:
        found = tx.rows(
            sa.text("SELECT version, retry_above, retry_at, downloads FROM release_deltas ORDER BY version")
        )
    assert [tuple(each) for each in found] == [
        ("1.1", 0, None, 0),
        ("1.2", 0, None, 0),
        ("1.3", None, None, 0),
        ("1.4", None, None, 0),
    ]
