"""Tags of roles and of an account's own policies, by their names."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from backfleet.identity import _store
from backfleet.identity.errors import LimitReached, NotFound
from backfleet.storage import Transaction

TAGS_PER_ITEM: Final = 20
Tags = Mapping[str, str]


def tags_of(tx: Transaction, account_id: str, kind: str, names: Sequence[str] | None = None) -> dict[str, Tags]:
    """Return the tags of those that have some, by name.

    Args:
        tx: the transaction to read in.
        account_id: the account.
        kind: Role or Policy.
        names: of which ones; None for all. A name that the account does not have is left out.
    """
    return _store.tags.of_account(tx, account_id, kind, names)


def set_tags(tx: Transaction, account_id: str, kind: str, names: Sequence[str], tags: Tags) -> None:
    """Give tags to all of these; a key that is there already gets the new value.

    Raises:
        NotFound: the account does not have one of them; none is changed.
        LimitReached: one of them would have more than TAGS_PER_ITEM.
    """
    _change(tx, account_id, kind, names, lambda known: {**known, **tags})


def remove_tags(tx: Transaction, account_id: str, kind: str, names: Sequence[str], keys: Sequence[str] | None) -> None:
    """Take the tags with these keys from all of these; None takes every tag. A key that is not there does not matter.

    Raises:
        NotFound: the account does not have one of them; none is changed.
    """

    def left(known: Tags) -> Tags:
        return {} if keys is None else {key: value for key, value in known.items() if key not in keys}

    _change(tx, account_id, kind, names, left)


def _change(tx: Transaction, account_id: str, kind: str, names: Sequence[str], changed: Callable[[Tags], Tags]) -> None:
    known = _store.tags.for_update(tx, account_id, kind, names)
    missing = [name for name in names if name not in known]
    if missing:
        raise NotFound(kind, missing[0])
    for name, tags in known.items():
        new = changed(tags)
        if len(new) > TAGS_PER_ITEM:
            raise LimitReached("Tag", TAGS_PER_ITEM)
        _store.tags.put(tx, account_id, kind, name, new)
