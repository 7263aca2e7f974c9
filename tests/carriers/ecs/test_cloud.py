"""The official SDK against a server that answers what no cloud should: every answer is bounded, and has a code."""

import base64
import contextlib
import gc
import gzip
import http.server
import itertools
import json
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from alibabacloud_tea_openapi.models import Config

from backfleet.carriers.ecs.cloud import LONGEST_ANSWER, MOST_PAGES, Cloud
from backfleet.carriers.ecs.loading import check
from backfleet.carriers.ecs.model import (
    Batch,
    CloudCommand,
    CloudInstance,
    EcsAccount,
    EcsProblem,
    Run,
    Selection,
    Source,
)
from backfleet.library_internals import limit_answers
from carriers.counting import calls_of
from journeys.installation import free_ports

Answer = Callable[[dict[str, list[str]]], tuple[int, Any]]
BATCH = Batch(
    "token-1", "1", "cloud", "cn-beijing", CloudCommand("echo", 60), datetime(2026, 1, 2, tzinfo=UTC),
    (Run("t-1", "i-1", "i-1"), Run("t-2", "i-2", "i-2")),
)  # fmt: skip


class Asked:
    """A server with one answer, and what it was asked."""

    def __init__(self) -> None:
        self.answer: Answer = lambda query: (200, {})
        self.headers: dict[str, str] = {}
        self.where = ""
        self.queries: list[dict[str, list[str]]] = []


@pytest.fixture
def asked() -> Iterator[tuple[Asked, Cloud]]:
    found = Asked()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            found.queries.append(query)
            status, body = found.answer(query)
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in found.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_words: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    where = found.where = f"127.0.0.1:{server.server_port}"
    config = Config(access_key_id="a", access_key_secret="b", endpoint=where, protocol="http", region_id="cn-beijing")
    yield found, Cloud("cn-beijing", config)
    server.shutdown()
    thread.join()
    server.server_close()
    gc.collect()


def instances(cloud: Cloud, selection: Selection) -> list[CloudInstance]:
    return list({one.remote_id: one for page in cloud.listing(selection) for one in page}.values())


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(EcsProblem) as caught:
        call()
    return f"{caught.value.code} {caught.value.message}"


def test_a_batch_is_one_call_with_its_token(asked: tuple[Asked, Cloud]) -> None:
    server, cloud = asked
    server.answer = lambda query: (200, {"InvokeId": "t-7", "CommandId": "c-1"})
    assert cloud.run(BATCH) == "t-7"
    (query,) = server.queries
    names = ("ClientToken", "InstanceId.1", "InstanceId.2", "Timeout", "Type", "RegionId")
    assert [query[name][0] for name in names] == [
        "token-1", "i-1", "i-2", "60", "RunShellScript", "cn-beijing"
    ]  # fmt: skip
    assert base64.b64decode(query["CommandContent"][0]) == b"echo"


@pytest.mark.parametrize(
    "body",
    [b"<html>a proxy</html>", b"", b"[1, 2]", {"InvokeId": None}, {"InvokeId": "x" * 100}, b'{"Instances": 5}'],
    ids=["html", "nothing", "a list", "no id", "a long id", "another kind"],
)
def test_an_answer_that_is_none_is_a_problem_that_passes(asked: tuple[Asked, Cloud], body: Any) -> None:
    """It is asked again under the same token: nothing is guessed."""
    server, cloud = asked
    server.answer = lambda query: (200, body)
    for call in (lambda: cloud.run(BATCH), lambda: cloud.results("t-7")):
        with pytest.raises(EcsProblem) as caught:
            call()
        assert (caught.value.trouble.value, caught.value.code in ("EcsBadAnswer", "EcsUnreachable")) == ("passes", True)


@pytest.mark.parametrize("remote_id", ["", "../i-1", "i-1\n", "i" * 65, "i-1'; true", "-i"])
def test_an_instance_without_an_id_is_no_instance(asked: tuple[Asked, Cloud], remote_id: str) -> None:
    """What a cloud calls an id becomes one here."""
    server, cloud = asked
    server.answer = lambda query: (200, {"Instances": {"Instance": [{"InstanceId": remote_id, "Status": "Running"}]}})
    for call in (lambda: instances(cloud, Selection("cn-beijing")), lambda: cloud.page(Selection("cn-beijing"))):
        assert "is no id of an instance" in code_of(call)


def test_what_a_cloud_says_of_an_instance_is_kept_within_bounds(asked: tuple[Asked, Cloud]) -> None:
    """A column of PostgreSQL takes no more."""
    server, cloud = asked
    long = {
        "InstanceName": "n" * 500,
        "Status": "s" * 500,
        "OSType": "o" * 500,
        "OSName": "\x1b[2J",
        "HostName": "h" * 500,
    }
    server.answer = lambda query: (200, {"Instances": {"Instance": [{"InstanceId": "i-1", **long}]}})
    (one,) = instances(cloud, Selection("cn-beijing"))
    assert (len(one.name), len(one.status), len(one.os_type), len(one.hostname)) == (128, 32, 32, 128)
    assert one.os_name == "\\x1b[2J"


def test_a_list_that_does_not_end_is_left(asked: tuple[Asked, Cloud]) -> None:
    server, cloud = asked
    server.answer = lambda query: (200, {"Instances": {"Instance": []}, "NextToken": "again"})
    assert "does not end" in code_of(lambda: instances(cloud, Selection("cn-beijing")))
    assert len(server.queries) == 2
    server.answer = lambda query: (200, {"Instances": {"Instance": []}, "NextToken": str(len(server.queries))})
    assert "does not end" in code_of(lambda: instances(cloud, Selection("cn-beijing")))
    assert len(server.queries) == 2 + MOST_PAGES


def test_a_caller_waits_for_an_import_for_a_bounded_time(asked: tuple[Asked, Cloud]) -> None:
    """A list of 200 slow pages goes on in the background; what was named until then is counted."""
    server, cloud = asked

    class Clouds:
        def open(self, *_words: object) -> Cloud:
            return cloud

    def answer(query: dict[str, list[str]]) -> tuple[int, Any]:
        number = len(server.queries)
        return 200, {"Instances": {"Instance": [{"InstanceId": f"i-{number}"}]}, "NextToken": str(number)}

    server.answer = answer
    account = EcsAccount("1", "cloud", Source.KEY, BATCH.created_at)
    passing = itertools.count(0, 7)
    found = check(Clouds(), account, Selection("cn-beijing"), BATCH.created_at, lambda: next(passing))
    assert (found, len(server.queries)) == (3, 3)


def test_an_account_is_held_anew_for_each_page(asked: tuple[Asked, Cloud]) -> None:
    """All pages together may take longer than an account stays one process's."""
    server, _ = asked
    calls: list[int] = []
    where = server.where
    config = Config(access_key_id="a", access_key_secret="b", endpoint=where, protocol="http", region_id="cn-beijing")
    cloud = Cloud("cn-beijing", config, lambda: calls.append(len(server.queries)))
    pages = ["2", "3", ""]
    server.answer = lambda query: (
        200, {"Instances": {"Instance": [{"InstanceId": "i-1"}]}, "NextToken": pages[len(server.queries) - 1]}
    )  # fmt: skip
    assert len(instances(cloud, Selection("cn-beijing"))) == 1
    assert calls == [0, 1, 2]


def test_an_answer_that_is_too_long_is_left(asked: tuple[Asked, Cloud]) -> None:
    server, cloud = asked
    server.answer = lambda query: (200, b" " * (LONGEST_ANSWER + 1))
    assert f"more than {LONGEST_ANSWER} bytes" in code_of(lambda: cloud.run(BATCH))
    server.answer = lambda query: (200, b" " * (LONGEST_ANSWER - 20) + b'{"InvokeId":"t-7"}')
    assert cloud.run(BATCH) == "t-7"


def test_a_packed_answer_is_unpacked_as_far_as_it_may_be_long(asked: tuple[Asked, Cloud]) -> None:
    """A bomb of 64 KB is 64 MB. It is left as soon as it is too long, and takes no more memory than that."""
    server, cloud = asked
    server.headers = {"Content-Encoding": "gzip"}
    server.answer = lambda query: (200, gzip.compress(b'{"InvokeId":"t-7"}'))
    assert cloud.run(BATCH) == "t-7"
    server.answer = lambda query: (200, gzip.compress(b'{"Invoke') + gzip.compress(b'Id":"t-7"}'))
    assert cloud.run(BATCH) == "t-7"
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    server.answer = lambda query: (200, bomb)
    tracemalloc.start()
    try:
        assert f"more than {LONGEST_ANSWER} bytes" in code_of(lambda: cloud.run(BATCH))
        assert tracemalloc.get_traced_memory()[1] < 4 * LONGEST_ANSWER
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("encoding", "content", "found"),
    [("gzip", b"none", "is none"), ("br", b"x", "packed as br"), ("gzip, gzip", b"x", "packed as gzip, gzip")],
)
def test_what_is_packed_in_another_way_is_left(
    asked: tuple[Asked, Cloud], encoding: str, content: bytes, found: str
) -> None:
    server, cloud = asked
    server.headers = {"Content-Encoding": encoding}
    server.answer = lambda query: (200, content)
    assert found in code_of(lambda: cloud.run(BATCH))


def test_an_answer_that_does_not_end_is_left() -> None:
    """Each byte is in time, all of them together are not: the SDK alone would read on for as long as they come."""

    class Raw:
        def read1(self, _most: int, *, decode_content: bool) -> bytes:
            return b" "

    class Adapter:
        def send(self, *_words: object, **_options: object) -> Any:
            return SimpleNamespace(raw=Raw(), headers={}, close=lambda: None)

    limit_answers(Adapter, 2**40, 0.05)
    with pytest.raises(TimeoutError, match="did not end in time"):
        Adapter().send(SimpleNamespace(headers={}))


def test_results_of_other_invocations_are_left_out(asked: tuple[Asked, Cloud]) -> None:
    server, cloud = asked
    rows = [
        {"InvokeId": invoke_id, "InstanceId": "i-1", "InvocationStatus": "Success", "ExitCode": 0, "Output": "b2s="}
        for invoke_id in ("t-7", "t-8")
    ]
    server.answer = lambda query: (200, {"Invocation": {"InvocationResults": {"InvocationResult": rows}}})
    (found,) = cloud.results("t-7")
    assert (found.remote_id, found.output) == ("i-1", b"ok")


def test_an_empty_list_without_permission_is_no_empty_list(asked: tuple[Asked, Cloud]) -> None:
    """The cloud lists nothing to whom it permits nothing; only a dry run tells."""
    server, cloud = asked
    empty = {"Instances": {"Instance": []}}
    server.answer = lambda query: (200, empty)
    assert code_of(lambda: instances(cloud, Selection("cn-beijing"))).startswith(
        "EcsPermissionMissing ecs:DescribeInstances is not permitted"
    )
    dry = {"Code": "DryRunOperation", "Message": "all is well"}
    server.answer = lambda query: (400, dry) if "DryRun" in query else (200, empty)
    assert instances(cloud, Selection("cn-beijing", tags=(("env", "prod"),), resource_group="rg-1")) == []
    query = server.queries[-2]
    assert [query[name][0] for name in ("Tag.1.Key", "Tag.1.Value", "ResourceGroupId")] == ["env", "prod", "rg-1"]


@pytest.mark.parametrize(
    ("status", "code", "ours"),
    [(429, "Throttling.User", "EcsThrottled"), (503, "ServiceUnavailable", "EcsUnreachable"),
     (404, "InvalidInstance.NotFound", "EcsInstanceNotFound"), (403, "NoPermission", "EcsPermissionMissing")],
)  # fmt: skip
def test_errors_come_through_the_sdk_once(asked: tuple[Asked, Cloud], status: int, code: str, ours: str) -> None:
    """The SDK itself repeats nothing."""
    server, cloud = asked
    server.answer = lambda query: (status, {"Code": code, "Message": "why", "RequestId": "R"})
    assert code_of(lambda: cloud.run(BATCH)).startswith(ours)
    assert len(server.queries) == 1


def test_nobody_there_is_a_problem_that_passes() -> None:
    config = Config(access_key_id="a", access_key_secret="b", endpoint=f"127.0.0.1:{free_ports(1)[0]}", protocol="http")
    assert code_of(lambda: Cloud("cn-beijing", config).run(BATCH)).startswith("EcsUnreachable")


def test_calls_are_counted_by_what_came_of_them(asked: tuple[Asked, Cloud]) -> None:
    """A dry run that the cloud would have carried out is an answer."""
    found, cloud = asked
    before = calls_of("ecs")
    for status, code in ((200, ""), (429, "Throttling.User"), (403, "InvalidAccessKeyId.NotFound")):
        found.answer = lambda query, status=status, code=code: (
            status,
            {"InvokeId": "t-1"} if status == 200 else {"Code": code, "Message": "no"},
        )
        with contextlib.suppress(EcsProblem):
            cloud.run(BATCH)
    found.answer = lambda query: (400, {"Code": "DryRunOperation", "Message": "it would"})
    cloud.check_permission()
    counted = {labels: number - before.get(labels, 0) for labels, number in calls_of("ecs").items()}
    assert {labels: number for labels, number in counted.items() if number} == {
        ("ecs:RunCommand", "answered"): 1,
        ("ecs:RunCommand", "Throttled"): 1,
        ("ecs:RunCommand", "KeyRefused"): 1,
        ("ecs:DescribeInstances", "answered"): 1,
    }
