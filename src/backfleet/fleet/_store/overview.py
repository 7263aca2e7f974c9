"""The fleet at a glance: how many clients have which version at which site, and a search over all of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

from backfleet.fleet._tables import clients, instances, tags
from backfleet.fleet.model import FleetGroup, FleetRow, FleetSearch
from backfleet.paging import Listing, Page
from backfleet.storage import Transaction
from backfleet_host.contract import OWN_AGENT

MANY: Final = 2000  # clients that have a text: from here on going through all of them finds a page sooner
_NAMES: Final = (instances.c.id, instances.c.name, instances.c.hostname)
# As text, not as a value: SQLite uses the index of those that have drifted only if it reads the same condition.
_HAS_DRIFTED: Final = clients.c.drift != sa.literal_column("''", sa.Text)


def groups(tx: Transaction, account_id: str, region: str, site_tag: str) -> list[FleetGroup]:
    """Return how many clients are alike; whether they are silent or have drifted is left out."""
    return _grouped(tx, site_tag, _of_account(account_id, region))


def silent_groups(
    tx: Transaction, account_id: str, region: str, site_tag: str, heard_since: datetime
) -> list[FleetGroup]:
    """Return how many of the silent clients are alike."""
    silent = [*_of_account(account_id, region), _is_silent(heard_since)]
    return _grouped(tx, site_tag, silent, silent=True, drifted=None)


def drifted_groups(
    tx: Transaction, account_id: str, region: str, site_tag: str, heard_since: datetime
) -> list[FleetGroup]:
    """Return how many of the clients that have drifted, and are not silent, are alike."""
    # The function keeps SQLite from going through all instances: it begins with the few clients.
    enrolled = (instances.c.deregistered_at.is_(None), sa.func.coalesce(instances.c.account_id, "") == account_id)
    mine = [*enrolled, instances.c.region == region, clients.c.account_id == account_id, _HAS_DRIFTED]
    return _grouped(tx, site_tag, [*mine, sa.not_(_is_silent(heard_since))], drifted=True)


def _grouped(
    tx: Transaction,
    site_tag: str,
    those: Sequence[sa.ColumnElement[bool]],
    *,
    silent: bool = False,
    drifted: bool | None = False,
) -> list[FleetGroup]:
    """Count clients that are alike. With None, those that have drifted are in groups of their own."""
    alike: list[sa.ColumnElement[Any]] = [_site(), clients.c.package, clients.c.version, instances.c.platform,
                                          clients.c.channel, clients.c.status]  # fmt: skip
    if drifted is None:
        alike.append(_HAS_DRIFTED.label("drifted"))
    query = sa.select(*alike, sa.func.count().label("number")).select_from(_joined(site_tag))
    rows = tx.rows(query.where(*those).group_by(*alike))
    return [FleetGroup(**{"drifted": drifted, **row._mapping, "silent": silent}) for row in rows]


def search(
    tx: Transaction,
    account_id: str,
    region: str,
    asked: FleetSearch,
    heard_since: datetime,
    page: Page,
    total: int,
) -> Listing[FleetRow]:
    """Return a page of the clients that a search without a text finds, by the names of their hosts.

    Args:
        total: How many it finds.
    """
    if page.offset >= total:
        return Listing([], total)
    conditions = [*_of_account(account_id, region), *_wanted(asked, heard_since)]
    return Listing(_page(tx, asked, heard_since, conditions, page, total), total)


def count(tx: Transaction, account_id: str, region: str, asked: FleetSearch, heard_since: datetime) -> int:
    """Return how many clients a search without a text finds."""
    those = [*_of_account(account_id, region), *_wanted(asked, heard_since)]
    return int(tx.scalar(sa.select(sa.func.count()).select_from(_joined(asked.site_tag)).where(*those)) or 0)


def search_text(
    tx: Transaction,
    account_id: str,
    region: str,
    asked: FleetSearch,
    heard_since: datetime,
    page: Page,
    versions: Sequence[tuple[str, str]],
) -> Listing[FleetRow]:
    """Return a page of the clients that a search finds, by the names of their hosts.

    What few clients have is looked up. What many have is found soon by going through them in the order of the list.

    Args:
        versions: The packages and versions of the fleet that have the text.
    """
    conditions = [*_of_account(account_id, region), *_wanted(asked, heard_since)]
    ids = [row.id for row in tx.rows(_with_text(account_id, region, asked.text, versions).limit(MANY + 1))]
    if len(ids) <= MANY:
        conditions.append(clients.c.id.in_(sorted(set(ids))))
    else:
        conditions.append(_has_text(account_id, region, asked.text, versions))
    joined = _joined(asked.site_tag) if asked.site is not None else _clients_with_hosts()
    total = int(tx.scalar(sa.select(sa.func.count()).select_from(joined).where(*conditions)) or 0) if ids else 0
    if page.offset >= total:
        return Listing([], total)
    return Listing(_page(tx, asked, heard_since, conditions, page, total), total)


def _page(
    tx: Transaction,
    asked: FleetSearch,
    heard_since: datetime,
    those: Sequence[sa.ColumnElement[bool]],
    page: Page,
    total: int,
) -> list[FleetRow]:
    """Return a page of clients. The wide rows are read of that page alone, and a page near the end from the end."""
    joined, order = _joined(asked.site_tag), (instances.c.name, instances.c.hostname, instances.c.id, clients.c.package)
    narrow = joined if asked.site is not None else _clients_with_hosts()
    left_out, number, backwards = _from_nearer_end(page, total)
    of_page = sa.select(clients.c.id).select_from(narrow).where(*those).limit(number).offset(left_out)
    of_page = of_page.order_by(*(each.desc() for each in order)) if backwards else of_page.order_by(*order)
    columns = (clients.c.id.label("client_id"), clients.c.package, clients.c.version, clients.c.channel,
               clients.c.status, clients.c.drift, instances.c.id.label("instance_id"), instances.c.name,
               instances.c.hostname, instances.c.platform, instances.c.agent_version, instances.c.last_heard_at,
               _is_silent(heard_since).label("silent"), _site())  # fmt: skip
    query = sa.select(*columns).select_from(joined).order_by(*order)
    query = query.where(clients.c.id.in_(of_page.correlate(None)))
    return [FleetRow(**{**row._mapping, "silent": bool(row.silent)}) for row in tx.rows(query)]


def _from_nearer_end(page: Page, total: int) -> tuple[int, int, bool]:
    """Return how many items to leave out and to take, and whether from the end: both ways are the same page. Pure."""
    number = min(page.size, total - page.offset)
    after = total - page.offset - number
    return (after, number, True) if after < page.offset else (page.offset, number, False)


def _with_text(account_id: str, region: str, text: str, versions: Sequence[tuple[str, str]]) -> sa.CompoundSelect[Any]:
    """Select the ids of clients that have a text, or whose hosts have it; some twice. Each part reads one index."""
    named = sa.select(instances.c.id).where(*_of_account(account_id, region), _contains(_NAMES, text))
    mine = sa.and_(clients.c.account_id == account_id, clients.c.region == region)
    parts = [
        sa.select(clients.c.id).where(clients.c.instance_id.in_(named)),
        sa.select(clients.c.id).where(clients.c.instance_id.in_(_tagged(account_id, region, text))),
        sa.select(clients.c.id).where(mine, _contains([clients.c.id], text)),
    ]
    if versions:
        parts.append(sa.select(clients.c.id).where(mine, _has_version(versions)))
    return sa.union_all(*parts)  # it ends at its limit; without those that occur twice it would have to read all


def _has_text(account_id: str, region: str, text: str, versions: Sequence[tuple[str, str]]) -> sa.ColumnElement[bool]:
    """Return the condition for what `_with_text` selects."""
    has = sa.or_(_contains([*_NAMES, clients.c.id], text), instances.c.id.in_(_tagged(account_id, region, text)))
    return sa.or_(has, _has_version(versions)) if versions else has


def _tagged(account_id: str, region: str, text: str) -> sa.Select[Any]:
    mine = (tags.c.account_id == account_id, tags.c.region == region, tags.c.kind == "instance")
    return sa.select(tags.c.resource_id).where(*mine, _contains([tags.c.value], text))


def _has_version(versions: Sequence[tuple[str, str]]) -> sa.ColumnElement[bool]:
    return sa.tuple_(clients.c.package, clients.c.version).in_(list(versions))


def _wanted(asked: FleetSearch, heard_since: datetime) -> list[sa.ColumnElement[bool]]:
    """Return the conditions of everything that a search asks for, but its text."""
    found: list[sa.ColumnElement[bool]] = []
    for column, value in ((clients.c.package, asked.package), (clients.c.version, asked.version)):
        if value is not None:
            found.append(column == value)
    if asked.site is not None:
        found.append(sa.func.coalesce(tags.c.value, "") == asked.site)
    if asked.silent:
        found.append(_is_silent(heard_since))
    if asked.drifted:
        found.append(_HAS_DRIFTED)
    if asked.host_version is not None:
        found.append(instances.c.agent_version == f"{OWN_AGENT}{asked.host_version}")
    if asked.statuses is not None:
        found.append(clients.c.status.in_(asked.statuses))
    if asked.versions is not None:
        found.append(_one_of(asked.versions))
    return found


def _one_of(versions: Sequence[tuple[str, str, str, str]]) -> sa.ColumnElement[bool]:
    of = sa.tuple_(clients.c.package, instances.c.platform, clients.c.channel, clients.c.version)
    return of.in_(list(versions)) if versions else sa.false()


def _contains(columns: Sequence[sa.Column[Any]], text: str) -> sa.ColumnElement[bool]:
    """Return whether a column has a text in any letter case. SQLite knows the cases of ASCII alone."""
    if text.isascii():
        return sa.or_(*(_AsciiCase(column, _pattern(text.lower())) for column in columns))
    cases = {text, text.lower(), text.upper()}
    return sa.or_(*(_AnyCase(column, _pattern(each)) for column in columns for each in sorted(cases)))


def _pattern(text: str) -> str:
    return "%" + "".join(f"\\{letter}" if letter in "\\%_" else letter for letter in text) + "%"


class _AnyCase(sa.sql.functions.FunctionElement[bool]):
    """A column is like a pattern in any letter case, by the operator of the engine that does it without a function."""

    type = sa.Boolean()
    inherit_cache = True
    _is_implicitly_boolean = True  # it is an operator: nothing is compared with 1


@compiles(_AnyCase)
def _any_case(element: _AnyCase, compiler: Any, **options: Any) -> str:
    column, pattern = (compiler.process(each, **options) for each in element.clauses)
    operator = "ILIKE" if compiler.dialect.name == "postgresql" else "LIKE"
    return f"({column} {operator} {pattern} ESCAPE '\\')"


class _AsciiCase(_AnyCase):
    """A column is like a pattern in small letters of ASCII. PostgreSQL compares bytes then, three times as fast."""

    inherit_cache = True


@compiles(_AsciiCase, "postgresql")
def _ascii_case(element: _AsciiCase, compiler: Any, **options: Any) -> str:
    column, pattern = (compiler.process(each, **options) for each in element.clauses)
    return f"(lower({column} COLLATE \"C\") LIKE {pattern} ESCAPE '\\')"


def _site() -> sa.Label[str]:
    return sa.func.coalesce(tags.c.value, "").label("site")


def _is_silent(heard_since: datetime) -> sa.ColumnElement[bool]:
    never = instances.c.last_heard_at.is_(None)
    return sa.and_(instances.c.stopped_at.is_(None), sa.or_(never, instances.c.last_heard_at < heard_since))


def _joined(site_tag: str) -> sa.Join:
    # The function keeps SQLite from the index of the primary key, which does not have the value.
    of_instances = sa.func.coalesce(tags.c.kind, "") == "instance"
    tagged = sa.and_(of_instances, tags.c.resource_id == instances.c.id, tags.c.key == site_tag)
    return _clients_with_hosts().outerjoin(tags, tagged)


def _clients_with_hosts() -> sa.Join:
    return clients.join(instances, instances.c.id == clients.c.instance_id)


def _of_account(account_id: str, region: str) -> list[sa.ColumnElement[bool]]:
    """Return what makes clients an account's: their instances are, and in the order of these no page needs sorting."""
    enrolled = instances.c.deregistered_at.is_(None)
    return [instances.c.account_id == account_id, instances.c.region == region, enrolled]
