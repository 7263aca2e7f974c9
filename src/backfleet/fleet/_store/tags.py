"""Tags of resources of any kind."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from backfleet.fleet._tables import clients, tags
from backfleet.fleet.model import ResourceTag, TagFilter
from backfleet.paging import Listing, Page
from backfleet.storage import Prepared, Transaction, list_part

_HAS_TAG: Final = sa.and_(
    tags.c.kind == "instance", tags.c.resource_id == clients.c.instance_id, tags.c.key == sa.bindparam("tag")
)
_GROUP: Final = (tags.c.account_id, tags.c.region, tags.c.value, clients.c.package)
_NAMED: Final = clients.c.id.in_(sa.bindparam("ids", expanding=True))
_TAGGED: Final = Prepared(sa.select(clients.c.id, *_GROUP).join(tags, _HAS_TAG).where(_NAMED))


def put(
    tx: Transaction, account_id: str, region: str, kind: str, ids: Sequence[str], values: Mapping[str, str]
) -> None:
    """Set tags of resources. Rows are written in the order of ids and keys, so that two calls cannot deadlock."""
    for resource_id in sorted(ids):
        for key in sorted(values):
            row = {
                "kind": kind,
                "resource_id": resource_id,
                "key": key,
                "value": values[key],
                "account_id": account_id,
                "region": region,
            }
            if not tx.add_if_new(tags, row):
                known = sa.and_(tags.c.kind == kind, tags.c.resource_id == resource_id, tags.c.key == key)
                tx.run(sa.update(tags).where(known).values(value=values[key]))


def drop(tx: Transaction, kind: str, ids: Sequence[str], keys: Sequence[str] | None) -> None:
    """Delete tags with these keys from resources; None deletes all of their tags."""
    conditions = [tags.c.kind == kind, tags.c.resource_id.in_(ids)]
    if keys is not None:
        conditions.append(tags.c.key.in_(keys))
    tx.run(sa.delete(tags).where(*conditions))


def of_resources(tx: Transaction, kind: str, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the tags of resources by resource id, in the order of their keys."""
    found: dict[str, dict[str, str]] = {}
    if ids:
        query = sa.select(tags).where(tags.c.kind == kind, tags.c.resource_id.in_(ids)).order_by(tags.c.key)
        for row in tx.rows(query):
            found.setdefault(row.resource_id, {})[row.key] = row.value
    return found


def page_of(
    tx: Transaction,
    account_id: str,
    region: str,
    kind: str,
    ids: Sequence[str] | None,
    with_tags: TagFilter,
    page: Page,
) -> Listing[ResourceTag]:
    """Return the tags of an account's resources, ordered by resource id and key."""
    conditions = [tags.c.account_id == account_id, tags.c.region == region, tags.c.kind == kind]
    if ids:
        conditions.append(tags.c.resource_id.in_(ids))
    conditions += has_tags(kind, tags.c.resource_id, with_tags)
    keys = [(tags.c.resource_id, False), (tags.c.key, False)]
    rows, ended = list_part(tx, sa.select(tags).where(*conditions), keys, page)
    total = tx.scalar(sa.select(sa.func.count()).select_from(tags).where(*conditions))
    return Listing([ResourceTag(row.resource_id, row.key, row.value) for row in rows], total, ended)


def has_tags(kind: str, resource_id: sa.ColumnElement[Any], with_tags: TagFilter) -> list[sa.ColumnElement[bool]]:
    """Return one condition for each tag that the resource in this column must have."""
    conditions: list[sa.ColumnElement[bool]] = []
    for key, value in with_tags:
        tag = tags.alias()
        same = [tag.c.kind == kind, tag.c.resource_id == resource_id, tag.c.key == key]
        if value is not None:
            same.append(tag.c.value == value)
        conditions.append(sa.exists().where(*same))
    return conditions


def places_with(tx: Transaction, account_id: str, region: str, key: str, value: str) -> list[tuple[str, str]]:
    """Return instance and client of whatever has a tag, itself or by its instance; "" where there is no client."""
    mine = [tags.c.account_id == account_id, tags.c.region == region, tags.c.key == key, tags.c.value == value]
    by_instance = sa.select(tags.c.resource_id.label("instance_id"), sa.func.coalesce(clients.c.id, "").label("id"))
    joined = by_instance.select_from(tags.outerjoin(clients, clients.c.instance_id == tags.c.resource_id))
    by_client = sa.select(clients.c.instance_id, clients.c.id).join(tags, tags.c.resource_id == clients.c.id)
    both = sa.union(joined.where(tags.c.kind == "instance", *mine), by_client.where(tags.c.kind == "client", *mine))
    return sorted((row.instance_id, row.id) for row in tx.rows(both))


def versions_by_tag(tx: Transaction, client_ids: Sequence[str], key: str) -> dict[str, set[str]]:
    """Return the versions of a client's package on all hosts whose tag `key` has the same value as its own host's.

    Clients whose hosts do not have the tag are left out.
    """
    if not client_ids:
        return {}
    groups: dict[tuple[str, ...], list[str]] = {}
    for row in tx.rows(_TAGGED, {"ids": client_ids, "tag": key}):
        groups.setdefault(tuple(row)[1:], []).append(row.id)
    found: dict[str, set[str]] = {}
    for values, ids in groups.items():
        same = sa.and_(*(column == value for column, value in zip(_GROUP, values, strict=True)))
        versions = sa.select(clients.c.version).distinct().join(tags, _HAS_TAG).where(same, clients.c.version != "")
        read = {row.version for row in tx.rows(versions, {"tag": key})}
        found |= dict.fromkeys(ids, read)
    return found
