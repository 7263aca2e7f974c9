"""ClientTokens: a repeated call finds what the first one led to."""

from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from backfleet.assistant._tables import tokens
from backfleet.idempotency import TokenReused, TokenStore
from backfleet.storage import Conflict, Database

STORE = TokenStore(tokens, "answer")
DAY = timedelta(days=1)


def bind(database: Database, now: datetime, *, value: str = "t", result: str = "done") -> None:
    with database.transaction() as tx:
        STORE.bind(tx, "1", value, "f", result, until=now + DAY)


def find(
    database: Database, now: datetime, *, value: str = "t", account: str = "1", fingerprint: str = "f"
) -> str | None:
    with database.transaction() as tx:
        return STORE.find(tx, account, value, fingerprint, now=now)


def test_a_repeated_call_finds_the_result(database: Database, now: datetime) -> None:
    """Each account has its own tokens."""
    assert find(database, now) is None
    bind(database, now)
    assert find(database, now) == "done"
    assert find(database, now, account="2") is None
    assert find(database, now, value="other") is None


def test_other_parameters_are_refused(database: Database, now: datetime) -> None:
    """The token stays bound to the first call."""
    bind(database, now)
    with pytest.raises(TokenReused):
        find(database, now, fingerprint="another")
    assert find(database, now) == "done"


def test_an_expired_token_is_free(database: Database, now: datetime) -> None:
    """At the moment at which it expires."""
    bind(database, now)
    assert find(database, now + DAY - timedelta(seconds=1)) == "done"
    assert find(database, now + DAY, fingerprint="another") is None
    bind(database, now + DAY, result="again")
    assert find(database, now + DAY) == "again"


def test_a_token_is_bound_once(database: Database, now: datetime) -> None:
    """The second of two simultaneous calls has to start again."""
    bind(database, now)
    with pytest.raises(Conflict):
        bind(database, now, result="twice")
    assert find(database, now) == "done"


def test_expired_tokens_and_those_of_deleted_results_are_purged(database: Database, now: datetime) -> None:
    """All others stay."""
    for token, result in (("a", "one"), ("b", "two"), ("c", "three")):
        bind(database, now + (DAY if token != "a" else timedelta(0)), value=token, result=result)
    with database.transaction() as tx:
        STORE.purge(tx, before=now + DAY + timedelta(seconds=1), results=["two"])
        assert [row.token for row in tx.rows(sa.select(tokens.c.token))] == ["c"]
