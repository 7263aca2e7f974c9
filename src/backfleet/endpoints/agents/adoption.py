"""Hosts that the server does not know any more: after a restore they are taken in, while the server is held.

A host enrols with an activation, which is spent, and which the copy may not know. So it shows its key: its request is
signed like every other, and the key that it names must fit. Who it was before cannot be shown, so that it belongs to
the administrator account until an operator has looked.
"""

import asyncio
import hashlib
import json
import logging
from datetime import datetime
from typing import Final

from aiohttp import web

from backfleet import fleet, hold
from backfleet.endpoints.agents import signatures
from backfleet.endpoints.agents.counting import ANSWERED
from backfleet.endpoints.agents.node import Node, read_body
from backfleet.endpoints.agents.signatures import AgentSignature, NotAuthenticated
from backfleet.fleet import AgentIdentity, Instance, RegistrationRefused
from backfleet.peers import peer_of
from backfleet.storage import Conflict, Unavailable

PATH: Final = "/api/backfleet/adopt"
AT_ONCE: Final = 4  # more wait

log = logging.getLogger(__name__)


class Adoption:
    """The handler of hosts that ask to be taken in."""

    def __init__(self, node: Node) -> None:
        self._node, self._turns = node, asyncio.Semaphore(AT_ONCE)

    async def adopt(self, request: web.Request) -> web.StreamResponse:
        """Take a host in, or answer 401 without a reason."""
        try:
            signature = signatures.read_signature(request.headers)
            if signature is None:
                raise NotAuthenticated("it is not signed")
            body = json.loads(await read_body(request))
            asked = fleet.read_registration(body if isinstance(body, dict) else {})
            async with self._turns:
                made = await self._node.in_thread(lambda: self._adopt(signature, asked, peer_of(request).address))
        except (NotAuthenticated, RegistrationRefused, Conflict, ValueError, RecursionError) as problem:
            log.info("a host was not adopted", extra={"reason": str(problem), "address": peer_of(request).address})
            ANSWERED.labels(PATH, 401).inc()
            return web.json_response({"code": 401, "message": "unauthorized"}, status=401)
        except Unavailable:
            ANSWERED.labels(PATH, 503).inc()
            return web.json_response({"code": 503}, status=503)
        ANSWERED.labels(PATH, 200).inc()
        log.warning("a host that the restored copy did not know was adopted", extra={"instance": made.id})
        return web.json_response({"code": 200, "instanceId": made.id})

    def _adopt(self, signature: AgentSignature, asked: fleet.Registration, address: str) -> Instance:
        node, adopters, now = self._node, self._node.adopters, self._node.clock()
        if adopters is None or not adopters.watch.is_held():
            raise NotAuthenticated("no such instance is enrolled, and the server is not held after a restore")
        check_key(signature, asked, now=now, window_ms=node.window_ms)
        if node.covers(signature):
            raise NotAuthenticated("it was signed before the restore")
        until = signatures.remembered_until(signature, now=now, window_ms=node.window_ms)
        with node.database.transaction() as tx:
            if not fleet.remember_request(tx, signature.fingerprint, until=until):
                raise NotAuthenticated("its signature was used before")
            made = fleet.adopt(
                tx, asked, instance_id=signature.instance_id, account_id=adopters.account_of(tx),
                region=node.settings.region, source_ip=address, now=now,
            )  # fmt: skip
            if made is None:
                raise NotAuthenticated("there is, or was, an instance of this id")
            if not hold.count_adopted(tx):
                raise NotAuthenticated(f"{hold.MOST_ADOPTED} hosts were adopted, or the server was let go just now")
            adopters.note(tx, made, fingerprint_of(asked.public_key), now)
        return made


def check_key(signature: AgentSignature, asked: fleet.Registration, *, now: datetime, window_ms: int) -> None:
    """Return if a request is signed, just now, with the key that it names.

    Raises:
        NotAuthenticated: it is not.
    """
    if not signatures.is_ordinary(signature, now=now, window_ms=window_ms):
        raise NotAuthenticated("its clock differs too much from ours")
    claimed = AgentIdentity(signature.instance_id, asked.machine_id, asked.public_key, False, 0, None)
    signatures.check(signature, claimed, now=now, window_ms=window_ms)


def fingerprint_of(public_key: str) -> str:
    """Return the SHA-256 of a public key in PEM, as the audit trail shows it."""
    return f"SHA256:{hashlib.sha256(public_key.encode()).hexdigest()}"
