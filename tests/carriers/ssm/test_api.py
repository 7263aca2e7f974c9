"""The official SDK of AWS against moto: what is sent once, found again, listed, stopped and refused."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from aws import CUT, FAILED, HALF, KEY, LOST, REGION, SECRET, SLOW, THROTTLED, Aws, Moto, run_here
from backfleet.carriers.ecs.model import Batch, CloudCommand, EcsAccount, EcsProblem, Result, Run, Selection, Source
from backfleet.carriers.facts import FACTS
from backfleet.carriers.ssm.api import Systems
from backfleet.carriers.ssm.credentials import Clouds
from backfleet.certificates import authority_file, prepare_certificates
from backfleet.fleet import CarrierKind
from backfleet.outbound import Destinations
from carriers.counting import calls_of
from journeys.installation import wait_for

NOW = datetime.now(UTC)
LOOPBACK = Destinations.read("127.0.0.1/32", setting="ssm_allowed")


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    server = Moto(tmp_path_factory.mktemp("moto"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    prepare_certificates(data, ["127.0.0.1"], now=NOW)
    return data


@pytest.fixture
def aws(moto: Moto, certificates: Path) -> Iterator[Aws]:
    made = Aws(moto, run_here)
    made.listen(certificates / "tls" / "server.pem", certificates / "keys" / "server.key")
    yield made
    made.close()


@pytest.fixture
def account(aws: Aws, certificates: Path) -> EcsAccount:
    authority = authority_file(certificates).read_text()
    return EcsAccount(
        "1", "aws", Source.KEY, NOW, key_id=KEY, sealed=SECRET, endpoint=aws.place, sts_endpoint=aws.place,
        authority=authority, cloud=CarrierKind.SSM,
    )  # fmt: skip


def opened(account: EcsAccount, *, allowed: Destinations = LOOPBACK, own: bool = True) -> Systems:
    return Clouds(allowed, lambda sealed: sealed, lambda account_id: own).open(account, REGION, NOW)


@pytest.fixture
def systems(account: EcsAccount) -> Systems:
    return opened(account)


def batch(*ids: str, content: str = "echo hello from $AWS_SSM_INSTANCE_ID", **more: Any) -> Batch:
    runs = tuple(Run(f"t-{each}", each, each) for each in ids)
    return Batch("bf-token", "1", "aws", REGION, CloudCommand(content, 60, **more), datetime.now(UTC), runs)


def over(systems: Systems, command_id: str, *ids: str) -> dict[str, Result]:
    """Wait until a command is over on all of these."""

    def poll() -> dict[str, Result] | None:
        found = {one.remote_id: one for one in systems.results(command_id, ids)}
        return found if len(found) == len(ids) and all(one.status != "Running" for one in found.values()) else None

    return wait_for(poll, 60)


def problem_of(call: Callable[[], object]) -> EcsProblem:
    with pytest.raises(EcsProblem) as caught:
        call()
    return caught.value


def test_one_call_runs_a_command_on_all(aws: Aws, systems: Systems) -> None:
    command_id = systems.run(batch("i-1", "mi-2", working_directory="/tmp"))
    found = over(systems, command_id, "i-1", "mi-2")
    assert {each: (one.status, one.exit_code, one.output) for each, one in found.items()} == {
        each: ("Success", 0, f"hello from {each}\n".encode()) for each in ("i-1", "mi-2")
    }
    (sent,) = (body for action, body in aws.calls if action == "SendCommand")
    assert (sent["DocumentName"], sent["Comment"], sent["MaxErrors"]) == ("AWS-RunShellScript", "bf-token", "100%")
    assert sent["Parameters"]["executionTimeout"] == ["60"]
    assert sent["Parameters"]["workingDirectory"] == ["/tmp"]
    assert over(systems, systems.run(batch("i-1", content="exit 3")), "i-1")["i-1"].exit_code == 3


def test_each_host_finds_its_own_id_in_a_command_of_many(aws: Aws, systems: Systems) -> None:
    content = "case '{{ACS::InstanceId}}' in\n'i-1') echo one ;;\n'i-2') echo two ;;\nesac"
    command_id = systems.run(batch("i-1", "i-2", content=content, has_parameters=True))
    found = over(systems, command_id, "i-1", "i-2")
    assert [found[each].output for each in ("i-1", "i-2")] == [b"one\n", b"two\n"]


@pytest.mark.parametrize("fault", [LOST, HALF])
def test_a_command_whose_answer_was_lost_is_found_by_its_comment(aws: Aws, systems: Systems, fault: str) -> None:
    one = replace(batch("i-7"), token=f"bf-{fault}")
    aws.faults_of["SendCommand"] = [fault]
    problem = problem_of(lambda: systems.run(one))
    assert (problem.trouble.value, problem.not_taken) == ("passes", False)
    command_id = systems.run(replace(one, tries=1))
    assert over(systems, command_id, "i-7")["i-7"].status == "Success"
    assert [action for action, _ in aws.calls].count("SendCommand") == 1


def test_what_was_not_taken_is_sent_again_only_if_hosts_run_it_once(aws: Aws, systems: Systems) -> None:
    """A caller's command may have been taken all the same: the list may lag behind."""
    order = "#!/bin/sh\n# Backfleet order u-1. Safe to repeat\necho order"
    for content, sent in ((order, 1), (FACTS, 1), ("echo of a caller", 0)):
        one = replace(batch("i-8", content=content), token=f"bf-{sent}-{len(content)}")
        aws.faults_of["SendCommand"] = [CUT]
        assert problem_of(lambda one=one: systems.run(one)).code == "SsmUnreachable"
        before = [action for action, _ in aws.calls].count("SendCommand")
        if sent:
            systems.run(replace(one, tries=1))
        else:
            assert "not sent again" in problem_of(lambda one=one: systems.run(replace(one, tries=1))).message
        assert [action for action, _ in aws.calls].count("SendCommand") - before == sent


def test_calls_are_counted_by_what_came_of_them(aws: Aws, systems: Systems) -> None:
    """As those of ecs: by carrier, action and outcome."""
    before = calls_of("ssm")
    systems.agents(["i-1"])
    aws.faults_of["SendCommand"] = [THROTTLED]
    problem_of(lambda: systems.run(replace(batch("i-1"), token="bf-counted")))
    found = {labels: number - before.get(labels, 0) for labels, number in calls_of("ssm").items()}
    assert {labels: number for labels, number in found.items() if number} == {
        ("ssm:DescribeInstanceInformation", "answered"): 1,
        ("ssm:SendCommand", "Throttled"): 1,
    }


@pytest.mark.parametrize(("fault", "code"), [(THROTTLED, "SsmThrottled"), (FAILED, "SsmUnreachable")])
def test_the_cloud_refuses_for_now(aws: Aws, systems: Systems, fault: str, code: str) -> None:
    """What it throttled it has not taken. The SDK itself repeats nothing."""
    aws.faults_of["SendCommand"] = [fault]
    problem = problem_of(lambda: systems.run(batch("i-1")))
    assert (problem.code, problem.trouble.value, problem.not_taken) == (code, "passes", fault == THROTTLED)
    assert aws.met["SendCommand", ""] == 0


@pytest.mark.parametrize(
    ("content", "more", "text"),
    [("echo {{ssm:secret}}", {}, "replaces"), ("echo", {"username": "nobody"}, "as root, not as nobody")],
)
def test_what_systems_manager_cannot_do_is_refused_here(
    aws: Aws, systems: Systems, content: str, more: dict[str, str], text: str
) -> None:
    problem = problem_of(lambda: systems.run(batch("i-1", content=content, **more)))
    assert (problem.trouble.value, text in problem.message, aws.calls) == ("command", True, [])


def test_instances_are_listed_by_page_tag_and_id(aws: Aws, systems: Systems) -> None:
    for number in range(60):
        aws.add(f"mi-{number:02}", tags={"env": "prod" if number < 55 else "test"})
    aws.faults_of["DescribeInstanceInformation"] = ["", SLOW]
    found = [one for page in systems.listing(Selection(REGION, tags=(("env", "prod"),))) for one in page]
    assert ([one.remote_id for one in found], aws.met["DescribeInstanceInformation", SLOW]) == (
        [f"mi-{number:02}" for number in range(55)],
        1,
    )
    assert (found[0].status, found[0].os_type, found[0].name) == ("Running", "linux", "host-mi-00")
    chosen = Selection(REGION, ("mi-03", "mi-99"))
    assert [one.remote_id for page in systems.listing(chosen) for one in page] == ["mi-03"]


def test_ec2_says_whether_one_whose_agent_is_away_is_stopped_or_gone(aws: Aws, systems: Systems) -> None:
    running, stopped, terminated = aws.make_ec2(3)
    aws.add("mi-1", status="ConnectionLost")
    for each in (running, stopped, terminated):
        aws.instances[each]["PingStatus"] = "ConnectionLost"
    aws.ask_moto("ec2", f"Action=StopInstances&Version=2016-11-15&InstanceId.1={stopped}")
    aws.ask_moto("ec2", f"Action=TerminateInstances&Version=2016-11-15&InstanceId.1={terminated}")
    found = {one.remote_id: one.status for one in systems.page(Selection(REGION)).instances}
    assert found == {running: "Running", stopped: "Stopped", "mi-1": "Running"}
    agents = systems.agents([running, stopped, "mi-1", "mi-99"])
    assert {each: one.is_installed for each, one in agents.items()} == {running: False, stopped: False, "mi-1": False}


def test_a_command_is_stopped(aws: Aws, systems: Systems) -> None:
    command_id = systems.run(batch("i-1", content="sleep 60"))
    assert systems.results(command_id, ["i-1"])[0].status == "Running"
    systems.stop(command_id, ["i-1"])
    assert systems.results(command_id, ["i-1"])[0].status == "Cancelled"


def test_a_role_is_taken_on_once(aws: Aws, account: EcsAccount) -> None:
    role = replace(account, role_arn="arn:aws:iam::123456789012:role/upgrades", external_id="external")
    clouds = Clouds(LOOPBACK, lambda sealed: sealed, lambda account_id: False)
    for _ in range(2):
        assert clouds.open(role, REGION, NOW).page(Selection(REGION)).instances == ()
    assert aws.met["AssumeRole", ""] == 1


def test_the_environment_changes_nothing(
    aws: Aws, account: EcsAccount, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither proxies nor endpoints, profiles, keys or files of the SDK."""
    for name in ("HTTPS_PROXY", "https_proxy", "AWS_ENDPOINT_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    aws.add("mi-1")
    assert len(opened(account).page(Selection(REGION)).instances) == 1


def test_only_a_machines_role_is_asked_of_the_machine(
    aws: Aws, account: EcsAccount, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The address of the metadata is asked by whoever said so, and by nobody else."""
    asked: list[str] = []

    class Metadata(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_GET = do_PUT  # noqa: N815 - the library's name

        def log_message(self, *_words: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{server.server_port}/")
    try:
        chain = replace(account, source=Source.CHAIN, key_id="", sealed="")
        assert problem_of(lambda: opened(chain)).code == "SsmKeyRefused"
        assert asked == []
        assert "ssm_own_credentials_for" in problem_of(lambda: opened(chain, own=False)).message
        assert problem_of(lambda: opened(replace(chain, source=Source.MACHINE_ROLE))).code == "SsmKeyRefused"
        assert asked
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        assert opened(chain).page(Selection(REGION)).instances == ()
    finally:
        server.shutdown()
        server.server_close()


def test_the_server_goes_where_the_settings_allow_it(account: EcsAccount) -> None:
    elsewhere = Destinations.read("*.amazonaws.com", setting="ssm_allowed")
    problem = problem_of(lambda: opened(account, allowed=elsewhere))
    assert (problem.code, "`ssm_allowed`" in problem.message) == ("SsmNotAllowed", True)


@pytest.mark.parametrize(
    ("status", "headers", "body", "code"),
    [
        (200, {}, b"<html>a proxy</html>", "SsmBadAnswer SsmUnreachable"),
        (200, {}, b"", "SsmBadAnswer"),
        (200, {}, b"[1, 2]", "SsmBadAnswer"),
        (200, {}, b" " * (9 << 20), "SsmUnreachable"),
        (302, {"Location": "https://127.0.0.1:9/"}, b"", "SsmUnreachable SsmCommandRefused"),
        (400, {}, b'{"__type": "AccessDeniedException", "message": "no"}', "SsmPermissionMissing"),
        (400, {}, b'{"__type": "UnrecognizedClientException", "message": "no"}', "SsmKeyRefused"),
        (400, {}, b'{"__type": "InvalidInstanceId", "message": "no"}', "SsmInstanceNotFound"),
        (403, {}, b'{"__type": "Whatever", "message": "no"}', "SsmCommandRefused"),
    ],
    ids=["html", "nothing", "a list", "too much", "a redirect", "no permission", "no key", "no instance", "unknown"],
)
def test_an_answer_that_is_none_has_a_code(
    aws: Aws, systems: Systems, monkeypatch: pytest.MonkeyPatch, status: int, headers: dict[str, str], body: bytes,
    code: str,
) -> None:  # fmt: skip
    handler = aws.server.RequestHandlerClass

    def answer(self: Any) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response_only(status)
        for name, value in {**headers, "Content-Length": str(len(body)), "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    monkeypatch.setattr(handler, "do_POST", answer)
    problem = problem_of(lambda: systems.run(batch("i-1")))
    assert problem.code in code.split(), problem.message
    assert SECRET not in json.dumps([problem.message, problem.code])
