"""Agents for an environment: they take what they are given, and say what the test tells them to."""

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
    """Callers, worker and agents of one env, on its clock."""

    env: Environment

    def ask(self, action: str, caller: Any = None, **said: Any) -> dict[str, Any]:
        status, answer = self.env.ask(ECS, action, caller, RegionId=REGION, **said)
        assert status == 200, answer
        return answer

    def refused(self, action: str, caller: Any = None, **said: Any) -> tuple[int, str]:
        status, answer = self.env.ask(ECS, action, caller, RegionId=REGION, **said)
        assert status != 200, answer
        return status, answer["Code"]

    def run(self, *hosts: str, content: str = "true", **said: Any) -> str:
        """RunCommand; its invocation."""
        where = {f"InstanceId.{number}": host for number, host in enumerate(hosts, 1)}
        said = {"Type": "RunShellScript", "CommandContent": content} | where | said
        return str(self.ask("RunCommand", **said)["InvokeId"])

    def look(self) -> None:
        """The worker, until it has nothing to do."""
        services = self.env.services
        within = timedelta(seconds=services.settings.fit_seconds)
        while assistant.run_once(services.database, now=self.env.now, draw=services.draw, reachable_within=within):
            pass
        assistant.run_once(services.database, now=self.env.now, draw=services.draw, reachable_within=within)

    def later(self, *hosts: str, **by: float) -> None:
        """Time passes, these hosts are heard, the worker looks."""
        self.env.now += timedelta(**by)
        for host in hosts:
            self.env.heartbeat(host)
        self.look()

    def given(self, host: str) -> list[HandedInvocation]:
        """What a host is handed."""
        with self.env.services.database.transaction() as tx:
            return commands.claim(tx, host, now=self.env.now, lease=LEASE).run

    def told_to_stop(self, host: str) -> list[str]:
        with self.env.services.database.transaction() as tx:
            return commands.claim(tx, host, now=self.env.now, lease=LEASE).stop

    def begin(self, host: str, output: bytes = b"") -> HandedInvocation:
        """A host takes its one command and says that it runs."""
        self.look()
        (command,) = self.given(host)
        ms = round(self.env.now.timestamp() * 1000)
        with self.env.services.database.transaction() as tx:
            assert commands.record_output(
                tx, host, command.task_id, output, started_ms=ms, now=self.env.now, lease=LEASE
            )  # fmt: skip
        self.look()
        return command

    def end(self, host: str, command: HandedInvocation, kind: str = "finish", **facts: Any) -> None:
        """How it ended there."""
        ms = round(self.env.now.timestamp() * 1000)
        said = {"started_ms": ms, "ended_ms": ms} | ({"exit_code": 0} if kind == "finish" else {}) | facts
        with self.env.services.database.transaction() as tx:
            assert commands.record_final_report(tx, host, command.task_id, FinalReport(kind, **said), now=self.env.now)
        self.look()

    def carry_out(self, host: str, kind: str = "finish", **facts: Any) -> HandedInvocation:
        command = self.begin(host)
        self.end(host, command, kind, **facts)
        return command

    def invocation(self, invoke_id: str, **said: Any) -> dict[str, Any]:
        """As DescribeInvocations shows it."""
        said = {"ContentEncoding": "PlainText", "IncludeOutput": "true"} | said
        (found,) = self.ask("DescribeInvocations", InvokeId=invoke_id, **said)["Invocations"]["Invocation"]
        return dict(found)

    def results(self, invoke_id: str, **said: Any) -> list[dict[str, Any]]:
        """As DescribeInvocationResults shows them."""
        said = {"ContentEncoding": "PlainText"} | said
        found = self.ask("DescribeInvocationResults", InvokeId=invoke_id, **said)["Invocation"]
        return list(found["InvocationResults"]["InvocationResult"])

    def statuses(self, invoke_id: str) -> tuple[str, list[str]]:
        """Overall, and on each instance in the order in which they were named."""
        found = self.invocation(invoke_id)
        return found["InvocationStatus"], [i["InvocationStatus"] for i in found["InvokeInstances"]["InvokeInstance"]]
