"""Statements of identity policies, and the decision about one action on one resource."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from backfleet.identity.policy.conditions import Condition, Context, canonical
from backfleet.identity.policy.wildcards import matches

SYSTEM: Final = "system"  # takes the account's place in the ARNs of system policies
TAG_KEYS: Final = ("acs:resourcetag/", "ecs:tag/")


class Effect(StrEnum):
    """What a statement does when it matches."""

    ALLOW = "Allow"
    DENY = "Deny"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of an identity policy. It covers a request if action, resource and every condition match."""

    effect: Effect
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()
    all_actions_but: bool = False  # NotAction: the statement covers every action except `actions`
    source: str = ""  # the policy it comes from, as Custom/<name> or System/<name>
    only_in: str = ""  # the account to whose resources it is limited, whatever the patterns match; "" = no limit

    def covers(self, action: str, resource: str, context: Context) -> bool:
        """Return whether the statement applies to a request.

        Actions are compared without regard to letter case, resources with it.

        Args:
            action: `<service>:<operation>`.
            resource: an ARN, or `*`.
            context: condition keys in their canonical spelling, and their values.
        """
        return (
            matches(self.actions, action, ignore_case=True) is not self.all_actions_but
            and matches(self.resources, resource)
            and self._is_within_account(resource)
            and all(condition.holds(context) for condition in self.conditions)
        )

    def _is_within_account(self, resource: str) -> bool:
        if not self.only_in or resource == "*":
            return True
        # A pattern would not do: its star crosses colons, into an id that the caller may have chosen.
        parts = resource.split(":", 4)
        return len(parts) == 5 and parts[3] in (self.only_in, SYSTEM)


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome, and the statement that decided it. No statement means that none applied."""

    allowed: bool
    because: Statement | None = None
    by_session: bool = False  # the session's own policy did not allow it

    @property
    def explicit_deny(self) -> bool:
        """True if a statement denied it; False also if no statement allowed it."""
        return not self.allowed and self.because is not None


ALLOWED: Final = Decision(allowed=True)


def decide(statements: Iterable[Statement], action: str, resource: str, context: Context) -> Decision:
    """Decide one action on one resource. One Deny outweighs every Allow; the default is refusal.

    Source: RAM, policy evaluation process.
    """
    known = {canonical(key): value for key, value in context.items()}
    allow: Statement | None = None
    for statement in statements:
        if not statement.covers(action, resource, known):
            continue
        if statement.effect is Effect.DENY:
            return Decision(allowed=False, because=statement)
        allow = allow or statement
    return Decision(allowed=allow is not None, because=allow)


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a caller may do: the caller's own policies, limited by the session's policy if there is one."""

    own: tuple[Statement, ...]
    within: tuple[Statement, ...] | None = None

    @property
    def depend_on_tags(self) -> bool:
        """True if a condition is about a resource's tags. Only then the tags have to be looked up."""
        statements = (*self.own, *(self.within or ()))
        keys = (condition.key.lower() for statement in statements for condition in statement.conditions)
        return any(key.startswith(TAG_KEYS) for key in keys)

    def decide(self, action: str, resource: str, context: Context) -> Decision:
        """Decide one action on one resource. Both layers must allow it; the session's policy is evaluated first.

        Source: RAM, policy evaluation process.
        """
        if self.within is not None:
            decision = decide(self.within, action, resource, context)
            if not decision.allowed:
                return replace(decision, by_session=True)
        return decide(self.own, action, resource, context)


def root_statement(account_id: str) -> Statement:
    """Return the statement of an account's root: everything, in this account."""
    return Statement(Effect.ALLOW, ("*",), ("*",), source="root", only_in=account_id)
