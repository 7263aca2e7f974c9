"""What HBR's operations answer, in the wire's words and shapes."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from backfleet.fleet import Client, Instance
from backfleet.upgrades import Item, ItemState, Kind, Task, TaskState

NAMES = {
    Kind.UPGRADE: "UpgradeBackupClientsTask",
    Kind.INSTALL: "InstallBackupClientsTask",
    Kind.UNINSTALL: "UninstallBackupClientsTask",
}
# Settings as the cloud shows them for a client nobody has configured; the host's own settings come with
# UpdateClientSettings.
SETTINGS = {"DataNetworkType": "PUBLIC", "DataProxySetting": "DISABLE", "MaxCpuCore": "0", "MaxWorker": "0"}


def common(**more: Any) -> dict[str, Any]:
    """A success. Code is the text "200": user code compares with that."""
    return {"Code": "200", "Message": "successful", "Success": True, **more}


def seconds(moment: datetime | None) -> int | None:
    """Unix seconds."""
    return None if moment is None else int(moment.timestamp())


def task_answer(task: Task) -> dict[str, Any]:
    """DescribeTask."""
    return common(
        Name=NAMES[task.kind],
        Description=task.state.value,
        Progress=task.progress,
        Result=json.dumps([item_answer(item) for item in task.items], separators=(",", ":")),
        CreatedTime=seconds(task.created_at),
        UpdatedTime=seconds(task.updated_at),
        CompletedTime=seconds(task.completed_at) if task.state is not TaskState.CREATED else None,
        TaskId=task.id,
    )


def item_answer(item: Item) -> dict[str, Any]:
    """One object of DescribeTask's Result."""
    return {
        "instanceId": item.instance_id,
        "clientId": item.client_id,
        "clientStatus": "UNKNOWN" if item.state is ItemState.LOST else item.client_status.value,
        "errorCode": item.code if item.state is not ItemState.SUCCEEDED or item.code == "AlreadyCurrent" else "",
        "message": item.message,
        "stage": item.stage,
        "packageName": item.package,
        "fromVersion": item.from_version,
        "toVersion": item.to_version,
        "currentVersion": item.current_version,
        "startedTime": seconds(item.started_at),
        "completedTime": seconds(item.completed_at),
    }


def client_answer(client: Client, instance: Instance, newest: str) -> Mapping[str, Any]:
    """One of DescribeBackupClients' Clients."""
    os_type, _, arch = instance.platform.partition("-")
    return {
        "ClientId": client.id,
        "ClientType": "ECS_CLIENT",
        "PackageName": client.package,
        "ClientVersion": client.version,
        "MaxClientVersion": newest,
        "InstanceId": instance.id,
        "InstanceName": instance.name,
        "Hostname": instance.hostname,
        "OsType": instance.os_type or os_type,
        "ArchType": arch,
        "PrivateIpV4": instance.intranet_ip,
        "ZoneId": "",
        "Status": client.status.value,
        "BackupStatus": "UNPROTECTED",
        "Appliance": False,
        "CreatedTime": seconds(client.created_at),
        "UpdatedTime": seconds(client.updated_at),
        "LastHeartBeatTime": seconds(instance.last_heard_at),
        "Settings": SETTINGS,
        "Tags": [],
    }
