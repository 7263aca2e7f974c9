"""Statements of identity policies, and the decision about one action on one resource."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from backfleet.identity.policy.conditions import Condition, Context
from backfleet.identity.policy.wildcards import canonical, matches, variables_in

SYSTEM: Final = "system"  # takes the account's place in the ARNs of system policies
TAG_KEYS: Final = ("acs:resourcetag/", "ecs:tag/")
_ROLE: Final = ":role/"


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
    number: int = field(default=0, compare=False)  # of the statement in its policy, from 1; 0 = it is in no document
    only_in: str = ""  # the account to whose resources it is limited, whatever the patterns match; "" = no limit

    def covers(self, action: str, resource: str, context: Context) -> bool:
        """Return whether the statement applies to a request.

        Actions are compared without regard to letter case, resources with it. A Deny on a role counts for every
        spelling of its name: requests may use any, and one would avoid the Deny.

        Args:
            action: `<service>:<operation>`.
            resource: an ARN, or `*`.
            context: condition keys in their canonical spelling, and their values.
        """
        spellings = self.effect is Effect.DENY and _ROLE in resource
        return (
            self.is_about(action)
            and matches(self.resources, resource, ignore_case=spellings, variables=context)
            and self._is_within_account(resource)
            and all(condition.holds(context) for condition in self.conditions)
        )

    @property
    def depends_on_tags(self) -> bool:
        """True if it reads the tags of a resource."""
        return any(key.startswith(TAG_KEYS) for key in self.keys)

    def is_about(self, action: str) -> bool:
        """Return whether it is about an action, whatever its resource and the conditions."""
        return matches(self.actions, action, ignore_case=True) is not self.all_actions_but

    def names(self, action: str, context: Context) -> bool:
        """Return whether it applies to an action on some resource, whichever, as far as that can be known without one.

        Args:
            action: `<service>:<operation>`.
            context: condition keys in their canonical spelling, and their values.
        """
        return self.is_about(action) and all(
            condition.holds(context) for condition in self.conditions if not _reads_tags(condition)
        )

    @property
    def keys(self) -> tuple[str, ...]:
        """The condition keys and policy variables that it reads, in their canonical spelling."""
        conditions = (text for condition in self.conditions for text in condition.values)
        names = variables_in((*self.resources, *conditions))
        return tuple(canonical(key) for key in (*(condition.key for condition in self.conditions), *names))

    def _is_within_account(self, resource: str) -> bool:
        if not self.only_in or resource == "*":
            return True
        # A pattern would not do: its star crosses colons, into an id that the caller may have chosen.
        parts = resource.split(":", 4)
        return len(parts) == 5 and parts[3] in (self.only_in, SYSTEM)


def _reads_tags(condition: Condition) -> bool:
    names = (condition.key, *variables_in(condition.values))
    return any(canonical(name).startswith(TAG_KEYS) for name in names)


@dataclass(frozen=True, slots=True)
class Target:
    """A thing that permission is asked for, under all the ARNs by which policies may name it.

    The first is that of the call itself: it stands for the target in refusals, which must tell no other.
    An Allow on one of `arns` is enough. A Deny on one of them, or on one of `vetoes`, refuses.
    """

    arns: tuple[str, ...]
    vetoes: tuple[str, ...] = ()


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


def decide(statements: Iterable[Statement], action: str, asked: str | Target, context: Context) -> Decision:
    """Decide one action on one resource or target. One Deny outweighs every Allow; the default is refusal.

    Source: RAM, policy evaluation process.
    """
    target = Target((asked,)) if isinstance(asked, str) else asked
    known = {canonical(key): value for key, value in context.items()}
    allow = Decision(allowed=False)
    for statement in statements:
        is_deny = statement.effect is Effect.DENY
        if not is_deny and allow.allowed:
            continue
        for resource in target.arns + target.vetoes if is_deny else target.arns:
            if not statement.covers(action, resource, known):
                continue
            if is_deny:
                return Decision(allowed=False, because=statement)
            allow = Decision(allowed=True, because=statement)
            break
    return allow


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a caller may do: the caller's own policies, limited by the session's policy if there is one."""

    own: tuple[Statement, ...]
    within: tuple[Statement, ...] | None = None

    @property
    def depend_on_tags(self) -> bool:
        """True if a condition is about a resource's tags. Only then the tags have to be looked up."""
        return any(statement.depends_on_tags for statement in (*self.own, *(self.within or ())))

    def decide(self, action: str, asked: str | Target, context: Context) -> Decision:
        """Decide one action on one resource or target. Both layers must allow it; the session's policy comes first.

        Source: RAM, policy evaluation process.
        """
        if self.within is not None:
            decision = decide(self.within, action, asked, context)
            if not decision.allowed:
                return replace(decision, by_session=True)
        return decide(self.own, action, asked, context)

    def denial(self, action: str, asked: str | Target, context: Context) -> Decision | None:
        """Return the refusal if a statement denies the action; None if none does, also where none allows it."""
        for statements, by_session in ((self.within or (), True), (self.own, False)):
            decision = decide(statements, action, asked, context)
            if decision.explicit_deny:
                return replace(decision, by_session=by_session)
        return None

    def about(self, action: str) -> "Permissions":
        """Return what decides one action: for many targets of it."""
        within = None if self.within is None else tuple(one for one in self.within if one.is_about(action))
        return Permissions(tuple(one for one in self.own if one.is_about(action)), within)

    def refusal_of_all(self, action: str, everything: Target, context: Context) -> Decision | None:
        """Return the refusal if the action is refused on every target; None if one may be allowed.

        Args:
            action: `<service>:<operation>`.
            everything: the ARNs that stand for all targets, with a star in the place of the id.
            context: condition keys and their values, without those of a target.
        """
        known = {canonical(key): value for key, value in context.items()}
        for statements, by_session in ((self.within, True), (self.own, False)):
            if statements is None:
                continue
            firm = [one for one in statements if one.effect is Effect.DENY and not one.depends_on_tags]
            decision = decide(firm, action, everything, context)
            if decision.explicit_deny:
                return replace(decision, by_session=by_session)
            if not any(one.effect is Effect.ALLOW and one.names(action, known) for one in statements):
                return Decision(allowed=False, by_session=by_session)
        return None


def root_statement(account_id: str) -> Statement:
    """Return the statement of an account's root: everything, in this account."""
    return Statement(Effect.ALLOW, ("*",), ("*",), source="root", only_in=account_id)
