"""Wraps handlers for signed requests: authentication first, and the statuses that agents understand."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from backfleet.endpoints.agents.authentication import Authenticator
from backfleet.endpoints.agents.counting import answered
from backfleet.endpoints.agents.signatures import AgentSignature, NotAuthenticated
from backfleet.storage import Unavailable

PlainHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SignedHandler = Callable[[web.Request, AgentSignature], Awaitable[web.StreamResponse]]

log = logging.getLogger(__name__)


def signed(
    authenticator: Authenticator,
    endpoint: str,
    handler: SignedHandler,
    turns: asyncio.Semaphore | None = None,
    *,
    may_be_gone: bool = False,
) -> PlainHandler:
    """Return a handler that answers authenticated requests, and 401 without a reason to others.

    Args:
        authenticator: Decides whose request it is.
        endpoint: The label of the metric and of log records.
        handler: Called with the request and its signature.
        turns: Limits how many requests are authenticated at once, so that a fleet that comes back together does not
            keep reports waiting.
        may_be_gone: Also answer an instance that is deregistered.
    """

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            if turns is None:
                signature = await authenticator.authenticate(request, may_be_gone=may_be_gone)
            else:
                async with turns:
                    signature = await authenticator.authenticate(request, may_be_gone=may_be_gone)
            response = await _answer(endpoint, handler, request, signature)
        except NotAuthenticated as problem:
            log.info("an agent was refused", extra={"endpoint": endpoint, "reason": str(problem)})
            response = web.json_response({"code": 401, "message": "unauthorized"}, status=401)
        except Unavailable as problem:
            log.warning("%s", problem, extra={"endpoint": endpoint})
            response = web.json_response({"code": 503}, status=503)
        answered(endpoint, response.status).inc()
        return response

    return answer


async def _answer(
    endpoint: str, handler: SignedHandler, request: web.Request, signature: AgentSignature
) -> web.StreamResponse:
    try:
        return await handler(request, signature)
    except (web.HTTPException, ConnectionError, asyncio.CancelledError, NotAuthenticated, Unavailable):
        raise
    except Exception:
        # Nothing was stored, so the agent must try again: it does after a 503, while 400 would count as success.
        log.exception("an agent's request failed", extra={"endpoint": endpoint, "instance": signature.instance_id})
        return web.json_response({"code": 503}, status=503)
