"""What HBR's operations answer, in the wire's words and shapes."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from backfleet.fleet import Client, Instance
from backfleet.upgrades import Item, Kind, Task

NO_VALID_INSTANCE = "None of the instances can be given work; InstanceStatuses says why for each."
NAMES = {
    Kind.UPGRADE: "UpgradeBackupClientsTask",
    Kind.INSTALL: "InstallBackupClientsTask",
    Kind.UNINSTALL: "UninstallBackupClientsTask",
}


def common(**more: Any) -> dict[str, Any]:
    """A success. Code is the text "200": user code compares with that."""
    return {"Code": "200", "Message": "successful", "Success": True, **more}


def started_answer(task_id: str, lines: list[dict[str, object]]) -> dict[str, Any]:
    """A task is started, or was by the same request before."""
    return common(TaskId=task_id, InstanceStatuses=lines)


def without_task(lines: list[dict[str, object]]) -> dict[str, Any]:
    """Nothing was started, and the lines say why."""
    return {"Code": "NoValidInstance", "Message": NO_VALID_INSTANCE, "Success": False, "InstanceStatuses": lines}


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
        CompletedTime=seconds(task.completed_at),
        TaskId=task.id,
    )


def item_answer(item: Item) -> dict[str, Any]:
    """One object of DescribeTask's Result. `packageName` is ours: here a host can have several clients."""
    return {
        "instanceId": item.instance_id,
        "clientId": item.client_id,
        "clientStatus": item.client_status.value,
        "errorCode": item.code,
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
        "Settings": {},  # a host's own settings come with UpdateClientSettings; until then nothing is claimed
        "Tags": [],
    }
