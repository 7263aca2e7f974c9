"""Sessions of the console, on both engines."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from backfleet import identity, logins
from backfleet.ids import draw as really_draw
from backfleet.storage import Database

LIFE = logins.Lifetime(idle=timedelta(hours=1), longest=timedelta(hours=12))


@dataclass
class Person:
    """A user with a key, and the verbs of logins at a moment."""

    database: Database
    vault: identity.Vault
    key: identity.NewAccessKey
    now: datetime

    def begin(self) -> str:
        with self.database.transaction() as tx:
            credential = logins.Credential(self.key.access_key_id)
            return logins.begin(tx, credential, LIFE, now=self.now, draw=really_draw)

    def is_in(self, secret: str, after: timedelta = timedelta(0), *, uses: bool = True) -> bool:
        with self.database.transaction() as tx:
            return logins.find(tx, self.vault, secret, LIFE, now=self.now + after, uses=uses) is not None

    def knows(self, secret: str, key_id: str = "") -> bool:
        with self.database.reading() as tx:
            found = logins.check_secret(tx, self.vault, key_id or self.key.access_key_id, secret)
        return found is not None

    def set_key(self, *, active: bool) -> None:
        with self.database.transaction() as tx:
            identity.set_key(tx, self.key.account_id, "eve", self.key.access_key_id, active=active)


@pytest.fixture
def person(database: Database, tmp_path: Path, now: datetime) -> Person:
    vault = identity.Vault.open(tmp_path)
    with database.transaction() as tx:
        root = identity.first_account(tx, vault, now=now, draw=really_draw)
        assert root is not None
        identity.create_user(tx, root.account_id, "eve", now=now, draw=really_draw)
        key = identity.create_key(tx, vault, root.account_id, "eve", now=now, draw=really_draw)
    return Person(database, vault, key, now)


def test_only_the_secret_of_an_active_key_is_accepted(person: Person) -> None:
    right = person.key.access_key_secret
    assert person.knows(right)
    for wrong in ("", "x", right[:-1], right + "x", right.upper(), "\udcff"):
        assert not person.knows(wrong), wrong
    assert not person.knows(right, "LTAIofnobody")
    assert not person.knows("", "LTAIofnobody")
    assert not person.knows(right, "LTAI' or 1=1")
    person.set_key(active=False)
    assert not person.knows(right)


def test_a_session_ends_when_nothing_is_asked_for_and_in_any_case(person: Person) -> None:
    secret = person.begin()
    assert person.is_in(secret, timedelta(minutes=59))
    assert person.is_in(secret, timedelta(minutes=118)), "what was asked for after 59 minutes counts"
    assert not person.is_in(secret, timedelta(minutes=179))
    busy = person.begin()
    assert all(person.is_in(busy, timedelta(minutes=minutes)) for minutes in range(50, 12 * 60, 50))
    assert person.is_in(busy, timedelta(hours=12, seconds=-1))
    assert not person.is_in(busy, timedelta(hours=12))


def test_what_a_page_fetches_by_itself_does_not_keep_a_session_alive(person: Person) -> None:
    secret = person.begin()
    assert person.is_in(secret, timedelta(minutes=59), uses=False)
    assert not person.is_in(secret, timedelta(minutes=60))


def test_every_session_of_a_key_ends_with_it(person: Person) -> None:
    first, second = person.begin(), person.begin()
    person.set_key(active=False)
    assert not person.is_in(first)
    assert not person.is_in(second)
    person.set_key(active=True)
    with person.database.transaction() as tx:
        identity.delete_key(tx, person.key.account_id, "eve", person.key.access_key_id)
    assert not person.is_in(first)


def test_a_session_that_was_ended_or_never_begun_is_none(person: Person) -> None:
    secret = person.begin()
    with person.database.transaction() as tx:
        assert logins.end(tx, secret)
        assert not logins.end(tx, secret)
    for shown in (secret, "", "a" * 40, "a" * 100_000, "\udcff" * 40):
        assert not person.is_in(shown)


def test_the_oldest_sessions_of_a_key_end_when_it_has_too_many(person: Person) -> None:
    made = []
    for _ in range(23):
        made.append(person.begin())
        person.now += timedelta(seconds=1)
    assert [person.is_in(secret) for secret in made] == [False] * 3 + [True] * 20


def test_the_database_holds_nothing_that_logs_in(person: Person) -> None:
    secret = person.begin()
    with person.database.transaction() as tx:
        code = logins.make_code(tx, person.key.access_key_id, now=person.now, draw=really_draw)
    with person.database.engine.connect() as connection:
        rows = [
            str(tuple(row))
            for table in ("console_sessions", "login_codes")
            for row in connection.exec_driver_sql(f"SELECT * FROM {table}")  # noqa: S608
        ]
    assert len(rows) == 2
    assert not [row for row in rows if secret in row or code in row or person.key.access_key_secret in row]


def test_a_code_works_once_and_for_ten_minutes(person: Person) -> None:
    def use(code: str, after: timedelta = timedelta(0)) -> str | None:
        with person.database.transaction() as tx:
            return logins.use_code(tx, code, now=person.now + after)

    def make() -> str:
        with person.database.transaction() as tx:
            return logins.make_code(tx, person.key.access_key_id, now=person.now, draw=really_draw)

    code = make()
    assert use(f" {code}\n") == person.key.access_key_id
    assert use(code) is None
    assert use(make(), timedelta(minutes=10)) is None
    assert use("") is None
    for _ in range(20):
        make()
    with pytest.raises(identity.LimitReached):
        make()


def test_what_is_over_is_deleted(person: Person) -> None:
    secret = person.begin()
    with person.database.transaction() as tx:
        logins.make_code(tx, person.key.access_key_id, now=person.now, draw=really_draw)
        logins.purge(tx, now=person.now + timedelta(minutes=30), idle=LIFE.idle)
    assert person.is_in(secret)
    with person.database.transaction() as tx:
        logins.purge(tx, now=person.now + timedelta(hours=2), idle=LIFE.idle)
    with person.database.engine.connect() as connection:
        for table in ("console_sessions", "login_codes"):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() == 0  # noqa: S608
