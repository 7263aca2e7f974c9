"""One row of the audit trail, as ActionTrail words it: the call, its caller, and how it ended.

Why one row a call, and which of its parameters: docs/decisions/0016-audit.md.
Source: ActionTrail, structure of an event; LookupEvents.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from backfleet.identity import Caller
from backfleet.values import value_object
from backfleet.wire.parameters import Parameter

READS: Final = ("Describe", "List", "Get", "Lookup", "Check", "Decode", "Preview", "Simulate")
RING: Final = "Ring"  # of a rollout: which one somebody approves or rolls back
REASON: Final = "Reason"  # why somebody put a pin or a minimum version, or took it away: kept, too
LONGEST_REASON: Final = 200  # characters
NAMING: Final = ("Id", "Ids", "Name", "Type", "Arn", "Version", "Platform", "Status")
"""The ends of the names of parameters that name resources. Only these are kept: others may be secret or long."""

NEVER: Final = frozenset({"ProxyUser"})
LONGEST_VALUE: Final = 128  # characters kept of one value
MOST_PARAMETERS: Final = 120
MOST_OF_REFUSED: Final = 10  # parameters kept of a refused call
LONGEST_AGENT: Final = 256
KINDS: Final = {"Account": "root-account", "RAMUser": "ram-user", "AssumedRoleUser": "assumed-role"}
SERVICES: Final = {"hbr": "Hbr", "ecs": "Ecs", "sts": "Sts", "ram": "Ram", "backfleet": "Backfleet"}


@value_object
class AuditEvent:
    """One call, in one of the accounts that it acted in. Times in UTC."""

    request_id: str
    account_id: str
    at: datetime
    product: str
    version: str
    action: str
    kind: str  # of the caller: Account, RAMUser, AssumedRoleUser
    principal: str  # the caller's ARN
    principal_id: str
    user_name: str  # of a session: role:session
    access_key_id: str
    region: str
    source_ip: str
    user_agent: str
    named: str  # JSON: the parameters that name resources
    verdict: str  # allowed or denied
    error_code: str  # "" unless it failed

    @property
    def writes(self) -> bool:
        """True if the operation can change something."""
        return changes_something(self.action)


def changes_something(action: str) -> bool:
    """Return whether an operation of this name can change something."""
    return not action.startswith(READS)


def user_name_of(caller: Caller) -> str:
    """Return the name of a caller in the trail."""
    if caller.session is not None:
        return f"{caller.session.role_name}:{caller.session.name}"
    return caller.user_name or "root"


def parameters_to_keep(
    parameters: list[Parameter], flat: Mapping[str, str], *, most: int | None = None
) -> dict[str, str]:
    """Return the parameters that name resources, and the reason that a person gave.

    Never a secret, a document, a script or a token. Pure.

    Args:
        parameters: Those that the operation knows.
        flat: Those of the call, as they came.
        most: How many are kept; None for MOST_PARAMETERS.
    """
    if not flat:
        return {}
    named = {parameter.name for parameter in parameters if _is_kept(parameter)}
    kept = {
        name: value[: LONGEST_REASON if name == REASON else LONGEST_VALUE]
        for name, value in sorted(flat.items())
        if name.split(".", 1)[0] in named
    }
    return dict(list(kept.items())[: MOST_PARAMETERS if most is None else most])


def _is_kept(parameter: Parameter) -> bool:
    return (
        (parameter.name.endswith(NAMING) or parameter.name in (REASON, RING))
        and parameter.name not in NEVER
        and parameter.kind != "json object"
        and not parameter.limits.get("secret")
    )


def shown(event: AuditEvent) -> dict[str, Any]:
    """Return an event as LookupEvents shows it."""
    who = {
        "type": KINDS.get(event.kind, event.kind),
        "principalId": event.principal_id,
        "accountId": event.account_id,
        "userName": event.user_name,
        "accessKeyId": event.access_key_id,
        "arn": event.principal,
    }
    failed = {"errorCode": event.error_code} if event.error_code else {}
    return {
        "eventId": event.request_id,
        "eventVersion": "1",
        "eventType": "ApiCall",
        "eventTime": event.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "eventName": event.action,
        "eventSource": event.product,
        "eventRW": "Write" if event.writes else "Read",
        "serviceName": SERVICES.get(event.product, event.product),
        "apiVersion": event.version,
        "requestId": event.request_id,
        "sourceIpAddress": event.source_ip,
        "userAgent": event.user_agent,
        "acsRegion": event.region,
        "recipientAccountId": event.account_id,
        "userIdentity": who,
        "requestParameters": json.loads(event.named),
        "additionalEventData": {"verdict": event.verdict},
        **failed,
    }
