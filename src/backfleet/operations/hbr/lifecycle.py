"""UpgradeBackupClients, InstallBackupClients, UninstallBackupClients and their older forms: what starts a task.

What the public pages leave open is decided in docs/api.md. One call, in order:
 1. check the account that it acts in and the ids that it names, before anything is read
 2. if it acts in another account: check whether that account's role permits it
 3. resolve, plan and start (starting.py)
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from backfleet import upgrades
from backfleet.operations.catalogue import HBR, Call, operation
from backfleet.operations.hbr.answers import STARTED, STARTED_ONE
from backfleet.operations.hbr.cross_account import (
    CROSS_ACCOUNT_ERRORS,
    CrossAccount,
    acting_call,
    check_cross_account,
)
from backfleet.operations.hbr.errors import UNREACHABLE, ClientNotFound, TokenMismatch
from backfleet.operations.hbr.identifiers import LONGEST_ID, NamedIds, read_ids
from backfleet.operations.hbr.requests import expires_in_seconds, release_version, resource_group_id, vault_id
from backfleet.operations.hbr.selection import Selection
from backfleet.operations.hbr.starting import Plan, TaskRequest, start_task
from backfleet.operations.hbr.targets import (
    NamedInstances,
    call_instances,
    call_targets,
    named_instances,
    named_targets,
)
from backfleet.storage import Transaction
from backfleet.upgrades import InstallOptions, Kind, TaskTarget, UninstallPlanner, UpgradePlanner
from backfleet.values import value_object
from backfleet.wire.errors import InvalidParameter, OperationConflict
from backfleet.wire.parameters import boolean, json_list, text

MOST_UPGRADES: Final = 100  # instances and clients together; HBR 2017-09-08, UpgradeBackupClients
MOST_OTHERS: Final = 20  # instances and clients together; InstallBackupClients, UninstallBackupClients
NAME: Final = r"[a-z0-9][a-z0-9._+-]*"  # of a package or a channel


@value_object
class SomeClients(CrossAccount):
    """The parameters that name clients. ExpiresInSeconds is ours: hosts that are away or busy are waited for."""

    instance_ids: tuple[str, ...] | None = json_list("InstanceIds", longest_item=LONGEST_ID)
    client_ids: tuple[str, ...] | None = json_list("ClientIds", longest_item=LONGEST_ID)
    client_token: str | None = text("ClientToken", longest=64)
    expires_in_seconds: int | None = expires_in_seconds()


@value_object
class UpgradeBackupClients(SomeClients):
    """The parameters of UpgradeBackupClients. ReleaseVersion and TryAgain are ours.

    TryAgain allows versions that a host has quarantined, too.
    """

    release_version: str | None = release_version()
    try_again: bool | None = boolean("TryAgain", default=False)


@value_object
class UninstallBackupClients(SomeClients):
    """The parameters of UninstallBackupClients. RemoveState is ours: it removes configuration and state, too."""

    remove_state: bool | None = boolean("RemoveState", default=False)


@value_object
class InstallBackupClients(CrossAccount):
    """The parameters of InstallBackupClients.

    PackageName, Channel, ReleaseVersion, TryAgain and ExpiresInSeconds are ours: the cloud has one client.
    """

    instance_ids: tuple[str, ...] | None = json_list("InstanceIds", required=True, longest_item=LONGEST_ID)
    package_name: str | None = text("PackageName", longest=64, pattern=NAME)
    channel: str | None = text("Channel", longest=64, pattern=NAME)
    release_version: str | None = release_version()
    client_token: str | None = text("ClientToken", longest=64)
    try_again: bool | None = boolean("TryAgain", default=False)
    expires_in_seconds: int | None = expires_in_seconds()


@value_object
class OneClient:
    """The parameters of the older forms, which name one client. VaultId and ResourceGroupId have no effect here."""

    client_id: str | None = text("ClientId", required=True, longest=LONGEST_ID)
    vault_id: str | None = vault_id()
    resource_group_id: str | None = resource_group_id()


ERRORS_OF_ONE: Final = (ClientNotFound, OperationConflict, *UNREACHABLE)
ERRORS: Final = (*CROSS_ACCOUNT_ERRORS, TokenMismatch, *ERRORS_OF_ONE)


@operation(
    HBR,
    "UpgradeBackupClients",
    action="hbr:UpgradeBackupClients",
    resources=call_targets,
    answer=STARTED,
    errors=ERRORS,
)
def upgrade_backup_clients(call: Call, asked: UpgradeBackupClients) -> dict[str, Any]:
    """Start moving the named clients to their newest release, or the named one, and return at once.

    Raises:
        ApiError: UnreachableInstance or ClientNotFound for one target alone, and what `_start` and the ids raise.
    """
    named = _read_ids(asked, most=MOST_UPGRADES)
    there = acting_call(
        call, "UpgradeBackupClients", asked, lambda tx, account: named_targets(tx, call, account, asked)
    )

    def plan(tx: Transaction, selected: Selection) -> list[TaskTarget]:
        targets = plan_upgrades(tx, call, selected, asked.release_version or "")
        return [replace(target, tries_again=True) for target in targets] if asked.try_again else targets

    return start_task(TaskRequest(call, there, Kind.UPGRADE, named, plan, asked, asked.client_token))


@operation(
    HBR,
    "InstallBackupClients",
    action="hbr:InstallBackupClients",
    resources=call_instances,
    answer=STARTED,
    errors=ERRORS,
)
def install_backup_clients(call: Call, asked: InstallBackupClients) -> dict[str, Any]:
    """Start installing a package on the named instances, its newest release or the named one, and return at once.

    Raises:
        ApiError: as an upgrade; InvalidParameter where it is not clear which package is meant.
    """
    check_cross_account(asked)
    options = InstallOptions(
        asked.package_name, asked.channel, bool(asked.try_again), version=asked.release_version or ""
    )
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
    return start_task(TaskRequest(call, there, Kind.INSTALL, named, plan, asked, client_token))


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
        targets = selected.targets(UninstallPlanner(selected.holds(tx, call.now)))
        return [replace(target, remove_state=True) for target in targets] if asked.remove_state else targets

    return start_task(TaskRequest(call, there, Kind.UNINSTALL, named, plan, asked, asked.client_token))


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
    return _start_one(
        call, Kind.UPGRADE, lambda tx, selected: plan_upgrades(tx, call, selected), asked, "UpgradeClientTask"
    )


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

    def plan(tx: Transaction, selected: Selection) -> list[TaskTarget]:
        return selected.targets(UninstallPlanner(selected.holds(tx, call.now)))

    return _start_one(call, Kind.UNINSTALL, plan, asked, "UninstallClientTask")


def plan_upgrades(tx: Transaction, call: Call, selected: Selection, version: str = "") -> list[TaskTarget]:
    """Return the move of each selected client to its newest release, or to a named one, or why there is none."""
    instances = selected.found.instances
    wanted = {
        (client.package, instances[instance_id].platform, client.channel)
        for instance_id, clients in selected.found.clients_on.items()
        for client in clients
    }
    offered = upgrades.releases_by_offer(tx, wanted)
    return selected.targets(UpgradePlanner(offered, version, selected.holds(tx, call.now)))


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
    started = start_task(TaskRequest(call, call, kind, named, plan, asked, label=label))
    return {name: value for name, value in started.items() if name != "InstanceStatuses"}


def _read_ids(asked: SomeClients, *, most: int) -> NamedIds:
    check_cross_account(asked)
    return read_ids(asked.instance_ids, asked.client_ids, most=most)
