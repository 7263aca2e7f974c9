"""What the HTTP server around the door must be told, and the door's place in an application."""

import json
import logging
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from backfleet.clock import Clock
from backfleet.endpoints.openapi.document import document
from backfleet.endpoints.openapi.pipeline import Door
from backfleet.operations.catalogue import Services, every_operation
from backfleet.settings import Settings

FIELD_LIMIT = 64 * 1024  # bytes of one header


def server_limits(settings: Settings) -> dict[str, Any]:
    """Arguments for `web.AppRunner`: SendFile and CommandContent travel in the request line; and what it may log."""
    return {"max_line_size": settings.line_limit, "max_field_size": FIELD_LIMIT, "logger": _server_log()}


def add_to(app: web.Application, services: Services, clock: Clock) -> None:
    """Answer the RPC protocol on `/`, and its description on `/openapi.json`."""
    door = Door(services, clock)
    app.router.add_route("*", "/", door.answer)
    described = json.dumps(document(every_operation())).encode()

    async def describe(_request: web.Request) -> web.Response:
        return web.Response(body=described, content_type="application/json")

    app.router.add_get("/openapi.json", describe)

    async def close(_app: web.Application) -> None:
        door.close()

    app.on_cleanup.append(close)


def _server_log() -> logging.Logger:
    logger = logging.getLogger("backfleet.http")
    if not any(isinstance(known, _WithoutRequestLines) for known in logger.filters):
        logger.addFilter(_WithoutRequestLines())
    return logger


class _WithoutRequestLines(logging.Filter):
    """A request the HTTP parser refuses is logged by its kind alone.

    The parser's own text shows the beginning of the request line, where V1 has its signature and its token, and a stack
    that tells nothing; whoever can reach the port could fill the log with it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        problem = record.exc_info[1] if record.exc_info else None
        if isinstance(problem, HttpProcessingError):
            record.exc_info, record.exc_text = None, None
            record.levelno, record.levelname = logging.INFO, "INFO"
            record.msg = "not an HTTP request we take: %s, from %s"
            remote = record.args[0] if isinstance(record.args, tuple) and record.args else ""
            record.args = (type(problem).__name__, remote)
        return logging.getLogger(record.name).isEnabledFor(record.levelno)
