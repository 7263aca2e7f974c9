"""The policy language, and the verdict: pure.

A document is parsed once into statements. Whatever the engine does not know is refused then, never ignored: an ignored
element lets an Allow allow too much, or a Deny deny too little. Source: RAM, policy elements and policy evaluation.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

from backfleet.identity.conditions import Condition, Context, MalformedPolicy, canonical, read_condition
from backfleet.identity.wildcards import matches

__all__ = [
    "ALLOWED",
    "LONGEST_DOCUMENT",
    "Condition",
    "Context",
    "Decision",
    "Effect",
    "MalformedPolicy",
    "Permissions",
    "Statement",
    "decide",
    "parse_document",
    "root_statement",
]

LONGEST_DOCUMENT: Final = 6144  # characters; RAM, CreatePolicy
REMEMBERED: Final = 512  # parsed documents
SYSTEM: Final = "system"  # stands for the account in the ARNs of system policies
_ELEMENTS: Final = frozenset({"Effect", "Action", "NotAction", "Resource", "Condition"})
_ACTION: Final = re.compile(r"\*|[A-Za-z0-9_*?-]+:[A-Za-z0-9_*?]+")

TAG_KEYS: Final = ("acs:resourcetag/", "ecs:tag/")


class Effect(StrEnum):
    """What a statement does when it matches."""

    ALLOW = "Allow"
    DENY = "Deny"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: it covers a request if action, resource and every condition match."""

    effect: Effect
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()
    all_actions_but: bool = False  # NotAction: `actions` are those it does not cover
    source: str = ""  # the policy it stands in, as Custom/<name> or System/<name>
    only_in: str = ""  # the account whose resources it is about, whatever the patterns say; "" = any

    def covers(self, action: str, resource: str, context: Context) -> bool:
        """Actions are compared without regard to case, resources with it. `context` has canonical keys."""
        return (
            matches(self.actions, action, ignore_case=True) is not self.all_actions_but
            and matches(self.resources, resource)
            and self._reaches(resource)
            and all(condition.holds(context) for condition in self.conditions)
        )

    def _reaches(self, resource: str) -> bool:
        if not self.only_in or resource == "*":
            return True
        # Not a pattern: its star would cross colons, into an id that the caller may have chosen.
        parts = resource.split(":", 4)
        return len(parts) == 5 and parts[3] in (self.only_in, SYSTEM)


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict and its reason: the statement that decided, None for silence."""

    allowed: bool
    because: Statement | None = None
    by_session: bool = False  # it was the session policy that did not allow it

    @property
    def explicit_deny(self) -> bool:
        """Whether a statement denied it, rather than none allowing it."""
        return not self.allowed and self.because is not None


ALLOWED: Final = Decision(allowed=True)


def decide(statements: Iterable[Statement], action: str, resource: str, context: Context) -> Decision:
    """Judge one action on one resource. One Deny outweighs every Allow; silence refuses.

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
    """What a caller may do: their own policies, and within these, where there is one, the session's."""

    own: tuple[Statement, ...]
    within: tuple[Statement, ...] | None = None

    @property
    def ask_for_tags(self) -> bool:
        """Whether any condition is about a resource's tags: only then they need to be looked up."""
        statements = (*self.own, *(self.within or ()))
        asked = (condition.key.lower() for statement in statements for condition in statement.conditions)
        return any(key.startswith(TAG_KEYS) for key in asked)

    def decide(self, action: str, resource: str, context: Context) -> Decision:
        """Both must allow it. The session's is asked first: anything but Allow there ends it.

        Source: RAM, policy evaluation process.
        """
        if self.within is not None:
            decision = decide(self.within, action, resource, context)
            if not decision.allowed:
                return replace(decision, by_session=True)
        return decide(self.own, action, resource, context)


def root_statement(account_id: str) -> Statement:
    """What the root of an account may do: everything, in its own account."""
    return Statement(Effect.ALLOW, ("*",), ("*",), source="root", only_in=account_id)


# --- Documents ------------------------------------------------------------------------------------------------------


@lru_cache(REMEMBERED)
def parse_document(document: str, source: str = "") -> tuple[Statement, ...]:
    """The statements of an identity policy; `source` names the policy in the reasons of decisions.

    Raises:
        MalformedPolicy: too long, not JSON, or something in it that the engine does not know.
    """
    return tuple(_statement(statement, source) for statement in read_statements(document))


def read_statements(document: str) -> list[Any]:
    """The statements of a document, as they stand in it. Raises MalformedPolicy."""
    if len(document) > LONGEST_DOCUMENT:
        raise MalformedPolicy(f"the document has {len(document)} characters; at most {LONGEST_DOCUMENT} are taken")
    found = _json(document)
    if not isinstance(found, dict) or set(found) != {"Version", "Statement"}:
        raise MalformedPolicy("the document must be an object with Version and Statement, and nothing else")
    if found["Version"] != "1":
        raise MalformedPolicy('Version must be "1"')
    statements = found["Statement"]
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        raise MalformedPolicy("Statement must be a list of at least one statement")
    return statements


def _json(document: str) -> Any:
    """Numbers stay as they are written: every value of the grammar is a string."""
    try:
        return json.loads(
            document, parse_int=str, parse_float=str, parse_constant=_no_constant, object_pairs_hook=_no_name_twice
        )
    except MalformedPolicy:
        raise
    except (ValueError, RecursionError):
        raise MalformedPolicy("the document is not JSON") from None


def _no_constant(word: str) -> Any:
    raise MalformedPolicy(f"{word} is not JSON")


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two elements of one name a parser keeps one: the engine would not do what the other says."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedPolicy("a name stands twice in one object")
    return found


def read_effect(found: Any, elements: frozenset[str]) -> Effect:
    """The effect of a statement that has only these elements. Raises MalformedPolicy."""
    if not isinstance(found, dict):
        raise MalformedPolicy("a statement must be an object")
    unknown = sorted(set(found) - elements)
    if unknown:
        raise MalformedPolicy(f"a statement has the element {unknown[0][:64]!r}, which is not known here")
    if found.get("Effect") not in tuple(Effect):
        raise MalformedPolicy("Effect must be Allow or Deny")
    return Effect(found["Effect"])


def _statement(found: Any, source: str) -> Statement:
    effect = read_effect(found, _ELEMENTS)
    if ("Action" in found) == ("NotAction" in found):
        raise MalformedPolicy("a statement needs either Action or NotAction")
    if "Resource" not in found:
        raise MalformedPolicy("a statement needs a Resource")
    element = "NotAction" if "NotAction" in found else "Action"
    return Statement(
        effect,
        _actions(found[element], element),
        _resources(found["Resource"]),
        read_conditions(found.get("Condition", {})),
        all_actions_but=element == "NotAction",
        source=source,
    )


def _actions(found: Any, element: str) -> tuple[str, ...]:
    actions = strings(found, element)
    for action in actions:
        if not _ACTION.fullmatch(action):
            raise MalformedPolicy(f"{element} {action[:64]!r} must be * or of the form <service>:<operation>")
    return actions


def _resources(found: Any) -> tuple[str, ...]:
    resources = strings(found, "Resource")
    for resource in resources:
        if not resource.startswith(("*", "acs:")):
            form = "acs:<service>:<region>:<account>:<id>"
            raise MalformedPolicy(f"Resource {resource[:64]!r} must be * or of the form {form}")
    return resources


def read_conditions(found: Any) -> tuple[Condition, ...]:
    """The conditions of a statement. Raises MalformedPolicy."""
    if not isinstance(found, dict):
        raise MalformedPolicy("Condition must be an object of operators")
    conditions = []
    for operator, keys in found.items():
        if not isinstance(keys, dict) or not keys:
            raise MalformedPolicy(f"{operator[:64]!r} must be an object of condition keys")
        conditions += [read_condition(operator, key, _values(values, key)) for key, values in keys.items()]
    return tuple(conditions)


def _values(found: Any, key: str) -> tuple[str, ...]:
    """A value or a list of them; numbers and booleans may stand without quotes."""
    listed = found if isinstance(found, list) else [found]
    values = tuple(str(value).lower() if isinstance(value, bool) else value for value in listed)
    if not all(isinstance(value, str) for value in values):
        raise MalformedPolicy(f"the condition key {key[:64]!r} needs a string or a list of strings")
    return values


def strings(found: Any, element: str) -> tuple[str, ...]:
    """One string or a list of them, none empty. Raises MalformedPolicy."""
    listed = [found] if isinstance(found, str) else found
    if not isinstance(listed, list) or not listed or not all(isinstance(item, str) and item for item in listed):
        raise MalformedPolicy(f"{element} must be a string or a list of strings, none of them empty")
    return tuple(listed)
