"""The fleet: a map of versions and sites, a search, exports, and orders for the clients that are selected."""

import re
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from backfleet.endpoints.console.exports import as_csv, as_json
from backfleet.endpoints.console.routes import get, post
from backfleet.endpoints.console.visits import Visit, go_to, rows_of
from backfleet.wire.errors import InvalidParameter

PAGE_SIZE: Final = 50
EXPORTED_AT_ONCE: Final = 5000
MOST_EXPORTED: Final = 50_000  # rows
MOST_SITES: Final = 24  # columns of the map; further sites are one column
OTHER_SITES: Final = "\x00"
STATES: Final = ("Current", "Behind", "Moving", "Failed", "Silent", "Drifted", "Withdrawn")
WORST_FIRST: Final = (("Failed", "bad"), ("Withdrawn", "bad"), ("Moving", "busy"), ("Silent", "warn"),
                      ("Drifted", "warn"), ("Behind", "warn"))  # fmt: skip
COLUMNS: Final = ("ClientId", "InstanceId", "InstanceName", "Hostname", "Platform", "HostVersion", "Site",
                  "PackageName", "ClientVersion", "Channel", "Status", "OfferState", "IsSilent",
                  "LastHeardTime")  # fmt: skip
ACTIONS: Final = {
    "upgrade": ("hbr", "UpgradeBackupClients"),
    "precheck": ("backfleet", "PrecheckClients"),
    "roll-back": ("backfleet", "RollBackClients"),
}


async def show_fleet(visit: Visit) -> web.StreamResponse:
    """Show the map, the counts, and one page of the clients that are searched for."""
    found = await visit.ask("backfleet", "DescribeFleet", **_asked(visit), PageSize=PAGE_SIZE)
    return visit.page(
        "fleet.html",
        found=found,
        maps=maps_of(rows_of(found, "Map")),
        states=STATES,
        chosen={name: visit.sent(name) for name in ("q", "state", "package", "version", "host_version", "site", "tag")},
        page_number=visit.number("page"),
        page_size=PAGE_SIZE,
    )


async def export_fleet(visit: Visit) -> web.StreamResponse:
    """Send every client that is searched for as CSV or JSON; refuse if they are too many, and send no part of them."""
    rows: list[dict[str, Any]] = []
    while len(rows) < MOST_EXPORTED:
        asked = {**_asked(visit), "PageNumber": len(rows) // EXPORTED_AT_ONCE + 1}
        found = await visit.ask("backfleet", "DescribeFleet", **asked, PageSize=EXPORTED_AT_ONCE)
        if found["TotalCount"] > MOST_EXPORTED:
            raise InvalidParameter(
                f"{found['TotalCount']:,} clients are found, and a file has at most {MOST_EXPORTED:,}: choose a state, "
                "a site or a version first. `backfleet client list --json` has no limit."
            )
        part = rows_of(found, "Clients")
        rows += part
        if len(part) < EXPORTED_AT_ONCE:
            break
    return as_json("fleet", rows) if visit.request.path.endswith("json") else as_csv("fleet", COLUMNS, rows)


async def order(visit: Visit) -> web.StreamResponse:
    """Give the selected clients an order, and show the task."""
    product, action = ACTIONS.get(visit.sent("action"), ("", ""))
    ids = visit.all_sent("client_id")
    if ids and visit.sent("action") == "pin":
        return await _pin(visit, ids[:PAGE_SIZE])
    if not action:
        raise InvalidParameter("Choose what the selected clients are to do.")
    if not ids:
        raise InvalidParameter("No client is selected.")
    version = visit.sent("to_version").strip() or None
    found = await visit.ask(product, action, ClientIds=ids, ReleaseVersion=version)
    task = found.get("TaskId")
    return go_to(f"/tasks/{task}") if task else visit.page("not_ordered.html", found=found, status=409)


async def _pin(visit: Visit, ids: list[str]) -> web.StreamResponse:
    """Pin clients, and show the pins."""
    for client_id in ids:
        await visit.ask(
            "backfleet",
            "PutPin",
            ClientId=client_id,
            Reason=visit.sent("reason").strip() or None,
            Until=visit.sent("until").strip() or None,
            Versions=visit.sent("to_version").strip() or None,
        )
    return go_to("/pins")


def maps_of(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a map for each package: its sites as columns, its versions as rows, the newest first. Pure."""
    maps = []
    for package in sorted({cell["PackageName"] for cell in cells}):
        mine = [cell for cell in cells if cell["PackageName"] == package]
        by_site: dict[str, int] = {}
        for cell in mine:
            by_site[cell["Site"]] = by_site.get(cell["Site"], 0) + cell["Clients"]
        largest = sorted(by_site, key=lambda site: (-by_site[site], site))[:MOST_SITES]
        sites = sorted(largest) + ([OTHER_SITES] if len(by_site) > len(largest) else [])
        versions = sorted({cell["ClientVersion"] for cell in mine}, key=_natural, reverse=True)
        rows = [
            {
                "version": version,
                "number": sum(cell["Clients"] for cell in mine if cell["ClientVersion"] == version),
                "cells": [_cell(mine, version, site, largest) for site in sites],
            }
            for version in versions
        ]
        maps.append({"package": package, "sites": sites, "rows": rows, "number": sum(by_site.values())})
    return maps


def _cell(cells: list[dict[str, Any]], version: str, site: str, largest: list[str]) -> dict[str, Any] | None:
    """Return what one cell of the map shows; None for no client."""
    those = [
        cell
        for cell in cells
        if cell["ClientVersion"] == version
        and (cell["Site"] not in largest if site == OTHER_SITES else cell["Site"] == site)
    ]
    if not those:
        return None
    counts = {name: sum(cell[name] for cell in those) for name in ("Clients", *STATES)}
    notes = [f"{counts[name]:,} {name.lower()}" for name, _ in WORST_FIRST if counts[name]]
    tone = next((tone for name, tone in WORST_FIRST if counts[name]), "good" if counts["Current"] else "none")
    return {"number": counts["Clients"], "notes": notes, "tone": tone}


def _natural(version: str) -> list[tuple[int, int, str]]:
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.findall(r"[0-9]+|[^0-9]+", version)]


def _asked(visit: Visit) -> Mapping[str, object]:
    state, site = visit.sent("state"), visit.request.query.get("site")
    return {
        "Query": visit.sent("q").strip()[:128] or None,
        "State": state if state in STATES else None,
        "PackageName": visit.sent("package") or None,
        "ClientVersion": visit.sent("version") or None,
        "HostVersion": visit.sent("host_version") or None,
        "Site": site or None,
        "WithoutSite": "true" if site == "" else None,
        "SiteTag": visit.sent("tag") or None,
        "PageNumber": visit.number("page"),
    }


ROUTES = [
    get("/fleet", show_fleet),
    get("/fleet.csv", export_fleet, takes_long=True),
    get("/fleet.json", export_fleet, takes_long=True),
    post("/fleet/order", order),
]
