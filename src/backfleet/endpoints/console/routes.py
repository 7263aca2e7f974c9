"""What a page says about its addresses."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from backfleet.endpoints.console.visits import Visit
from backfleet.values import value_object

Handler = Callable[[Visit], Awaitable[web.StreamResponse]]


@value_object
class Route:
    """One address below `/console`: GET shows and changes nothing, POST acts."""

    method: str
    path: str
    handler: Handler
    public: bool = False  # for people who are not logged in, too
    takes_long: bool = False  # however long it takes, it is not given up
    takes_file: bool = False  # the page reads the form, and compares its token before anything else of it


def get(path: str, handler: Handler, *, public: bool = False, takes_long: bool = False) -> Route:
    """Return the route of a page."""
    return Route("GET", path, handler, public, takes_long)


def post(path: str, handler: Handler, *, public: bool = False) -> Route:
    """Return the route of a form. Its token and its origin were checked before the handler is called."""
    return Route("POST", path, handler, public)


def post_file(path: str, handler: Handler) -> Route:
    """Return the route of a form with a file. Its origin was checked before the handler is called, and nothing else."""
    return Route("POST", path, handler, takes_file=True)
