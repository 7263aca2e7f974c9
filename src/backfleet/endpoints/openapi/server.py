"""The endpoint's routes in an application, and the limits of the HTTP server around it."""

import json
import logging
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from backfleet.clock import Clock
from backfleet.endpoints.openapi.document import document
from backfleet.endpoints.openapi.pipeline import OpenApiEndpoint
from backfleet.endpoints.openapi.received import METHODS
from backfleet.operations.catalogue import Services, every_operation
from backfleet.operations.perform import Performer
from backfleet.settings import Settings
from backfleet.short_requests import ShortRequests

FIELD_LIMIT = 64 * 1024  # bytes of one header


def server_limits(settings: Settings) -> dict[str, Any]:
    """Return arguments for `web.AppRunner`: its logger, and limits that let SendFile travel in the request line."""
    return {"max_line_size": settings.line_limit, "max_field_size": FIELD_LIMIT, "logger": _server_log()}


def add_to(
    app: web.Application,
    services: Services,
    performer: Performer,
    clock: Clock,
    short: ShortRequests | None = None,
) -> None:
    """Serve the RPC protocol on `/` and its description on `/openapi.json`.

    Args:
        app: serves both.
        services: what operations use.
        performer: performs them.
        clock: the time.
        short: answers calls that are short, where only the other end of a connection can be the caller.
    """
    endpoint = OpenApiEndpoint(services, performer, clock)
    app.router.add_route("*", "/", endpoint.answer)
    if short is not None:
        for method in METHODS:
            short.add_begun(method, "/", endpoint.begin_short)
    described = json.dumps(document(every_operation())).encode()

    async def describe(_request: web.Request) -> web.Response:
        return web.Response(body=described, content_type="application/json")

    app.router.add_get("/openapi.json", describe)


def _server_log() -> logging.Logger:
    logger = logging.getLogger("backfleet.http")
    if not any(isinstance(known, _WithoutRequestLines) for known in logger.filters):
        logger.addFilter(_WithoutRequestLines())
    return logger


class _WithoutRequestLines(logging.Filter):
    """Logs a request that the HTTP parser refuses by its kind alone.

    The parser's own text shows the beginning of the request line, where V1 carries its signature and token, and a stack
    trace of no use with which any client could fill the log.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        problem = record.exc_info[1] if record.exc_info else None
        if isinstance(problem, HttpProcessingError):
            record.exc_info, record.exc_text = None, None
            record.levelno, record.levelname = logging.INFO, "INFO"
            record.msg = "a malformed HTTP request was refused: %s, from %s"
            remote = record.args[0] if isinstance(record.args, tuple) and record.args else ""
            record.args = (type(problem).__name__, remote)
        return logging.getLogger(record.name).isEnabledFor(record.levelno)
