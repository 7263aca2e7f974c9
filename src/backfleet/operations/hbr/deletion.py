"""DeleteBackupClient and DeleteClient: forgetting a client that is no longer in use."""

from datetime import timedelta
from typing import Any, Final

from backfleet import fleet, upgrades
from backfleet.fleet import Client
from backfleet.operations.catalogue import HBR, Call, operation
from backfleet.operations.hbr.answers import COMMON, common
from backfleet.operations.hbr.errors import ClientIsActive, ClientNotFound
from backfleet.operations.hbr.identifiers import LONGEST_ID
from backfleet.operations.hbr.lifecycle import OneClient
from backfleet.operations.hbr.settings import own_client
from backfleet.operations.hbr.targets import call_targets
from backfleet.storage import Transaction
from backfleet.values import value_object
from backfleet.wire.errors import OperationConflict
from backfleet.wire.parameters import text

ACTIVE: Final = timedelta(hours=1)  # since its host was heard; HBR 2017-09-08, DeleteBackupClient
ERRORS: Final = (ClientNotFound, ClientIsActive, OperationConflict)


@value_object
class DeleteBackupClient:
    """The client to forget."""

    client_id: str | None = text("ClientId", required=True, longest=LONGEST_ID)


@operation(
    HBR,
    "DeleteBackupClient",
    action="hbr:DeleteBackupClient",
    resources=call_targets,
    answer=COMMON,
    errors=ERRORS,
)
def delete_backup_client(call: Call, asked: DeleteBackupClient) -> dict[str, Any]:
    """Forget a client that was uninstalled, or whose host was not heard of for an hour."""
    return _forget(call, asked.client_id or "")


@operation(
    HBR,
    "DeleteClient",
    action="hbr:DeleteClient",
    resources=call_targets,
    needs_tls=True,
    answer=COMMON,
    errors=ERRORS,
)
def delete_client(call: Call, asked: OneClient) -> dict[str, Any]:
    """Forget a client: the older form of DeleteBackupClient."""
    return _forget(call, asked.client_id or "")


def _forget(call: Call, client_id: str) -> dict[str, Any]:
    with call.services.database.transaction() as tx:
        client = own_client(tx, call, client_id)
        if upgrades.are_moving(tx, call.account_id, [client.id]):
            raise OperationConflict(f"A task is moving the client {client.id}; wait for it or cancel it.")
        if _is_active(tx, call, client):
            raise ClientIsActive(client.id)
        fleet.forget_client(tx, client.id)
    return common()


def _is_active(tx: Transaction, call: Call, client: Client) -> bool:
    """Return whether it is in use. One that was uninstalled is not, however lately its host was heard of."""
    if not client.is_installed:
        return False
    host = fleet.instance(tx, call.account_id, client.instance_id)
    return host is not None and host.last_heard_at is not None and call.now - host.last_heard_at < ACTIVE
