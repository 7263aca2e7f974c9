"""The audit trail, access, and the server: lists of what operations answer."""

import asyncio
import json
import re
from typing import Final

from aiohttp import web

from backfleet.endpoints.console.rendering import moment
from backfleet.endpoints.console.routes import get
from backfleet.endpoints.console.visits import Visit, rows_of

TRAIL_SIZE: Final = 50
FILTERS: Final = {"action": "EventName", "user": "User", "verdict": "Verdict", "code": "ErrorCode", "rw": "EventRW"}

SEVERITIES: Final = {"Error": "bad", "Warning": "warn", "Note": "busy", "Ok": "good"}
WORST_FIRST: Final = tuple(SEVERITIES)


async def show_trail(visit: Visit) -> web.StreamResponse:
    """List calls, newest first, with the filters of the address."""
    chosen = {name: visit.sent(name).strip()[:128] for name in FILTERS}
    asked: dict[str, object] = {}
    for number, (name, value) in enumerate(((n, v) for n, v in chosen.items() if v), 1):
        asked |= {f"LookupAttribute.{number}.Key": FILTERS[name], f"LookupAttribute.{number}.Value": value}
    token = visit.sent("token")[:256] or None
    found = await visit.ask("backfleet", "LookupEvents", **asked, MaxResults=TRAIL_SIZE, NextToken=token)
    return visit.page("trail.html", events=rows_of(found, "Events"), more=found.get("NextToken"), chosen=chosen)


async def show_access(visit: Visit) -> web.StreamResponse:
    """List users, groups, roles and policies, as far as the person may see them."""
    users, groups, roles, policies = await asyncio.gather(
        *(visit.ask_or_none("ram", action) for action in ("ListUsers", "ListGroups", "ListRoles", "ListPolicies"))
    )
    lists = [
        ("Users", "UserName", "Comments", ((users or {}).get("Users") or {}).get("User"), users),
        ("Groups", "GroupName", "Comments", ((groups or {}).get("Groups") or {}).get("Group"), groups),
        ("Roles", "RoleName", "Description", ((roles or {}).get("Roles") or {}).get("Role"), roles),
        ("Policies", "PolicyName", "Description", ((policies or {}).get("Policies") or {}).get("Policy"), policies),
    ]
    return visit.page("access.html", lists=lists)


async def show_server(visit: Visit) -> web.StreamResponse:
    """Show what is wrong and what to do, and what the server says of itself."""
    found, health = await asyncio.gather(
        visit.ask("backfleet", "DescribeServer"), visit.ask_or_none("backfleet", "GetServerHealth")
    )
    facts = [(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name), fact_of(name, value)) for name, value in found.items()]
    findings = sorted(rows_of(health, "Findings"), key=lambda each: WORST_FIRST.index(each["Severity"]))
    return visit.page("server.html", facts=facts, health=health, findings=findings, tones=SEVERITIES)


def fact_of(name: str, value: object) -> object:
    """Return a value of the server as people read it: moments, yes and no, lists, numbers. Pure."""
    if name.endswith("Time") and isinstance(value, int):
        return moment(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(part if isinstance(part, str) else json.dumps(part) for part in value) or "none"
    return f"{value:,}" if isinstance(value, int) else value or "none"


ROUTES = [
    get("/trail", show_trail),
    get("/access", show_access),
    get("/server", show_server),
]
