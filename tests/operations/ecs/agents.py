"""Agents of an environment: they take what they are handed, and report what the test wants them to."""

import base64
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from backfleet import assistant, commands
from backfleet.commands import FinalReport, HandedInvocation
from operations.environment import REGION, Environment

ECS = "2014-05-26"
LEASE = timedelta(seconds=90)


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@dataclass
class Agents:
    """Callers, worker and agents of one environment, on its clock."""

    env: Environment

    def ask(self, action: str, caller: Any = None, **fields: Any) -> dict[str, Any]:
        status, answer = self.env.ask(ECS, action, caller, RegionId=REGION, **fields)
        assert status == 200, answer
        return answer

    def refused(self, action: str, caller: Any = None, **fields: Any) -> tuple[int, str]:
        status, answer = self.env.ask(ECS, action, caller, RegionId=REGION, **fields)
        assert status != 200, answer
        return status, answer["Code"]

    def run(self, *hosts: str, content: str = "true", **fields: Any) -> str:
        """Call RunCommand and return the id of the invocation."""
        where = {f"InstanceId.{number}": host for number, host in enumerate(hosts, 1)}
        fields = {"Type": "RunShellScript", "CommandContent": content} | where | fields
        return str(self.ask("RunCommand", **fields)["InvokeId"])

    def run_worker(self) -> None:
        """Run the worker until it has nothing to do."""
        services = self.env.services
        within = timedelta(seconds=services.settings.fit_seconds)
        while assistant.run_once(services.database, now=self.env.now, draw=services.draw, reachable_within=within):
            pass
        assistant.run_once(services.database, now=self.env.now, draw=services.draw, reachable_within=within)

    def later(self, *hosts: str, **by: float) -> None:
        """Let time pass, send heartbeats of these hosts, and run the worker."""
        self.env.now += timedelta(**by)
        for host in hosts:
            self.env.heartbeat(host)
        self.run_worker()

    def handed_out(self, host: str) -> list[HandedInvocation]:
        """Return the commands that a host is handed."""
        with self.env.services.database.transaction() as tx:
            return commands.claim(tx, host, now=self.env.now, lease=LEASE).run

    def stop_requests(self, host: str) -> list[str]:
        with self.env.services.database.transaction() as tx:
            return commands.claim(tx, host, now=self.env.now, lease=LEASE).stop

    def begin(self, host: str, output: bytes = b"") -> HandedInvocation:
        """Let a host take its one command and report that it runs."""
        self.run_worker()
        (command,) = self.handed_out(host)
        ms = round(self.env.now.timestamp() * 1000)
        with self.env.services.database.transaction() as tx:
            assert commands.record_output(
                tx, host, command.task_id, output, started_ms=ms, now=self.env.now, lease=LEASE
            )  # fmt: skip
        self.run_worker()
        return command

    def end(self, host: str, command: HandedInvocation, kind: str = "finish", **facts: Any) -> None:
        """Let a host report how its command ended."""
        ms = round(self.env.now.timestamp() * 1000)
        fields = {"started_ms": ms, "ended_ms": ms} | ({"exit_code": 0} if kind == "finish" else {}) | facts
        with self.env.services.database.transaction() as tx:
            assert commands.record_final_report(
                tx, host, command.task_id, FinalReport(kind, **fields), now=self.env.now
            )
        self.run_worker()

    def carry_out(self, host: str, kind: str = "finish", **facts: Any) -> HandedInvocation:
        command = self.begin(host)
        self.end(host, command, kind, **facts)
        return command

    def invocation(self, invoke_id: str, **fields: Any) -> dict[str, Any]:
        """Return an invocation as DescribeInvocations shows it."""
        fields = {"ContentEncoding": "PlainText", "IncludeOutput": "true"} | fields
        (found,) = self.ask("DescribeInvocations", InvokeId=invoke_id, **fields)["Invocations"]["Invocation"]
        return dict(found)

    def results(self, invoke_id: str, **fields: Any) -> list[dict[str, Any]]:
        """Return results as DescribeInvocationResults shows them."""
        fields = {"ContentEncoding": "PlainText"} | fields
        found = self.ask("DescribeInvocationResults", InvokeId=invoke_id, **fields)["Invocation"]
        return list(found["InvocationResults"]["InvocationResult"])

    def statuses(self, invoke_id: str) -> tuple[str, list[str]]:
        """Return the status of an invocation, and those of its instances in their order."""
        found = self.invocation(invoke_id)
        return found["InvocationStatus"], [i["InvocationStatus"] for i in found["InvokeInstances"]["InvokeInstance"]]
