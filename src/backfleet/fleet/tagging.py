"""Tags of whatever has them: keys and values that callers give to their things, and find them by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from backfleet.fleet import _store
from backfleet.paging import Listing, Page
from backfleet.storage import Transaction

MOST_TAGS = 20  # of one resource

Wanted = Sequence[tuple[str, str | None]]
"""Keys and values that must all be there; None stands for any value."""


class TooManyTags(Exception):
    """A resource would have more than MOST_TAGS."""


@dataclass(frozen=True, slots=True)
class ResourceTag:
    """One tag of one resource."""

    resource_id: str
    key: str
    value: str


def set_tags(
    tx: Transaction, account_id: str, region: str, kind: str, ids: Sequence[str], tags: Mapping[str, str]
) -> None:
    """Give each of these resources of the account these tags; a key it has gets the new value.

    Raises:
        TooManyTags: one of them would have too many; none is changed once the transaction is undone.
    """
    _store.put_tags(tx, account_id, region, kind, ids, tags)
    if any(len(has) > MOST_TAGS for has in _store.tags_of(tx, kind, ids).values()):
        raise TooManyTags


def remove_tags(tx: Transaction, kind: str, ids: Sequence[str], keys: Sequence[str] | None) -> None:
    """Take these keys from these resources; None takes all."""
    _store.drop_tags(tx, kind, ids, keys)


def tags_of(tx: Transaction, kind: str, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """The tags of these resources, by their ids: only of those that have any."""
    return _store.tags_of(tx, kind, ids)


def find_tags(
    tx: Transaction, account_id: str, region: str, kind: str, ids: Sequence[str] | None, wanted: Wanted, page: Page
) -> Listing[ResourceTag]:
    """Every tag of the account's resources of a kind: of these ids, with these tags; None and empty mean all."""
    return _store.tags_page(tx, account_id, region, kind, ids, wanted, page)


def has_tags(kind: str, resource_id: "sa.ColumnElement[Any]", wanted: Wanted) -> "list[sa.ColumnElement[bool]]":
    """Conditions for another room's query: the resource in this column has all of these tags."""
    return _store.has_tags(kind, resource_id, wanted)
