"""A cloud that throttles, fails, is slow, loses answers: each host does its order once, whichever side is killed."""

import json
from pathlib import Path

import pytest

from journeys.cloud_faults import LOST, fault_proxy
from journeys.cloud_installation import REGION, SECONDS, SETTINGS, cloud_installation
from journeys.installation import LONG, PACKAGE, wait_for

HOSTS = 6
FAILING = {"BACKFLEET_FIT_SECONDS": "18"}
SLOW_CLIENT = """#!/bin/sh
touch {folder}/asked-$$
until=$(($(date +%s) + 25))
while [ -e {folder}/hold ] && [ $(date +%s) -lt $until ]; do sleep 0.1; done
echo courier {{version}}
exit {{health}}
"""

"""Its health command is held while faults come; for 25 s at most, since verifying has 60 s in all."""

pytestmark = pytest.mark.slow


def test_every_host_ends_right_and_nothing_happens_twice(tmp_path: Path) -> None:
    """Both servers are killed in the middle, too, and started again; ours comes back before the cloud does.

    Each ClientToken that the cloud took is exactly one invocation there. One may never reach it: its commands were
    ended before a call for them got through. Of one that was under way as the cloud was killed nobody knows.
    """
    with (
        cloud_installation(tmp_path, hosts=HOSTS, **FAILING) as made,
        fault_proxy(made.cloud.https, made.cloud.data) as (place, faults),
    ):
        made.create_account(Endpoint=place)
        made.import_all()
        for host in made.hosts:
            made.ready(host)
        folder = made.server.folder
        (folder / "hold").touch()
        made.server.add_release("1.0", client=SLOW_CLIENT.format(folder=folder))
        faults.is_on = True
        started = made.server.call("InstallBackupClients", InstanceIds=[host.instance_id for host in made.hosts])
        wait_for(lambda: len(list(folder.glob("asked-*"))) >= HOSTS, LONG)
        wait_for(faults.all_met, LONG)
        made.cloud.kill()
        made.server.kill()
        (folder / "hold").unlink()
        made.server.start(settings=SETTINGS | FAILING)
        wait_for(lambda: made.server.call("ListEcsAccounts", "backfleet")["Accounts"][0]["ProblemCode"], LONG)
        made.cloud.start()
        items = made.server.finished(started["TaskId"])["Result"]
        assert [(item["errorCode"], item["toVersion"]) for item in items] == [("", "1.0")] * HOSTS, items
        assert [host.runs() for host in made.hosts] == [f"{PACKAGE} 1.0"] * HOSTS
        for host in made.hosts:
            reports = [json.loads(file.read_text()) for file in (host.brought / PACKAGE / "outcomes").glob("*.json")]
            assert [report["report"]["outcome"] for report in reports] == ["succeeded"], host.instance_id
        assert faults.met["RunCommand", LOST], faults.met
        made.server.add_release("2.0")
        for host in made.hosts:
            made.ready(host)
            made.told_of(host)
        items = made.task("UpgradeBackupClients", made.hosts)
        assert [(item["errorCode"], item["fromVersion"]) for item in items] == [("", "1.0")] * HOSTS, items
        faults.is_on = False
        wait_for(lambda: not made.described(made.hosts[0].instance_id)["Ecs"]["ProblemCode"], SECONDS)
        listed = made.cloud.call("DescribeInvocations", "ecs", RegionId=REGION, PageSize=50)
        unknown = faults.unheard - faults.taken
        exactly = range(len(faults.taken), len(faults.taken) + len(unknown) + 1)
        assert listed["TotalCount"] in exactly, (faults.taken, unknown, faults.tokens)
        assert faults.taken, "no command reached the cloud"
        assert len(set(faults.tokens)) < len(faults.tokens), "no command was sent again"
