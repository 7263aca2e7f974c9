"""May they act in this role's place? The role's trust decides; permission to ask is the operation's business."""

from collections.abc import Mapping
from datetime import datetime

from backfleet.identity.callers import Caller, Session, role_caller
from backfleet.identity.policy import Decision, Principal, decide_trust, parse_trust, ram_principals
from backfleet.identity.roles import Role, find_role
from backfleet.storage import Transaction


class NotTrusted(Exception):
    """The role's trust policy does not let them act in its place."""

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
    linked_role: str = "",
    context: Mapping[str, str] | None = None,
) -> Caller:
    """The caller as they may act in another account by one of its roles, for the length of one call.

    The role's trust must name the caller's account, the caller, or what acts on their behalf: `linked_role`, a role of
    the caller's own account, or `service`. A trust in a service does not say for which account: name the service only
    where the account of the role has said so in another way (AddCrossAccount). `context` holds further condition
    keys. What the role may do is not decided here: ask `permissions_of` of the answer. `now` is the time of the call.

    Raises:
        NotFound: that account has no such role, or there is no such account.
        NotTrusted: its trust policy does not let them.
    """
    role = find_role(tx, account_id, role_name, any_case=True)
    asking = ram_principals(caller.account_id, caller.principal_arn)
    if linked_role:
        asking |= ram_principals(caller.account_id, f"acs:ram::{caller.account_id}:role/{linked_role}")
    if service:
        asking |= {Principal("Service", service)}
    known = {
        "acs:CurrentTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        **(context or {}),
        "acs:PrincipalARN": caller.principal_arn,
    }
    check_trust(role, asking, known)
    return role_caller(role, Session(role.name, _session_name(caller)), caller.access_key_id)


def check_trust(role: Role, asking: frozenset[Principal], context: Mapping[str, str]) -> None:
    """Raises NotTrusted."""
    decision = decide_trust(parse_trust(role.trust), asking, context)
    if not decision.allowed:
        raise NotTrusted(role.arn, decision)


def _session_name(caller: Caller) -> str:
    """Audit trails of both accounts show who it was."""
    return f"{caller.account_id}@{caller.user_name or (caller.session and caller.session.name) or 'root'}"[:64]
