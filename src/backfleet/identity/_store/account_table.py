"""Tables whose rows belong to an account and have a name that is unique in it."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from backfleet.storage import Transaction
from backfleet.values import value_object

Row = sa.Row[Any]
Item = TypeVar("Item")


@value_object
class AccountTable(Generic[Item]):
    """The queries that users, groups, roles and identity providers share."""

    table: sa.Table
    read: Callable[[Row], Item]
    write: Callable[[Item], Mapping[str, Any]]
    """Return every column of an item except `account_id`."""
    folded: bool = False
    """Names that differ in letter case only are the same; the table has a column `folded_name`."""

    def add(self, tx: Transaction, account_id: str, item: Item) -> None:
        """Add a new item. A name that is taken is a Conflict."""
        tx.add(self.table, [{**self.write(item), "account_id": account_id}])

    def find(self, tx: Transaction, account_id: str, name: str, *, lock: bool = False) -> Item | None:
        """Return an item by name. `lock` makes others who change it wait."""
        column = self.table.c.folded_name if self.folded else self.table.c.name
        key = name.lower() if self.folded else name
        query = sa.select(self.table).where(self.table.c.account_id == account_id, column == key)
        row = tx.first(query.with_for_update() if lock else query)
        return None if row is None else self.read(row)

    def after(self, tx: Transaction, account_id: str, after: str, limit: int | None) -> list[Item]:
        """Return the items whose names come after this one, by name."""
        query = sa.select(self.table).where(self.table.c.account_id == account_id, self.table.c.name > after)
        return [self.read(row) for row in tx.rows(query.order_by(self.table.c.name).limit(limit))]

    def count(self, tx: Transaction, account_id: str) -> int:
        """Return how many items the account has."""
        return count_of_account(tx, self.table, account_id)

    def change(self, tx: Transaction, item_id: str, **values: Any) -> None:
        """Change columns of an item."""
        tx.run(sa.update(self.table).where(self.table.c.id == item_id).values(**values))

    def drop(self, tx: Transaction, item_id: str) -> None:
        """Delete an item; whatever refers to it must be deleted before."""
        tx.run(sa.delete(self.table).where(self.table.c.id == item_id))


def count_of_account(tx: Transaction, table: sa.Table, account_id: str) -> int:
    """Return how many rows of a table belong to an account."""
    return int(tx.scalar(sa.select(sa.func.count()).select_from(table).where(table.c.account_id == account_id)))
