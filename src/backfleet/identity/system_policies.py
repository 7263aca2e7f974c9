"""System policies, which every account has. Their names are those of the cloud, in its newer spelling."""

import json
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
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

SYSTEM_POLICIES: Final = {
    policy.name: policy
    for policy in (
        SystemPolicy("AdministratorAccess", "Everything in the account.", _allow("*")),
        SystemPolicy("AliyunHBRFullAccess", "Every operation on backup clients.", _allow("hbr:*")),
        SystemPolicy("AliyunHBRReadOnlyAccess", "Look at backup clients and tasks.", _allow(*_HBR_READS)),
        SystemPolicy("AliyunECSFullAccess", "Every operation on instances and Cloud Assistant.", _allow("ecs:*")),
        SystemPolicy("AliyunECSReadOnlyAccess", "Look at instances.", _allow("ecs:Describe*", "ecs:List*")),
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
