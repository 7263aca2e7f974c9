"""What the caller may not do, and which policy would allow it."""

from typing import Final

from backfleet import identity
from backfleet.checks import Finding, Severity
from backfleet.identity.policy import Target
from backfleet.operations.catalogue import Call
from backfleet.storage import Transaction

NEEDED: Final = (
    ("see clients", "hbr:DescribeBackupClients"),
    ("upgrade clients", "hbr:UpgradeBackupClients"),
    ("install clients", "hbr:InstallBackupClients"),
    ("see hosts", "ecs:DescribeCloudAssistantStatus"),
    ("enrol hosts", "ecs:CreateActivation"),
    ("see releases", "backfleet:ListReleases"),
    ("add releases", "backfleet:AddRelease"),
    ("start rollouts", "backfleet:StartRollout"),
    ("change users and keys", "ram:CreateUser"),
)
"""What people come for, and the action that it needs."""


def check_permissions(tx: Transaction, call: Call) -> Finding:
    """Check what the caller may do, on everything of the account."""
    permissions = identity.permissions_of(tx, call.caller)
    lacking = {
        purpose: action
        for purpose, action in NEEDED
        if not permissions.decide(
            action, Target((f"acs:{action.partition(':')[0]}:{call.region}:{call.account_id}:*",)), call.circumstances
        ).allowed
    }
    who = call.caller.arn
    if not lacking:
        return Finding.ok("Permissions", f"{who} may do everything that people come for")
    policies = dict.fromkeys(filter(None, map(identity.system_policy_for, lacking.values())))
    found = f"{who} may not {', '.join(lacking)} in the whole account"
    advice = f"if it should: attach {', '.join(policies)} (`backfleet policy attach NAME USER --system`)"
    return Finding("Permissions", Severity.NOTE, found, advice, list(lacking.values()))
