"""The endpoint's addresses in an application."""

from typing import Final

from aiohttp import web

from backfleet.clock import Clock
from backfleet.endpoints.console.cookies import ROOT
from backfleet.endpoints.console.federation import Federation
from backfleet.endpoints.console.guarding import HEADERS, guarded
from backfleet.endpoints.console.live import Changes
from backfleet.endpoints.console.pages import ROUTES
from backfleet.endpoints.console.refetching import Recorded
from backfleet.endpoints.console.rendering import STATIC, Renderer
from backfleet.endpoints.console.routes import get
from backfleet.endpoints.console.turns import Turns
from backfleet.endpoints.console.visits import Console, Visit
from backfleet.operations.catalogue import Services
from backfleet.operations.perform import Performer
from backfleet.pubsub import PubSub

FOR_GOOD: Final = "public, max-age=31536000, immutable"  # the address of a file holds its hash


def add_to(app: web.Application, services: Services, performer: Performer, pubsub: PubSub, clock: Clock) -> None:
    """Serve every page below `/console/`.

    Raises:
        ValueError, OSError: a setting about logins by identity providers cannot be used; the text says which.
    """
    renderer, changes, federation = Renderer(), Changes(pubsub), Federation(services, clock)
    console = Console(services, performer, clock, renderer, changes, federation, Recorded(), Turns())

    async def to_first_page(request: web.Request) -> web.Response:
        _check_listener(request)
        return web.Response(status=303, headers={**HEADERS, "Location": f"{ROOT}/fleet"})

    async def static(request: web.Request) -> web.Response:
        _check_listener(request)
        found = renderer.file(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        body, kind = found
        return web.Response(body=body, content_type=kind, headers={**HEADERS, "Cache-Control": FOR_GOOD})

    def _check_listener(request: web.Request) -> None:
        if request.secure and not services.settings.console_https:
            raise web.HTTPNotFound

    async def begin(_app: web.Application) -> None:
        await changes.begin()

    async def end(_app: web.Application) -> None:
        await changes.end()
        federation.close()

    app.router.add_get(ROOT, to_first_page)
    app.router.add_get(f"{ROOT}/", to_first_page)
    app.router.add_get(f"{STATIC}/{{name}}", static)
    for route in ROUTES:
        app.router.add_route(route.method, ROOT + route.path, guarded(console, route))
    for path in sorted({route.path for route in ROUTES} - {route.path for route in ROUTES if route.method == "GET"}):
        app.router.add_get(ROOT + path, guarded(console, get(path, _say_it_takes_forms, public=True)))
    app.router.add_get(f"{ROOT}/{{other:.*}}", guarded(console, get("/{other}", _say_it_is_no_page, public=True)))
    app.on_startup.append(begin)
    app.on_shutdown.append(end)


async def _say_it_takes_forms(visit: Visit) -> web.StreamResponse:
    """Answer who opens the address that a form is sent to: after an error it is what the browser shows."""
    why = "This address is where a form is sent to. Nothing was done: open the page with the form again."
    return visit.page("refused.html", status=405, title="There is no page here", why=why)


async def _say_it_is_no_page(visit: Visit) -> web.StreamResponse:
    """Answer who opens an address that no page has, of an old link for example."""
    why = "The console has no page with this address. It may have been moved, or the link was cut off."
    return visit.page("refused.html", status=404, title="There is no page here", why=why)
