"""Acting by a role of another account for one call.

The role's trust policy decides. Permission to ask for it is checked by the operation.
"""

from collections.abc import Mapping
from datetime import datetime

from backfleet.identity.model import Caller, Role, Session, role_caller
from backfleet.identity.policy import Context, Decision, Principal, decide_trust, parse_trust, ram_principals
from backfleet.identity.roles import find_role
from backfleet.storage import Transaction


class NotTrusted(Exception):
    """The role's trust policy does not let the caller assume the role."""

    def __init__(self, arn: str, decision: Decision) -> None:
        super().__init__(f"{arn} does not trust the caller")
        self.arn, self.decision = arn, decision


def assume_role(
    tx: Transaction,
    caller: Caller,
    account_id: str,
    role_name: str,
    now: datetime,
    *,
    service: str = "",
    own_service: str = "",
    linked_role: str = "",
    context: Mapping[str, str] | None = None,
) -> Caller:
    """Return the caller as they act in another account by one of its roles, for the length of one call.

    The role's trust policy must name the caller's account, the caller, `linked_role` or `service`. What the role may do
    is not decided here: ask `permissions_of` with the result.

    Args:
        tx: the transaction to read in.
        caller: who asks.
        account_id: the account of the role.
        role_name: the role's name, in any letter case.
        now: the time of the call.
        service: a service that acts for the caller. A trust in a service does not say for which account, so pass it
            only if the role's account has agreed in another way (AddCrossAccount).
        own_service: a service for which a trust in `<account>@<service>` counts, if the account is the caller's.
        linked_role: a role of the caller's own account that acts for the caller.
        context: further condition keys and their values.

    Raises:
        NotFound: the account has no such role, or there is no such account.
        NotTrusted: the role's trust policy does not let the caller assume it.
    """
    role = find_role(tx, account_id, role_name, any_case=True)
    principals = ram_principals(caller.account_id, caller.principal_arn)
    if linked_role:
        principals |= ram_principals(caller.account_id, f"acs:ram::{caller.account_id}:role/{linked_role}")
    if service:
        principals |= {Principal("Service", service)}
    if own_service:
        principals |= {Principal("Service", f"{caller.account_id}@{own_service}")}
    known = {
        "acs:CurrentTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        **(context or {}),
        "acs:PrincipalARN": caller.principal_arn,
    }
    check_trust(role, principals, known)
    return role_caller(role, Session(role.name, _session_name(caller)), caller.access_key_id)


def check_trust(role: Role, principals: frozenset[Principal], context: Context) -> None:
    """Raise NotTrusted unless the role's trust policy lets one of these principals assume it."""
    decision = decide_trust(parse_trust(role.trust), principals, context)
    if not decision.allowed:
        raise NotTrusted(role.arn, decision)


def _session_name(caller: Caller) -> str:
    """Return a session name that shows the real caller in the audit trails of both accounts."""
    return f"{caller.account_id}@{caller.user_name or (caller.session and caller.session.name) or 'root'}"[:64]
