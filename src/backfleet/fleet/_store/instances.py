"""Instances."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from backfleet.fleet._store.tags import has_tags
from backfleet.fleet._tables import clients, instances
from backfleet.fleet.model import AgentIdentity, AgentKind, CarrierKind, Heartbeat, Instance, InstanceFilter, Watched
from backfleet.paging import Listing, Page
from backfleet.storage import Moment, Prepared, Transaction, list_part, not_searched, reader
from backfleet_host.platforms import canonical

IDS_AT_ONCE: Final = 1000  # in one IN (...)
# Rows of older programs may have linux-i686, which releases call linux-386.
READ: Final = reader(instances, Instance, platform=canonical, agent_kind=AgentKind, carrier=CarrierKind)

# The statements of the busiest paths are built once: every request of every agent needs them.
_IDENTITY: Final = Prepared(
    sa.select(
        instances.c.id,
        instances.c.machine_id,
        instances.c.public_key,
        instances.c.deregistered_at,
        instances.c.registered_at,
        instances.c.signed_ms,
        instances.c.clock_skew_ms,
    ).where(instances.c.id == sa.bindparam("wanted"))
)
_SIGNED: Final = sa.bindparam("signed", type_=sa.BigInteger)
_HEARD, _REACHED = sa.bindparam("heard", type_=Moment), sa.bindparam("reached", type_=Moment)
_IS_OLDER: Final = instances.c.last_heard_at > _HEARD  # than what another node has written of an agent that moved there
_HEARTBEAT: Final = Prepared(
    sa.update(instances)
    .where(instances.c.id == sa.bindparam("of"))
    .values(
        last_heard_at=sa.case((_IS_OLDER, instances.c.last_heard_at), else_=_HEARD),
        reachable_at=sa.case(
            (instances.c.reachable_at > _REACHED, instances.c.reachable_at),
            else_=sa.func.coalesce(_REACHED, instances.c.reachable_at),
        ),
        agent_started_at=sa.func.coalesce(sa.bindparam("started", type_=Moment), instances.c.agent_started_at),
        stopped_at=sa.case(
            (_IS_OLDER, instances.c.stopped_at), (sa.bindparam("stopping", type_=sa.Boolean), _HEARD), else_=None
        ),
        agent_version=sa.func.coalesce(sa.bindparam("version", type_=sa.String), instances.c.agent_version),
        agent_kind=sa.func.coalesce(sa.bindparam("kind", type_=sa.String), instances.c.agent_kind),
        time_zone=sa.func.coalesce(sa.bindparam("zone", type_=sa.String), instances.c.time_zone),
        agent_mode=sa.func.coalesce(sa.bindparam("mode", type_=sa.String), instances.c.agent_mode),
        clock_skew_ms=sa.func.coalesce(sa.bindparam("skew", type_=sa.BigInteger), instances.c.clock_skew_ms),
        signed_ms=sa.case(
            (sa.func.coalesce(instances.c.signed_ms, 0) < sa.func.coalesce(_SIGNED, 0), _SIGNED),
            else_=instances.c.signed_ms,
        ),
    )
)

_LEFT: Final = Prepared(
    sa.update(instances)
    .where(instances.c.id == sa.bindparam("of"), instances.c.reachable_at <= sa.bindparam("left", type_=Moment))
    .values(left_at=sa.bindparam("left", type_=Moment))
)

_OF_ANY: Final = sa.and_(
    instances.c.id.in_(sa.bindparam("ids", expanding=True)),
    not_searched(instances.c.account_id) == sa.bindparam("in"),
)
_ENROLLED: Final = sa.select(instances).where(_OF_ANY, instances.c.deregistered_at.is_(None))
_OF_ACCOUNT: Final = Prepared(_ENROLLED)
_OF_REGION: Final = Prepared(_ENROLLED.where(not_searched(instances.c.region) == sa.bindparam("of_region")))
_NAMES: Final = Prepared(sa.select(instances.c.id, instances.c.name, instances.c.hostname).where(_OF_ANY))
_CARRIERS: Final = Prepared(
    sa.select(instances.c.id, instances.c.carrier).where(instances.c.id.in_(sa.bindparam("ids", expanding=True)))
)
_IDS: Final[sa.BindParameter[Any]] = sa.bindparam("ids", expanding=True)
_KINDS: Final = Prepared(sa.select(instances.c.id, instances.c.agent_kind).where(instances.c.id.in_(_IDS)))
_DEREGISTERED: Final = sa.select(instances.c.id).where(instances.c.deregistered_at.is_not(None))
_AS_JSON: Final = sa.func.json_each(sa.bindparam("ids", type_=sa.Text)).table_valued("value").c.value
_GONE: Final = {  # one form for any number of ids: each connection keeps each form, with 200 bytes for each id
    "sqlite": Prepared(_DEREGISTERED.where(instances.c.id.in_(sa.select(_AS_JSON)))),
    "postgresql": Prepared(_DEREGISTERED.where(instances.c.id.in_(_IDS))),
}
_KEPT: Final = Prepared(
    sa.select(instances.c.id, instances.c.deregistered_at)
    .where(instances.c.id.in_(_IDS))
    .order_by(instances.c.id)
    .with_for_update(read=True, key_share=True)
)
_TURNS: Final = Prepared(
    sa.select(instances.c.id).where(instances.c.id.in_(_IDS)).order_by(instances.c.id).with_for_update(key_share=True)
)


def add(tx: Transaction, instance: Instance) -> None:
    """Add a newly enrolled instance."""
    tx.add(instances, [{field.name: getattr(instance, field.name) for field in fields(instance)}])


def by_id(tx: Transaction, account_id: str, region: str | None, ids: Sequence[str]) -> dict[str, Instance]:
    """Return the instances with these ids that belong to the account and are not deregistered."""
    if not ids:
        return {}
    if region is None:
        found = tx.read(READ, _OF_ACCOUNT, {"ids": ids, "in": account_id})
    else:
        found = tx.read(READ, _OF_REGION, {"ids": ids, "in": account_id, "of_region": region})
    return {instance.id: instance for instance in found}


def without_client(tx: Transaction, account_id: str, region: str, package: str) -> list[Instance]:
    """Return an account's instances that are not deregistered and have no client of a package, by id."""
    mine = sa.and_(instances.c.account_id == account_id, instances.c.region == region)
    has_one = sa.exists().where(clients.c.instance_id == instances.c.id, clients.c.package == package)
    query = sa.select(instances).where(mine, instances.c.deregistered_at.is_(None), sa.not_(has_one))
    return [READ(row) for row in tx.rows(query.order_by(instances.c.id))]


def names_of(tx: Transaction, account_id: str, ids: Sequence[str]) -> dict[str, str]:
    """Return what people call the account's instances with these ids, also of those that are deregistered."""
    found = tx.rows(_NAMES, {"ids": ids, "in": account_id}) if ids else []
    return {instance_id: name or hostname for instance_id, name, hostname in map(tuple, found)}


def can_be_sent_to(
    instance_id: sa.ColumnElement[str], reachable_since: datetime | sa.BindParameter[Any]
) -> sa.ColumnElement[bool]:
    """Return a condition: the instance in this column can be given work since this moment, or is deregistered."""
    can = sa.and_(instances.c.stopped_at.is_(None), reachable(reachable_since))
    gone = instances.c.deregistered_at.is_not(None)
    return sa.exists().where(instances.c.id == instance_id, sa.or_(can, gone))


def identity(tx: Transaction, instance_id: str) -> AgentIdentity | None:
    """Return what an instance's signatures are verified with, also if it is deregistered."""
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
        row.clock_skew_ms,
    )


def deregistered_among(tx: Transaction, instance_ids: Sequence[str]) -> list[str]:
    """Return those of these ids that are deregistered."""
    found = []
    for start in range(0, len(instance_ids), IDS_AT_ONCE):
        some = instance_ids[start : start + IDS_AT_ONCE]
        ids = json.dumps(some) if tx.engine_name == "sqlite" else some
        found += [row.id for row in tx.rows(_GONE[tx.engine_name], {"ids": ids})]
    return found


def keep_registered(tx: Transaction, instance_ids: Sequence[str]) -> list[str]:
    """Keep instances from being deregistered before this transaction ends. Return those that are deregistered."""
    found = []
    ordered = sorted(set(instance_ids))
    for start in range(0, len(ordered), IDS_AT_ONCE):
        rows = tx.rows(_KEPT, {"ids": ordered[start : start + IDS_AT_ONCE]})
        found += [row.id for row in rows if row.deregistered_at]
    return found


def take_turns(tx: Transaction, instance_ids: Sequence[str]) -> bool:
    """Wait until no other transaction has the turn of one of these instances, and have them until this one ends.

    Return whether that can have taken time: where only one transaction writes anyway, there is nothing to wait for.
    """
    if tx.engine_name != "postgresql":
        return False
    tx.rows(_TURNS, {"ids": instance_ids})
    return True


def deregister(tx: Transaction, instance_id: str, now: datetime) -> str | None:
    """Deregister an instance. Return its activation's id to the one caller that did it, None to all others."""
    # Waits for whoever is sending to it, and has them wait: see `keep_registered`. A plain update would not.
    tx.first(sa.select(instances.c.id).where(instances.c.id == instance_id).with_for_update())
    enrolled = sa.and_(instances.c.id == instance_id, instances.c.deregistered_at.is_(None))
    query = sa.update(instances).where(enrolled).values(deregistered_at=now).returning(instances.c.activation_id)
    row = tx.first(query)
    return None if row is None else str(row.activation_id)


def note_heartbeats(tx: Transaction, heartbeats: Sequence[Heartbeat]) -> None:
    """Store many heartbeats in one statement, in the order of their ids, so that two nodes cannot deadlock.

    Another node may have stored a newer one of the same agent: then that one says when the agent was heard.
    """
    if not heartbeats:
        return
    values = [
        {
            "of": heartbeat.instance_id,
            "heard": heartbeat.at,
            "reached": heartbeat.reachable_at,
            "started": heartbeat.agent_started_at,
            "version": heartbeat.agent_version,
            "kind": heartbeat.agent_kind,
            "mode": heartbeat.agent_mode,
            "zone": heartbeat.time_zone,
            "skew": heartbeat.clock_skew_ms,
            "signed": heartbeat.signed_ms,
            "stopping": heartbeat.stopping,
        }
        for heartbeat in sorted(heartbeats, key=lambda heartbeat: heartbeat.instance_id)
    ]
    tx.run(_HEARTBEAT, values)


def note_left(tx: Transaction, left: Mapping[str, datetime]) -> None:
    """Store which agents left, in one statement, in the order of their ids."""
    if left:
        tx.run(_LEFT, [{"of": instance_id, "left": at} for instance_id, at in sorted(left.items())])


def reachable(since: datetime | sa.BindParameter[Any]) -> sa.ColumnElement[bool]:
    """Return a condition: the instance's agent could be given work since this moment, and did not leave."""
    column = instances.c
    stayed = sa.or_(column.left_at.is_(None), column.left_at < column.reachable_at)
    return sa.and_(sa.func.coalesce(column.reachable_at >= since, sa.false()), stayed)


def rename(tx: Transaction, instance_id: str, name: str) -> None:
    """Give an instance a new name."""
    tx.run(sa.update(instances).where(instances.c.id == instance_id).values(name=name))


def is_known(tx: Transaction, instance_id: str) -> bool:
    """Return whether there is or was an instance with this id, of any account."""
    return tx.first(sa.select(instances.c.id).where(instances.c.id == instance_id)) is not None


def set_facts(tx: Transaction, instance_id: str, facts: dict[str, str]) -> None:
    """Record what is known of an instance's machine."""
    tx.run(sa.update(instances).where(instances.c.id == instance_id).values(facts))


def set_stopped(tx: Transaction, instance_id: str, now: datetime) -> None:
    """Record that an instance is stopped since now."""
    tx.run(sa.update(instances).where(instances.c.id == instance_id).values(stopped_at=now))


def page_of(
    tx: Transaction, account_id: str, region: str, selected: InstanceFilter, page: Page, reachable_since: datetime
) -> Listing[Instance]:
    """Return enrolled instances that the filter selects, oldest first."""
    conditions = [
        instances.c.account_id == account_id,
        instances.c.region == region,
        instances.c.deregistered_at.is_(None),
        *_conditions(selected, reachable_since),
    ]
    keys = [(instances.c.registered_at, False), (instances.c.id, False)]
    rows, ended = list_part(tx, sa.select(instances).where(*conditions), keys, page)
    total = tx.scalar(sa.select(sa.func.count()).select_from(instances).where(*conditions))
    return Listing([READ(row) for row in rows], total, ended)


def _conditions(selected: InstanceFilter, reachable_since: datetime) -> list[sa.ColumnElement[bool]]:
    column = instances.c
    connected = sa.and_(column.stopped_at.is_(None), reachable(reachable_since))
    own = column.agent_kind == AgentKind.BACKFLEET.value
    pairs: list[tuple[object, sa.ColumnElement[bool]]] = [
        (selected.ids, column.id.in_(selected.ids or ())),
        (selected.name, column.name.like(_like(selected.name or ""), escape="\\")),
        (selected.ip, sa.or_(column.intranet_ip == selected.ip, column.internet_ip == selected.ip)),
        (selected.ips, column.intranet_ip.in_(selected.ips or ())),
        (selected.activation_id, column.activation_id == selected.activation_id),
        (selected.os_type, sa.func.lower(column.os_type) == (selected.os_type or "").lower()),
        (selected.machine_id, column.machine_id == selected.machine_id),
        (selected.connected, connected if selected.connected else sa.not_(connected)),
        (selected.stopped, column.stopped_at.is_not(None) if selected.stopped else column.stopped_at.is_(None)),
        (selected.own_agent, own if selected.own_agent else sa.not_(own)),
    ]
    tagged = has_tags("instance", column.id, selected.tags)
    return [*(condition for given, condition in pairs if given is not None), *tagged]


def _like(pattern: str) -> str:
    """Return the LIKE pattern for one with `*`."""
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%")


def agent_kinds(tx: Transaction, instance_ids: Sequence[str]) -> dict[str, AgentKind]:
    """Return the kind of each instance's agent."""
    found = tx.rows(_KINDS, {"ids": instance_ids}) if instance_ids else ()
    return {row.id: AgentKind(row.agent_kind) for row in found}


def carriers_of(tx: Transaction, instance_ids: Sequence[str]) -> dict[str, CarrierKind]:
    """Return the carrier of each instance."""
    found = tx.rows(_CARRIERS, {"ids": instance_ids}) if instance_ids else ()
    return {row.id: CarrierKind(row.carrier) for row in found}


def out_of_reach(tx: Transaction, account_id: str, region: str, reachable_since: datetime) -> set[str]:
    """Return the ids of an account's instances that cannot be given work: silent, stopped or deregistered."""
    silent = sa.not_(reachable(reachable_since))
    gone = sa.or_(instances.c.stopped_at.is_not(None), instances.c.deregistered_at.is_not(None))
    mine = sa.and_(instances.c.account_id == account_id, instances.c.region == region)
    return {row.id for row in tx.rows(sa.select(instances.c.id).where(mine, sa.or_(silent, gone)))}


def count(tx: Transaction, account_id: str) -> int:
    """Return how many instances of the account are enrolled."""
    enrolled = sa.and_(instances.c.account_id == account_id, instances.c.deregistered_at.is_(None))
    return int(tx.scalar(sa.select(sa.func.count()).select_from(instances).where(enrolled)))


def count_agent_versions(tx: Transaction, account_id: str) -> dict[str, int]:
    """Return how many enrolled instances of the account have each version of the agent of ours."""
    column, number = instances.c, sa.func.count().label("number")
    mine = sa.and_(column.account_id == account_id, column.deregistered_at.is_(None))
    own = column.agent_kind == AgentKind.BACKFLEET.value
    query = sa.select(column.agent_version, number).where(mine, own).group_by(column.agent_version)
    return {row.agent_version: row.number for row in tx.rows(query)}


def with_agent_versions(tx: Transaction, account_id: str, versions: Sequence[str], limit: int) -> list[Watched]:
    """Return hosts that were not shut down and have one of these versions of the agent."""
    return _watched(tx, _running(account_id), instances.c.agent_version.in_(versions), limit)


def forget_presence(tx: Transaction) -> None:
    """Forget when each host could last be given work."""
    tx.run(sa.update(instances).values(reachable_at=None))


def note_clock_set_back(tx: Transaction, now: datetime) -> None:
    """Bring moments that are still to come to this one."""
    for column in (instances.c.reachable_at, instances.c.left_at, instances.c.last_heard_at):
        tx.run(sa.update(instances).where(column > now).values({column: now}))


def lost(tx: Transaction, account_id: str, heard_since: datetime, limit: int) -> list[Watched]:
    """Return hosts that were not heard of since a moment and were not shut down."""
    return _watched(tx, _running(account_id), instances.c.last_heard_at < heard_since, limit)


def deaf(tx: Transaction, account_id: str, since: datetime, limit: int) -> list[Watched]:
    """Return hosts that only send heartbeats since a moment."""
    return _watched(tx, _running(account_id), _is_deaf(since), limit)


def with_wrong_clocks(
    tx: Transaction, account_id: str, heard_since: datetime, most: timedelta, limit: int
) -> list[Watched]:
    """Return hosts heard of since a moment whose clocks differ from ours by more than `most`, and by how much."""
    column, most_ms = instances.c, most // timedelta(milliseconds=1)
    wrong = sa.and_(column.last_heard_at >= heard_since, sa.func.abs(column.clock_skew_ms) > most_ms)
    query = sa.select(column.id, column.name, column.hostname, column.last_heard_at, column.clock_skew_ms)
    rows = tx.rows(query.where(_running(account_id), wrong).order_by(column.id).limit(limit))
    return [
        Watched(row.id, row.name or row.hostname, f"{row.clock_skew_ms / 1000:+.0f} s", row.last_heard_at)
        for row in rows
    ]


def _watched(
    tx: Transaction, running: sa.ColumnElement[bool], condition: sa.ColumnElement[bool], limit: int
) -> list[Watched]:
    query = sa.select(instances.c.id, instances.c.name, instances.c.hostname, instances.c.last_heard_at)
    rows = tx.rows(query.where(running, condition).order_by(instances.c.id).limit(limit))
    return [Watched(row.id, row.name or row.hostname, "", row.last_heard_at) for row in rows]


def _running(account_id: str) -> sa.ColumnElement[bool]:
    column = instances.c
    return sa.and_(column.account_id == account_id, column.deregistered_at.is_(None), column.stopped_at.is_(None))


def _is_deaf(since: datetime) -> sa.ColumnElement[bool]:
    column = instances.c
    # One that has just enrolled has not connected yet; one that left is not called deaf while its heartbeats may end.
    silent = sa.not_(sa.func.coalesce(column.reachable_at >= since, sa.false()))
    return sa.and_(column.last_heard_at >= since, column.registered_at < since, silent)


def count_presence(tx: Transaction, account_id: str, since: datetime) -> tuple[int, int]:
    """Return how many instances of the account can be given work, and how many only send heartbeats."""
    conditions = (("r", reachable(since)), ("d", _is_deaf(since)))
    counts = [sa.func.count(sa.case((condition, 1))).label(name) for name, condition in conditions]
    (row,) = tx.rows(sa.select(*counts).where(_running(account_id)))
    return int(row.r), int(row.d)
