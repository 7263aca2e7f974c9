"""UpdateClientSettings, and how settings are shown. A proxy's password can be set, and is never shown."""

from collections.abc import Sequence
from typing import Any, Final

from backfleet import fleet
from backfleet.client_settings import (
    CUSTOM,
    HOST,
    LARGEST,
    LONGEST_HOST,
    LONGEST_USER,
    MOST_UNITS,
    NETWORKS,
    PROXY_KINDS,
)
from backfleet.fleet import Preferences
from backfleet.operations.catalogue import HBR, Call, operation
from backfleet.operations.hbr.answers import COMMON, common
from backfleet.operations.hbr.errors import ClientNotFound
from backfleet.operations.hbr.identifiers import LONGEST_ID
from backfleet.operations.hbr.requests import resource_group_id, vault_id
from backfleet.operations.hbr.targets import call_targets
from backfleet.storage import Transaction
from backfleet.values import value_object
from backfleet.wire.errors import MissingParameter
from backfleet.wire.parameters import boolean, integer, text

PURPOSE: Final = "client proxies"


@value_object
class UpdateClientSettings:
    """The new settings. Those that are not given stay as they are."""

    client_id: str | None = text("ClientId", required=True, longest=LONGEST_ID)
    vault_id: str | None = vault_id()
    resource_group_id: str | None = resource_group_id()
    network: str | None = text("DataNetworkType", choices=NETWORKS)
    proxy_kind: str | None = text("DataProxySetting", choices=PROXY_KINDS)
    proxy_host: str | None = text("ProxyHost", longest=LONGEST_HOST, pattern=HOST)
    proxy_port: int | None = integer("ProxyPort", least=1, most=65535)
    proxy_user: str | None = text("ProxyUser", longest=LONGEST_USER)
    proxy_password: str | None = text("ProxyPassword", longest=256, secret=True)
    https: bool | None = boolean("UseHttps")
    most_cores: int | None = integer("MaxCpuCore", least=0, most=MOST_UNITS)
    most_workers: int | None = integer("MaxWorker", least=0, most=MOST_UNITS)
    most_memory: int | None = integer("MaxMemory", least=0, most=LARGEST)
    alert_on_partial: bool | None = boolean("AlertOnPartialComplete")


@operation(
    HBR,
    "UpdateClientSettings",
    action="hbr:UpdateClientSettings",
    resources=call_targets,
    needs_tls=True,
    answer=COMMON,
    errors=(ClientNotFound,),
)
def update_client_settings(call: Call, asked: UpdateClientSettings) -> dict[str, Any]:
    """Change how a client reaches its data and how much of its host it may use.

    The host gets the settings with the client's next order.
    """
    names = [name for name in Preferences.__dataclass_fields__ if getattr(asked, name) is not None]
    changes = Preferences(**{name: getattr(asked, name) for name in names})
    sealed = _sealed(call, asked)
    with call.services.database.transaction() as tx:
        client = own_client(tx, call, asked.client_id or "")
        stored = fleet.set_preferences(tx, client.id, changes, sealed_password=sealed, now=call.now)
        if stored.proxy_kind == CUSTOM and not stored.proxy_host:
            raise MissingParameter("ProxyHost")  # rolls the transaction back
    return common()


def _sealed(call: Call, asked: UpdateClientSettings) -> str | None:
    """Return the sealed password to store; None keeps the one there is, "" removes it: no proxy needs it any more."""
    if asked.proxy_password is not None:
        return call.services.vault.box(PURPOSE).seal(asked.proxy_password)
    return fleet.without_password(asked.proxy_kind)


def own_client(tx: Transaction, call: Call, client_id: str) -> fleet.Client:
    """Return a client of the account and region.

    Raises:
        ClientNotFound: it has none with this id.
    """
    found = fleet.resolve(tx, call.account_id, call.region, [], [client_id]).clients.get(client_id)
    if found is None:
        raise ClientNotFound(client_id)
    return found


def settings_of(tx: Transaction, client_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the settings, as they are shown, of those of these clients that have some."""
    return {client_id: settings_answer(found) for client_id, found in fleet.preferences_of(tx, client_ids).items()}


def settings_answer(preferences: Preferences) -> dict[str, Any]:
    """Return settings in the wire's names. Two of the numbers are text there."""
    every = {
        "DataNetworkType": preferences.network,
        "DataProxySetting": preferences.proxy_kind,
        "ProxyHost": preferences.proxy_host,
        "ProxyPort": preferences.proxy_port,
        "ProxyUser": preferences.proxy_user,
        "MaxCpuCore": None if preferences.most_cores is None else str(preferences.most_cores),
        "MaxWorker": None if preferences.most_workers is None else str(preferences.most_workers),
        "MaxMemory": preferences.most_memory,
        "UseHttps": preferences.https,
        "AlertOnPartialComplete": preferences.alert_on_partial,
    }
    return {name: value for name, value in every.items() if value is not None}
