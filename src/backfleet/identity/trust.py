"""Trust policies: whom a role lets act in its place. Pure.

As with identity policies, what the engine does not know is refused when the role is made, never ignored.
Source: RAM, trust policies of roles.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from backfleet.identity.conditions import Condition, Context, MalformedPolicy, canonical
from backfleet.identity.policy import (
    Decision,
    Effect,
    Statement,
    read_conditions,
    read_effect,
    read_statements,
    strings,
)
from backfleet.identity.wildcards import matches

ASSUME: Final = "sts:AssumeRole"
REMEMBERED: Final = 256  # parsed documents
_ELEMENTS: Final = frozenset({"Effect", "Action", "Principal", "Condition"})
_FORMS: Final = {
    "RAM": re.compile(r"acs:ram::[0-9]{1,32}:(root|(user|role)/[A-Za-z0-9._-]{1,64})"),
    "Service": re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+"),
    "Federated": re.compile(r"acs:ram::[0-9]{1,32}:(saml|oidc)-provider/[A-Za-z0-9._-]{1,128}"),
}
"""Kinds of principals, and how one is written. No wildcards: a role that trusts everybody is a mistake."""


@dataclass(frozen=True, slots=True)
class Trusted:
    """Those whom a statement is about, by kind: RAM, Service, Federated."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class TrustStatement:
    """One statement of a trust policy."""

    effect: Effect
    actions: tuple[str, ...]
    principals: tuple[Trusted, ...]
    conditions: tuple[Condition, ...] = ()

    def covers(self, asking: frozenset[Trusted], context: Context) -> bool:
        """Whether it is about one of those who ask, and every condition holds. `context` has canonical keys."""
        return (
            matches(self.actions, ASSUME, ignore_case=True)
            and not asking.isdisjoint(self.principals)
            and all(condition.holds(context) for condition in self.conditions)
        )


def ram_principals(account_id: str, arn: str) -> frozenset[Trusted]:
    """Under which names a trust policy may mean an identity of this account: its own ARN, and the whole account."""
    return frozenset({_ram(arn), _ram(f"acs:ram::{account_id}:root")})


def decide_trust(statements: tuple[TrustStatement, ...], asking: frozenset[Trusted], context: Context) -> Decision:
    """Whether a role may be assumed by those who ask. One Deny outweighs every Allow; silence refuses."""
    known = {canonical(key): value for key, value in context.items()}
    covering = [statement for statement in statements if statement.covers(asking, known)]
    if any(statement.effect is Effect.DENY for statement in covering):
        # The reason of a decision is a statement of an identity policy; this stands for the role's trust.
        return Decision(allowed=False, because=Statement(Effect.DENY, (ASSUME,), ("*",), source="trust"))
    return Decision(allowed=bool(covering))


@lru_cache(REMEMBERED)
def parse_trust(document: str) -> tuple[TrustStatement, ...]:
    """The statements of a trust policy.

    Raises:
        MalformedPolicy: too long, not JSON, or something in it that the engine does not know.
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


def _principals(found: Any) -> tuple[Trusted, ...]:
    if not isinstance(found, dict) or not found:
        raise MalformedPolicy("a statement needs a Principal: an object of RAM, Service or Federated")
    principals = []
    for kind, listed in found.items():
        form = _FORMS.get(kind)
        if form is None:
            raise MalformedPolicy(f"Principal {kind[:64]!r} must be RAM, Service or Federated")
        for name in strings(listed, f"Principal {kind}"):
            if not form.fullmatch(name):
                raise MalformedPolicy(f"the {kind} principal {name[:128]!r} is wrongly formed")
            principals.append(_ram(name) if kind == "RAM" else Trusted(kind, name))
    return tuple(principals)


def _ram(arn: str) -> Trusted:
    """Letter case counts in names of users, and not in those of roles."""
    head, role, name = arn.partition(":role/")
    return Trusted("RAM", f"{head}{role}{name.lower()}")
