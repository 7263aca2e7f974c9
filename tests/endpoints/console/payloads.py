"""An installation whose every text that a host or a caller can choose is something that a bad page would run."""

import json
from datetime import timedelta
from http import client
from typing import Final

import sqlalchemy as sa

from backfleet.fleet._tables import clients, instances
from backfleet.upgrades._tables import items
from endpoints.console.site import Browser
from operations.ecs.agents import Agents
from operations.environment import REGION, Environment

RUNS: Final = """"'></script><img src=x onerror=alert(1)>{{7*7}}"""  # 47 characters: most fields take it whole
LINKS: Final = "javascript:alert(2)"
BACKFLEET, ECS, RAM = "2026-11-01", "2014-05-26", "2015-05-01"
DOCUMENT: Final = {"Version": "1", "Statement": [{"Effect": "Deny", "Action": RUNS, "Resource": LINKS}]}
ALLOWED: Final = {"Version": "1", "Statement": [{"Effect": "Allow", "Action": "hbr:*", "Resource": "*",
                  "Condition": {"StringLike": {"acs:UserAgent": [RUNS]}}}]}  # fmt: skip
TRUST: Final = {"Version": "1", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
                "Principal": {"RAM": ["acs:ram::1:root"]}}]}  # fmt: skip


def rollout_policy(name: str) -> str:
    """Return a policy with the payload in its comment, which is shown as it was sent."""
    return (
        f"# {RUNS}\nname = {json.dumps(name)}\npackage = 'courier'\nversion = '2.0'\n"
        "deadline = '2099-01-01T00:00:00Z'\nring = [{ name = 'all' }]\n"
    )


def fill_by_operations(env: Environment, host: str) -> dict[str, int]:
    """Send the payload in every text of the operations whose answers pages show. Return each one's status."""
    until = (env.now + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    week_later = (env.now + timedelta(days=8)).strftime("%Y-%m-%dT%H:%M:%SZ")
    tags = {"Tag.1.Key": RUNS, "Tag.1.Value": RUNS, "Tag.2.Key": "site", "Tag.2.Value": RUNS}
    asked: list[tuple[str, str, dict[str, object]]] = [
        (ECS, "CreateActivation", {"RegionId": REGION, "InstanceName": RUNS[:50], "Description": RUNS, **tags}),
        (ECS, "CreateActivation", {"RegionId": REGION, "Description": RUNS, **tags}),
        (ECS, "TagResources", {"RegionId": REGION, "ResourceType": "instance", "ResourceId.1": host, **tags}),
        (ECS, "CreateCommand", {"RegionId": REGION, "Name": RUNS, "Description": RUNS, "Type": "RunShellScript",
                                "CommandContent": RUNS, "ContentEncoding": "PlainText"}),
        (ECS, "ModifyManagedInstance", {"RegionId": REGION, "InstanceId": host, "InstanceName": RUNS}),
        (BACKFLEET, "PutPin", {"InstanceId": host, "PackageName": "courier", "Reason": RUNS, "Until": until}),
        (BACKFLEET, "PutPin", {"TagKey": "site", "TagValue": RUNS, "PackageName": "courier", "Reason": LINKS,
                               "Until": until}),
        (BACKFLEET, "PutMinimumVersion", {"PackageName": "courier", "MinimumVersion": "2.0", "Due": until,
                                          "Reason": RUNS}),
        (BACKFLEET, "PutNotificationDestination", {"Name": "a", "Mail": "<img/src=x>@example.com"}),
        (BACKFLEET, "PutNotificationDestination", {"Name": "b", "Url": LINKS}),
        (BACKFLEET, "PutNotificationDestination", {"Name": RUNS, "Mail": "a@example.com"}),
        (BACKFLEET, "DeletePin", {"TagKey": "site", "TagValue": RUNS, "PackageName": "courier", "Reason": RUNS}),
        (BACKFLEET, "PutCalendar", {"Name": "odd", "Freezes.1.Summary": RUNS, "Freezes.1.Begin": until,
                                    "Freezes.1.End": week_later}),
        (BACKFLEET, "PutCalendar", {"Name": RUNS, "Ics": RUNS}),
        (BACKFLEET, "CreateEcsAccount", {"Name": RUNS, "KeyId": "a", "KeySecret": "b"}),
        (BACKFLEET, "CreateEcsAccount", {"Name": "odd", "KeyId": RUNS, "KeySecret": RUNS, "SourceName": RUNS}),
        (BACKFLEET, "CreateRollout", {"Policy": rollout_policy(RUNS), "Start": True}),
        (RAM, "CreateUser", {"UserName": "odd", "DisplayName": RUNS, "Comments": RUNS, "Email": "<img/src=x>@b.c"}),
        (RAM, "CreateUser", {"UserName": RUNS}),
        (RAM, "CreateUser", {"UserName": "plain", "DisplayName": "plain", "Comments": RUNS}),
        (RAM, "CreateGroup", {"GroupName": "odd", "Comments": RUNS}),
        (RAM, "CreatePolicy", {"PolicyName": "odd", "Description": RUNS, "PolicyDocument": DOCUMENT}),
        (RAM, "CreatePolicy", {"PolicyName": "odd2", "Description": RUNS, "PolicyDocument": ALLOWED}),
        (RAM, "CreatePolicy", {"PolicyName": RUNS, "PolicyDocument": TRUST}),
        (RAM, "CreateRole", {"RoleName": "odd", "Description": RUNS, "AssumeRolePolicyDocument": TRUST}),
    ]  # fmt: skip
    return {
        f"{at} {action}": env.ask(version, action, **fields)[0] for at, (version, action, fields) in enumerate(asked)
    }


def fill_as_hosts_do(env: Environment, host: str) -> None:
    """Store the payload where a host's words are stored, whether or not today's checks let it come so far."""
    failure = json.dumps({"code": RUNS, "message": RUNS, "version": RUNS, "at": 1.7e9, "output": RUNS,
                          "quarantined_until": None})  # fmt: skip
    told = {
        "code": RUNS,
        "message": RUNS,
        "from_version": RUNS,
        "to_version": RUNS,
        "current_version": RUNS,
        "evidence": RUNS,
    }
    with env.services.database.transaction() as tx:
        named = dict.fromkeys(("hostname", "os_version", "agent_version", "time_zone", "intranet_ip"), RUNS)
        tx.run(sa.update(instances).where(instances.c.id == host).values(name=RUNS, **named))
        on_host = clients.c.instance_id == host
        tx.run(sa.update(clients).where(on_host).values(version=RUNS, drift=RUNS, failure=failure))
        tx.run(sa.update(items).where(items.c.instance_id == host).values(**told))


def run_a_command(env: Environment, host: str) -> None:
    """Let a command be the payload, and print it."""
    agents = Agents(env)
    agents.run(host, content=RUNS, Name=RUNS, ContentEncoding="PlainText")
    agents.carry_out(host, output=RUNS.encode())


def leave_a_user_agent(admin: Browser) -> None:
    """Ask as a browser whose name is the payload: the trail shows it."""
    assert admin.get("/fleet", User_Agent=RUNS).status == client.OK
