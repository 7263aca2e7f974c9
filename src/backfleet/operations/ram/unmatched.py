"""Statements of policies that can never match a request here: accepted, because they do no harm, and named."""

import functools
from collections.abc import Iterable, Sequence
from typing import Any, Final

from backfleet import identity
from backfleet.identity.policy import Statement, parse_document
from backfleet.identity.policy.wildcards import matches, without_variables
from backfleet.operations.catalogue import Call, Operation, every_operation
from backfleet.storage import Transaction
from backfleet.wire.shapes import Maybe

ALL: Final = "\0"  # stands for the star itself, where an operation asks for everything by it
WARNINGS: Final = {"Warnings": Maybe([str])}
"""The field of an answer; it is left out where there are none."""

FORMS: Final[dict[str, tuple[str, ...]]] = {
    "hbr": ("acs:hbr:{region}:*:client/*", "acs:ecs:{region}:*:instance/*"),
    "ecs": tuple(
        f"acs:ecs:{{region}}:{{account}}:{kind}/*" for kind in ("instance", "command", "activation", "invocation")
    ),
    "ram": (
        *(f"acs:ram::{{account}}:{kind}/*" for kind in ("user", "role", "group", "policy", "oidc-provider")),
        "acs:ram::system:policy/*",
    ),
    "sts": ("acs:ram::*:role/*",),
}
"""The ARNs of what an operation of each product can touch. Calls across accounts touch clients of others."""


def warnings_for(tx: Transaction, call: Call, name: str, kind: str) -> dict[str, list[str]]:
    """Return the answer's field for one of the account's own policies; empty for one of the system."""
    if kind != "Custom":
        return {}
    version = identity.find_policy(tx, call.account_id, name, kind).version
    return warnings_of(call, name, identity.find_version(tx, call.account_id, name, kind, version).document)


def warnings_of(call: Call, name: str, document: str) -> dict[str, list[str]]:
    """Return the answer's field for a document: a sentence for each statement that can never match."""
    found = [why for one in parse_document(document, f"Custom/{name}") if (why := _why_never(call, one))]
    return {"Warnings": found} if found else {}


def _why_never(call: Call, statement: Statement) -> str:
    """Return why a statement can never match, "" if it can."""
    what = f"statement {statement.number} of {statement.source} ({statement.effect}) never matches here:"
    asked = [one for one in every_operation() if one.action and _covers(statement, one.action)]
    if not asked:
        return f"{what} no operation of this server has one of its actions."
    forms = list(dict.fromkeys(form for one in asked for form in _forms(call, one)))
    patterns = [without_variables(pattern) for pattern in statement.resources]
    if any(_overlap(pattern, form) for pattern in patterns for form in forms):
        return ""
    shown = " or ".join(forms).replace(ALL, "*")
    return f"{what} its actions are on {shown}, and its Resource is {', '.join(statement.resources)}."


def _covers(statement: Statement, action: str) -> bool:
    return matches(statement.actions, action, ignore_case=True) is not statement.all_actions_but


def _forms(call: Call, operation: Operation) -> Iterable[str]:
    """Return the patterns of what an operation can ask for; one that cannot name anything asks for a star itself."""
    code = operation.product.code
    known: Sequence[Any] = FORMS.get(code, ()) if operation.resources is not None else ()
    every = known or (f"acs:{code}:{{region}}:{{account}}:{ALL}",)
    return (form.format(region=call.region, account=call.account_id) for form in every)


@functools.lru_cache(4096)
def _overlap(pattern: str, form: str) -> bool:
    """Return whether a text exists that a pattern of a policy and a form match. A star of a form is one id."""
    reached = {0}  # the places in the form at which a text may be that has matched the pattern so far
    for character in pattern:
        reached = _skipping(form, reached)
        if character == "*":
            reached = set(range(min(reached), len(form) + 1)) if reached else set()
            continue
        stays = {at for at in reached if at < len(form) and form[at] == "*" and character not in ":/"}
        reached = stays | {
            at + 1 for at in reached if at < len(form) and (form[at] in (character, "?") or character == "?")
        }
    return len(form) in _skipping(form, reached)


def _skipping(pattern: str, reached: set[int]) -> set[int]:
    """Return these places, and those behind stars that match nothing."""
    found = set(reached)
    for at in range(len(pattern)):
        if at in found and pattern[at] == "*":
            found.add(at + 1)
    return found
