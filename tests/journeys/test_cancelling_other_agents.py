"""Cancelling an order on a host with the official agent: that agent ends its own shell, or starts what it had queued.

The agent's part is played from its recorded requests; the server, the command and the upgrader are real.
"""

import asyncio
import base64
import json
import os
import signal
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backfleet_sim import Agent, HttpClient, Server, Simulation, make_keys
from journeys.installation import LONG, PACKAGE, Installation, wait_for


class OfficialHost:
    """A host with the official agent: what it fetches is run as that agent runs it."""

    def __init__(self, server: Installation, folder: Path) -> None:
        self.server, self.folder, self.root = server, folder, folder / "root"
        self.key, self.instance_id = make_keys(1), ""
        made = server.call("CreateActivation", "ecs", RegionId="cn-hangzhou", InstanceCount=1)
        self.instance_id = self._talk(lambda agent: self._register(agent, made))

    def _talk(self, work: Any) -> Any:
        async def talk() -> Any:
            tls = ssl.create_default_context(cafile=str(self.server.data / "tls" / "ca.pem"))
            async with HttpClient() as client:
                simulation = Simulation([Server("127.0.0.1", self.server.ports[1], tls)], self.key, client)
                agent = Agent(simulation, 0, version="2.2.3.578")
                agent.instance_id = self.instance_id
                return await work(agent)

        return asyncio.run(talk())

    async def _register(self, agent: Agent, made: dict[str, Any]) -> str:
        await agent.register(made["ActivationId"], made["ActivationCode"])
        await agent.ask("GET", "/api/heart-beat?index=0&seq_no=0")
        await agent.ask("POST", "/api/v1/task/list?reason=startup&cold_start=true")
        return agent.instance_id

    def tasks(self) -> dict[str, Any]:
        _, content = self._talk(lambda agent: agent.ask("POST", "/api/v1/task/list?reason=kickoff"))
        found: dict[str, Any] = json.loads(content)
        return found

    def fetch(self) -> tuple[str, str]:
        """The id and the script of the next task."""
        entry = wait_for(lambda: self.tasks()["run"], LONG)[0]["task"]
        script = base64.b64decode(entry["commandContent"]).decode()
        return entry["taskID"], script.replace("/opt/backfleet", str(self.root))

    def start(self, task_id: str, script: str) -> "subprocess.Popen[str]":
        file = self.folder / f"{task_id}.sh"
        file.write_text(script)
        file.chmod(0o755)
        self._talk(lambda agent: agent.ask("POST", f"/api/v1/task/running?taskId={task_id}&invokeVersion=0&start=1"))
        return subprocess.Popen(
            # The agent's own shell stays beside the script, as dash does; it is what a stop kills.
            ["/bin/sh", "-c", f"{file}; exit $?"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, cwd=self.folder, process_group=0,
            env={"PATH": os.environ["PATH"], "ALIYUN_ASSIST_SERVER_HOST": self.server.https},
        )  # fmt: skip

    def finish(self, task_id: str, process: "subprocess.Popen[str]") -> str:
        output, _ = process.communicate(timeout=LONG)
        about = f"taskId={task_id}&invokeVersion=0&start=1&end=2&exitCode={process.returncode}&dropped=0"
        self._talk(lambda agent: agent.ask("POST", f"/api/v1/task/finish?{about}", output.encode()))
        return output

    def stop(self, task_id: str, process: "subprocess.Popen[str] | None") -> None:
        """As the agent does, told to stop a task: it kills its own shell, and says that it stopped."""
        assert task_id in [entry["task"]["taskID"] for entry in wait_for(lambda: self.tasks()["stop"], LONG)]
        if process is not None:
            os.kill(process.pid, signal.SIGKILL)
        about = f"taskId={task_id}&invokeVersion=0&start=1&end=2&exitcode=0&dropped=0&result=killed"
        self._talk(lambda agent: agent.ask("POST", f"/api/v1/task/stopped?{about}"))

    def ask_for(self, action: str, **more: Any) -> str:
        started = self.server.call(f"{action}BackupClients", InstanceIds=[self.instance_id], **more)
        return str(started["TaskId"])

    def carry_out(self, action: str, **more: Any) -> dict[str, Any]:
        task = self.ask_for(action, **more)
        task_id, script = self.fetch()
        self.finish(task_id, self.start(task_id, script))
        (item,) = self.server.finished(task)["Result"]
        found: dict[str, Any] = item
        return found

    def installed(self) -> str:
        return os.readlink(self.root / PACKAGE / "current").rsplit("/", 1)[-1]

    def reports(self) -> list[dict[str, Any]]:
        return [json.loads(file.read_text())["report"] for file in (self.root / PACKAGE / "outcomes").glob("*.json")]

    def item(self, task: str) -> dict[str, Any]:
        (item,) = self.server.task(task)["Result"]
        found: dict[str, Any] = item
        return found


@pytest.fixture
def host(tmp_path: Path) -> Iterator[OfficialHost]:
    """A host with 1.0, where 2.0 must be idle for its switch."""
    server = Installation(tmp_path)
    try:
        server.start()
        server.add_release("1.0")
        (tmp_path / "host").mkdir()
        host = OfficialHost(server, tmp_path / "host")
        assert host.carry_out("Install", PackageName=PACKAGE)["errorCode"] == ""
        server.add_release("2.0", switch="idle")
        yield host
    finally:
        server.close()


def test_a_cancelled_order_ends_before_its_switch_though_its_agent_only_kills_its_shell(host: OfficialHost) -> None:
    """A backup holds the order up; the cancel reaches the process that carries it out, and the item says how it was."""
    going_on = host.folder / "going on"
    going_on.write_text("")
    backup = subprocess.Popen([host.root / "bin" / PACKAGE, "hold", going_on])
    task = host.ask_for("Upgrade")
    task_id, script = host.fetch()
    process = host.start(task_id, script)
    brought = host.root / "agent" / "brought"
    wait_for(lambda: any('"drain"' in file.read_text() for file in brought.glob("*.out")), LONG)
    host.server.call("CancelTask", "backfleet", TaskId=task)
    host.stop(task_id, process)
    wait_for(lambda: [report for report in host.reports() if report["code"] == "TaskCancelled"], LONG)
    going_on.unlink()
    backup.wait(LONG)
    assert host.installed() == "1.0"
    question, script = host.fetch()  # what came of it
    host.finish(question, host.start(question, script))
    wait_for(lambda: "its host reported later: TaskCancelled, 1.0 is installed" in host.item(task)["message"], LONG)
    assert host.item(task)["errorCode"] == "TaskCancelled"
    process.communicate()


def test_an_order_that_was_cancelled_in_its_agents_queue_does_not_begin(host: OfficialHost) -> None:
    """The agent runs it all the same, half a minute later."""
    task = host.ask_for("Upgrade")
    task_id, script = host.fetch()
    host.server.call("CancelTask", "backfleet", TaskId=task)
    host.stop(task_id, None)
    output, _ = host.start(task_id, script).communicate(timeout=LONG)
    assert '"code": "TaskCancelled"' in output
    assert host.installed() == "1.0"
    question, script = host.fetch()
    host.finish(question, host.start(question, script))
    assert host.carry_out("Upgrade")["currentVersion"] == "2.0"
