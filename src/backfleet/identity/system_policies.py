"""System policies, which every account has. Their names are those of the cloud, in its newer spelling."""

import json
from typing import Final

from backfleet.values import value_object


@value_object
class SystemPolicy:
    """A policy that nobody can change."""

    name: str
    description: str
    document: str


def _allow(*actions: str) -> str:
    return json.dumps({"Version": "1", "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]})


_HBR_READS = (
    "hbr:Describe*", "hbr:Get*", "hbr:Search*", "hbr:BrowseFiles", "hbr:List*", "hbr:BatchCountTables",
    "hbr:QueryAvailableInstances", "hbr:CheckRole", "hbr:PreCheckSourceGroup",
)  # fmt: skip

_ASSISTANT_READS = (
    "ecs:DescribeInstances", "ecs:DescribeTag*", "ecs:DescribeCommand*", "ecs:DescribeInvocation*",
    "ecs:DescribeCloudAssistant*", "ecs:DescribeSendFileResults", "ecs:DescribeManagedInstances",
    "ecs:DescribeActivations", "ecs:ListPluginStatus", "ecs:DescribeTerminalSessions",
)  # fmt: skip
_ASSISTANT_WRITES = (
    "ecs:*Command", "ecs:*CloudAssistant*", "ecs:SendFile", "ecs:*ManagedInstance", "ecs:*Activation",
    "ecs:StopInvocation", "ecs:ModifyInvocationAttribute", "ecs:StartTerminalSession",
)  # fmt: skip
_POWER_USER = json.dumps(
    {
        "Version": "1",
        "Statement": [
            {
                "Effect": "Allow",
                "NotAction": ["ram:*", "ims:*", "resourcemanager:*", "backfleet:CreateAccount"],
                "Resource": "*",
            },
            {"Effect": "Allow", "Action": ["ram:GetRole", "ram:ListRoles"], "Resource": "*"},
        ],
    }
)

GENERAL_POLICIES: Final = frozenset({"AdministratorAccess", "PowerUserAccess", "ReadOnlyAccess"})
"""Those that are about every product."""

SYSTEM_POLICIES: Final = {
    policy.name: policy
    for policy in (
        SystemPolicy("AdministratorAccess", "Everything in the account.", _allow("*")),
        SystemPolicy("PowerUserAccess", "Everything but users, keys, policies and accounts.", _POWER_USER),
        SystemPolicy("ReadOnlyAccess", "Look at everything.", _allow("*:Describe*", "*:Get*", "*:List*", *_HBR_READS)),
        SystemPolicy("AliyunHBRFullAccess", "Every operation on backup clients.", _allow("hbr:*")),
        SystemPolicy("AliyunHBRReadOnlyAccess", "Look at backup clients and tasks.", _allow(*_HBR_READS)),
        SystemPolicy("AliyunECSFullAccess", "Every operation on instances and Cloud Assistant.", _allow("ecs:*")),
        SystemPolicy("AliyunECSReadOnlyAccess", "Look at instances.", _allow("ecs:Describe*", "ecs:List*")),
        SystemPolicy("AliyunECSAssistantFullAccess", "Cloud Assistant.", _allow(*_ASSISTANT_READS, *_ASSISTANT_WRITES)),
        SystemPolicy("AliyunECSAssistantReadonlyAccess", "Look at Cloud Assistant.", _allow(*_ASSISTANT_READS)),
        SystemPolicy("AliyunRAMFullAccess", "Every operation on users, keys and policies.", _allow("ram:*")),
        SystemPolicy("AliyunRAMReadOnlyAccess", "Look at users, keys and policies.", _allow("ram:Get*", "ram:List*")),
        SystemPolicy("AliyunSTSAssumeRoleAccess", "Assume any role that trusts the caller.", _allow("sts:AssumeRole")),
        SystemPolicy("BackfleetFullAccess", "Releases, tasks and the server.", _allow("backfleet:*")),
        SystemPolicy(
            "BackfleetReadOnlyAccess",
            "Look at releases, tasks and the server.",
            _allow("backfleet:Describe*", "backfleet:List*", "backfleet:Get*"),
        ),
    )
}
