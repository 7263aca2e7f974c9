"""Wraps handlers for signed requests: authentication first, and the statuses that agents understand."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from aiohttp import web

from backfleet.endpoints.agents.authentication import Authenticator
from backfleet.endpoints.agents.counting import answered
from backfleet.endpoints.agents.signatures import AgentSignature, NotAuthenticated
from backfleet.short_answers import Answer
from backfleet.short_requests import AnyRequest
from backfleet.storage import Unavailable

Request = TypeVar("Request", web.Request, AnyRequest)
Reply = TypeVar("Reply", Answer, web.StreamResponse)
Signed = Callable[[Request, AgentSignature], Awaitable[Reply]]
SignedHandler = Signed[web.Request, web.StreamResponse]
PlainHandler = Callable[[web.Request], Awaitable[Answer | web.StreamResponse]]

UNAUTHORIZED: Final = Answer.of({"code": 401, "message": "unauthorized"}, 401)
UNAVAILABLE: Final = Answer.of({"code": 503}, 503)
"""After a 5xx an agent tries again in 3 s."""

log = logging.getLogger(__name__)


def signed(
    authenticator: Authenticator,
    endpoint: str,
    handler: Signed[Request, Reply],
    turns: asyncio.Semaphore | None = None,
    *,
    may_be_gone: bool = False,
) -> Callable[[Request], Awaitable[Reply | Answer]]:
    """Return a handler that answers authenticated requests, and 401 without a reason to others.

    Args:
        authenticator: Decides whose request it is.
        endpoint: The label of the metric and of log records.
        handler: Called with the request and its signature.
        turns: Limits how many requests are authenticated at once, so that a fleet that comes back together does not
            keep reports waiting.
        may_be_gone: Also answer an instance that is deregistered.
    """

    async def answer(request: Request) -> Reply | Answer:
        response: Reply | Answer
        try:
            if turns is None:
                signature = await authenticator.authenticate(request, may_be_gone=may_be_gone)
            else:
                async with turns:
                    signature = await authenticator.authenticate(request, may_be_gone=may_be_gone)
            response = await _answer(endpoint, handler, request, signature)
        except NotAuthenticated as problem:
            log.info("an agent was refused", extra={"endpoint": endpoint, "reason": str(problem)})
            response = UNAUTHORIZED
        except Unavailable as problem:
            log.warning("%s", problem, extra={"endpoint": endpoint})
            response = UNAVAILABLE
        answered(endpoint, response.status).inc()
        return response

    return answer


async def _answer(
    endpoint: str, handler: Signed[Request, Reply], request: Request, signature: AgentSignature
) -> Reply | Answer:
    try:
        return await handler(request, signature)
    except (web.HTTPException, ConnectionError, asyncio.CancelledError, NotAuthenticated, Unavailable):
        raise
    except Exception:
        # Nothing was stored, so the agent must try again: it does after a 503, while 400 would count as success.
        log.exception("an agent's request failed", extra={"endpoint": endpoint, "instance": signature.instance_id})
        return UNAVAILABLE
