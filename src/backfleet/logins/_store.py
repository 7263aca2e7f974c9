"""The only SQL on the tables of logins."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from backfleet.logins._tables import codes, sessions
from backfleet.storage import Transaction


def add(tx: Transaction, row: dict[str, Any]) -> None:
    """Add a session."""
    tx.add(sessions, [row])


def by_hash(tx: Transaction, id_hash: str) -> sa.Row[Any] | None:
    """Return a session's row, over or not; None if there is none."""
    return tx.first(sa.select(sessions).where(sessions.c.id_hash == id_hash))


def set_used(tx: Transaction, id_hash: str, now: datetime) -> None:
    """Note that a session was used."""
    tx.run(sa.update(sessions).where(sessions.c.id_hash == id_hash).values(used_at=now))


def drop(tx: Transaction, id_hash: str) -> bool:
    """Delete a session. Return False if there was none."""
    return tx.run(sa.delete(sessions).where(sessions.c.id_hash == id_hash)) > 0


def drop_oldest(tx: Transaction, access_key_id: str, kept: int) -> None:
    """Delete the sessions of a key but the newest ones."""
    mine = sessions.c.access_key_id == access_key_id
    newest = sa.select(sessions.c.id_hash).where(mine).order_by(sessions.c.began_at.desc(), sessions.c.id_hash)
    keep = [row.id_hash for row in tx.rows(newest.limit(kept))]
    tx.run(sa.delete(sessions).where(mine, sessions.c.id_hash.not_in(keep)))


def add_code(tx: Transaction, code_hash: str, access_key_id: str, until: datetime) -> None:
    """Add a code."""
    tx.add(codes, [{"code_hash": code_hash, "access_key_id": access_key_id, "until": until}])


def take_code(tx: Transaction, code_hash: str, now: datetime) -> str | None:
    """Delete a code and return the key it stands for; None if there is none, or if another request took it."""
    found = tx.first(sa.select(codes).where(codes.c.code_hash == code_hash))
    if found is None or not tx.run(sa.delete(codes).where(codes.c.code_hash == code_hash)):
        return None
    return str(found.access_key_id) if found.until > now else None


def count_codes(tx: Transaction, access_key_id: str, now: datetime) -> int:
    """Return how many codes of a key wait to be used."""
    mine = sa.and_(codes.c.access_key_id == access_key_id, codes.c.until > now)
    return int(tx.scalar(sa.select(sa.func.count()).select_from(codes).where(mine)))


def drop_all(tx: Transaction) -> None:
    """Delete every session and code."""
    tx.run(sa.delete(sessions))
    tx.run(sa.delete(codes))


def drop_expired(tx: Transaction, ended_before: datetime, unused_since: datetime) -> None:
    """Delete sessions and codes that are over."""
    over = sa.or_(sessions.c.ends_at < ended_before, sessions.c.used_at < unused_since)
    tx.run(sa.delete(sessions).where(over))
    tx.run(sa.delete(codes).where(codes.c.until < ended_before))
