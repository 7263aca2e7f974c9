"""The agents' processes that this node has seen: a new one is written down, and one that goes on now and then."""

import logging
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from aiohttp import web

from backfleet import fleet
from backfleet.endpoints.agents.authentication import Authenticator
from backfleet.endpoints.agents.group_commit import Kind
from backfleet.endpoints.agents.node import Node
from backfleet.endpoints.agents.signatures import AgentSignature
from backfleet.fleet import BEFORE_BOOT, REFRESH, AgentRun
from backfleet.short_requests import AnyRequest
from backfleet.storage import Transaction

NAMED: Final = ("Run", "Pid", "Hostname", "Machine", "Boot")
MOST_REMEMBERED: Final = 200_000  # instances
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]{1,64}")

log = logging.getLogger(__name__)


class AgentRuns:
    """Notes which processes use an instance's identity, with the signatures of the requests that name them."""

    def __init__(self, node: Node, authenticator: Authenticator) -> None:
        self._node, self._authenticator = node, authenticator
        self._seen: dict[str, tuple[str, datetime]] = {}  # by instance: the last process, and when it was written

    async def of_heartbeat(self, signature: AgentSignature, request: AnyRequest, *, apart_seconds: float) -> None:
        """Use the signature of a heartbeat up, and note the process that it comes from.

        The note is best effort: the process comes again in a minute.

        Args:
            signature: what it was signed with.
            request: the heartbeat.
            apart_seconds: see `GroupCommit.write`.

        Raises:
            NotAuthenticated: it was used before.
        """
        address = request.headers.get("X-Client-Ip", "")
        run = read_run(signature.instance_id, request.query, address, self._node.clock())
        await self._spend(signature, run, apart_seconds)

    async def of_socket(self, signature: AgentSignature, request: web.Request) -> None:
        """Use the signature of a request for a socket up, and note the process that opens it, as our agent names it.

        Two hosts with one identity evict each other's sockets, so that this shows them within seconds.

        Raises:
            NotAuthenticated: it was used before.
        """
        named = {name: request.headers.get(f"X-Backfleet-{name}", "") for name in NAMED}
        query = {name.lower(): value for name, value in named.items()}
        address, run = request.headers.get("X-Client-Ip", ""), None
        if named["Run"]:
            run = read_run(signature.instance_id, query, address, self._node.clock())
        await self._spend(signature, run, 0.0)

    async def _spend(self, signature: AgentSignature, run: AgentRun | None, apart_seconds: float) -> None:
        if run is None or self._is_known(run):
            await self._authenticator.spend_alone(signature, apart_seconds=apart_seconds)
            return
        beside = await self._authenticator.spend_with(
            signature, Kind.RUN, run.instance_id, _note_each, run, apart_seconds=apart_seconds
        )
        if len(self._seen) >= MOST_REMEMBERED:
            self._seen.clear()
        if beside is not None:
            self._seen[run.instance_id] = run.mark, run.last_at
        if beside:
            hosts = "; ".join(each.text for each in beside)
            log.warning("several hosts use one identity", extra={"instance": run.instance_id, "hosts": hosts})

    def _is_known(self, run: AgentRun) -> bool:
        mark, at = self._seen.get(run.instance_id, ("", run.last_at))
        return mark == run.mark and run.last_at - at < REFRESH


def _note_each(tx: Transaction, runs: Sequence[AgentRun]) -> list[list[AgentRun]]:
    """Note processes; return of each those that run beside it."""
    beside = fleet.note_runs(tx, runs)
    return [beside.get(run.instance_id, []) for run in runs]


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
