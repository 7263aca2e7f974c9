"""Reports on tasks: stored in the database, or on this node's disk while the database is unavailable."""

import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from aiohttp import web

from backfleet import commands
from backfleet.commands import AgentReport
from backfleet.endpoints.agents import codec
from backfleet.endpoints.agents.authentication import Authenticator
from backfleet.endpoints.agents.group_commit import Kind
from backfleet.endpoints.agents.node import Node, read_body
from backfleet.endpoints.agents.signatures import AgentSignature, NotAuthenticated
from backfleet.endpoints.agents.spool import CannotKeep, Spool, former_folders, spool_folder, take_over
from backfleet.endpoints.agents.spooled_report import SpooledReport
from backfleet.short_requests import AnyRequest
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

    async def receive(self, request: AnyRequest, signature: AgentSignature, kind: str) -> bool:
        """Store a report, or spool it while the database does not take it. Return whether it changed something.

        The agent does not try again for long enough, so a report is spooled whatever the database's reason is. It is
        spooled, too, if an earlier one of its task still is: they are stored in the order of arrival.

        Raises:
            HTTPServiceUnavailable: the spool cannot take it either.
        """
        body = await read_body(request)
        received_at, arrived_ns = self._node.clock().timestamp(), time.time_ns()
        report = SpooledReport(
            signature.instance_id, kind, dict(request.query), body, received_at, signature.fingerprint
        )
        if not self._spool.holds(report.task_id):
            try:
                return await self._node.group_commit.write_together(
                    Kind.REPORT, report.task_id, self._store_each, report, self._authenticator.permit(signature)
                )
            except Unavailable as problem:
                log.warning("a report is kept on disk: %s", problem, extra={"kind": kind})
            except NotAuthenticated:
                raise
            except Exception:
                log.exception("a report cannot be stored; it is kept on disk", extra={"kind": kind})
        try:
            await self._node.in_thread(lambda: self._spool.add(report, arrived_ns))
        except CannotKeep as problem:
            log.error("a report cannot be kept on disk: %s", problem, extra={"kind": kind})
            raise web.HTTPServiceUnavailable from None
        return False

    async def deliver(self) -> None:
        """Store what waits on the disk, if the database takes it again."""
        if not self._spool.is_empty:
            await self._node.in_thread(lambda: self._spool.deliver(self._store_alone, time.monotonic()))

    def _store_alone(self, report: SpooledReport) -> None:
        """Store a report from the disk: it has no signature, for its request id was used up when it was spooled."""
        with self._node.database.transaction() as tx:
            commands.record_reports(tx, [_read(report)], lease=self._lease)

    def _store_each(self, tx: Transaction, reports: Sequence[SpooledReport]) -> list[bool]:
        return commands.record_reports(tx, [_read(report) for report in reports], lease=self._lease)


def _read(report: SpooledReport) -> AgentReport:
    """Return what a report says."""
    at, task_id = datetime.fromtimestamp(report.received_at, UTC), codec.task_id(report.query)
    if report.kind == "running":
        started_ms = codec.number(report.query, "start", 62)
        return AgentReport(report.instance_id, task_id, at, chunk=report.body, started_ms=started_ms)
    final = codec.final_report(report.kind, report.query, report.body)
    return AgentReport(report.instance_id, task_id, at, final)
