"""A webhook hears of a failed task, also over a restart of the server and a time in which nobody listened."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from backfleet.cli import main
from journeys.installation import LONG, Installation, wait_for
from rollouts.outside.servers import says, serving


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path)
    yield made
    made.close()


def run(server: Installation, *words: str) -> str:
    done = CliRunner().invoke(main, [*words, "--data", str(server.data)])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_webhook_hears_of_a_failed_task_whatever_happens_on_the_way(server: Installation) -> None:
    settings = {"BACKFLEET_OUTBOUND_ALLOWED": "127.0.0.0/8"}
    server.start(settings=settings)
    server.enrol(1)
    server.install("1.0")
    with serving(says("", 500)) as (port, refused):
        output = run(server, "notify", "add", "oncall", "--url", f"http://127.0.0.1:{port}/", "--kind", "task.failed")
        assert output.count("whsec_") == 1
        assert "whsec_" not in run(server, "notify", "list")
        server.add_release("2.0", health=1)
        started = server.call("UpgradeBackupClients", InstanceIds=[server.hosts[0].instance_id])
        server.finished(started["TaskId"])
        wait_for(lambda: refused, LONG)
    server.kill()
    server.start(settings=settings)
    with serving(says("")) as (port, asked):
        run(server, "notify", "add", "oncall", "--url", f"http://127.0.0.1:{port}/", "--kind", "task.failed")
        wait_for(lambda: asked, LONG)
    ids = {line for request in (*refused, *asked) for line in request.split(b"\r\n") if line.startswith(b"webhook-id")}
    assert len(ids) == 1, "one message, tried several times"
    body = json.loads(asked[0].partition(b"\r\n\r\n")[2])
    assert (body["type"], body["data"]["items"][0]["id"]) == ("task.failed", started["TaskId"])
    wait_for(lambda: "delivered" in run(server, "notify", "log"), LONG)
