"""Trust policies: who may assume a role.

As with identity policies, an element that the engine does not know is refused when the role is created.
Source: RAM, trust policies of roles.
"""

import re
from functools import lru_cache
from typing import Any, Final

from backfleet.identity.policy.conditions import Condition, Context, MalformedPolicy
from backfleet.identity.policy.decisions import Decision, Effect, Statement
from backfleet.identity.policy.documents import read_conditions, read_effect, read_statements, strings
from backfleet.identity.policy.wildcards import canonical, matches
from backfleet.values import value_object

ASSUME: Final = "sts:AssumeRole"
PARSED_KEPT: Final = 256  # parsed documents kept in memory
_ELEMENTS: Final = frozenset({"Effect", "Action", "Principal", "Condition"})
_FORMS: Final = {
    "RAM": re.compile(r"acs:ram::[0-9]{1,32}:(root|(user|role)/[A-Za-z0-9._-]{1,64})"),
    "Service": re.compile(r"([0-9]{1,32}@)?[a-z0-9-]+(\.[a-z0-9-]+)+"),  # for any account, or for one
    "Federated": re.compile(r"acs:ram::[0-9]{1,32}:(saml|oidc)-provider/[A-Za-z0-9._-]{1,128}"),
}
"""The form of a principal, by its kind. Wildcards are refused: a role that trusts everybody is a mistake."""


@value_object
class Principal:
    """Someone a statement is about. `kind` is RAM, Service or Federated."""

    kind: str
    name: str


@value_object
class TrustStatement:
    """One statement of a trust policy."""

    effect: Effect
    actions: tuple[str, ...]
    principals: tuple[Principal, ...]
    conditions: tuple[Condition, ...] = ()

    def covers(self, asking: frozenset[Principal], context: Context) -> bool:
        """Return whether the statement names one of these principals and every condition holds.

        Args:
            asking: every principal that the caller counts as.
            context: condition keys in their canonical spelling, and their values.
        """
        return (
            matches(self.actions, ASSUME, ignore_case=True)
            and not asking.isdisjoint(self.principals)
            and all(condition.holds(context) for condition in self.conditions)
        )


def ram_principals(account_id: str, arn: str) -> frozenset[Principal]:
    """Return the principals that an identity of an account counts as: its own ARN, and the whole account."""
    return frozenset({_ram(arn), _ram(f"acs:ram::{account_id}:root")})


def decide_trust(statements: tuple[TrustStatement, ...], asking: frozenset[Principal], context: Context) -> Decision:
    """Decide whether these principals may assume a role. One Deny outweighs every Allow; the default is refusal."""
    known = {canonical(key): value for key, value in context.items()}
    covering = [statement for statement in statements if statement.covers(asking, known)]
    if any(statement.effect is Effect.DENY for statement in covering):
        # A decision names a statement of an identity policy; this one represents the role's trust policy.
        return Decision(allowed=False, because=Statement(Effect.DENY, (ASSUME,), ("*",), source="trust"))
    return Decision(allowed=bool(covering))


@lru_cache(PARSED_KEPT)
def parse_trust(document: str) -> tuple[TrustStatement, ...]:
    """Return the statements of a trust policy.

    Raises:
        MalformedPolicy: the document is too long, is not JSON, or has something that the engine does not know.
    """
    return tuple(map(_statement, read_statements(document)))


def _statement(found: Any) -> TrustStatement:
    effect = read_effect(found, _ELEMENTS)
    actions = strings(found.get("Action"), "Action")
    for action in actions:
        if action != "*" and not action.lower().startswith("sts:"):
            raise MalformedPolicy(f"Action {action[:64]!r} must be {ASSUME}")
    return TrustStatement(
        effect, actions, _principals(found.get("Principal")), read_conditions(found.get("Condition", {}))
    )


def _principals(found: Any) -> tuple[Principal, ...]:
    if not isinstance(found, dict) or not found:
        raise MalformedPolicy("a statement needs a Principal: an object of RAM, Service or Federated")
    principals = []
    for kind, listed in found.items():
        form = _FORMS.get(kind)
        if form is None:
            raise MalformedPolicy(f"Principal {kind[:64]!r} must be RAM, Service or Federated")
        if listed == [] and len(found) > 1:
            continue  # names nobody, beside others
        for name in strings(listed, f"Principal {kind}"):
            if not form.fullmatch(name):
                raise MalformedPolicy(f"the {kind} principal {name[:128]!r} does not have the form of one")
            principals.append(_ram(name) if kind == "RAM" else Principal(kind, name))
    if not principals:
        raise MalformedPolicy("Principal names nobody")
    return tuple(principals)


def _ram(arn: str) -> Principal:
    """Return the principal of an ARN. Letter case matters in user names, and does not in role names."""
    head, role, name = arn.partition(":role/")
    return Principal("RAM", f"{head}{role}{name.lower()}")
