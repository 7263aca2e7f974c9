"""Tags: keys and values that callers give to their resources, and find them by."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from backfleet.fleet import _store
from backfleet.fleet.model import ResourceTag, TagFilter
from backfleet.paging import Listing, Page
from backfleet.storage import Transaction

MOST_TAGS: Final = 20  # of one resource


class TooManyTags(Exception):
    """A resource would have more than MOST_TAGS."""


def set_tags(
    tx: Transaction, account_id: str, region: str, kind: str, ids: Sequence[str], tags: Mapping[str, str]
) -> None:
    """Set tags of resources of the account. A key that a resource has already gets the new value.

    Raises:
        TooManyTags: a resource would have too many. The caller must roll the transaction back.
    """
    _store.tags.put(tx, account_id, region, kind, ids, tags)
    if any(len(has) > MOST_TAGS for has in _store.tags.of_resources(tx, kind, ids).values()):
        raise TooManyTags


def remove_tags(tx: Transaction, kind: str, ids: Sequence[str], keys: Sequence[str] | None) -> None:
    """Remove tags with these keys from resources; None removes all of their tags."""
    _store.tags.drop(tx, kind, ids, keys)


def tags_of(tx: Transaction, kind: str, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the tags of resources by resource id. Resources without tags are left out."""
    return _store.tags.of_resources(tx, kind, ids)


def find_tags(
    tx: Transaction,
    account_id: str,
    region: str,
    kind: str,
    ids: Sequence[str] | None,
    with_tags: TagFilter,
    page: Page,
) -> Listing[ResourceTag]:
    """Return every tag of the account's resources of one kind.

    Args:
        tx: the transaction to read in.
        account_id: the account.
        region: the region.
        kind: the API's word for the kind of resource, such as `instance`.
        ids: only these resources; None and empty mean all.
        with_tags: only resources that have all of these tags; empty means all.
        page: which part of the list.
    """
    return _store.tags.page_of(tx, account_id, region, kind, ids, with_tags, page)


def places_with_tag(tx: Transaction, account_id: str, region: str, key: str, value: str) -> list[tuple[str, str]]:
    """Return instance and client of whatever has a tag now, itself or by its instance; "" where there is no client."""
    return _store.tags.places_with(tx, account_id, region, key, value)


def has_tags(kind: str, resource_id: sa.ColumnElement[Any], with_tags: TagFilter) -> list[sa.ColumnElement[bool]]:
    """Return conditions for another module's query: the resource in this column has all of these tags."""
    return _store.tags.has_tags(kind, resource_id, with_tags)
