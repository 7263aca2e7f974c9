"""UpgradeBackupClients, InstallBackupClients, UninstallBackupClients and their older forms: what starts a task.

What the public pages leave open is decided in docs/api.md. One call, in order:
 1. check the account that it acts in and the ids that it names, before anything is read
 2. if it acts in another account: check whether that account's role permits it
 3. resolve the ids, and find which instances are reachable
 4. if its ClientToken is known: answer with the task that it started
 5. if it is about one instance or client only, and that cannot be given work: refuse the call; if it is about several
    and none can be given work: start no task
 6. plan what is to be done with each client; if a running task does just that: answer with it
 7. store the task, its items and the token, in the same transaction as 3 to 6

The task belongs to the account of the caller, its items to the account whose clients they move.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any, Final

from backfleet import fleet, upgrades
from backfleet.failpoints import failpoint
from backfleet.operations.catalogue import HBR, Call, operation
from backfleet.operations.hbr.answers import STARTED, STARTED_ONE, no_task_answer, started_answer
from backfleet.operations.hbr.cross_account import (
    CROSS_ACCOUNT_ERRORS,
    CrossAccount,
    acting_call,
    check_cross_account,
)
from backfleet.operations.hbr.errors import UNREACHABLE, ClientNotFound, TokenMismatch
from backfleet.operations.hbr.identifiers import LONGEST_ID, NamedIds, read_ids
from backfleet.operations.hbr.requests import resource_group_id, vault_id
from backfleet.operations.hbr.selection import Selection, select
from backfleet.operations.hbr.targets import (
    NamedInstances,
    call_instances,
    call_targets,
    named_instances,
    named_targets,
)
from backfleet.storage import Conflict, Transaction
from backfleet.upgrades import InstallOptions, Kind, NewTask, Task, TaskTarget, UninstallPlanner, UpgradePlanner
from backfleet.wire.errors import InvalidParameter, OperationConflict
from backfleet.wire.parameters import boolean, json_list, text

MOST_UPGRADES: Final = 100  # instances and clients together; HBR 2017-09-08, UpgradeBackupClients
MOST_OTHERS: Final = 20  # instances and clients together; InstallBackupClients, UninstallBackupClients
TRIES: Final = 3  # of a transaction that met a conflict
NAME: Final = r"[a-z0-9][a-z0-9._+-]*"  # of a package or a channel


@dataclass(frozen=True, slots=True)
class SomeClients(CrossAccount):
    """The parameters that name clients."""

    instance_ids: tuple[str, ...] | None = json_list("InstanceIds", longest_item=LONGEST_ID)
    client_ids: tuple[str, ...] | None = json_list("ClientIds", longest_item=LONGEST_ID)
    client_token: str | None = text("ClientToken", longest=64)


@dataclass(frozen=True, slots=True)
class UpgradeBackupClients(SomeClients):
    """The parameters of UpgradeBackupClients. TryAgain is ours: it allows versions that a host has quarantined, too."""

    try_again: bool | None = boolean("TryAgain", default=False)


@dataclass(frozen=True, slots=True)
class UninstallBackupClients(SomeClients):
    """The parameters of UninstallBackupClients. RemoveState is ours: it removes configuration and state, too."""

    remove_state: bool | None = boolean("RemoveState", default=False)


@dataclass(frozen=True, slots=True)
class InstallBackupClients(CrossAccount):
    """The parameters of InstallBackupClients. PackageName, Channel and TryAgain are ours: the cloud has one client."""

    instance_ids: tuple[str, ...] | None = json_list("InstanceIds", required=True, longest_item=LONGEST_ID)
    package_name: str | None = text("PackageName", longest=64, pattern=NAME)
    channel: str | None = text("Channel", longest=64, pattern=NAME)
    client_token: str | None = text("ClientToken", longest=64)
    try_again: bool | None = boolean("TryAgain", default=False)


@dataclass(frozen=True, slots=True)
class OneClient:
    """The parameters of the older forms, which name one client. VaultId and ResourceGroupId have no effect here."""

    client_id: str | None = text("ClientId", required=True, longest=LONGEST_ID)
    vault_id: str | None = vault_id()
    resource_group_id: str | None = resource_group_id()


Asked = CrossAccount | OneClient
Plan = Callable[[Transaction, Selection], list[TaskTarget]]
"""Returns what is to be done, once the ids are resolved."""

ERRORS_OF_ONE: Final = (ClientNotFound, OperationConflict, *UNREACHABLE)
ERRORS: Final = (*CROSS_ACCOUNT_ERRORS, TokenMismatch, *ERRORS_OF_ONE)


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """One call that asks for a task."""

    call: Call
    there: Call  # the same call as it acts: in its own account, or in another one
    kind: Kind
    named: NamedIds
    plan: Plan
    asked: Asked
    client_token: str | None = None
    label: str = ""  # what the task is called, if not by its kind


@operation(
    HBR,
    "UpgradeBackupClients",
    action="hbr:UpgradeBackupClients",
    resources=call_targets,
    answer=STARTED,
    errors=ERRORS,
)
def upgrade_backup_clients(call: Call, asked: UpgradeBackupClients) -> dict[str, Any]:
    """Start moving the named clients to their newest release, and return at once.

    Raises:
        ApiError: UnreachableInstance or ClientNotFound for one target alone, and what `_start` and the ids raise.
    """
    named = _read_ids(asked, most=MOST_UPGRADES)
    there = acting_call(
        call, "UpgradeBackupClients", asked, lambda tx, account: named_targets(tx, call, account, asked)
    )

    def plan(tx: Transaction, selected: Selection) -> list[TaskTarget]:
        return [replace(target, tries_again=bool(asked.try_again)) for target in _plan_upgrades(tx, selected)]

    return _start(TaskRequest(call, there, Kind.UPGRADE, named, plan, asked, asked.client_token))


@operation(
    HBR,
    "InstallBackupClients",
    action="hbr:InstallBackupClients",
    resources=call_instances,
    answer=STARTED,
    errors=ERRORS,
)
def install_backup_clients(call: Call, asked: InstallBackupClients) -> dict[str, Any]:
    """Start installing the newest release of a package on the named instances, and return at once.

    Raises:
        ApiError: as an upgrade; InvalidParameter where it is not clear which package is meant.
    """
    check_cross_account(asked)
    options = InstallOptions(asked.package_name, asked.channel, bool(asked.try_again))
    return install(call, "InstallBackupClients", asked.instance_ids or (), asked, options, asked.client_token)


def install(
    call: Call,
    name: str,
    instances: Sequence[str],
    asked: CrossAccount,
    options: InstallOptions | None = None,
    client_token: str | None = None,
) -> dict[str, Any]:
    """Start installing on instances, for the operation `name`; without options, what this server would choose.

    Raises:
        ApiError: as that operation.
    """
    named = read_ids(instances, None, most=MOST_OTHERS)
    if named.clients:
        raise InvalidParameter(f"{named.clients[0]!r} names a client; name its instance.")

    def plan(tx: Transaction, selected: Selection) -> list[TaskTarget]:
        return _plan_installs(tx, call, selected, options or InstallOptions())

    on = NamedInstances(tuple(instances), options.package if options else None)
    there = acting_call(call, name, asked, lambda tx, account: named_instances(tx, call, account, on))
    return _start(TaskRequest(call, there, Kind.INSTALL, named, plan, asked, client_token))


@operation(
    HBR,
    "UninstallBackupClients",
    action="hbr:UninstallBackupClients",
    resources=call_targets,
    answer=STARTED,
    errors=ERRORS,
)
def uninstall_backup_clients(call: Call, asked: UninstallBackupClients) -> dict[str, Any]:
    """Start removing the named clients from their hosts, and return at once.

    Raises:
        ApiError: as an upgrade.
    """
    named = _read_ids(asked, most=MOST_OTHERS)
    there = acting_call(
        call, "UninstallBackupClients", asked, lambda tx, account: named_targets(tx, call, account, asked)
    )

    def plan(tx: Transaction, selected: Selection) -> list[TaskTarget]:
        return [replace(target, remove_state=bool(asked.remove_state)) for target in _plan_uninstalls(tx, selected)]

    return _start(TaskRequest(call, there, Kind.UNINSTALL, named, plan, asked, asked.client_token))


@operation(
    HBR,
    "UpgradeClient",
    action="hbr:UpgradeClient",
    resources=call_targets,
    needs_tls=True,
    answer=STARTED_ONE,
    errors=ERRORS_OF_ONE,
)
def upgrade_client(call: Call, asked: OneClient) -> dict[str, Any]:
    """Start moving one client to its newest release, and return at once.

    Raises:
        ApiError: UnreachableInstance or ClientNotFound.
    """
    return _start_one(call, Kind.UPGRADE, _plan_upgrades, asked, "UpgradeClientTask")


@operation(
    HBR,
    "UninstallClient",
    action="hbr:UninstallClient",
    resources=call_targets,
    needs_tls=True,
    answer=STARTED_ONE,
    errors=ERRORS_OF_ONE,
)
def uninstall_client(call: Call, asked: OneClient) -> dict[str, Any]:
    """Start removing one client from its host, and return at once.

    Raises:
        ApiError: UnreachableInstance or ClientNotFound.
    """
    return _start_one(call, Kind.UNINSTALL, _plan_uninstalls, asked, "UninstallClientTask")


def _plan_upgrades(tx: Transaction, selected: Selection) -> list[TaskTarget]:
    instances = selected.found.instances
    wanted = {
        (client.package, instances[instance_id].platform, client.channel)
        for instance_id, clients in selected.found.clients_on.items()
        for client in clients
    }
    return selected.targets(UpgradePlanner(upgrades.releases_by_offer(tx, wanted)))


def _plan_uninstalls(_tx: Transaction, selected: Selection) -> list[TaskTarget]:
    return selected.targets(UninstallPlanner())


def _plan_installs(tx: Transaction, call: Call, selected: Selection, options: InstallOptions) -> list[TaskTarget]:
    try:
        return upgrades.plan_installs(
            tx,
            selected.reachable,
            selected.found.clients_on,
            options,
            default_package=call.services.settings.default_package,
            now=call.now,
            draw=call.services.draw,
        )
    except upgrades.PackageUnclear as unclear:
        raise InvalidParameter(_which_package(unclear)) from None


def _which_package(unclear: upgrades.PackageUnclear) -> str:
    channel, offered = unclear.channel, unclear.offered
    if not offered:
        return (
            f"PackageName is not given, and channel {channel} offers no package for these instances yet. Add a release."
        )
    listed = ", ".join(offered)
    return (
        f"PackageName is not given, and channel {channel} offers several packages: {listed}. "
        "Name one, or let the administrator choose one (`backfleet release default`, or the setting default_package)."
    )


def _start_one(call: Call, kind: Kind, plan: Plan, asked: OneClient, label: str) -> dict[str, Any]:
    named = read_ids(None, [asked.client_id or ""], most=1)
    if not named.clients:
        raise InvalidParameter(f"ClientId is {asked.client_id!r}, which names an instance; name a client (c-...).")
    started = _start(TaskRequest(call, call, kind, named, plan, asked, label=label))
    return {name: value for name, value in started.items() if name != "InstanceStatuses"}


def _read_ids(asked: SomeClients, *, most: int) -> NamedIds:
    check_cross_account(asked)
    return read_ids(asked.instance_ids, asked.client_ids, most=most)


def _start(request: TaskRequest) -> dict[str, Any]:
    """Resolve, plan and start in one transaction; again from the beginning if another call was first.

    Raises:
        OperationConflict: another call was first, TRIES times.
    """
    for _ in range(TRIES):
        try:
            with request.call.services.database.transaction() as tx:
                answer = _start_in(tx, request)
        except Conflict:
            continue
        failpoint("task stored")
        return answer
    raise OperationConflict("Other calls keep changing the same clients. Ask again.")


def _start_in(tx: Transaction, request: TaskRequest) -> dict[str, Any]:
    call, there, named = request.call, request.there, request.named
    found = fleet.resolve(tx, there.account_id, there.region, named.instances, named.clients)
    reachable_within = timedelta(seconds=call.services.settings.fit_seconds)
    task_time = timedelta(seconds=call.services.settings.task_seconds)
    selected = select(named, found, now=call.now, reachable_within=reachable_within, task_time=task_time)
    failpoint("targets resolved")
    fingerprint = _fingerprint(request.kind, request.asked)
    known = _known_task(tx, call, request.client_token, fingerprint)
    if known is not None:
        return started_answer(known.id, _repeated_lines(selected, known))
    selected.refuse_if_alone()
    if not selected.reachable and not named.clients:
        return no_task_answer(selected.lines)
    targets = selected.with_dials(request.plan(tx, selected))
    clones = fleet.clones_of(tx, list({target.instance_id for target in targets}), now=call.now)
    new = NewTask(
        kind=request.kind,
        account_id=call.account_id,
        clients_account_id=there.account_id,
        targets=upgrades.refuse_clones(targets, clones),
        requested_by=call.caller.arn,
        label=request.label,
        client_token=request.client_token,
        fingerprint=fingerprint,
    )
    running = upgrades.running_like(tx, new, now=call.now)
    if running is not None:
        upgrades.remember_token(
            tx, new, running.id, until=call.now + timedelta(hours=call.services.settings.token_hours)
        )
        return started_answer(running.id, _repeated_lines(selected, running))
    task = upgrades.start(tx, new, now=call.now, draw=call.services.draw, settings=call.services.settings)
    return started_answer(task.id, selected.lines)


def _known_task(tx: Transaction, call: Call, token: str | None, fingerprint: str) -> Task | None:
    if token is None:
        return None
    try:
        return upgrades.started_before(tx, call.account_id, token, fingerprint, now=call.now)
    except upgrades.TokenReused:
        raise TokenMismatch from None


def _repeated_lines(selected: Selection, task: Task) -> list[dict[str, object]]:
    """Return InstanceStatuses for a repeated call: an instance that the task took in was valid, and stays so."""
    taken = {item.instance_id for item in task.items}
    return [
        {**line, "ValidInstance": True, "ErrorCode": ""} if line["InstanceId"] in taken else line
        for line in selected.lines
    ]


def _fingerprint(kind: Kind, asked: Asked) -> str:
    """Return a digest of what was asked, ClientToken excepted, from which nothing of it can be read back."""
    values = {name: value for name, value in asdict(asked).items() if name != "client_token"}
    return hashlib.sha256(json.dumps([kind.value, values], sort_keys=True).encode()).hexdigest()
