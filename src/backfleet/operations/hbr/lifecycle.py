"""UpgradeBackupClients and its kin: everything that starts a task.

What the public pages leave open is decided in docs/api.md. One call, in order:
 1. the account it acts in, and which ids it names: refused before anything is read
 2. if it acts in another account: whether it may, by that account's role
 3. resolve the ids, and see which instances are fit
 4. a ClientToken that is known: the task it started
 5. one place, and something wrong with it: the call's own error; several, and none fit: no task
 6. what is to be done with each client
 7. the task, its items and the token, in the same transaction as 3 to 6

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
from backfleet.fleet import Resolved
from backfleet.operations.catalogue import HBR, Call, operation
from backfleet.operations.hbr.answers import STARTED, STARTED_ONE, started_answer, without_task
from backfleet.operations.hbr.cross_account import CROSSING_ERRORS, Crossing, check_crossing, where_it_acts
from backfleet.operations.hbr.errors import UNFIT, ClientNotFound, TokenMismatch
from backfleet.operations.hbr.identifiers import LONGEST_ID, Named, read_names
from backfleet.operations.hbr.installing import LEFT_TO_US, Wish, targets_to_install
from backfleet.operations.hbr.selection import Survey, survey, targets_of, uninstalling, upgrading
from backfleet.releases import Release
from backfleet.storage import Conflict, Transaction
from backfleet.upgrades import Kind, Task, TaskTarget
from backfleet.upgrades.offers import Offer, releases_by_offer
from backfleet.wire.errors import InvalidParameter, OperationConflict
from backfleet.wire.parameters import boolean, json_list, text

MOST_UPGRADES = 100  # instances and clients together; HBR 2017-09-08, UpgradeBackupClients
MOST_OTHERS = 20  # likewise; InstallBackupClients, UninstallBackupClients
TRIES = 3  # of a transaction that lost a race
EVERY_NAME: Final = r"[a-z0-9][a-z0-9._+-]*"  # of a package or a channel


@dataclass(frozen=True, slots=True)
class SomeClients(Crossing):
    """Which clients, in wire words."""

    instance_ids: tuple[str, ...] | None = json_list("InstanceIds", longest_item=LONGEST_ID)
    client_ids: tuple[str, ...] | None = json_list("ClientIds", longest_item=LONGEST_ID)
    client_token: str | None = text("ClientToken", longest=64)


@dataclass(frozen=True, slots=True)
class UpgradeBackupClients(SomeClients):
    """What the caller sent. TryAgain is ours: also a version that a host has taken back within the last day."""

    try_again: bool | None = boolean("TryAgain", default=False)


@dataclass(frozen=True, slots=True)
class UninstallBackupClients(SomeClients):
    """The same words as an upgrade. RemoveState is ours: configuration and state of the client go with it."""

    remove_state: bool | None = boolean("RemoveState", default=False)


@dataclass(frozen=True, slots=True)
class InstallBackupClients(Crossing):
    """What the caller sent. PackageName and Channel are ours: the cloud has one client only. TryAgain too."""

    instance_ids: tuple[str, ...] | None = json_list("InstanceIds", required=True, longest_item=LONGEST_ID)
    package_name: str | None = text("PackageName", longest=64, pattern=EVERY_NAME)
    channel: str | None = text("Channel", longest=64, pattern=EVERY_NAME)
    client_token: str | None = text("ClientToken", longest=64)
    try_again: bool | None = boolean("TryAgain", default=False)


@dataclass(frozen=True, slots=True)
class OneClient:
    """The older form: one client. What it says of vaults and resource groups does not matter here."""

    client_id: str | None = text("ClientId", required=True, longest=LONGEST_ID)
    vault_id: str | None = text("VaultId", longest=128)
    resource_group_id: str | None = text("ResourceGroupId", longest=128)


Asked = Crossing | OneClient
Targets = Callable[[Transaction, Survey], list[TaskTarget]]
"""What is to be done, once it is known what the ids name and which instances are fit."""

ERRORS_OF_ONE: Final = (ClientNotFound, OperationConflict, *UNFIT)
ERRORS: Final = (*CROSSING_ERRORS, TokenMismatch, *ERRORS_OF_ONE)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One call that wants a task."""

    call: Call
    there: Call  # the same, in the account where it acts
    kind: Kind
    named: Named
    targets: Targets
    asked: Asked
    client_token: str | None = None
    label: str = ""  # what the task is called, if not by its kind


@operation(HBR, "UpgradeBackupClients", action="hbr:UpgradeBackupClients", answer=STARTED, errors=ERRORS)
def upgrade_backup_clients(call: Call, asked: UpgradeBackupClients) -> dict[str, Any]:
    """Start moving the named clients to their newest release, and return at once.

    Raises:
        ApiError: UnfitInstance or ClientNotFound for one target alone, and what `_start` and the names raise.
    """
    named = _names(asked, most=MOST_UPGRADES)
    there = where_it_acts(call, "UpgradeBackupClients", asked)

    def targets(tx: Transaction, surveyed: Survey) -> list[TaskTarget]:
        return [replace(target, tries_again=bool(asked.try_again)) for target in _to_upgrade(tx, surveyed)]

    return _start(Wanted(call, there, Kind.UPGRADE, named, targets, asked, asked.client_token))


@operation(HBR, "InstallBackupClients", action="hbr:InstallBackupClients", answer=STARTED, errors=ERRORS)
def install_backup_clients(call: Call, asked: InstallBackupClients) -> dict[str, Any]:
    """Start installing the newest release of a package on the named instances, and return at once.

    Raises:
        ApiError: as an upgrade; and InvalidParameter where it is not clear which package is meant.
    """
    check_crossing(asked)
    wish = Wish(asked.package_name, asked.channel, bool(asked.try_again))
    return install(call, "InstallBackupClients", asked.instance_ids or (), asked, wish, asked.client_token)


def install(
    call: Call,
    name: str,
    instances: Sequence[str],
    asked: Crossing,
    wish: Wish = LEFT_TO_US,
    client_token: str | None = None,
) -> dict[str, Any]:
    """Start installing on instances, for the operation `name`. Raises ApiError as that operation does."""
    named = read_names(instances, None, most=MOST_OTHERS)
    if named.clients:
        raise InvalidParameter(f"{named.clients[0]!r} names a client; name its instance.")

    def targets(tx: Transaction, surveyed: Survey) -> list[TaskTarget]:
        found = targets_to_install(tx, call, surveyed, wish)
        return [replace(target, tries_again=wish.tries_again) for target in found]

    there = where_it_acts(call, name, asked)
    return _start(Wanted(call, there, Kind.INSTALL, named, targets, asked, client_token))


@operation(HBR, "UninstallBackupClients", action="hbr:UninstallBackupClients", answer=STARTED, errors=ERRORS)
def uninstall_backup_clients(call: Call, asked: UninstallBackupClients) -> dict[str, Any]:
    """Start taking the named clients off their hosts, and return at once.

    Raises:
        ApiError: as an upgrade.
    """
    named = _names(asked, most=MOST_OTHERS)
    there = where_it_acts(call, "UninstallBackupClients", asked)

    def targets(tx: Transaction, surveyed: Survey) -> list[TaskTarget]:
        return [replace(target, remove_state=bool(asked.remove_state)) for target in _to_uninstall(tx, surveyed)]

    return _start(Wanted(call, there, Kind.UNINSTALL, named, targets, asked, asked.client_token))


@operation(HBR, "UpgradeClient", action="hbr:UpgradeClient", needs_tls=True, answer=STARTED_ONE, errors=ERRORS_OF_ONE)
def upgrade_client(call: Call, asked: OneClient) -> dict[str, Any]:
    """Start moving one client to its newest release, and return at once.

    Raises:
        ApiError: UnfitInstance or ClientNotFound.
    """
    return _start_one(call, Kind.UPGRADE, _to_upgrade, asked, "UpgradeClientTask")


@operation(
    HBR, "UninstallClient", action="hbr:UninstallClient", needs_tls=True, answer=STARTED_ONE, errors=ERRORS_OF_ONE
)
def uninstall_client(call: Call, asked: OneClient) -> dict[str, Any]:
    """Start taking one client off its host, and return at once.

    Raises:
        ApiError: UnfitInstance or ClientNotFound.
    """
    return _start_one(call, Kind.UNINSTALL, _to_uninstall, asked, "UninstallClientTask")


def _to_upgrade(tx: Transaction, surveyed: Survey) -> list[TaskTarget]:
    return targets_of(surveyed, upgrading(_offered_to(tx, surveyed.found)))


def _to_uninstall(_tx: Transaction, surveyed: Survey) -> list[TaskTarget]:
    return targets_of(surveyed, uninstalling())


def _start_one(call: Call, kind: Kind, targets: Targets, asked: OneClient, label: str) -> dict[str, Any]:
    named = read_names(None, [asked.client_id or ""], most=1)
    if not named.clients:
        raise InvalidParameter(f"ClientId is {asked.client_id!r}, which names an instance; name a client (c-...).")
    started = _start(Wanted(call, call, kind, named, targets, asked, label=label))
    return {name: value for name, value in started.items() if name != "InstanceStatuses"}


def _names(asked: SomeClients, *, most: int) -> Named:
    check_crossing(asked)
    return read_names(asked.instance_ids, asked.client_ids, most=most)


def _start(wanted: Wanted) -> dict[str, Any]:
    """Resolve, judge and start in one transaction; again from the beginning if another call won a race.

    Raises:
        OperationConflict: others won it TRIES times.
    """
    for _ in range(TRIES):
        try:
            with wanted.call.services.database.transaction() as tx:
                answer = _start_in(tx, wanted)
        except Conflict:
            continue
        failpoint("task stored")
        return answer
    raise OperationConflict("Other calls keep changing the same clients. Ask again.")


def _start_in(tx: Transaction, wanted: Wanted) -> dict[str, Any]:
    call, there, named = wanted.call, wanted.there, wanted.named
    found = fleet.resolve(tx, there.account_id, there.region, named.instances, named.clients)
    surveyed = survey(named, found, now=call.now, fit_within=timedelta(seconds=call.services.settings.fit_seconds))
    failpoint("targets resolved")
    fingerprint = _fingerprint(wanted.kind, wanted.asked)
    known = _known_task(tx, call, wanted.client_token, fingerprint)
    if known is not None:
        return started_answer(known.id, _lines_again(surveyed, known))
    surveyed.refuse_if_alone()
    if not surveyed.fit and not named.clients:
        return without_task(surveyed.lines)
    task = upgrades.start(
        tx,
        kind=wanted.kind,
        account_id=call.account_id,
        clients_account_id=there.account_id,
        label=wanted.label,
        targets=wanted.targets(tx, surveyed),
        requested_by=call.caller.arn,
        now=call.now,
        draw=call.services.draw,
        settings=call.services.settings,
        client_token=wanted.client_token,
        fingerprint=fingerprint,
    )
    return started_answer(task.id, surveyed.lines)


def _known_task(tx: Transaction, call: Call, token: str | None, fingerprint: str) -> Task | None:
    if token is None:
        return None
    try:
        return upgrades.started_before(tx, call.account_id, token, fingerprint, now=call.now)
    except upgrades.TokenReused:
        raise TokenMismatch from None


def _lines_again(surveyed: Survey, task: Task) -> list[dict[str, object]]:
    """InstanceStatuses for a call that is made again: an instance that the task took in was valid, and stays so."""
    taken = {item.instance_id for item in task.items}
    return [
        {**line, "ValidInstance": True, "ErrorCode": ""} if line["InstanceId"] in taken else line
        for line in surveyed.lines
    ]


def _offered_to(tx: Transaction, found: Resolved) -> dict[Offer, list[Release]]:
    """Every release that any of these clients might move to."""
    wanted = {
        (client.package, found.instances[instance_id].platform, client.channel)
        for instance_id, clients in found.clients_on.items()
        for client in clients
    }
    return releases_by_offer(tx, wanted)


def _fingerprint(kind: Kind, asked: Asked) -> str:
    """What was asked, as a hash: nothing of it can be read back."""
    said = {name: value for name, value in asdict(asked).items() if name != "client_token"}
    return hashlib.sha256(json.dumps([kind.value, said], sort_keys=True).encode()).hexdigest()
