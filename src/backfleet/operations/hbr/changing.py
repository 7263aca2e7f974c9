"""UpgradeBackupClients, InstallBackupClients, UninstallBackupClients: everything that starts a task.

What the public pages leave open is decided in docs/api.md.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from backfleet import fleet, releases, upgrades
from backfleet.fleet import Client, ClientStatus, Instance, Resolved
from backfleet.instants import passed
from backfleet.operations.catalogue import HBR, Call, operation
from backfleet.operations.hbr.answers import common
from backfleet.operations.hbr.errors import ClientNotFound, TokenMismatch, UnfitInstance
from backfleet.operations.hbr.naming import Named, check_account, read_names
from backfleet.operations.hbr.targets import (
    Judged,
    agent_refusal,
    judge,
    newest_for,
    refused,
    targets_of,
)
from backfleet.releases import STABLE
from backfleet.storage import Conflict, Transaction
from backfleet.upgrades import Kind, Target
from backfleet.wire.errors import InvalidParameter, OperationConflict
from backfleet.wire.parameters import integer, json_list, text

MOST_UPGRADES = 100  # instances and clients together; HBR 2017-09-08, UpgradeBackupClients
MOST_OTHERS = 20  # likewise; InstallBackupClients, UninstallBackupClients
TRIES = 3  # of a transaction that lost a race

NO_VALID_INSTANCE = "None of the instances can be given work; InstanceStatuses says why for each."

Targets = Callable[[Transaction, Resolved, Judged], list[Target]]


@dataclass(frozen=True, slots=True)
class UpgradeBackupClients:
    """What the caller sent, in wire words."""

    instance_ids: tuple[str, ...] | None = json_list("InstanceIds")
    client_ids: tuple[str, ...] | None = json_list("ClientIds")
    cross_account_type: str | None = text("CrossAccountType")
    cross_account_user_id: int | None = integer("CrossAccountUserId")
    cross_account_role_name: str | None = text("CrossAccountRoleName", longest=64)
    client_token: str | None = text("ClientToken", longest=64)


@dataclass(frozen=True, slots=True)
class InstallBackupClients:
    """What the caller sent. PackageName and Channel are ours: the cloud has one client only."""

    instance_ids: tuple[str, ...] | None = json_list("InstanceIds", required=True)
    package_name: str | None = text("PackageName", longest=64)
    channel: str | None = text("Channel", default=STABLE, longest=64)
    cross_account_type: str | None = text("CrossAccountType")
    cross_account_user_id: int | None = integer("CrossAccountUserId")
    cross_account_role_name: str | None = text("CrossAccountRoleName", longest=64)
    client_token: str | None = text("ClientToken", longest=64)


@dataclass(frozen=True, slots=True)
class UninstallBackupClients(UpgradeBackupClients):
    """The same words as an upgrade."""


@operation(HBR, "UpgradeBackupClients", action="hbr:UpgradeBackupClients")
def upgrade_backup_clients(call: Call, asked: UpgradeBackupClients) -> dict[str, Any]:
    """Start moving the named clients to their newest release, and return at once."""
    check_account(asked.cross_account_type, asked.cross_account_user_id, asked.cross_account_role_name)
    named = read_names(asked.instance_ids, asked.client_ids, most=MOST_UPGRADES)

    def targets(tx: Transaction, found: Resolved, judged: Judged) -> list[Target]:
        aim = newest_for(_offered_for(tx, found))
        return targets_of(named, found, judged, aim, now=call.now, fit_within=_fit_within(call))

    return _start(call, Kind.UPGRADE, named, targets, asked, asked.client_token)


@operation(HBR, "InstallBackupClients", action="hbr:InstallBackupClients")
def install_backup_clients(call: Call, asked: InstallBackupClients) -> dict[str, Any]:
    """Start installing the newest release of a package on the named instances, and return at once."""
    check_account(asked.cross_account_type, asked.cross_account_user_id, asked.cross_account_role_name)
    named = read_names(asked.instance_ids, None, most=MOST_OTHERS)
    if named.clients:
        raise InvalidParameter(f"InstanceIds has {named.clients[0]!r}, which names a client; name its instance.")

    def targets(tx: Transaction, found: Resolved, judged: Judged) -> list[Target]:
        return [_install(tx, call, asked, found.instances[i], found.clients_on[i]) for i in judged.fit]

    return _start(call, Kind.INSTALL, named, targets, asked, asked.client_token)


@operation(HBR, "UninstallBackupClients", action="hbr:UninstallBackupClients")
def uninstall_backup_clients(call: Call, asked: UninstallBackupClients) -> dict[str, Any]:
    """Start taking the named clients off their hosts, and return at once."""
    check_account(asked.cross_account_type, asked.cross_account_user_id, asked.cross_account_role_name)
    named = read_names(asked.instance_ids, asked.client_ids, most=MOST_OTHERS)

    def remove(instance: Instance, client: Client) -> Target:
        return Target(instance.id, client.id, client.package, instance.platform, from_version=client.version)

    def targets(tx: Transaction, found: Resolved, judged: Judged) -> list[Target]:
        return targets_of(named, found, judged, remove, now=call.now, fit_within=_fit_within(call))

    return _start(call, Kind.UNINSTALL, named, targets, asked, asked.client_token)


def _start(
    call: Call, kind: Kind, named: Named, targets: Targets, asked: Any, client_token: str | None
) -> dict[str, Any]:
    """Resolve, judge and start in one transaction; again from the beginning if another call won a race."""
    for _ in range(TRIES):
        try:
            with call.house.database.transaction() as tx:
                answer = _start_in(tx, call, kind, named, targets, asked, client_token)
        except Conflict:
            continue
        passed("task stored")
        return answer
    raise OperationConflict("Other calls keep changing the same clients. Ask again.")


def _start_in(
    tx: Transaction, call: Call, kind: Kind, named: Named, targets: Targets, asked: Any, client_token: str | None
) -> dict[str, Any]:
    fingerprint = _fingerprint(kind, asked)
    found = fleet.resolve(tx, call.account_id, call.region, named.instances, named.clients)
    judged = judge(named.instances, found, now=call.now, fit_within=_fit_within(call))
    passed("targets resolved")
    known = _known_task(tx, call, client_token, fingerprint)
    if known is not None:
        return common(TaskId=known, InstanceStatuses=judged.lines)
    _refuse_a_lone_unfit_one(call, named, found, judged)
    if not judged.fit and not named.clients:
        return {
            "Code": "NoValidInstance",
            "Message": NO_VALID_INSTANCE,
            "Success": False,
            "InstanceStatuses": judged.lines,
        }
    task_id = upgrades.start(
        tx,
        kind=kind,
        account_id=call.account_id,
        targets=targets(tx, found, judged),
        requested_by=call.caller.arn,
        seconds=call.house.settings.task_seconds,
        now=call.now,
        draw=call.house.draw,
    )
    if client_token is not None:
        until = call.now + timedelta(hours=call.house.settings.token_hours)
        if not upgrades.remember_token(tx, call.account_id, client_token, fingerprint, task_id, until=until):
            raise Conflict  # the same request came twice at once: begin again, and find the other's task
    return common(TaskId=task_id, InstanceStatuses=judged.lines)


def _known_task(tx: Transaction, call: Call, token: str | None, fingerprint: str) -> str | None:
    if token is None:
        return None
    try:
        return upgrades.known_token(tx, call.account_id, token, fingerprint, now=call.now)
    except upgrades.TokenReused:
        raise TokenMismatch from None


def _refuse_a_lone_unfit_one(call: Call, named: Named, found: Resolved, judged: Judged) -> None:
    """With one target only, what is wrong with it is the call's own error."""
    if len(named.ids) != 1:
        return
    (name,) = named.ids
    if name in judged.fitness:
        if name not in judged.fit:
            raise UnfitInstance(judged.fitness[name])
        return
    client = found.clients.get(name)
    if client is None:
        raise ClientNotFound(name)
    fit = fleet.fitness(found.instances[client.instance_id], now=call.now, fit_within=_fit_within(call))
    if fit is not fleet.Fitness.FIT:
        raise UnfitInstance(fit)


def _install(
    tx: Transaction, call: Call, asked: InstallBackupClients, instance: Instance, clients: Sequence[Client]
) -> Target:
    channel = asked.channel or STABLE
    package = _package(tx, call, asked, instance, channel)
    client = fleet.ensure_client(
        tx, instance, package, channel, status=ClientStatus.NOT_INSTALLED, now=call.now, draw=call.house.draw
    )
    refusal = agent_refusal(instance, client)
    if refusal is not None:
        return refusal
    offered = releases.offered(tx, package, instance.platform, channel)
    if not offered:
        text = f"no release of {package} is offered for {instance.platform or 'its platform'} in channel {channel}"
        return refused(instance, client, "NoRelease", text)
    return newest_for({(package, instance.platform, client.channel): offered})(instance, client)


def _package(tx: Transaction, call: Call, asked: InstallBackupClients, instance: Instance, channel: str) -> str:
    """What is to be installed: as asked, as set, or the only one there is."""
    chosen = asked.package_name or call.house.settings.default_package
    if chosen:
        return chosen
    there = releases.packages_offered(tx, instance.platform, channel)
    if len(there) == 1:
        return there[0]
    known = f"there are {', '.join(there)}" if there else "none is offered for its platform yet"
    raise InvalidParameter(
        f"PackageName is not given, and it is not clear which package to install on {instance.id}: {known}."
    )


def _offered_for(tx: Transaction, found: Resolved) -> dict[tuple[str, str, str], list[releases.Release]]:
    """Every release that any of these clients might move to, in one query."""
    wanted = [
        (client.package, found.instances[instance_id].platform, client.channel)
        for instance_id, clients in found.clients_on.items()
        for client in clients
    ]
    offered: dict[tuple[str, str, str], list[releases.Release]] = {}
    for release in releases.offered_of(tx, wanted):
        for channel in release.channels:
            offered.setdefault((release.package, release.platform, channel), []).append(release)
    return offered


def _fit_within(call: Call) -> timedelta:
    return timedelta(seconds=call.house.settings.fit_seconds)


def _fingerprint(kind: Kind, asked: Any) -> str:
    said = {name: value for name, value in asdict(asked).items() if name != "client_token"}
    return hashlib.sha256(json.dumps([kind, said], sort_keys=True).encode()).hexdigest()
