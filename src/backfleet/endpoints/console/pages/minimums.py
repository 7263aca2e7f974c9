"""Minimum versions: below which no client of a package is to be, by when and why; set one, and take one away."""

from aiohttp import web

from backfleet.endpoints.console.routes import get, post
from backfleet.endpoints.console.visits import Visit, go_to, rows_of
from backfleet.wire.errors import ApiError


async def show_minimums(visit: Visit) -> web.StreamResponse:
    """List minimum versions, those first that are due first."""
    return await _list(visit)


async def put(visit: Visit) -> web.StreamResponse:
    """Set the minimum version of a package, and show all of them."""
    try:
        await visit.ask(
            "backfleet",
            "PutMinimumVersion",
            PackageName=visit.sent("package").strip() or None,
            MinimumVersion=visit.sent("version").strip() or None,
            Due=visit.sent("due").strip() or None,
            Reason=visit.sent("reason").strip() or None,
        )
    except ApiError as problem:
        return await _list(visit, problem)
    return go_to("/minimums")


async def remove(visit: Visit) -> web.StreamResponse:
    """Ask for no minimum version of a package any more, and show the others."""
    package = visit.sent("package").strip() or None
    await visit.ask("backfleet", "DeleteMinimumVersion", PackageName=package, Reason=visit.reason())
    return go_to("/minimums")


async def _list(visit: Visit, problem: ApiError | None = None) -> web.Response:
    found = await visit.ask("backfleet", "ListMinimumVersions")
    return visit.page(
        "minimums.html",
        status=200 if problem is None else problem.status,
        minimums=rows_of(found, "MinimumVersions"),
        problem=problem,
        given={name: visit.sent(name) for name in ("package", "version", "due", "reason")},
    )


ROUTES = [get("/minimums", show_minimums), post("/minimums", put), post("/minimums/remove", remove)]
