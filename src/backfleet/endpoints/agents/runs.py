"""The agents' processes that this node has seen: a new one is written down, and one that goes on now and then."""

import logging
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from aiohttp import web

from backfleet import fleet
from backfleet.endpoints.agents.node import Node
from backfleet.fleet import BEFORE_BOOT, REFRESH, AgentRun
from backfleet.short_requests import AnyRequest
from backfleet.storage import Unavailable

NAMED: Final = ("Run", "Pid", "Hostname", "Machine", "Boot")
MOST_REMEMBERED: Final = 200_000  # instances
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]{1,64}")

log = logging.getLogger(__name__)


class AgentRuns:
    """Notes which processes use an instance's identity."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._seen: dict[str, tuple[str, datetime]] = {}  # by instance: the last process, and when it was written

    async def note(self, instance_id: str, request: AnyRequest) -> None:
        """Note the process that a heartbeat comes from. Best effort: it comes again in a minute."""
        address = request.headers.get("X-Client-Ip", "")
        await self._note(read_run(instance_id, request.query, address, self._node.clock()))

    async def note_socket(self, instance_id: str, request: web.Request) -> None:
        """Note the process that opens a socket, as our own agent names it.

        Two hosts with one identity evict each other's sockets, so that this shows them within seconds.
        """
        named = {name: request.headers.get(f"X-Backfleet-{name}", "") for name in NAMED}
        if named["Run"]:
            query = {name.lower(): value for name, value in named.items()}
            address = request.headers.get("X-Client-Ip", "")
            await self._note(read_run(instance_id, query, address, self._node.clock()))

    async def _note(self, run: AgentRun | None) -> None:
        if run is None:
            return
        node, now, instance_id = self._node, run.last_at, run.instance_id
        mark, at = self._seen.get(instance_id, ("", now))
        if mark == run.mark and now - at < REFRESH:
            return
        if len(self._seen) >= MOST_REMEMBERED:
            self._seen.clear()
        self._seen[instance_id] = run.mark, now

        try:
            beside = await node.group_commit.write("", lambda tx: fleet.note_run(tx, run))
        except Unavailable:
            return
        if beside:
            hosts = "; ".join(each.text for each in beside)
            log.warning("several hosts use one identity", extra={"instance": instance_id, "hosts": hosts})


def read_run(instance_id: str, query: Mapping[str, str], address: str, now: datetime) -> AgentRun | None:
    """Return the process that a heartbeat names; None if it names none. Our own agent names its run, others do not."""

    def text(value: str) -> str:
        return value if _PRINTABLE.fullmatch(value) else ""

    pid, address = text(query.get("pid", "")), text(address)
    own, boot = text(query.get("run", "")).replace(BEFORE_BOOT, ""), text(query.get("boot", ""))
    mark = (f"{own}{BEFORE_BOOT}{boot}" if boot else own) if own else (f"{pid[:20]}@{address}" if pid else "")
    if not mark:
        return None
    hostname, machine = text(query.get("hostname", "")), text(query.get("machine", ""))
    return AgentRun(instance_id, mark, now, now, address, hostname, machine)
