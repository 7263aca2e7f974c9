"""Pins: what stays at a version, why, by whom and until when; put one, and take one away."""

from typing import Final

from aiohttp import web

from backfleet.endpoints.console.routes import get, post
from backfleet.endpoints.console.visits import Visit, go_to, rows_of
from backfleet.wire.errors import ApiError, InvalidParameter

PAGE_SIZE: Final = 50
PLACES: Final = {"client": "ClientId", "instance": "InstanceId", "tag": "TagKey"}


async def show_pins(visit: Visit) -> web.StreamResponse:
    """List pins, those first that end first."""
    return await _list(visit)


async def put(visit: Visit) -> web.StreamResponse:
    """Put a pin on a client, an instance or a tag, and show the pins."""
    try:
        await visit.ask(
            "backfleet",
            "PutPin",
            **_place(visit),
            Reason=visit.sent("reason").strip() or None,
            Until=visit.sent("until").strip() or None,
            Versions=visit.sent("versions").strip() or None,
        )
    except ApiError as problem:
        return await _list(visit, problem)
    return go_to("/pins")


async def remove(visit: Visit) -> web.StreamResponse:
    """Delete a pin, and show the others."""
    await visit.ask("backfleet", "DeletePin", **_place(visit), Reason=visit.reason())
    return go_to("/pins")


async def _list(visit: Visit, problem: ApiError | None = None) -> web.Response:
    found = await visit.ask("backfleet", "ListPins", PageNumber=visit.number("page"), PageSize=PAGE_SIZE)
    return visit.page(
        "pins.html", status=200 if problem is None else problem.status, pins=rows_of(found, "Pins"), found=found,
        problem=problem, page_number=visit.number("page"), page_size=PAGE_SIZE,
        given={name: visit.sent(name) for name in ("on", "name", "value", "package", "versions", "reason", "until")},
    )  # fmt: skip


def _place(visit: Visit) -> dict[str, object]:
    """Return what a pin is on, as the operation names it. Raises InvalidParameter."""
    name = PLACES.get(visit.sent("on"))
    if name is None:
        raise InvalidParameter("Choose what the pin is on: a client, an instance or a tag.")
    value = {"TagValue": visit.sent("value")} if name == "TagKey" else {}
    return {name: visit.sent("name").strip() or None, "PackageName": visit.sent("package").strip() or None, **value}


ROUTES = [get("/pins", show_pins), post("/pins", put), post("/pins/remove", remove)]
