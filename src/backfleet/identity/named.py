"""What creating, finding and renaming have in common for users, groups, roles and identity providers."""

from typing import Generic, TypeVar

from backfleet.identity import _store
from backfleet.identity._store import AccountTable
from backfleet.identity.errors import AlreadyExists, LimitReached, NotFound
from backfleet.storage import Transaction
from backfleet.values import value_object

Item = TypeVar("Item")


@value_object
class NamedItems(Generic[Item]):
    """The items of one kind that accounts have, each with a name that is unique in its account."""

    kind: str  # the RAM API's word
    table: AccountTable[Item]

    def find(self, tx: Transaction, account_id: str, name: str, *, lock: bool = False) -> Item:
        """Return an item. `lock` keeps others from changing what belongs to it until the transaction ends.

        Raises:
            NotFound: the account has none of that name.
        """
        found = self.table.find(tx, account_id, name, lock=lock)
        if found is None:
            raise NotFound(self.kind, name)
        return found

    def check_new(self, tx: Transaction, account_id: str, name: str, limit: int) -> None:
        """Check that an item may be created. Others who create one in the account wait until the transaction ends.

        Raises:
            AlreadyExists: the name is taken.
            LimitReached: the account has `limit` items.
        """
        _store.accounts.lock(tx, account_id)
        self._check_name(tx, account_id, name)
        if self.table.count(tx, account_id) >= limit:
            raise LimitReached(self.kind, limit)

    def find_to_rename(self, tx: Transaction, account_id: str, name: str, new_name: str | None) -> Item:
        """Return a locked item, after checking that it may get the new name; None means that it keeps its name.

        Raises:
            NotFound: the account has none of that name.
            AlreadyExists: another has the new name.
        """
        _store.accounts.lock(tx, account_id)
        found = self.find(tx, account_id, name, lock=True)
        if new_name is not None and new_name != name:
            self._check_name(tx, account_id, new_name)
        return found

    def _check_name(self, tx: Transaction, account_id: str, name: str) -> None:
        if self.table.find(tx, account_id, name) is not None:
            raise AlreadyExists(self.kind, name)
