"""The answers of HBR's operations, in the wire's names and shapes."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from json.encoder import encode_basestring_ascii
from typing import Any, Final

from backfleet.fleet import Client, Failure, Hold, Instance
from backfleet.paging import Page
from backfleet.settings import Settings as ServerSettings
from backfleet.upgrades import Item, Kind, Task
from backfleet.wire.shapes import Maybe

COMMON: Final = {"Code": str, "Message": str, "Success": bool}
"""The fields of every answer."""

STARTED_ONE: Final = {**COMMON, "TaskId": Maybe(str)}
"""The answer to a call for a task about one client. TaskId is missing if the client could not be given work."""

STATUS: Final = {"InstanceId": str, "ValidInstance": bool, "ErrorCode": str, "ConnectsTime": Maybe(int)}
"""One of InstanceStatuses. ConnectsTime is ours: when the agent will connect, if the order has to wait for that."""

STARTED: Final = {**STARTED_ONE, "InstanceStatuses": [STATUS]}

DESCRIBED_TASK: Final = {
    **COMMON,
    "Name": str,
    "Description": str,
    "Progress": int,
    "Result": str,
    "CreatedTime": int,
    "UpdatedTime": int,
    "CompletedTime": Maybe(int),
    "TaskId": str,
}

_ITEM: Final = (
    '{"instanceId":%s,"instanceName":%s,"clientId":%s,"clientStatus":%s,"errorCode":%s,"message":%s,"stage":%s,'
    '"packageName":%s,"fromVersion":%s,"toVersion":%s,"currentVersion":%s,"startedTime":%s,"completedTime":%s,'
    '"evidence":%s%s}'
)
"""One object of DescribeTask's Result; texts come quoted, and `waitsUntil` last where there is one."""

SETTINGS: Final = {
    "DataNetworkType": Maybe(str),
    "DataProxySetting": Maybe(str),
    "MaxCpuCore": Maybe(str),
    "MaxWorker": Maybe(str),
    "MaxMemory": Maybe(int),
    "ProxyHost": Maybe(str),
    "ProxyPort": Maybe(int),
    "ProxyUser": Maybe(str),
    "UseHttps": Maybe(bool),
    "AlertOnPartialComplete": Maybe(bool),
}
"""A client's settings, without the password. Two numbers are text: official clients decode them strictly."""

FAILURE: Final = {
    "Code": str,
    "Message": str,
    "ClientVersion": str,
    "Output": str,
    "Time": int,
    "QuarantinedUntil": Maybe(int),
}
"""How the last order for a client failed: at which version, and what that printed, first and last lines. Ours."""

PAGE: Final = {"PageNumber": int, "PageSize": int, "TotalCount": int}
"""The fields of an answer that is a page of a list."""

PINNED: Final = {"Versions": str, "Reason": str, "Owner": str, "ExpiresTime": int}
"""One of the pins that hold a client now. Ours."""

FOUND_CLIENTS: Final = {
    **COMMON,
    "Clients": [
        {
            "ClientId": str,
            "ClientType": str,
            "PackageName": str,
            "ClientVersion": str,
            "MaxClientVersion": str,
            "OfferState": str,
            "Channel": str,
            "VersionScheme": str,
            "InstanceId": str,
            "InstanceName": str,
            "Hostname": str,
            "HostVersion": str,
            "OsType": str,
            "ArchType": str,
            "PrivateIpV4": str,
            "ZoneId": str,
            "Status": str,
            "BackupStatus": str,
            "Appliance": bool,
            "CreatedTime": int,
            "UpdatedTime": int,
            "LastHeartBeatTime": Maybe(int),
            "Confirmed": bool,
            "ConfirmedTime": Maybe(int),
            "LastFailure": Maybe(FAILURE),
            "Pins": Maybe([PINNED]),
            "BelowMinimumVersion": Maybe(str),
            "Settings": SETTINGS,
            "Tags": [{"Key": str, "Value": str}],
        }
    ],
    **PAGE,
}

LATE: Final = timedelta(hours=1)  # that the answer to a daily checkup may take until a version counts as not confirmed

NO_VALID_INSTANCE = "None of the instances can be given work; InstanceStatuses says why for each."
NAMES = {
    Kind.UPGRADE: "UpgradeBackupClientsTask",
    Kind.INSTALL: "InstallBackupClientsTask",
    Kind.UNINSTALL: "UninstallBackupClientsTask",
    Kind.ROLL_BACK: "RollBackClientsTask",
    Kind.PRECHECK: "PrecheckClientsTask",
    Kind.STAGE: "StageClientsTask",
    Kind.SETTINGS: "UpdateClientSettingsTask",
}


def common(**more: Any) -> dict[str, Any]:
    """Return the answer of a success. Code is the text "200": callers compare with that."""
    return {"Code": "200", "Message": "successful", "Success": True, **more}


def started_answer(task_id: str, lines: list[dict[str, object]]) -> dict[str, Any]:
    """Return the answer for a task that this call started, or the same call before."""
    return common(TaskId=task_id, InstanceStatuses=lines)


def no_task_answer(lines: list[dict[str, object]]) -> dict[str, Any]:
    """Return the answer where no task was started; the lines say why."""
    return {"Code": "NoValidInstance", "Message": NO_VALID_INSTANCE, "Success": False, "InstanceStatuses": lines}


def page_answer(page: Page, total: int) -> dict[str, int]:
    """Return the fields of a page of a list."""
    return {"PageNumber": page.number, "PageSize": page.size, "TotalCount": total}


def seconds(moment: datetime | None) -> int | None:
    """Return a moment as Unix seconds."""
    return None if moment is None else int(moment.timestamp())


def task_answer(task: Task, names: Mapping[str, str]) -> dict[str, Any]:
    """Return the answer of DescribeTask. `names` are what people call the instances of its items, by their ids."""
    return common(
        Name=task_name(task),
        Description=task.state.value,
        Progress=task.progress,
        Result=f"[{','.join([item_text(item, names.get(item.instance_id, '')) for item in task.items])}]",
        CreatedTime=seconds(task.created_at),
        UpdatedTime=seconds(task.updated_at),
        TaskId=task.id,
        **({} if task.completed_at is None else {"CompletedTime": seconds(task.completed_at)}),
    )


def task_name(task: Task) -> str:
    """Return the name that the API has for a task: its label, or that of its kind."""
    return task.label or NAMES[task.kind]


def item_text(item: Item, name: str) -> str:
    """Return one object of DescribeTask's Result, as JSON.

    `packageName` is ours: a host can have several clients. So is `instanceName`, for people, and `evidence`: what a
    version printed that was rolled back, first and last lines, each escaped. A task has a hundred of them, so each is
    written by position: an encoder of dictionaries takes three times as long.
    """
    texts = (
        item.instance_id, name, item.client_id, item.client_status, item.code, item.message, item.stage,
        item.package, item.from_version, item.goal_version, item.current_version,
    )  # fmt: skip
    waits = "" if item.waits_until is None else f',"waitsUntil":{_number(item.waits_until)}'
    times = _number(item.started_at), _number(item.completed_at)
    return _ITEM % (*map(encode_basestring_ascii, texts), *times, encode_basestring_ascii(item.evidence), waits)


def _number(moment: datetime | None) -> int | str:
    return "null" if moment is None else int(moment.timestamp())


def confirmed_since(now: datetime, settings: ServerSettings) -> datetime:
    """Return the moment since which a host must have said what it has: its last checkup may be a little late."""
    return now - timedelta(seconds=settings.checkup_seconds) - LATE


def client_answer(client: Client, instance: Instance, newest: str, since: datetime) -> dict[str, Any]:
    """Return one of DescribeBackupClients' Clients, without Settings and Tags. `since` is `confirmed_since`."""
    os_type, _, arch = instance.platform.partition("-")
    return {
        "ClientId": client.id,
        "ClientType": "ECS_CLIENT",
        "PackageName": client.package,
        "ClientVersion": client.version,
        "MaxClientVersion": newest,
        "Channel": client.channel,
        "InstanceId": instance.id,
        "InstanceName": instance.name,
        "Hostname": instance.hostname,
        "HostVersion": instance.host_version,
        "OsType": (instance.os_type or os_type).lower(),
        "ArchType": arch,
        "PrivateIpV4": instance.intranet_ip,
        "ZoneId": "",
        "Status": client.status.value,
        "BackupStatus": "UNPROTECTED",
        "Appliance": False,
        "CreatedTime": seconds(client.created_at),
        "UpdatedTime": seconds(client.updated_at),
        "LastHeartBeatTime": seconds(instance.last_heard_at),
        "Confirmed": client.is_confirmed(since=since),
        **({} if client.confirmed_at is None else {"ConfirmedTime": seconds(client.confirmed_at)}),
        **({} if client.failure is None else {"LastFailure": _failure_answer(client.failure)}),
    }


def pins_answer(hold: Hold | None) -> dict[str, Any]:
    """Return what of an answer about a client says which pins hold it now; nothing if none does."""
    pins = () if hold is None else hold.pins
    shown = [
        {
            "Versions": pin.versions,
            "Reason": pin.reason,
            "Owner": pin.owner,
            "ExpiresTime": seconds(pin.expires_at),
        }
        for pin in pins
    ]
    return {"Pins": shown} if shown else {}


def _failure_answer(failure: Failure) -> dict[str, Any]:
    until = failure.quarantined_until
    return {
        "Code": failure.code,
        "Message": failure.message,
        "ClientVersion": failure.version,
        "Output": failure.output,
        "Time": seconds(failure.at),
        **({} if until is None else {"QuarantinedUntil": seconds(until)}),
    }
