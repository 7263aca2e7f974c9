"""A real host is prechecked and staged, goes away, is waited for over a restart of the server, and comes back."""

import json
from collections import Counter
from pathlib import Path

from journeys.installation import LONG, Installation, wait_for


def test_a_host_that_comes_back_takes_what_waited_for_it_once(tmp_path: Path) -> None:
    """By then everything was on it: it only switches."""
    installation = Installation(tmp_path)
    try:
        installation.start()
        installation.enrol(1)
        installation.install("1.0")
        installation.add_release("1.1")
        (host,) = installation.hosts
        named = {"InstanceIds": [host.instance_id]}
        for action in ("PrecheckClients", "StageClients"):
            task = installation.finished(installation.call(action, "backfleet", **named)["TaskId"])
            assert (task["Name"], task["Progress"]) == (f"{action}Task", 100), task
        assert host.runs() == "courier 1.0"
        for artifact in (installation.data / "artifacts").rglob("*"):
            if artifact.is_file():
                artifact.unlink()
        host.stop()
        restart(installation)  # it has stored by then what it last heard of the host
        installation.call("NoteInstanceStopped", "backfleet", InstanceId=host.instance_id)
        started = installation.call("UpgradeBackupClients", **named, ExpiresInSeconds=86400)
        assert started["InstanceStatuses"][0]["ValidInstance"] is True
        restart(installation)
        (item,) = installation.task(started["TaskId"])["Result"]
        assert item["message"].startswith("waiting: stopped since "), item
        host.start()
        found = wait_for(lambda: ended(installation, started["TaskId"]), LONG)
        assert found["Progress"] == 100, json.dumps(found)
        assert host.runs() == "courier 1.1"
        assert Counter(report["kind"] for report in host.outcomes("1.1")) == {"precheck": 1, "stage": 1, "upgrade": 1}
    finally:
        installation.close()


def restart(installation: Installation) -> None:
    installation.stop()
    installation.start()


def ended(installation: Installation, task_id: str) -> dict[str, object] | None:
    found = installation.task(task_id)
    return found if found["Description"] != "created" else None
