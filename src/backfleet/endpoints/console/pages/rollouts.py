"""Rollouts: rings as columns, members as cells, gates with their reasons, and what may be done about them."""

import asyncio
import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from backfleet.endpoints.console.example_policy import example_policy
from backfleet.endpoints.console.routes import get, post
from backfleet.endpoints.console.visits import Visit, go_to, rows_of
from backfleet.wire.errors import ApiError, InvalidParameter

PAGE_SIZE: Final = 25
MOST_MEMBERS: Final = 500  # cells that are drawn; the counts are of all
LAST_EVENTS: Final = 50
TONES: Final = {
    "Pending": "none", "Waiting": "warn", "Prechecked": "busy", "Staged": "busy", "Upgrading": "busy",
    "Verifying": "busy", "RollingBack": "warn", "Succeeded": "good", "AlreadyThere": "good", "Skipped": "none",
    "Failed": "bad", "RolledBack": "bad", "Expired": "warn", "Lost": "bad",
}  # fmt: skip
"""The tone of each state of a member, in the order in which they are drawn."""
STATE_TONES: Final = {"running": "busy", "paused": "warn", "halted": "bad", "completed": "good",
                      "rolling_back": "warn", "awaiting_approval": "warn", "rolled_back": "bad"}  # fmt: skip
ACTIONS: Final = {
    "start": "StartRollout",
    "pause": "PauseRollout",
    "resume": "ResumeRollout",
    "approve": "ApproveRollout",
    "cancel": "CancelRollout",
    "roll-back": "RollBackRollout",
    "retry": "RetryRolloutMembers",
}
OFFERED: Final = {
    "draft": ("start", "cancel"),
    "awaiting_approval": ("approve", "pause", "cancel"),
    "scheduled": ("pause", "cancel"),
    "running": ("resume", "pause", "retry", "roll-back", "cancel"),
    "paused": ("resume", "retry", "roll-back", "cancel"),
    "halted": ("resume", "retry", "roll-back", "cancel"),
    "rolling_back": ("roll-back",),
    "completed": ("roll-back",),
    "cancelled": ("roll-back",),
    "expired": ("roll-back",),
    "rolled_back": ("roll-back",),
}
"""The buttons of each state; the server decides what may be done."""


TRIED_AGAIN: Final = ("Failed", "RolledBack", "Lost", "Skipped", "Expired")
"""The counts of members that ended without success."""


async def show_rollouts(visit: Visit) -> web.StreamResponse:
    """List rollouts, newest first."""
    found = await visit.ask("backfleet", "ListRollouts", PageNumber=visit.number("page"), PageSize=PAGE_SIZE)
    rollouts = [_drawn(each) for each in rows_of(found, "Rollouts")]
    return visit.page(
        "rollouts.html", found=found, rollouts=rollouts, page_number=visit.number("page"), page_size=PAGE_SIZE
    )


async def show_rollout(visit: Visit) -> web.StreamResponse:
    """Show a rollout."""
    rollout_id = visit.request.match_info["rollout"]
    rollout, members = await asyncio.gather(
        visit.ask("backfleet", "DescribeRollout", RolloutId=rollout_id),
        visit.ask("backfleet", "DescribeRolloutMembers", RolloutId=rollout_id, PageSize=MOST_MEMBERS),
    )
    events = await _last_events(visit, rollout_id)
    shown = rows_of(members, "Members")
    for member in shown:
        member["called"] = member["InstanceName"] or member["Hostname"] or member["InstanceId"]
        member["Name"] = camel(member["State"])
        member["tone"] = TONES.get(member["Name"], "none")
    gates = gates_of(rollout["Policy"])
    return visit.page(
        "rollout.html",
        rollout=_drawn(dict(rollout)),
        members={ring["Name"]: [each for each in shown if each["Ring"] == ring["Name"]] for ring in rollout["Rings"]},
        not_drawn=members["TotalCount"] - len(shown),
        events=events,
        actions=_offered(rollout),
        gates=gates,
        approvable=approvable(rollout, gates),
        tones=TONES,
    )


def _offered(rollout: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the buttons for a rollout: those that would do something, as far as its counts tell. Pure."""
    fits = {
        "roll-back": rollout["CanGoBack"],
        "retry": any(ring[name] for ring in rollout["Rings"] for name in TRIED_AGAIN),
        "resume": rollout["State"] != "running" or rollout["WaitsFor"].startswith("manual:"),
    }
    return tuple(each for each in OFFERED.get(rollout["State"], ()) if fits.get(each, True))


async def act(visit: Visit) -> web.StreamResponse:
    """Do one thing with a rollout, and show it."""
    rollout_id = visit.request.match_info["rollout"]
    action = ACTIONS.get(visit.sent("action"))
    if action is None:
        raise InvalidParameter("Choose what is to be done with the rollout.")
    ring = {"Ring": visit.sent("ring")} if visit.sent("ring") and action == "ApproveRollout" else {}
    await visit.ask("backfleet", action, RolloutId=rollout_id, **ring)
    return go_to(f"/rollouts/{rollout_id}")


async def show_new(visit: Visit) -> web.StreamResponse:
    """Show the form for a policy; with a release in the address, with a policy for it to begin with."""
    policy = example_policy(visit.sent("package"), visit.sent("version"), visit.now)
    return visit.page("rollout_new.html", policy=policy, problem=None, preview=None)


async def create(visit: Visit) -> web.StreamResponse:
    """Show what a policy would do, or create the rollout."""
    policy, preview = visit.sent("policy").replace("\r\n", "\n"), None
    try:
        if visit.sent("action") in ("create", "start"):
            starts = "true" if visit.sent("action") == "start" else None
            made = await visit.ask("backfleet", "CreateRollout", Policy=policy, Start=starts)
            return go_to(f"/rollouts/{made['RolloutId']}")
        preview = await visit.ask("backfleet", "PreviewRollout", Policy=policy)
    except ApiError as problem:
        return visit.page("rollout_new.html", policy=policy, problem=problem, preview=None, status=problem.status)
    return visit.page("rollout_new.html", policy=policy, problem=None, preview=preview)


async def _last_events(visit: Visit, rollout_id: str) -> list[dict[str, Any]]:
    """Return the newest events, the newest first."""
    first = await visit.ask("backfleet", "DescribeRolloutEvents", RolloutId=rollout_id, MaxResults=LAST_EVENTS)
    total = int(first["TotalCount"])
    if total > LAST_EVENTS:
        after = total - LAST_EVENTS
        first = await visit.ask(
            "backfleet", "DescribeRolloutEvents", RolloutId=rollout_id, After=after, MaxResults=LAST_EVENTS
        )
    return list(reversed(rows_of(first, "Events")))


def gates_of(policy: str) -> dict[str, list[dict[str, str]]]:
    """Return the gates of each ring of a policy: their kind, and their other keys as a text. Pure."""
    try:
        rings = tomllib.loads(policy).get("ring", [])
        return {
            ring["name"]: [
                {
                    "kind": str(gate.get("kind", "")),
                    "text": ", ".join(f"{key} {value}" for key, value in gate.items() if key != "kind"),
                }
                for gate in ring.get("gates", [])
            ]
            for ring in rings
        }
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
    ):  # the policy itself is shown all the same
        return {}


def approvable(rollout: Mapping[str, Any], gates: Mapping[str, list[dict[str, str]]]) -> set[str]:
    """Return the rings that wait for an approval, or will. Pure."""
    waiting = {ring["Name"] for ring in rollout["Rings"] if ring["State"] == "pending"}
    if rollout["State"] not in ("awaiting_approval", "running"):
        return set()
    return {name for name in waiting if any(gate["kind"] == "approval" for gate in gates.get(name, []))}


def camel(state: str) -> str:
    """Return a state as the name of its count: rolling_back is RollingBack."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[_ ]", state))


def _drawn(rollout: dict[str, Any]) -> dict[str, Any]:
    """Add the tone of a rollout, and the parts of each ring's bar: state, number, begin and width in hundredths."""
    rollout["tone"] = STATE_TONES.get(rollout["State"], "none")
    for ring in rollout["Rings"]:
        begin, parts = 0.0, []
        for name, tone in TONES.items():
            number = ring.get(name, 0)
            if number:
                width = 100 * number / max(1, ring["Members"])
                parts.append({"name": name, "number": number, "tone": tone, "begin": begin, "width": width})
                begin += width
        ring["parts"] = parts
        ring["tone"] = STATE_TONES.get(ring["State"], "none")
    return rollout


ROUTES = [
    get("/rollouts", show_rollouts),
    get("/rollouts/new", show_new),
    post("/rollouts/new", create),
    get("/rollouts/{rollout}", show_rollout),
    post("/rollouts/{rollout}", act),
]
