"""UpgradeBackupClients, InstallBackupClients, UninstallBackupClients: everything that starts a task.

What the public pages leave open is decided in docs/api.md. One call, in order:
 1. the account it acts in, and which ids it names: refused before anything is read
 2. resolve the ids, and see which instances are fit
 3. a ClientToken that is known: the task it started
 4. one place, and something wrong with it: the call's own error; several, and none fit: no task
 5. what is to be done with each client
 6. the task, its items and the token, in the same transaction as 2 to 5
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final

from backfleet import fleet, upgrades
from backfleet.fleet import Resolved
from backfleet.instants import passed
from backfleet.operations.catalogue import HBR, Call, operation
from backfleet.operations.hbr.answers import started_answer, without_task
from backfleet.operations.hbr.errors import TokenMismatch
from backfleet.operations.hbr.installing import Wish, targets_to_install
from backfleet.operations.hbr.naming import LONGEST_ID, Named, check_account, read_names
from backfleet.operations.hbr.offers import Offer, releases_by_offer
from backfleet.operations.hbr.targets import Survey, survey, targets_of, uninstalling, upgrading
from backfleet.releases import Release
from backfleet.storage import Conflict, Transaction
from backfleet.upgrades import Kind, Target, Task
from backfleet.wire.errors import InvalidParameter, OperationConflict
from backfleet.wire.parameters import integer, json_list, text

MOST_UPGRADES = 100  # instances and clients together; HBR 2017-09-08, UpgradeBackupClients
MOST_OTHERS = 20  # likewise; InstallBackupClients, UninstallBackupClients
TRIES = 3  # of a transaction that lost a race
EVERY_NAME: Final = r"[a-z0-9][a-z0-9._+-]*"  # of a package or a channel


@dataclass(frozen=True, slots=True)
class UpgradeBackupClients:
    """What the caller sent, in wire words."""

    instance_ids: tuple[str, ...] | None = json_list("InstanceIds", longest_item=LONGEST_ID)
    client_ids: tuple[str, ...] | None = json_list("ClientIds", longest_item=LONGEST_ID)
    cross_account_type: str | None = text("CrossAccountType")
    cross_account_user_id: int | None = integer("CrossAccountUserId")
    cross_account_role_name: str | None = text("CrossAccountRoleName", longest=64)
    client_token: str | None = text("ClientToken", longest=64)


@dataclass(frozen=True, slots=True)
class UninstallBackupClients(UpgradeBackupClients):
    """The same words as an upgrade."""


@dataclass(frozen=True, slots=True)
class InstallBackupClients:
    """What the caller sent. PackageName and Channel are ours: the cloud has one client only."""

    instance_ids: tuple[str, ...] | None = json_list("InstanceIds", required=True, longest_item=LONGEST_ID)
    package_name: str | None = text("PackageName", longest=64, pattern=EVERY_NAME)
    channel: str | None = text("Channel", longest=64, pattern=EVERY_NAME)
    cross_account_type: str | None = text("CrossAccountType")
    cross_account_user_id: int | None = integer("CrossAccountUserId")
    cross_account_role_name: str | None = text("CrossAccountRoleName", longest=64)
    client_token: str | None = text("ClientToken", longest=64)


Asked = UpgradeBackupClients | InstallBackupClients
Targets = Callable[[Transaction, Survey], list[Target]]
"""What is to be done, once it is known what the ids name and which instances are fit."""


@operation(HBR, "UpgradeBackupClients", action="hbr:UpgradeBackupClients")
def upgrade_backup_clients(call: Call, asked: UpgradeBackupClients) -> dict[str, Any]:
    """Start moving the named clients to their newest release, and return at once.

    Raises:
        ApiError: UnfitInstance or ClientNotFound for one target alone, and what `_start` and the names raise.
    """
    named = _names(asked, asked.client_ids, most=MOST_UPGRADES)

    def targets(tx: Transaction, surveyed: Survey) -> list[Target]:
        return targets_of(surveyed, upgrading(_offered_to(tx, surveyed.found)))

    return _start(call, Kind.UPGRADE, named, targets, asked)


@operation(HBR, "InstallBackupClients", action="hbr:InstallBackupClients")
def install_backup_clients(call: Call, asked: InstallBackupClients) -> dict[str, Any]:
    """Start installing the newest release of a package on the named instances, and return at once.

    Raises:
        ApiError: as an upgrade; and InvalidParameter where it is not clear which package is meant.
    """
    named = _names(asked, None, most=MOST_OTHERS)
    if named.clients:
        raise InvalidParameter(f"InstanceIds has {named.clients[0]!r}, which names a client; name its instance.")
    wish = Wish(asked.package_name, asked.channel)

    def targets(tx: Transaction, surveyed: Survey) -> list[Target]:
        return targets_to_install(tx, call, surveyed, wish)

    return _start(call, Kind.INSTALL, named, targets, asked)


@operation(HBR, "UninstallBackupClients", action="hbr:UninstallBackupClients")
def uninstall_backup_clients(call: Call, asked: UninstallBackupClients) -> dict[str, Any]:
    """Start taking the named clients off their hosts, and return at once.

    Raises:
        ApiError: as an upgrade.
    """
    named = _names(asked, asked.client_ids, most=MOST_OTHERS)

    def targets(_tx: Transaction, surveyed: Survey) -> list[Target]:
        return targets_of(surveyed, uninstalling())

    return _start(call, Kind.UNINSTALL, named, targets, asked)


def _names(asked: Asked, client_ids: tuple[str, ...] | None, *, most: int) -> Named:
    check_account(asked.cross_account_type, asked.cross_account_user_id, asked.cross_account_role_name)
    return read_names(asked.instance_ids, client_ids, most=most)


def _start(call: Call, kind: Kind, named: Named, targets: Targets, asked: Asked) -> dict[str, Any]:
    """Resolve, judge and start in one transaction; again from the beginning if another call won a race.

    Raises:
        OperationConflict: others won it TRIES times.
    """
    for _ in range(TRIES):
        try:
            with call.house.database.transaction() as tx:
                answer = _start_in(tx, call, kind, named, targets, asked)
        except Conflict:
            continue
        passed("task stored")
        return answer
    raise OperationConflict("Other calls keep changing the same clients. Ask again.")


def _start_in(tx: Transaction, call: Call, kind: Kind, named: Named, targets: Targets, asked: Asked) -> dict[str, Any]:
    found = fleet.resolve(tx, call.account_id, call.region, named.instances, named.clients)
    surveyed = survey(named, found, now=call.now, fit_within=timedelta(seconds=call.house.settings.fit_seconds))
    passed("targets resolved")
    fingerprint = _fingerprint(kind, asked)
    known = _known_task(tx, call, asked.client_token, fingerprint)
    if known is not None:
        return started_answer(known.id, _lines_again(surveyed, known))
    surveyed.refuse_if_alone()
    if not surveyed.fit and not named.clients:
        return without_task(surveyed.lines)
    task = upgrades.start(
        tx,
        kind=kind,
        account_id=call.account_id,
        targets=targets(tx, surveyed),
        requested_by=call.caller.arn,
        now=call.now,
        draw=call.house.draw,
        settings=call.house.settings,
        client_token=asked.client_token,
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
    said = {name: value for name, value in asdict(asked).items() if name != "client_token"}
    return hashlib.sha256(json.dumps([kind.value, said], sort_keys=True).encode()).hexdigest()
