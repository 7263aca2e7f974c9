"""Traces: a real receiver of OTLP sees one, from the caller to the host's report, and upgrades need no receiver."""

from collections.abc import Iterator

import pytest
from alibabacloud_hbr20170908 import models
from alibabacloud_hbr20170908.client import Client
from alibabacloud_tea_openapi.models import Config, GlobalParameters
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from journeys.installation import Installation, wait_for
from trace_receiver import WAIT, Receiver, attributes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Installation]:
    made = Installation(tmp_path_factory.mktemp("installation"))
    try:
        made.start(settings={"BACKFLEET_TRACES_ENDPOINT": receiver.address})
        made.enrol(1)
        made.install("1.0")
        yield made
    finally:
        made.close()


def upgrade(installation: Installation, traceparent: str = "") -> str:
    """Upgrade the one host with the official SDK, as somebody who is in a trace; return the task's id."""
    admin = installation.admin()
    config = Config(
        access_key_id=admin["access_key_id"],
        access_key_secret=admin["access_key_secret"],
        endpoint=installation.https,
        ca=admin["ca_file"],
    )
    if traceparent:
        config.global_parameters = GlobalParameters(headers={"traceparent": traceparent})
    asked = models.UpgradeBackupClientsRequest(instance_ids=[installation.hosts[0].instance_id])
    return str(Client(config).upgrade_backup_clients(asked).body.task_id)


def test_one_trace_leads_from_the_caller_to_the_hosts_report(installation: Installation, receiver: Receiver) -> None:
    """Each part hangs from the one before, ends after it began, and names the ids that logs have."""
    installation.add_release("1.1")
    task_id = upgrade(installation, f"00-{TRACE}-{CALLER}-01")
    assert installation.finished(task_id)["Progress"] == 100
    names = ["call", "task", "command", "host", "report"]
    found = wait_for(lambda: (spans := receiver.of_trace(TRACE)).keys() >= set(names) and spans, WAIT)
    above = CALLER
    for name in names:
        span = found[name]
        assert span.parent_span_id.hex() == above, name
        assert span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.status.code == Status.StatusCode.STATUS_CODE_OK
        above = span.span_id.hex()
    assert found["call"].name == "call hbr UpgradeBackupClients"
    assert len(attributes(found["call"])["request_id"]) == 36
    order = attributes(found["command"])
    assert (order["task_id"], order["instance"]) == (task_id, installation.hosts[0].instance_id)
    assert (order["package"], order["from_version"], order["to_version"]) == ("courier", "1.0", "1.1")
    assert order["command_id"].startswith("t-")
    assert order["command_id"] in installation.log() or order["task_id"] in installation.log()
    secret = installation.admin()["access_key_secret"].encode()
    assert not any(secret in span.SerializeToString() for span in receiver.spans)


def test_a_bad_upgrade_is_an_error_with_its_code(installation: Installation, receiver: Receiver) -> None:
    """A call without a trace of its own begins one."""
    installation.add_release("1.2", health=1)
    task_id = upgrade(installation)
    assert installation.finished(task_id)["Progress"] == -1

    def ended() -> Span | None:
        spans = [span for span in list(receiver.spans) if attributes(span).get("task_id") == task_id]
        return next((span for span in spans if span.name == "report upgrade"), None)

    report = wait_for(ended, WAIT)
    assert (report.status.code, report.status.message) == (Status.StatusCode.STATUS_CODE_ERROR, "RolledBack")
    assert report.trace_id.hex() != TRACE


def test_upgrades_do_not_need_whoever_takes_traces(installation: Installation, receiver: Receiver) -> None:
    """It refuses for good, or for a while, or it takes them and does not answer. The log says it once each time."""
    for version, status, answers in (("2.0", 400, True), ("2.1", 503, True), ("2.2", 200, False)):
        before, receiver.status = receiver.requests, status
        if not answers:
            receiver.may_answer.clear()
        try:
            installation.add_release(version)
            assert installation.finished(upgrade(installation))["Progress"] == 100
            assert installation.hosts[0].runs() == f"courier {version}"
            wait_for(lambda before=before: receiver.requests > before, WAIT)
        finally:
            receiver.may_answer.set()
            receiver.status = 200
    log = installation.folder / "server.log"
    said = [line for line in log.read_text().splitlines() if "traces are not taken" in line]
    assert 1 <= len(said) <= 3


def test_a_server_whose_receiver_is_away_stops_in_time(installation: Installation, receiver: Receiver) -> None:
    receiver.may_answer.clear()
    installation.call("DescribeRegions")
    assert installation.stop() == 0
