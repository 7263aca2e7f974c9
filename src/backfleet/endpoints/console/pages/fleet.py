"""The fleet."""

from aiohttp import web

from backfleet.endpoints.console.routes import get
from backfleet.endpoints.console.visits import Visit


async def show_fleet(visit: Visit) -> web.StreamResponse:
    """Show the fleet."""
    return visit.page("fleet.html")


ROUTES = [get("/fleet", show_fleet)]
