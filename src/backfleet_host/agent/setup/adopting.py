"""Asking a server that does not know this host any more to take it in again.

After a server was restored from a backup, it knows no host that enrolled since. It takes those in that prove their key,
while an operator looks at it. Any other server answers as it does to every unknown host.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from pathlib import Path
from typing import Callable, Dict

from backfleet_host.agent.protocol.server import Server, Unreachable
from backfleet_host.agent.protocol.signing import read_private_pem
from backfleet_host.agent.setup.registration import EnrolmentOptions, registration_fields
from backfleet_host.identity import Identity
from backfleet_host.layout import Places

log = logging.getLogger(__name__)

PATH = "/luban/api/backfleet/adopt"
ASK_AGAIN = 50.0  # seconds: less than from one heartbeat to the next


class Adoption:
    """Asks at most once in a while, from whichever thread was refused."""

    def __init__(
        self, server: Server, places: Places, identity: Identity, mode: str, *, on_adopted: Callable[[], None]
    ) -> None:
        self._server, self._places, self._identity, self._mode = server, places, identity, mode
        self._on_adopted = on_adopted
        self._guard, self._asked = threading.Lock(), -ASK_AGAIN

    def ask(self) -> None:
        """Ask, unless that was done just now. What the server answers is for the log."""
        now = time.monotonic()
        with self._guard:
            if now - self._asked < ASK_AGAIN:
                return
            self._asked = now
        try:
            body = json.dumps(self._fields()).encode()
            answer = self._server.post(PATH, body, content_type="application/json; charset=utf-8")
        except (Unreachable, OSError, ValueError) as problem:
            log.info("the server was not asked to take this host in: %s", problem)
            return
        if answer.status == 200:
            log.warning("the server was restored and did not know this host; it has taken it in again")
            self._on_adopted()

    def _fields(self) -> Dict[str, object]:
        key = read_private_pem(self._places.key.read_bytes())
        options = EnrolmentOptions(self._server.address, Path(), "", "", self._identity.name)
        fields = registration_fields(options, key, self._mode)
        return {**fields, "machineId": self._identity.machine_id}
