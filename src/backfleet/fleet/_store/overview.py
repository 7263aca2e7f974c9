"""The fleet at a glance: how many clients have which version at which site, and a search over all of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from backfleet.fleet._tables import clients, instances, tags
from backfleet.fleet.model import FleetGroup, FleetRow, FleetSearch
from backfleet.paging import Listing, Page
from backfleet.storage import Transaction


def groups(tx: Transaction, account_id: str, region: str, site_tag: str, heard_since: datetime) -> list[FleetGroup]:
    """Return how many clients are alike in everything that an overview shows."""
    silent, drifted = _is_silent(heard_since).label("silent"), (clients.c.drift != "").label("drifted")
    alike = (_site(), clients.c.package, clients.c.version, instances.c.platform, clients.c.channel,
             clients.c.status, silent, drifted)  # fmt: skip
    query = sa.select(*alike, sa.func.count().label("number")).select_from(_joined(site_tag))
    query = query.where(*_of_account(account_id, region)).group_by(*alike)
    return [FleetGroup(**{**row._mapping, "silent": bool(row.silent)}) for row in tx.rows(query)]


def search(
    tx: Transaction,
    account_id: str,
    region: str,
    asked: FleetSearch,
    heard_since: datetime,
    page: Page,
    known_total: int | None,
) -> Listing[FleetRow]:
    """Return the clients that a search finds, by the names of their hosts. They are counted if no total is known."""
    conditions = [*_of_account(account_id, region), *_wanted(asked, account_id, heard_since)]
    joined = _joined(asked.site_tag)
    columns = (clients.c.id.label("client_id"), clients.c.package, clients.c.version, clients.c.channel,
               clients.c.status, clients.c.drift, instances.c.id.label("instance_id"), instances.c.name,
               instances.c.hostname, instances.c.platform, instances.c.last_heard_at,
               _is_silent(heard_since).label("silent"), _site())  # fmt: skip
    query = sa.select(*columns).select_from(joined).where(*conditions)
    query = query.order_by(instances.c.name, instances.c.hostname, clients.c.id).limit(page.size).offset(page.offset)
    total = known_total
    if total is not None and page.offset >= total:
        return Listing([], total)
    if total is None:
        total = int(tx.scalar(sa.select(sa.func.count()).select_from(joined).where(*conditions)))
    return Listing([FleetRow(**{**row._mapping, "silent": bool(row.silent)}) for row in tx.rows(query)], total)


def _wanted(asked: FleetSearch, account_id: str, heard_since: datetime) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if asked.text:
        columns = (clients.c.id, clients.c.version, clients.c.package, instances.c.id, instances.c.name,
                   instances.c.hostname)  # fmt: skip
        tagged = sa.select(tags.c.resource_id).where(
            tags.c.kind == "instance", tags.c.account_id == account_id, _contains(tags.c.value, asked.text)
        )
        found.append(sa.or_(*(_contains(column, asked.text) for column in columns), instances.c.id.in_(tagged)))
    for column, value in ((clients.c.package, asked.package), (clients.c.version, asked.version)):
        if value is not None:
            found.append(column == value)
    if asked.site is not None:
        found.append(sa.func.coalesce(tags.c.value, "") == asked.site)
    if asked.silent:
        found.append(_is_silent(heard_since))
    if asked.drifted:
        found.append(clients.c.drift != "")
    if asked.statuses is not None:
        found.append(clients.c.status.in_(asked.statuses))
    if asked.versions is not None:
        found.append(_one_of(asked.versions))
    return found


def _one_of(versions: Sequence[tuple[str, str, str, str]]) -> sa.ColumnElement[bool]:
    of = sa.tuple_(clients.c.package, instances.c.platform, clients.c.channel, clients.c.version)
    return of.in_(list(versions)) if versions else sa.false()


def _contains(column: sa.Column[Any], text: str) -> sa.ColumnElement[bool]:
    return sa.func.lower(column).contains(text.lower(), autoescape=True)


def _site() -> sa.Label[str]:
    return sa.func.coalesce(tags.c.value, "").label("site")


def _is_silent(heard_since: datetime) -> sa.ColumnElement[bool]:
    never = instances.c.last_heard_at.is_(None)
    return sa.and_(instances.c.stopped_at.is_(None), sa.or_(never, instances.c.last_heard_at < heard_since))


def _joined(site_tag: str) -> sa.Join:
    tagged = sa.and_(tags.c.kind == "instance", tags.c.resource_id == instances.c.id, tags.c.key == site_tag)
    return clients.join(instances, instances.c.id == clients.c.instance_id).outerjoin(tags, tagged)


def _of_account(account_id: str, region: str) -> list[sa.ColumnElement[bool]]:
    """Return what makes clients an account's: their instances are, and in the order of these no page needs sorting."""
    enrolled = instances.c.deregistered_at.is_(None)
    return [instances.c.account_id == account_id, instances.c.region == region, enrolled]
