"""Statements of identity policies, and the decision about one action on one resource."""

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from enum import StrEnum
from typing import Final

from backfleet.identity.policy.conditions import Condition, Context
from backfleet.identity.policy.pattern_sets import PatternSets
from backfleet.identity.policy.wildcards import canonical, matches, variables_in
from backfleet.values import value_object

SYSTEM: Final = "system"  # takes the account's place in the ARNs of system policies
TAG_KEYS: Final = ("acs:resourcetag/", "ecs:tag/")
MOST_BY_PATTERN: Final = 20_000  # lengths of statements times resources; with more, they are compiled together
FIXED_LENGTH: Final = 50  # what a statement costs whatever its patterns are, in characters of them
COMPILED_KEPT: Final = 16  # compiled lists of statements kept in memory, each of about 2 MB at most
_ROLE: Final = ":role/"


class Effect(StrEnum):
    """What a statement does when it matches."""

    ALLOW = "Allow"
    DENY = "Deny"


@value_object
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
    length: int = field(init=False, compare=False, repr=False, default=0)  # what deciding it alone costs, roughly

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", FIXED_LENGTH + sum(map(len, (*self.actions, *self.resources))))

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

    def is_met_on(self, resources: Iterable[str], context: Context) -> bool:
        """Return whether it applies to one of these resources, which its patterns match."""
        return any(self._is_within_account(resource) for resource in resources) and all(
            condition.holds(context) for condition in self.conditions
        )

    def is_met_everywhere(self, context: Context, accounts: Collection[str]) -> bool:
        """Return whether it applies to every resource of these accounts, as far as its actions go."""
        within = not self.only_in or all(account in (self.only_in, SYSTEM) for account in accounts)
        anywhere = "*" in self.resources and within and not self.depends_on_tags
        return anywhere and all(condition.holds(context) for condition in self.conditions)

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


def _account_of(arn: str) -> str:
    """Return the account that an ARN names; one that nobody has for what is no ARN of a resource."""
    parts = arn.split(":", 4)
    return parts[3] if len(parts) == 5 else ""


def _reads_tags(condition: Condition) -> bool:
    names = (condition.key, *variables_in(condition.values))
    return any(canonical(name).startswith(TAG_KEYS) for name in names)


@value_object
class Target:
    """A thing that permission is asked for, under all the ARNs by which policies may name it.

    The first is that of the call itself: it stands for the target in refusals, which must tell no other.
    An Allow on one of `arns` is enough. A Deny on one of them, or on one of `vetoes`, refuses.
    """

    arns: tuple[str, ...]
    vetoes: tuple[str, ...] = ()


@value_object
class Decision:
    """The outcome, and the statement that decided it. No statement means that none applied."""

    allowed: bool
    because: Statement | None = None
    by_session: bool = False  # the session's own policy did not allow it

    @property
    def explicit_deny(self) -> bool:
        """True if a statement denied it; False also if no statement allowed it."""
        return not self.allowed and self.because is not None


def allow_all_in(statements: Iterable[Statement], action: str, accounts: Collection[str], context: Context) -> bool:
    """Return whether these allow an action on all that accounts have: none can deny it, and one allows it on all.

    Then one decision is that on any target. False only says that targets may differ.

    Args:
        statements: those of one layer.
        action: `<service>:<operation>`.
        accounts: whose resources they are.
        context: the keys of the call, without those of any target.
    """
    about = [statement for statement in statements if statement.is_about(action)]
    if any(statement.effect is Effect.DENY for statement in about):
        return False
    known = {canonical(key): value for key, value in context.items()}
    return any(statement.is_met_everywhere(known, accounts) for statement in about)


ALLOWED: Final = Decision(allowed=True)


def decide(statements: Iterable[Statement], action: str, asked: str | Target, context: Context) -> Decision:
    """Decide one action on one resource or target. One Deny outweighs every Allow; the default is refusal.

    Source: RAM, policy evaluation process.
    """
    target = Target((asked,)) if isinstance(asked, str) else asked
    known = {canonical(key): value for key, value in context.items()}
    listed = statements if isinstance(statements, tuple) else tuple(statements)
    if sum(statement.length for statement in listed) * len(target.arns + target.vetoes) > MOST_BY_PATTERN:
        return compiled(listed).decide(action, target, known)
    allow = Decision(allowed=False)
    for statement in listed:
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


class Compiled:
    """Statements that are decided together: what a decision costs depends little on how many there are."""

    def __init__(self, statements: tuple[Statement, ...]) -> None:
        self.statements = statements
        self._actions = PatternSets([one.actions for one in statements], ignore_case=True)
        self.resources = PatternSets([one.resources for one in statements], variables=True)
        self._spellings: PatternSets | None = None  # without regard to letter case, once a role is asked about
        self._about: dict[str, frozenset[int]] = {}

    def decide(self, action: str, target: Target, known: Context) -> Decision:
        """Decide as `decide` does. The context has canonical keys."""
        allow = Decision(allowed=False)
        for number, resources in sorted(self._covering(action, target, known).items()):
            statement = self.statements[number]
            is_deny = statement.effect is Effect.DENY
            if (not is_deny and allow.allowed) or not statement.is_met_on(resources, known):
                continue
            if is_deny:
                return Decision(allowed=False, because=statement)
            allow = Decision(allowed=True, because=statement)
        return allow

    def _covering(self, action: str, target: Target, known: Context) -> Mapping[int, Sequence[str]]:
        """Return the statements whose patterns match the action and resources of the target, each with those."""
        about = self._about.get(action)
        if about is None:
            named = set(self._actions.matching(action, {}))
            about = frozenset(
                number
                for number, statement in enumerate(self.statements)
                if (number in named) is not statement.all_actions_but
            )
            self._about = {action: about}  # a call asks about one
        found: dict[int, list[str]] = {}
        for resource in target.arns + target.vetoes:
            is_veto = resource not in target.arns
            for number, is_deny in self._matching(resource, known):
                if number in about and (is_deny or not is_veto):
                    found.setdefault(number, []).append(resource)
        return found

    def _matching(self, resource: str, known: Context) -> Iterator[tuple[int, bool]]:
        exactly = self.resources.matching(resource, known)
        denies = {number: self.statements[number].effect is Effect.DENY for number in exactly}
        if _ROLE in resource:
            if self._spellings is None:
                sets = [one.resources if one.effect is Effect.DENY else () for one in self.statements]
                self._spellings = PatternSets(sets, ignore_case=True, variables=True)
            denies |= dict.fromkeys(self._spellings.matching(resource, known), True)
        yield from denies.items()


_kept: OrderedDict[tuple[int, ...], Compiled] = OrderedDict()
_lock: Final = threading.Lock()


def compiled(statements: tuple[Statement, ...]) -> Compiled:
    """Return statements compiled, once for as long as they are kept.

    They are known by their identities: the same documents give the same statements, and comparing them takes longer.
    """
    key = tuple(map(id, statements))  # no other object can have these ids: what is kept keeps its statements
    with _lock:
        found = _kept.get(key)
        if found is None:
            found = _kept[key] = Compiled(statements)
            if len(_kept) > COMPILED_KEPT:
                _kept.popitem(last=False)
        else:
            _kept.move_to_end(key)
        return found


@value_object
class Permissions:
    """What a caller may do: the caller's own policies, limited by the session's policy if there is one."""

    own: tuple[Statement, ...]
    within: tuple[Statement, ...] | None = None

    @property
    def depend_on_tags(self) -> bool:
        """True if a condition is about a resource's tags. Only then the tags have to be looked up."""
        return any(statement.depends_on_tags for statement in (*self.own, *(self.within or ())))

    def allow_all(self, action: str, targets: Iterable[Target], context: Context) -> bool:
        """Return whether an action is allowed on all that the owners of these targets have: one decision says it."""
        accounts = {_account_of(target.arns[0]) for target in targets}
        layers = [self.own] if self.within is None else [self.within, self.own]
        return all(allow_all_in(layer, action, accounts, context) for layer in layers)

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
