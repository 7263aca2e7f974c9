"""The only SQL on the fleet's tables."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from backfleet.fleet._tables import activations, boots, clients, instances, inventories, requests, tags
from backfleet.fleet._tables import preferences as preferences_table
from backfleet.paging import Listing, Page
from backfleet.storage import Transaction
from backfleet_host.platforms import canonical

if TYPE_CHECKING:  # the nouns import this file; at run time they are handed in and made below
    from backfleet.fleet.activations import Activation
    from backfleet.fleet.clients import Change, Client, ClientFilter
    from backfleet.fleet.instances import AgentIdentity, AgentKind, Heartbeat, Instance, InstanceFilter
    from backfleet.fleet.inventory import Inventory
    from backfleet.fleet.tagging import ResourceTag, Wanted


# --- Activations ----------------------------------------------------------------------------------------------------


# Statements of the busiest paths, built once: every request of every agent asks who it is.
_IDENTITY = sa.select(
    instances.c.id,
    instances.c.machine_id,
    instances.c.public_key,
    instances.c.deregistered_at,
    instances.c.registered_at,
    instances.c.signed_ms,
).where(instances.c.id == sa.bindparam("wanted"))
_SIGNED = sa.bindparam("signed", type_=sa.BigInteger)
_HEARD = (
    sa.update(instances)
    .where(instances.c.id == sa.bindparam("of"))
    .values(
        last_heard_at=sa.bindparam("heard"),
        stopped_at=sa.case((sa.bindparam("stopping", type_=sa.Boolean), sa.bindparam("heard")), else_=None),
        agent_version=sa.func.coalesce(sa.bindparam("version", type_=sa.String), instances.c.agent_version),
        agent_kind=sa.func.coalesce(sa.bindparam("kind", type_=sa.String), instances.c.agent_kind),
        agent_mode=sa.func.coalesce(sa.bindparam("mode", type_=sa.String), instances.c.agent_mode),
        clock_skew_ms=sa.func.coalesce(sa.bindparam("skew", type_=sa.BigInteger), instances.c.clock_skew_ms),
        signed_ms=sa.case(
            (sa.func.coalesce(instances.c.signed_ms, 0) < sa.func.coalesce(_SIGNED, 0), _SIGNED),
            else_=instances.c.signed_ms,
        ),
    )
)
UNSURE: Final = datetime(2000, 1, 1, tzinfo=UTC)  # "checked" before all others: to be asked next
_CHANGE = (
    sa.update(clients)
    .where(clients.c.id == sa.bindparam("of"))
    .values(
        status=sa.func.coalesce(sa.bindparam("told_status", type_=sa.String), clients.c.status),
        version=sa.func.coalesce(sa.bindparam("told_version", type_=sa.String), clients.c.version),
        drift=sa.func.coalesce(sa.bindparam("told_drift", type_=sa.Text), clients.c.drift),
        checked_at=sa.case(
            (sa.bindparam("unsure", type_=sa.Boolean), sa.literal(UNSURE, clients.c.checked_at.type)),
            (sa.bindparam("told_version", type_=sa.String).is_not(None), sa.bindparam("at")),
            else_=clients.c.checked_at,
        ),
        updated_at=sa.bindparam("at"),
    )
)


def add_activation(tx: Transaction, made: "Activation") -> None:
    """A new activation."""
    tx.add(activations, [{field.name: getattr(made, field.name) for field in fields(made)}])


def activation(tx: Transaction, activation_id: str, *, lock: bool) -> "Activation | None":
    """An activation of any account, locked against others who enrol with it if asked for."""
    query = sa.select(activations).where(activations.c.id == activation_id)
    row = tx.first(query.with_for_update() if lock else query)
    return None if row is None else _activation(row)


def count_registered(tx: Transaction, activation_id: str) -> None:
    """One more host has enrolled. The table refuses one too many."""
    more = activations.c.registered_count + 1
    tx.run(sa.update(activations).where(activations.c.id == activation_id).values(registered_count=more))


def activations_page(
    tx: Transaction,
    account_id: str,
    region: str,
    activation_id: str | None,
    name: str | None,
    page: Page,
    wanted_tags: "Wanted" = (),
) -> "Listing[Activation]":
    """An account's activations, newest first."""
    wanted = [activations.c.account_id == account_id, activations.c.region == region]
    if activation_id:
        wanted.append(activations.c.id == activation_id)
    if name:
        wanted.append(activations.c.name == name)
    wanted += has_tags("activation", activations.c.id, wanted_tags)
    ordered = sa.select(activations).where(*wanted).order_by(activations.c.created_at.desc(), activations.c.id)
    rows = tx.rows(ordered.limit(page.size).offset(page.offset))
    total = tx.scalar(sa.select(sa.func.count()).select_from(activations).where(*wanted))
    return Listing([_activation(row) for row in rows], total)


def set_activation_disabled(tx: Transaction, activation_id: str) -> None:
    """Nobody enrols with it any more."""
    tx.run(sa.update(activations).where(activations.c.id == activation_id).values(disabled=True))


def drop_activation(tx: Transaction, activation_id: str) -> None:
    """Forget it."""
    tx.run(sa.delete(activations).where(activations.c.id == activation_id))


def _activation(row: sa.Row[Any]) -> "Activation":
    from backfleet.fleet.activations import Activation

    return Activation(**row._mapping)


# --- Instances ------------------------------------------------------------------------------------------------------


def add_instance(tx: Transaction, made: "Instance") -> None:
    """A newly enrolled instance."""
    tx.add(instances, [{field.name: getattr(made, field.name) for field in fields(made)}])


def instance_with_key(tx: Transaction, activation_id: str, machine_id: str, public_key: str) -> "Instance | None":
    """The instance that enrolled with exactly this, if it is not deregistered."""
    row = tx.first(
        sa.select(instances).where(
            instances.c.activation_id == activation_id,
            instances.c.machine_id == machine_id,
            instances.c.public_key == public_key,
            instances.c.deregistered_at.is_(None),
        )
    )
    return None if row is None else _instance(row)


def instances_by_id(tx: Transaction, account_id: str, region: str | None, ids: Sequence[str]) -> "dict[str, Instance]":
    """Those of these ids that are the account's and enrolled."""
    if not ids:
        return {}
    wanted = [instances.c.id.in_(ids), instances.c.account_id == account_id, instances.c.deregistered_at.is_(None)]
    if region is not None:
        wanted.append(instances.c.region == region)
    return {row.id: _instance(row) for row in tx.rows(sa.select(instances).where(*wanted))}


def identity(tx: Transaction, instance_id: str) -> "AgentIdentity | None":
    """What an instance's signatures are checked with."""
    from backfleet.fleet.instances import AgentIdentity

    row = tx.first(_IDENTITY, {"wanted": instance_id})
    if row is None:
        return None
    return AgentIdentity(
        row.id,
        row.machine_id,
        row.public_key,
        row.deregistered_at is not None,
        round(row.registered_at.timestamp() * 1000),
        row.signed_ms,
    )


def deregistered_among(tx: Transaction, instance_ids: Sequence[str]) -> list[str]:
    """Those that were deregistered."""
    found = []
    for start in range(0, len(instance_ids), 1000):
        gone = sa.and_(instances.c.id.in_(instance_ids[start : start + 1000]), instances.c.deregistered_at.is_not(None))
        found += [row.id for row in tx.rows(sa.select(instances.c.id).where(gone))]
    return found


def deregister(tx: Transaction, instance_id: str, now: datetime) -> bool:
    """True for the one caller who ended it."""
    enrolled = sa.and_(instances.c.id == instance_id, instances.c.deregistered_at.is_(None))
    ended = tx.first(
        sa.update(instances).where(enrolled).values(deregistered_at=now).returning(instances.c.activation_id)
    )
    if ended is None:
        return False
    more = activations.c.deregistered_count + 1
    tx.run(sa.update(activations).where(activations.c.id == ended.activation_id).values(deregistered_count=more))
    return True


def note_beats(tx: Transaction, beats: "Sequence[Heartbeat]") -> None:
    """One statement for all of them, in the order of their ids so that two nodes cannot wait for each other."""
    if not beats:
        return
    values = [
        {
            "of": beat.instance_id,
            "heard": beat.at,
            "version": beat.agent_version,
            "kind": beat.agent_kind,
            "mode": beat.agent_mode,
            "skew": beat.clock_skew_ms,
            "signed": beat.signed_ms,
            "stopping": beat.stopping,
        }
        for beat in sorted(beats, key=lambda beat: beat.instance_id)
    ]
    tx.run(_HEARD, values)


def rename(tx: Transaction, instance_id: str, name: str) -> None:
    """Its new name."""
    tx.run(sa.update(instances).where(instances.c.id == instance_id).values(name=name))


def note_boot(tx: Transaction, instance_id: str, now: datetime) -> None:
    """News until it is taken."""
    if not tx.add_if_new(boots, {"instance_id": instance_id, "at": now}):
        tx.run(sa.update(boots).where(boots.c.instance_id == instance_id).values(at=now))


def has_boots(tx: Transaction) -> bool:
    """Whether there is such news."""
    return tx.first(sa.select(boots.c.instance_id).limit(1)) is not None


def take_boots(tx: Transaction, limit: int) -> dict[str, datetime]:
    """Boots that nobody took notice of yet, for this transaction alone; they are news no more."""
    rows = tx.rows(sa.select(boots).order_by(boots.c.at).limit(limit).with_for_update(skip_locked=True))
    found = {row.instance_id: row.at for row in rows}
    if found:
        tx.run(sa.delete(boots).where(boots.c.instance_id.in_(list(found))))
    return found


def set_stopped(tx: Transaction, instance_id: str, now: datetime) -> None:
    """It is down since then."""
    tx.run(sa.update(instances).where(instances.c.id == instance_id).values(stopped_at=now))


def instances_page(
    tx: Transaction, account_id: str, region: str, wanted: "InstanceFilter", page: Page, heard_since: datetime
) -> "Listing[Instance]":
    """Enrolled instances that the filter means, oldest first."""
    conditions = [
        instances.c.account_id == account_id,
        instances.c.region == region,
        instances.c.deregistered_at.is_(None),
        *_instance_conditions(wanted, heard_since),
    ]
    ordered = sa.select(instances).where(*conditions).order_by(instances.c.registered_at, instances.c.id)
    rows = tx.rows(ordered.limit(page.size).offset(page.offset))
    total = tx.scalar(sa.select(sa.func.count()).select_from(instances).where(*conditions))
    return Listing([_instance(row) for row in rows], total)


def _instance_conditions(wanted: "InstanceFilter", heard_since: datetime) -> list[sa.ColumnElement[bool]]:
    column = instances.c
    heard = sa.and_(column.stopped_at.is_(None), column.last_heard_at >= heard_since)
    own = column.agent_kind == "backfleet"
    pairs: list[tuple[object, sa.ColumnElement[bool]]] = [
        (wanted.ids, column.id.in_(wanted.ids or ())),
        (wanted.name, column.name.like(like(wanted.name or ""), escape="\\")),
        (wanted.ip, sa.or_(column.intranet_ip == wanted.ip, column.internet_ip == wanted.ip)),
        (wanted.ips, column.intranet_ip.in_(wanted.ips or ())),
        (wanted.activation_id, column.activation_id == wanted.activation_id),
        (wanted.os_type, sa.func.lower(column.os_type) == (wanted.os_type or "").lower()),
        (wanted.machine_id, column.machine_id == wanted.machine_id),
        (wanted.connected, heard if wanted.connected else sa.not_(heard)),
        (wanted.stopped, column.stopped_at.is_not(None) if wanted.stopped else column.stopped_at.is_(None)),
        (wanted.own_agent, own if wanted.own_agent else sa.not_(own)),
    ]
    tagged = has_tags("instance", column.id, wanted.tags)
    return [*(condition for given, condition in pairs if given is not None), *tagged]


def like(pattern: str) -> str:
    """SQL's pattern for one with `*`."""
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%")


def agent_kinds(tx: Transaction, instance_ids: Sequence[str]) -> "dict[str, AgentKind]":
    """Return the kind of each instance's agent."""
    from backfleet.fleet.instances import AgentKind

    query = sa.select(instances.c.id, instances.c.agent_kind).where(instances.c.id.in_(instance_ids))
    return {row.id: AgentKind(row.agent_kind) for row in tx.rows(query)}


def count_instances(tx: Transaction, account_id: str) -> int:
    """The account's enrolled hosts."""
    enrolled = sa.and_(instances.c.account_id == account_id, instances.c.deregistered_at.is_(None))
    return int(tx.scalar(sa.select(sa.func.count()).select_from(instances).where(enrolled)))


def _instance(row: sa.Row[Any]) -> "Instance":
    from backfleet.fleet.instances import AgentKind, Instance

    # Rows of older programs may have linux-i686, which releases call linux-386.
    known = {"platform": canonical(row.platform), "agent_kind": AgentKind(row.agent_kind)}
    return Instance(**{**row._mapping, **known})


# --- What instances tell of themselves ------------------------------------------------------------------------------


def inventories_of(tx: Transaction, instance_id: str) -> "list[Inventory]":
    """Every kind, by name."""
    from backfleet.fleet.inventory import Inventory

    query = sa.select(inventories).where(inventories.c.instance_id == instance_id).order_by(inventories.c.kind)
    return [Inventory(**row._mapping) for row in tx.rows(query)]


def inventory_hashes(tx: Transaction, instance_id: str) -> dict[str, str]:
    """The hash of each kind that is kept."""
    query = sa.select(inventories.c.kind, inventories.c.content_hash).where(inventories.c.instance_id == instance_id)
    return {row.kind: row.content_hash for row in tx.rows(query)}


def keep_inventory(tx: Transaction, made: "Inventory") -> None:
    """This kind is so now."""
    values = {field.name: getattr(made, field.name) for field in fields(made)}
    ours = sa.and_(inventories.c.instance_id == made.instance_id, inventories.c.kind == made.kind)
    if not tx.add_if_new(inventories, values):
        tx.run(sa.update(inventories).where(ours).values(values))


def inventory_unchanged(tx: Transaction, instance_id: str, kind: str, captured_at: str, now: datetime) -> None:
    """This kind is as it was."""
    ours = sa.and_(inventories.c.instance_id == instance_id, inventories.c.kind == kind)
    tx.run(sa.update(inventories).where(ours).values(captured_at=captured_at, received_at=now))


def add_use(tx: Transaction, mark: int, until: datetime) -> bool:
    """True for the one who used it."""
    return tx.add_if_new(requests, {"mark": mark, "until": until})


def add_uses(tx: Transaction, uses: Sequence[tuple[int, datetime]]) -> None:
    """These were used, whoever says so."""
    tx.add_those_new(requests, [{"mark": mark, "until": until} for mark, until in sorted(uses)])


def forget_uses(tx: Transaction, now: datetime, limit: int) -> int:
    """Forget those whose time is over; how many."""
    over = sa.select(requests.c.mark).where(requests.c.until < now).limit(limit)
    return tx.run(sa.delete(requests).where(requests.c.mark.in_(over)))


# --- Clients --------------------------------------------------------------------------------------------------------


def add_client(tx: Transaction, made: "Client") -> bool:
    """False if the instance has a client of that package."""
    return tx.add_if_new(clients, {field.name: getattr(made, field.name) for field in fields(made)})


def clients_by_id(tx: Transaction, account_id: str, region: str, ids: Sequence[str]) -> "dict[str, Client]":
    """Those of these ids that are the account's."""
    if not ids:
        return {}
    query = sa.select(clients).where(
        clients.c.id.in_(ids), clients.c.account_id == account_id, clients.c.region == region
    )
    return {row.id: _client(row) for row in tx.rows(query)}


def clients_on(tx: Transaction, instance_ids: Sequence[str]) -> "list[Client]":
    """Every client of these instances, oldest first."""
    if not instance_ids:
        return []
    query = sa.select(clients).where(clients.c.instance_id.in_(instance_ids))
    return [_client(row) for row in tx.rows(query.order_by(clients.c.created_at, clients.c.id))]


def change_clients(tx: Transaction, changes: "Sequence[Change]", now: datetime) -> None:
    """One statement for all of them, in the order of their ids."""
    if not changes:
        return
    values = [
        {
            "of": change.client_id,
            "told_status": change.status,
            "told_version": change.version,
            "told_drift": change.drift,
            "unsure": change.unsure,
            "at": now,
        }
        for change in sorted(changes, key=lambda change: change.client_id)
    ]
    tx.run(_CHANGE, values)


_FILTERED: Final[dict[str, sa.Column[Any]]] = {
    "status": clients.c.status,
    "version": clients.c.version,
    "package": clients.c.package,
    "channel": clients.c.channel,
    "instance_name": instances.c.name,
    "hostname": instances.c.hostname,
}


def clients_page(
    tx: Transaction, account_id: str, region: str, wanted: "ClientFilter", page: Page
) -> "Listing[tuple[Client, Instance]]":
    """Clients of enrolled instances, oldest first."""
    joined = clients.join(instances, instances.c.id == clients.c.instance_id)
    conditions = [
        clients.c.account_id == account_id,
        clients.c.region == region,
        instances.c.deregistered_at.is_(None),
    ]
    if wanted.ids is not None:
        conditions.append(clients.c.id.in_(wanted.ids))
    if wanted.instance_ids is not None:
        conditions.append(clients.c.instance_id.in_(wanted.instance_ids))
    conditions += has_tags("instance", instances.c.id, wanted.instance_tags)
    conditions += [_FILTERED[name].in_(values) for name, values in wanted.having.items()]
    query = sa.select(clients).select_from(joined).where(*conditions).order_by(clients.c.created_at, clients.c.id)
    found = [_client(row) for row in tx.rows(query.limit(page.size).offset(page.offset))]
    total = tx.scalar(sa.select(sa.func.count()).select_from(joined).where(*conditions))
    on = instances_by_id(tx, account_id, region, list({client.instance_id for client in found}))
    return Listing([(client, on[client.instance_id]) for client in found], total)


def take_unchecked(
    tx: Transaction, before: datetime, heard_since: datetime, limit: int, now: datetime
) -> "list[Client]":
    """Those unchecked for longest; they count as checked from now on."""
    from backfleet.fleet.clients import MOVING

    chosen = (
        sa.select(clients)
        .join(instances, instances.c.id == clients.c.instance_id)
        .where(
            clients.c.checked_at < before,
            clients.c.status.not_in(MOVING),
            instances.c.deregistered_at.is_(None),
            instances.c.stopped_at.is_(None),
            instances.c.last_heard_at >= heard_since,
        )
        .order_by(clients.c.checked_at, clients.c.id)
        .limit(limit)
        .with_for_update(of=clients, skip_locked=True)
    )
    found = [_client(row) for row in tx.rows(chosen)]
    if found:
        these = clients.c.id.in_([client.id for client in found])
        tx.run(sa.update(clients).where(these).values(checked_at=now))
    return found


def versions_by_repository(tx: Transaction, client_ids: Sequence[str], key: str) -> dict[str, set[str]]:
    """For each client whose host has a tag of this key: the versions of its package on all hosts with the same tag."""
    tagged = sa.and_(tags.c.kind == "instance", tags.c.resource_id == clients.c.instance_id, tags.c.key == key)
    group = (tags.c.account_id, tags.c.region, tags.c.value, clients.c.package)
    query = sa.select(clients.c.id, *group).join(tags, tagged).where(clients.c.id.in_(client_ids))
    groups: dict[tuple[str, ...], list[str]] = {}
    for row in tx.rows(query):
        groups.setdefault(tuple(row)[1:], []).append(row.id)
    found: dict[str, set[str]] = {}
    for wanted, ids in groups.items():
        same = sa.and_(*(column == value for column, value in zip(group, wanted, strict=True)))
        versions = sa.select(clients.c.version).distinct().join(tags, tagged).where(same, clients.c.version != "")
        read = {row.version for row in tx.rows(versions)}
        found |= dict.fromkeys(ids, read)
    return found


def clients_for_update(tx: Transaction, client_ids: Sequence[str]) -> "dict[str, Client]":
    """By id, locked in the order of their ids."""
    if not client_ids:
        return {}
    query = sa.select(clients).where(clients.c.id.in_(client_ids)).order_by(clients.c.id).with_for_update()
    return {row.id: _client(row) for row in tx.rows(query)}


def drop_client(tx: Transaction, client_id: str) -> None:
    """Forget a client and what was set for it."""
    tx.run(sa.delete(preferences_table).where(preferences_table.c.client_id == client_id))
    tx.run(sa.delete(clients).where(clients.c.id == client_id))


def preferences(tx: Transaction, client_ids: Sequence[str], lock: bool) -> Sequence[sa.Row[Any]]:
    """What was set for these clients."""
    if not client_ids:
        return []
    query = sa.select(preferences_table).where(preferences_table.c.client_id.in_(client_ids))
    return tx.rows(query.with_for_update() if lock else query)


def put_preferences(tx: Transaction, client_id: str, told: str, sealed_password: str | None, now: datetime) -> None:
    """What is set for a client now; a password of None stays what it was."""
    row = {"client_id": client_id, "told": told, "sealed_password": sealed_password or "", "updated_at": now}
    if tx.add_if_new(preferences_table, row):
        return
    kept = {"told": told, "updated_at": now} | ({} if sealed_password is None else {"sealed_password": sealed_password})
    tx.run(sa.update(preferences_table).where(preferences_table.c.client_id == client_id).values(kept))


def _client(row: sa.Row[Any]) -> "Client":
    from backfleet.fleet.clients import Client, ClientStatus

    return Client(**{**row._mapping, "status": ClientStatus(row.status)})


# --- Tags -----------------------------------------------------------------------------------------------------------


def put_tags(
    tx: Transaction, account_id: str, region: str, kind: str, ids: "Sequence[str]", given: "Mapping[str, str]"
) -> None:
    """In the order of ids and keys, so that two calls cannot wait for each other."""
    for resource_id in sorted(ids):
        for key in sorted(given):
            row = {
                "kind": kind,
                "resource_id": resource_id,
                "key": key,
                "value": given[key],
                "account_id": account_id,
                "region": region,
            }
            if not tx.add_if_new(tags, row):
                known = sa.and_(tags.c.kind == kind, tags.c.resource_id == resource_id, tags.c.key == key)
                tx.run(sa.update(tags).where(known).values(value=given[key]))


def drop_tags(tx: Transaction, kind: str, ids: "Sequence[str]", keys: "Sequence[str] | None") -> None:
    """None: all keys."""
    which = [tags.c.kind == kind, tags.c.resource_id.in_(ids)]
    if keys is not None:
        which.append(tags.c.key.in_(keys))
    tx.run(sa.delete(tags).where(*which))


def tags_of(tx: Transaction, kind: str, ids: "Sequence[str]") -> dict[str, dict[str, str]]:
    """By resource, in the order of their keys."""
    found: dict[str, dict[str, str]] = {}
    if ids:
        which = sa.and_(tags.c.kind == kind, tags.c.resource_id.in_(ids))
        for row in tx.rows(sa.select(tags).where(which).order_by(tags.c.key)):
            found.setdefault(row.resource_id, {})[row.key] = row.value
    return found


def tags_page(
    tx: Transaction,
    account_id: str,
    region: str,
    kind: str,
    ids: "Sequence[str] | None",
    wanted: "Wanted",
    page: Page,
) -> "Listing[ResourceTag]":
    """By resource and key."""
    from backfleet.fleet.tagging import ResourceTag

    which = [tags.c.account_id == account_id, tags.c.region == region, tags.c.kind == kind]
    if ids:
        which.append(tags.c.resource_id.in_(ids))
    which += has_tags(kind, tags.c.resource_id, wanted)
    ordered = sa.select(tags).where(*which).order_by(tags.c.resource_id, tags.c.key)
    rows = tx.rows(ordered.limit(page.size).offset(page.offset))
    total = tx.scalar(sa.select(sa.func.count()).select_from(tags).where(*which))
    return Listing([ResourceTag(row.resource_id, row.key, row.value) for row in rows], total)


def has_tags(kind: str, resource_id: sa.ColumnElement[Any], wanted: "Wanted") -> list[sa.ColumnElement[bool]]:
    """One condition for each."""
    conditions: list[sa.ColumnElement[bool]] = []
    for key, value in wanted:
        tag = tags.alias()
        same = [tag.c.kind == kind, tag.c.resource_id == resource_id, tag.c.key == key]
        if value is not None:
            same.append(tag.c.value == value)
        conditions.append(sa.exists().where(*same))
    return conditions
