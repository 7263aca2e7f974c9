"""UpdateClientSettings, and what is shown of them. The password of a proxy goes in, and never comes out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from backfleet import fleet
from backfleet.fleet import Preferences
from backfleet.operations.catalogue import HBR, Call, operation
from backfleet.operations.hbr.answers import COMMON, common
from backfleet.operations.hbr.errors import ClientNotFound
from backfleet.operations.hbr.identifiers import LONGEST_ID
from backfleet.storage import Transaction
from backfleet.wire.errors import MissingParameter
from backfleet.wire.parameters import boolean, integer, text

PURPOSE: Final = "client proxies"
HOST: Final = r"[A-Za-z0-9.:_-]*"
CUSTOM: Final = "CUSTOM"
LARGEST: Final = 2**53


@dataclass(frozen=True, slots=True)
class UpdateClientSettings:
    """What should be; what is not given stays as it is."""

    client_id: str | None = text("ClientId", required=True, longest=LONGEST_ID)
    vault_id: str | None = text("VaultId", longest=128)
    resource_group_id: str | None = text("ResourceGroupId", longest=128)
    network: str | None = text("DataNetworkType", choices=("PUBLIC", "VPC", "CLASSIC"))
    proxy_kind: str | None = text("DataProxySetting", choices=("DISABLE", "USE_CONTROL_PROXY", CUSTOM))
    proxy_host: str | None = text("ProxyHost", longest=255, pattern=HOST)
    proxy_port: int | None = integer("ProxyPort", least=1, most=65535)
    proxy_user: str | None = text("ProxyUser", longest=128)
    proxy_password: str | None = text("ProxyPassword", longest=256, secret=True)
    https: bool | None = boolean("UseHttps")
    most_cores: int | None = integer("MaxCpuCore", least=0, most=1024)
    most_workers: int | None = integer("MaxWorker", least=0, most=1024)
    most_memory: int | None = integer("MaxMemory", least=0, most=LARGEST)
    alert_on_partial: bool | None = boolean("AlertOnPartialComplete")


@operation(
    HBR,
    "UpdateClientSettings",
    action="hbr:UpdateClientSettings",
    needs_tls=True,
    answer=COMMON,
    errors=(ClientNotFound,),
)
def update_client_settings(call: Call, asked: UpdateClientSettings) -> dict[str, Any]:
    """Change how a client reaches its data and how much of its host it may take. Its host hears of it with its next
    order.
    """
    names = [name for name in Preferences.__dataclass_fields__ if getattr(asked, name) is not None]
    changes = Preferences(**{name: getattr(asked, name) for name in names})
    sealed = _sealed(call, asked)
    with call.services.database.transaction() as tx:
        client = own_client(tx, call, asked.client_id or "")
        kept = fleet.set_preferences(tx, client.id, changes, sealed_password=sealed, now=call.now)
        if kept.proxy_kind == CUSTOM and not kept.proxy_host:
            raise MissingParameter("ProxyHost")  # the transaction undoes it
    return common()


def _sealed(call: Call, asked: UpdateClientSettings) -> str | None:
    """The password to keep; None leaves the one there is, "" takes it away: without the proxy it is needed no more."""
    if asked.proxy_password is not None:
        return call.services.vault.box(PURPOSE).seal(asked.proxy_password)
    return None if asked.proxy_kind in (None, CUSTOM) else ""


def own_client(tx: Transaction, call: Call, client_id: str) -> fleet.Client:
    """One client of the account and region.

    Raises:
        ClientNotFound: it has none of this id.
    """
    found = fleet.resolve(tx, call.account_id, call.region, [], [client_id]).clients.get(client_id)
    if found is None:
        raise ClientNotFound(client_id)
    return found


def settings_of(tx: Transaction, client_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What is shown of the settings of those clients that have some, by client."""
    return {client_id: shown(told) for client_id, told in fleet.preferences_of(tx, client_ids).items()}


def shown(told: Preferences) -> dict[str, Any]:
    """Settings in the wire's words. Two of the numbers are text there."""
    every = {
        "DataNetworkType": told.network,
        "DataProxySetting": told.proxy_kind,
        "ProxyHost": told.proxy_host,
        "ProxyPort": told.proxy_port,
        "ProxyUser": told.proxy_user,
        "MaxCpuCore": None if told.most_cores is None else str(told.most_cores),
        "MaxWorker": None if told.most_workers is None else str(told.most_workers),
        "MaxMemory": told.most_memory,
        "UseHttps": told.https,
        "AlertOnPartialComplete": told.alert_on_partial,
    }
    return {name: value for name, value in every.items() if value is not None}
