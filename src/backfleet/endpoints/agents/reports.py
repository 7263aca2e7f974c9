"""Reports on tasks: stored in the database, or on this node's disk while the database is unavailable."""

import logging
import time
from datetime import UTC, datetime, timedelta

from aiohttp import web

from backfleet import commands
from backfleet.endpoints.agents import codec
from backfleet.endpoints.agents.authentication import Authenticator
from backfleet.endpoints.agents.node import Node, read_body
from backfleet.endpoints.agents.signatures import AgentSignature, NotAuthenticated
from backfleet.endpoints.agents.spool import CannotKeep, Spool, former_folders, spool_folder, take_over
from backfleet.endpoints.agents.spooled_report import SpooledReport
from backfleet.storage import Transaction, Unavailable

log = logging.getLogger(__name__)


class Reports:
    """Receives the reports of one node's agents."""

    def __init__(self, node: Node, authenticator: Authenticator, number: int = 0) -> None:
        """Receive them in the process of this number."""
        self._node, self._authenticator = node, authenticator
        self._lease = timedelta(seconds=node.settings.lease_seconds)
        self._number, self._folder = number, spool_folder(node.settings.data, number)
        self._spool = Spool(self._folder)

    async def open(self) -> None:
        """Find the reports that an earlier process left on the disk."""
        await self._node.in_thread(self._open)

    def _open(self) -> None:
        if self._number == 0:
            take_over(self._folder, former_folders(self._node.settings.data, self._node.settings.processes))
        self._spool.open()

    async def receive(self, request: web.Request, signature: AgentSignature, kind: str) -> bool:
        """Store a report, or spool it while the database does not take it. Return whether it changed something.

        The agent does not try again for long enough, so a report is spooled whatever the database's reason is. It is
        spooled, too, if an earlier one of its task still is: they are stored in the order of arrival.

        Raises:
            HTTPServiceUnavailable: the spool cannot take it either.
        """
        body = await read_body(request)
        received_at = self._node.clock().timestamp()
        report = SpooledReport(
            signature.instance_id, kind, dict(request.query), body, received_at, signature.fingerprint
        )
        if not self._spool.holds(report.task_id):
            try:
                return await self._node.group_commit.write(
                    report.task_id, lambda tx: self._store(tx, report, signature)
                )
            except Unavailable as problem:
                log.warning("a report is kept on disk: %s", problem, extra={"kind": kind})
            except NotAuthenticated:
                raise
            except Exception:
                log.exception("a report cannot be stored; it is kept on disk", extra={"kind": kind})
        try:
            await self._node.in_thread(lambda: self._spool.add(report))
        except CannotKeep as problem:
            log.error("a report cannot be kept on disk: %s", problem, extra={"kind": kind})
            raise web.HTTPServiceUnavailable from None
        return False

    async def deliver(self) -> None:
        """Store what waits on the disk, if the database takes it again."""
        if not self._spool.is_empty:
            await self._node.in_thread(lambda: self._spool.deliver(self._store_alone, time.monotonic()))

    def _store_alone(self, report: SpooledReport) -> None:
        with self._node.database.transaction() as tx:
            self._store(tx, report)

    def _store(self, tx: Transaction, report: SpooledReport, signature: AgentSignature | None = None) -> bool:
        """Store a report. One from the disk has no signature: its request id was used up when it was spooled."""
        now = datetime.fromtimestamp(report.received_at, UTC)
        task_id = codec.task_id(report.query)
        if signature is not None:
            self._authenticator.spend(tx, signature, now)
        if report.kind == "running":
            started_ms = codec.number(report.query, "start", 62)
            return commands.record_output(
                tx, report.instance_id, task_id, report.body, started_ms=started_ms, now=now, lease=self._lease
            )
        final_report = codec.final_report(report.kind, report.query, report.body)
        return commands.record_final_report(tx, report.instance_id, task_id, final_report, now=now)
