"""DescribeClients, CreateClients, OpenHbrService: older operations, for scripts that still use them.

In the cloud they are for SAP HANA. Here they list and install the same clients as the newer operations.
"""

import json
from datetime import datetime
from typing import Any, Final

from backfleet import fleet, upgrades
from backfleet.fleet import Client, ClientFilter, Instance
from backfleet.identity.policy import Target
from backfleet.operations.catalogue import HBR, Call, operation
from backfleet.operations.hbr.answers import COMMON, PAGE, STARTED_ONE, common, confirmed_since, page_answer, seconds
from backfleet.operations.hbr.cross_account import CrossAccount, check_cross_account
from backfleet.operations.hbr.identifiers import LONGEST_ID
from backfleet.operations.hbr.lifecycle import ERRORS, MOST_OTHERS, install
from backfleet.operations.hbr.requests import page_number, page_size, resource_group_id, vault_id
from backfleet.operations.hbr.settings import settings_of
from backfleet.operations.hbr.targets import NamedInstances, call_instances, call_targets
from backfleet.paging import Listing, Page
from backfleet.values import value_object
from backfleet.wire.errors import ApiError, InvalidParameter, MissingParameter
from backfleet.wire.parameters import boolean, text
from backfleet.wire.shapes import Maybe

OUR_TYPE: Final = "ECS_AGENT"
LONGEST_INFO: Final = 64 * 1024  # characters


@value_object
class DescribeClients:
    """The parameters of DescribeClients. There are no vaults, clusters or source types here."""

    client_id: str | None = text("ClientId", longest=LONGEST_ID)
    client_type: str | None = text("ClientType", longest=64)
    source_type: str | None = text("SourceType", longest=64)
    vault_id: str | None = vault_id()
    cluster_id: str | None = text("ClusterId", longest=128)
    resource_group_id: str | None = resource_group_id()
    page_number: int = page_number()
    page_size: int = page_size()


@value_object
class CreateClients(CrossAccount):
    """The parameters of CreateClients. ClientInfo can hold secrets: it is neither printed nor stored."""

    vault_id: str | None = vault_id(required=True)
    client_info: str | None = text("ClientInfo", longest=LONGEST_INFO, secret=True)
    alert_setting: str | None = text("AlertSetting", longest=64, raw=True)
    https: bool | None = boolean("UseHttps")
    resource_group_id: str | None = resource_group_id()


@value_object
class OpenHbrService:
    """OpenHbrService has no parameters."""


def _created(call: Call, asked: CreateClients) -> list[Target]:
    """Return what CreateClients touches."""
    try:
        instances = _instances_in(asked.client_info)
    except ApiError:
        return []
    named = NamedInstances(
        tuple(instances),
        cross_account_type=asked.cross_account_type,
        cross_account_user_id=asked.cross_account_user_id,
    )
    return call_instances(call, named)


@operation(
    HBR,
    "DescribeClients",
    action="hbr:DescribeClients",
    resources=call_targets,
    needs_tls=True,
    answer={
        **COMMON,
        "Clients": {
            "Client": [
                {
                    "ClientId": str,
                    "ClientName": str,
                    "ClientType": str,
                    "ClientVersion": str,
                    "MaxVersion": str,
                    "ClusterId": str,
                    "InstanceId": str,
                    "InstanceName": str,
                    "NetworkType": str,
                    "Status": str,
                    "StatusMessage": str,
                    "AlertSetting": str,
                    "UseHttps": bool,
                    "VaultId": str,
                    "CreatedTime": int,
                    "UpdatedTime": int,
                    "HeartBeatTime": Maybe(int),
                }
            ]
        },
        **PAGE,
    },
)
def describe_clients(call: Call, asked: DescribeClients) -> dict[str, Any]:
    """List clients of the account in the older shape, oldest first. What does not exist here gives an empty list."""
    found: Listing[tuple[Client, Instance]] = Listing([], 0)
    newest: dict[upgrades.Offer, str] = {}
    page = Page(asked.page_number, asked.page_size)
    settings: dict[str, dict[str, Any]] = {}
    since = confirmed_since(call.now, call.services.settings)
    if asked.client_type in (None, OUR_TYPE) and not asked.cluster_id:
        wanted = ClientFilter(ids=None if asked.client_id is None else [asked.client_id])
        with call.services.database.reading() as tx:
            found = fleet.find_clients(tx, call.account_id, call.region, wanted, page)
            newest = upgrades.newest_versions(tx, [(c.package, i.platform, c.channel) for c, i in found.items])
            settings = settings_of(tx, [client.id for client, _ in found.items])
    return common(
        Clients={
            "Client": [
                _client_answer(
                    client,
                    instance,
                    newest.get((client.package, instance.platform, client.channel), ""),
                    settings.get(client.id, {}),
                    _status_message(client, since),
                )
                for client, instance in found.items
            ]
        },
        **page_answer(page, found.total),
    )


@operation(
    HBR,
    "CreateClients",
    action="hbr:CreateClients",
    resources=_created,
    needs_tls=True,
    answer={**STARTED_ONE, "InstanceStatuses": {"InstanceStatus": [{"InstanceId": str, "ValidInstance": bool}]}},
    errors=ERRORS,
)
def create_clients(call: Call, asked: CreateClients) -> dict[str, Any]:
    """Start installing the client on the named instances, as InstallBackupClients does."""
    check_cross_account(asked)
    instances = _instances_in(asked.client_info)
    if len(instances) > MOST_OTHERS:
        raise InvalidParameter(f"ClientInfo names {len(instances)} instances; at most {MOST_OTHERS} are taken.")
    started = install(call, "CreateClients", instances, asked)
    lines = [{name: line[name] for name in ("InstanceId", "ValidInstance")} for line in started["InstanceStatuses"]]
    return {**started, "InstanceStatuses": {"InstanceStatus": lines}}


@operation(HBR, "OpenHbrService", action="hbr:OpenHbrService", answer={"OrderId": str})
def open_hbr_service(call: Call, asked: OpenHbrService) -> dict[str, Any]:
    """Return an empty OrderId: the service is always open here and costs nothing."""
    return {"OrderId": ""}


def _instances_in(client_info: str | None) -> list[str]:
    """Return the instances that ClientInfo names. Errors repeat nothing of it, because it may hold secrets.

    Raises:
        MissingParameter: it is missing, or names none.
        InvalidParameter: it is not a JSON list of objects with an instanceId.
    """
    if client_info is None:
        raise MissingParameter("ClientInfo")
    try:
        listed = json.loads(client_info)
    except (ValueError, RecursionError):
        listed = None
    if not isinstance(listed, list):
        raise InvalidParameter('ClientInfo must be a JSON list such as [{"instanceId":"i-..."}].')
    if not listed:
        raise MissingParameter("ClientInfo")
    named = [one.get("instanceId") for one in listed if isinstance(one, dict)]
    instances = [name for name in named if isinstance(name, str) and 0 < len(name) <= LONGEST_ID]
    if len(instances) != len(listed):
        raise InvalidParameter("Every entry of ClientInfo needs an instanceId.")
    return instances


def _status_message(client: Client, since: datetime) -> str:
    """Return what there is to say of a client whose host has not said lately which version it has."""
    if client.is_confirmed(since=since):
        return ""
    at = client.confirmed_at
    return "never confirmed by its host" if at is None else f"not confirmed since {at:%Y-%m-%dT%H:%M:%SZ}"


def _client_answer(
    client: Client, instance: Instance, newest: str, settings: dict[str, Any], message: str
) -> dict[str, Any]:
    heard = seconds(instance.last_heard_at)
    return {
        "ClientId": client.id,
        "ClientName": client.package,
        "ClientType": OUR_TYPE,
        "ClientVersion": client.version,
        "MaxVersion": newest,
        "ClusterId": "",
        "InstanceId": instance.id,
        "InstanceName": instance.name,
        "NetworkType": settings.get("DataNetworkType", ""),
        "Status": client.status.value,
        "StatusMessage": message,
        "AlertSetting": "INHERITED",
        "UseHttps": settings.get("UseHttps", True),
        "VaultId": "",
        "CreatedTime": seconds(client.created_at),
        "UpdatedTime": seconds(client.updated_at),
        **({} if heard is None else {"HeartBeatTime": heard}),
    }
