"""Policy documents: JSON to statements.

Parsing refuses every element that the engine does not know. Ignoring one would let an Allow allow too much, or a Deny
deny too little. Source: RAM, policy elements.
"""

import json
import re
from functools import lru_cache
from typing import Any, Final

from backfleet.identity.policy.conditions import SERVED, Condition, MalformedPolicy, check_variables, read_condition
from backfleet.identity.policy.decisions import Effect, Statement
from backfleet.identity.policy.wildcards import matches

LONGEST_DOCUMENT: Final = 6144  # characters; source: RAM, CreatePolicy
PARSED_KEPT: Final = 512  # parsed documents kept in memory
_ELEMENTS: Final = frozenset({"Effect", "Action", "NotAction", "Resource", "Condition"})
_ACTION: Final = re.compile(r"\*|[A-Za-z0-9_*?-]+:[A-Za-z0-9_*?]+")


@lru_cache(PARSED_KEPT)
def parse_document(document: str, source: str = "") -> tuple[Statement, ...]:
    """Return the statements of an identity policy.

    Args:
        document: the policy as JSON.
        source: names the policy in the reasons of decisions.

    Raises:
        MalformedPolicy: the document is too long, is not JSON, or has something that the engine does not know.
    """
    return tuple(_statement(found, source, number) for number, found in enumerate(read_statements(document), 1))


def read_statements(document: str) -> list[Any]:
    """Return the statements of a document as they are written, not yet checked one by one. Raises MalformedPolicy."""
    if len(document) > LONGEST_DOCUMENT:
        raise MalformedPolicy(f"the document has {len(document)} characters; at most {LONGEST_DOCUMENT} are allowed")
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
    """Parse JSON. Numbers stay as they are written, because every value of the grammar is a string."""
    try:
        return json.loads(
            document,
            parse_int=str,
            parse_float=str,
            parse_constant=_refuse_constant,
            object_pairs_hook=_without_duplicates,
        )
    except MalformedPolicy:
        raise
    except (ValueError, RecursionError):
        raise MalformedPolicy("the document is not JSON") from None


def _refuse_constant(word: str) -> Any:
    raise MalformedPolicy(f"{word} is not JSON")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse two elements of one name: a parser keeps only one, and the other would have no effect."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedPolicy("an object has the same name twice")
    return found


def read_effect(found: Any, elements: frozenset[str]) -> Effect:
    """Return the effect of a statement, after checking that it has only these elements. Raises MalformedPolicy."""
    if not isinstance(found, dict):
        raise MalformedPolicy("a statement must be an object")
    unknown = sorted(set(found) - elements)
    if unknown:
        raise MalformedPolicy(f"a statement has the element {unknown[0][:64]!r}, which is unknown")
    if found.get("Effect") not in tuple(Effect):
        raise MalformedPolicy("Effect must be Allow or Deny")
    return Effect(found["Effect"])


def _statement(found: Any, source: str, number: int) -> Statement:
    effect = read_effect(found, _ELEMENTS)
    if ("Action" in found) == ("NotAction" in found):
        raise MalformedPolicy("a statement needs either Action or NotAction")
    if "Resource" not in found:
        raise MalformedPolicy("a statement needs a Resource")
    element = "NotAction" if "NotAction" in found else "Action"
    actions = _actions(found[element], element)
    return Statement(
        effect,
        actions,
        _resources(found["Resource"]),
        read_conditions(found.get("Condition", {}), elsewhere=element == "Action" and _are_elsewhere(actions)),
        all_actions_but=element == "NotAction",
        source=source,
        number=number,
    )


def _are_elsewhere(actions: tuple[str, ...]) -> bool:
    """Return whether all actions are of products that are not served here."""
    products = [action.partition(":")[0].lower() for action in actions]
    return not any(matches((product,), served) for product in products for served in SERVED)


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
        check_variables(resource)
    return resources


def read_conditions(found: Any, *, elsewhere: bool = False) -> tuple[Condition, ...]:
    """Return the conditions of a statement. Raises MalformedPolicy.

    Args:
        elsewhere: as in `read_condition`.
    """
    if not isinstance(found, dict):
        raise MalformedPolicy("Condition must be an object of operators")
    conditions = []
    for operator, keys in found.items():
        if not isinstance(keys, dict) or not keys:
            raise MalformedPolicy(f"{operator[:64]!r} must be an object of condition keys")
        conditions += [
            read_condition(operator, key, _values(values, key), elsewhere=elsewhere) for key, values in keys.items()
        ]
    return tuple(conditions)


def _values(found: Any, key: str) -> tuple[str, ...]:
    """Return one value or a list of them as a tuple. Numbers and booleans may be written without quotes."""
    listed = found if isinstance(found, list) else [found]
    values = tuple(str(value).lower() if isinstance(value, bool) else value for value in listed)
    if not all(isinstance(value, str) for value in values):
        raise MalformedPolicy(f"the condition key {key[:64]!r} needs a string or a list of strings")
    return values


def strings(found: Any, element: str) -> tuple[str, ...]:
    """Return one string or a list of them as a tuple; none may be empty. Raises MalformedPolicy."""
    listed = [found] if isinstance(found, str) else found
    if not isinstance(listed, list) or not listed or not all(isinstance(item, str) and item for item in listed):
        raise MalformedPolicy(f"{element} must be a string or a list of strings, none of them empty")
    return tuple(listed)
