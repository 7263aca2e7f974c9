"""Nonces of requests that were accepted."""

import functools
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from backfleet.identity._store.access_keys import as_read, values_of
from backfleet.identity._tables import nonces
from backfleet.identity.model import SealedKey
from backfleet.storage import Prepared, Transaction

_VALUES: Final = {"key": "access_key_id", "nonce": "nonce", "until": "until"}  # of a parameter, and its column


def add(tx: Transaction, access_key_id: str, nonce: str, until: datetime) -> bool:
    """Remember a nonce until a moment. Return True to the one request that used it first."""
    return tx.add_if_new(nonces, {"access_key_id": access_key_id, "nonce": nonce, "until": until})


def add_of_key(tx: Transaction, key: SealedKey, nonce: str, until: datetime) -> bool:
    """The same for a key that was read before; False also if that is not as it was."""
    statement = _add_of_key(tx.engine_name)
    return (
        tx.run(statement, {"new_key": key.access_key_id, "new_nonce": nonce, "new_until": until} | values_of(key)) == 1
    )


@functools.cache
def _add_of_key(engine: str) -> Prepared:
    new: Any = sqlite_insert(nonces) if engine == "sqlite" else postgresql_insert(nonces)
    named = [sa.bindparam(f"new_{name}", type_=nonces.c[at].type) for name, at in _VALUES.items()]
    row = sa.select(*named).where(sa.exists(as_read()))
    return Prepared(new.from_select(list(_VALUES.values()), row).on_conflict_do_nothing())


def drop_expired(tx: Transaction, now: datetime, limit: int) -> int:
    """Delete at most `limit` expired nonces, and return how many. Rows that another replica deletes are left to it."""
    expired = sa.select(nonces.c.access_key_id, nonces.c.nonce).where(nonces.c.until < now).order_by(nonces.c.until)
    expired = expired.limit(limit).with_for_update(skip_locked=True)
    return tx.run(sa.delete(nonces).where(sa.tuple_(nonces.c.access_key_id, nonces.c.nonce).in_(expired)))
