"""Answer a repeated call as the first one was answered: the mechanism behind ClientToken.

A module that takes ClientTokens owns a table made by `token_table` and one `TokenStore` over it. In the transaction
of a call: `find` what the token is bound to, or do the work and `bind` its result. `purge` forgets expired tokens.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from backfleet.storage import Conflict, Moment, Transaction, metadata
from backfleet.values import value_object


class TokenReused(Exception):
    """The same ClientToken came before, with other parameters."""


def token_table(name: str, result: sa.Column[Any]) -> sa.Table:
    """Return a table that binds the ClientTokens of accounts to what their calls led to, in the column `result`."""
    return sa.Table(
        name,
        metadata,
        sa.Column("account_id", sa.String(16), primary_key=True),
        sa.Column("token", sa.String(64), primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        result,
        sa.Column("until", Moment, nullable=False, index=True),
    )


@value_object
class TokenStore:
    """The SQL on one table of ClientTokens; `result` names its column of results."""

    table: sa.Table
    result: str

    def find(self, tx: Transaction, account_id: str, token: str, fingerprint: str, *, now: datetime) -> str | None:
        """Return what the call with this token led to; None if the token is new or expired.

        Args:
            fingerprint: a digest of the call's parameters, to tell a repeated call from another one.

        Raises:
            TokenReused: the token came with other parameters.
        """
        column = self.table.c
        named = sa.and_(column.account_id == account_id, column.token == token)
        tx.run(sa.delete(self.table).where(named, column.until <= now))
        known = tx.first(sa.select(column.fingerprint, column[self.result].label("result")).where(named))
        if known is None:
            return None
        if known.fingerprint != fingerprint:
            raise TokenReused
        return str(known.result)

    def bind(
        self, tx: Transaction, account_id: str, token: str, fingerprint: str, result: str, *, until: datetime
    ) -> None:
        """Bind a token to the result of its call until a moment.

        Raises:
            Conflict: another call bound the same token at the same time; run the transaction again.
        """
        row = {"account_id": account_id, "token": token, "fingerprint": fingerprint, "until": until}
        if not tx.add_if_new(self.table, row | {self.result: result}):
            raise Conflict("two calls with the same ClientToken ran at the same time")

    def purge(self, tx: Transaction, *, before: datetime, results: Sequence[str] = ()) -> None:
        """Forget tokens that expired before a moment, and those bound to one of these results."""
        column = self.table.c
        tx.run(sa.delete(self.table).where(sa.or_(column.until < before, column[self.result].in_(results))))
