"""The operation."""

from collections.abc import Iterator
from typing import Any

from backfleet import VERSION, identity
from backfleet.checks import Finding, worst
from backfleet.operations.backfleet.server_health.clouds import check_clouds
from backfleet.operations.backfleet.server_health.hosts import check_hosts
from backfleet.operations.backfleet.server_health.installation import check_installation
from backfleet.operations.backfleet.server_health.permissions import check_permissions
from backfleet.operations.backfleet.server_health.waiting import check_queues
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.values import value_object


@value_object
class GetServerHealth:
    """No parameters."""


@operation(
    BACKFLEET,
    "GetServerHealth",
    action="backfleet:GetServerHealth",
    answer={
        "Severity": str,
        "ServerVersion": str,
        "ServerTime": int,
        "PrincipalArn": str,
        "Findings": [{"Code": str, "Severity": str, "Found": str, "Advice": str, "Subjects": [str]}],
    },
)
def get_server_health(call: Call, asked: GetServerHealth) -> dict[str, Any]:
    """Return what was checked, each with a severity: Ok, Note, Warning or Error, what was found and what to do.

    Subjects are the hosts, clients or files that a finding is about, at most 20. Every account gets the findings about
    its own hosts; those about the server and its machine are for the administrator account. They are about the process
    that answers. ServerTime is in milliseconds, and PrincipalArn is the caller.
    """
    findings = list(_findings(call))
    return {
        "Severity": worst(findings).value,
        "ServerVersion": VERSION,
        "ServerTime": round(call.now.timestamp() * 1000),
        "PrincipalArn": call.caller.arn,
        "Findings": [
            {
                "Code": each.code,
                "Severity": each.severity.value,
                "Found": each.found,
                "Advice": each.advice,
                "Subjects": list(each.subjects),
            }
            for each in findings
        ],
    }


def _findings(call: Call) -> Iterator[Finding]:
    with call.services.database.reading() as tx:
        is_administrator = identity.is_administrator_account(tx, call.account_id)
        yield check_permissions(tx, call)
        yield from check_hosts(tx, call)
        yield from check_clouds(tx, call)
        yield from check_queues(tx, call)
    if is_administrator:
        yield from check_installation(call)
