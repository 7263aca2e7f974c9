"""Who may do what: a user or a role, an operation, a resource and conditions, and the statement that decides."""

from functools import cache
from typing import Final

from aiohttp import web

from backfleet.endpoints.console.routes import get
from backfleet.endpoints.console.visits import Visit
from backfleet.operations.catalogue import Answer, every_operation
from backfleet.wire.errors import ApiError, InvalidParameter

KINDS: Final = {"user": "UserName", "role": "RoleName"}
FIELDS: Final = ("kind", "name", "operation", "resource", "conditions")


async def show_tester(visit: Visit) -> web.StreamResponse:
    """Show the form, and what was decided if an operation is named. Every value is in the address."""
    asked = {name: visit.sent(name).strip()[:4096] for name in FIELDS}
    found: Answer | None = None
    problem: ApiError | None = None
    try:
        if asked["operation"]:
            found = await _decided(visit, asked)
    except ApiError as refusal:
        problem = refusal
    status = 200 if problem is None else problem.status
    return visit.page(
        "tester.html", status=status, asked=asked, found=found, problem=problem, actions=sorted(actions().items())
    )


async def _decided(visit: Visit, asked: dict[str, str]) -> Answer:
    """Ask for the decision. Raises ApiError."""
    who: dict[str, object] = {}
    if asked["kind"] in KINDS:
        if not asked["name"]:
            raise InvalidParameter("Give the name of the user or the role.")
        who = {KINDS[asked["kind"]]: asked["name"]}
    action = actions().get(asked["operation"], asked["operation"])
    return await visit.ask(
        "ram",
        "GetPermissionDecision",
        **who,
        ActionName=action,
        Resource=asked["resource"] or None,
        Conditions=conditions_of(asked["conditions"]) or None,
    )


def conditions_of(text: str) -> dict[str, str]:
    """Return the keys and values of a text with one `key = value` a line. Pure.

    Raises:
        InvalidParameter: a line is something else.
    """
    found = {}
    for line in filter(None, (each.strip() for each in text.splitlines())):
        key, is_pair, value = line.partition("=")
        if not is_pair or not key.strip():
            raise InvalidParameter(f"The line {line[:80]!r} is no condition; write acs:SourceIp = 10.0.0.1.")
        found[key.strip()] = value.strip()
    return found


@cache
def actions() -> dict[str, str]:
    """Return the action that each operation needs, by the operation's product and name."""
    return {f"{each.product.code} {each.name}": each.action for each in every_operation() if each.action is not None}


ROUTES = [get("/access/tester", show_tester)]
