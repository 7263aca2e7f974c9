"""Orders of a rollout's members: tasks like any caller's, started in the rollout's name."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from backfleet import fleet, releases, upgrades
from backfleet.fleet import Client, Hold, Instance, Preferences
from backfleet.identity import read_caller
from backfleet.ids import Draw
from backfleet.rollouts import traces
from backfleet.rollouts.installing import ALREADY_INSTALLED
from backfleet.rollouts.judging import NO_PERMISSION, Judge
from backfleet.rollouts.model import Action
from backfleet.rollouts.records import RolloutRecord
from backfleet.rollouts.states import ENDED
from backfleet.rollouts.targets import why_not
from backfleet.settings import Settings
from backfleet.storage import Transaction
from backfleet.upgrades import Kind, NewTask, Origin, TaskTarget
from backfleet.values import value_object
from backfleet_host.versions import Scheme, scheme_of

TOPIC: Final = "rollouts"
MOST_TARGETS: Final = 100  # of one task

KINDS: Final[Mapping[Action, Kind]] = {
    Action.MOVE: Kind.UPGRADE,
    Action.INSTALL: Kind.INSTALL,
    Action.ROLL_BACK: Kind.ROLL_BACK,
    Action.PRECHECK: Kind.PRECHECK,
    Action.STAGE: Kind.STAGE,
    Action.SETTINGS: Kind.SETTINGS,
}

_WITHOUT_RELEASE: Final = (Action.ROLL_BACK, Action.SETTINGS)
"""What is asked of hosts without a release of the rollout."""


@value_object
class Sent:
    """The item that carries a member's order."""

    task_id: str
    item_id: str
    from_version: str = ""  # of its client when the order left; "" = it was not read


@value_object
class _Refusals:
    """Why members may not have their orders, as of now."""

    record: RolloutRecord
    action: Action
    releases_by_platform: Mapping[str, releases.Release | None]
    not_permitted: Mapping[str, str]  # by client
    holds: Mapping[fleet.Place, Hold]
    scheme: Scheme

    @classmethod
    def read(
        cls, tx: Transaction, record: RolloutRecord, action: Action, found: fleet.Resolved, judge: Judge, now: datetime
    ) -> "_Refusals":
        """Read what refuses some of these clients."""
        package = record.package
        platforms = {found.instances[client.instance_id].platform for client in found.clients.values()}
        offered = {platform: releases.find(tx, package, record.target_version, platform) for platform in platforms}
        not_permitted = judge.moving({client.id: client.instance_id for client in found.clients.values()})
        places = {(client.instance_id, client.package): client.id for client in found.clients.values()}
        holds = fleet.holds_of(tx, record.account_id, record.region, places, now=now)
        scheme = scheme_of(releases.schemes_of(tx, [package])[package])
        return cls(record, action, offered, not_permitted, holds, scheme)

    def of(self, client: Client, instance: Instance, goal: str) -> tuple[str, str] | None:
        """Return the code and the text of why a client may not go to a version; None if it may."""
        if client.id in self.not_permitted:
            return NO_PERMISSION, self.not_permitted[client.id]
        if self.action is Action.INSTALL:
            why_not_there = _why_not_install(client, instance)
            if why_not_there is not None:
                return why_not_there
        if self.action not in _WITHOUT_RELEASE:
            refusal = _refusal(self.record, self.releases_by_platform[instance.platform])
            if refusal is not None:
                return refusal
        hold = self.holds.get((client.instance_id, client.package))
        if hold is None or self.record.kind == Kind.SETTINGS:  # pins hold versions
            return None
        return _pin(hold, goal, client, self.scheme)


def send_orders(
    tx: Transaction,
    record: RolloutRecord,
    action: Action,
    goals: Mapping[str, str],
    judge: Judge,
    *,
    now: datetime,
    draw: Draw,
    settings: Settings,
) -> dict[str, Sent]:
    """Start tasks that move members; return the item of each.

    Args:
        tx: the transaction to write in.
        record: the rollout.
        action: what is asked of the hosts.
        goals: the version that each member goes to; "" = its host's own previous one, for a roll-back.
        judge: what the rollout's starter may do: a member that they may not move is refused, and nothing is sent.
        now: the time.
        draw: makes ids.
        settings: how long a task may take.

    Raises:
        Conflict: another task was first with one of the clients. Begin again.
    """
    client_ids = list(goals)
    found = fleet.resolve(tx, record.account_id, record.region, [], client_ids)
    refusals = _Refusals.read(tx, record, action, found, judge, now)
    targets = []
    for client_id, goal in sorted(goals.items()):  # in one order over all tasks: others may lock the same clients
        client = found.clients.get(client_id)
        if client is None:
            targets.append(upgrades.unknown_client(client_id))
            continue
        instance = found.instances[client.instance_id]
        target = _target(client, instance.platform, goal)
        targets.append(replace(target, resolved=refusals.of(client, instance, goal)))
    clones = fleet.clones_of(tx, [client.instance_id for client in found.clients.values()], now=now)
    targets = upgrades.refuse_clones(targets, clones)
    sent: dict[str, Sent] = {}
    for brings, alike in _by_settings(tx, record, action, targets).items():
        for start in range(0, len(alike), MOST_TARGETS):
            new = _task(record, action, alike[start : start + MOST_TARGETS], brings)
            task = upgrades.start(tx, new, now=now, draw=draw, settings=settings)
            sent |= {item.client_id: Sent(task.id, item.id, item.from_version) for item in task.items}
    return sent


def _by_settings(
    tx: Transaction, record: RolloutRecord, action: Action, targets: list[TaskTarget]
) -> dict[str, list[TaskTarget]]:
    """Return targets by the settings that they are given, as JSON; "" = none of the rollout's."""
    if record.kind != Kind.SETTINGS:
        return {"": targets}
    given = dict(record.document.settings)
    if action is not Action.ROLL_BACK:
        return {json.dumps(given): targets}
    client_ids = [target.client_id for target in targets]
    before = upgrades.settings_before(tx, client_ids, origin_of(record), json.dumps(given))
    stored = fleet.preferences_of(tx, client_ids)
    found: dict[str, list[TaskTarget]] = {}
    for target in targets:
        has = stored.get(target.client_id, Preferences()).as_dict()
        # What somebody set since stays, and a host that never reported gets what is stored: that is as before.
        back = {name: old for name, old in before.get(target.client_id, {}).items() if has.get(name) == given[name]}
        found.setdefault(json.dumps(back, sort_keys=True) if back else "", []).append(target)
    return found


def _task(record: RolloutRecord, action: Action, targets: Sequence[TaskTarget], brings: str) -> NewTask:
    return NewTask(
        kind=Kind.SETTINGS if record.kind == Kind.SETTINGS else KINDS[action],
        account_id=record.account_id,
        targets=targets,
        requested_by=read_caller(record.starter or record.author).arn[:256],
        label=record.name,
        topic=TOPIC,
        settings=brings,
        origin=record.id,
        traceparent=traces.traceparent_of(record.id),
    )


def origin_of(record: RolloutRecord) -> Origin:
    """Return which tasks are a rollout's own."""
    since = record.started_at or record.created_at
    until = record.updated_at if record.state in ENDED else None  # another of the same name may have followed
    return Origin(record.id, TOPIC, record.name, since, until)


def _target(client: Client, platform: str, goal: str) -> TaskTarget:
    return TaskTarget(
        client.instance_id, client.id, client.package, platform, from_version=client.version, to_version=goal
    )


def _why_not_install(client: Client, instance: Instance) -> tuple[str, str] | None:
    """Return why an install has no business on a host; None if it has."""
    if client.is_installed:
        text = f"{client.package} {client.version} came to this host before; an install leaves it as it is"
        return ALREADY_INSTALLED, text
    refused = upgrades.no_carrier(instance, client)
    return None if refused is None else refused.resolved


def _refusal(record: RolloutRecord, release: releases.Release | None) -> tuple[str, str] | None:
    """Return why no client may have the target now; None if they may. Asked when an order leaves."""
    why = why_not(release)
    return ("NoRelease", f"{record.package} {record.target_version} {why} for this platform") if why else None


def _pin(hold: Hold, goal: str, client: Client, scheme: Scheme) -> tuple[str, str] | None:
    """Return why a pin forbids a client to go there; None if none does. Where its host had been, nobody here knows."""
    pin = hold.refusing(scheme, goal, client.version) if goal else hold.longest
    return None if pin is None else ("Pinned", pin.text)
