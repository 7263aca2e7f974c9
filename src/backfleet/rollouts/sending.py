"""Orders of a rollout's members: tasks like any caller's, started in the rollout's name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from backfleet import fleet, releases, upgrades
from backfleet.fleet import Client, Instance
from backfleet.identity import Caller
from backfleet.ids import Draw
from backfleet.rollouts.model import Action
from backfleet.rollouts.records import RolloutRecord, read_caller
from backfleet.settings import Settings
from backfleet.storage import Transaction
from backfleet.upgrades import Kind, NewTask, TaskTarget

TOPIC: Final = "rollouts"
MOST_TARGETS: Final = 100  # of one task

Judge = Callable[[Transaction, Caller, str, str, Sequence[str], datetime], str]
"""Returns why a caller may not do this now, "" if they may: (tx, caller, action, region, client ids, now)."""

KINDS: Final[Mapping[Action, Kind]] = {Action.MOVE: Kind.UPGRADE}
NO_SUCH_ORDER: Final = (
    "NotAllowedFrom",
    "hosts take no such order from a rollout yet; name the version and upgrade it",
)


@dataclass(frozen=True, slots=True)
class Sent:
    """The item that carries a member's order."""

    task_id: str
    item_id: str


def send_orders(
    tx: Transaction,
    record: RolloutRecord,
    action: Action,
    client_ids: Sequence[str],
    *,
    now: datetime,
    draw: Draw,
    settings: Settings,
) -> dict[str, Sent]:
    """Start tasks that move these members; return the item of each.

    Raises:
        Conflict: another task was first with one of the clients. Begin again.
    """
    found = fleet.resolve(tx, record.account_id, record.region, [], client_ids)
    sent: dict[str, Sent] = {}
    known = [found.clients[client_id] for client_id in client_ids if client_id in found.clients]
    platforms = {found.instances[client.instance_id].platform for client in known}
    offered = {platform: releases.find(tx, record.package, record.target_version, platform) for platform in platforms}
    for start in range(0, len(client_ids), MOST_TARGETS):
        targets = [
            _target(record, client_id, found.clients.get(client_id), found.instances, offered)
            for client_id in client_ids[start : start + MOST_TARGETS]
        ]
        if action not in KINDS:
            targets = [replace(target, resolved=NO_SUCH_ORDER) for target in targets]
        task = upgrades.start(tx, _task(record, action, targets), now=now, draw=draw, settings=settings)
        sent |= {item.client_id: Sent(task.id, item.id) for item in task.items}
    return sent


def _task(record: RolloutRecord, action: Action, targets: Sequence[TaskTarget]) -> NewTask:
    return NewTask(
        kind=KINDS.get(action, Kind.UPGRADE),
        account_id=record.account_id,
        targets=targets,
        requested_by=read_caller(record.starter or record.author).arn[:256],
        label=record.name,
        topic=TOPIC,
    )


def _target(
    record: RolloutRecord,
    client_id: str,
    client: Client | None,
    instances: Mapping[str, Instance],
    offered: Mapping[str, releases.Release | None],
) -> TaskTarget:
    if client is None:
        return upgrades.unknown_client(client_id)
    platform = instances[client.instance_id].platform
    release = offered[platform]
    refusal = None
    if release is None or release.withdrawn_at is not None:
        state = "is not there" if release is None else "was withdrawn"
        refusal = ("NoRelease", f"{record.package} {record.target_version} for {platform or 'its platform'} {state}")
    elif client.pin and not releases.versions.within(record.target_version, client.pin):
        refusal = ("Pinned", f"it is pinned to {client.pin}")
    return TaskTarget(
        client.instance_id,
        client.id,
        client.package,
        platform,
        from_version=client.version,
        to_version=record.target_version,
        resolved=refusal,
    )
