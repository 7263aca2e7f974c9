"""Answers of a cloud that are cut, and one that refuses our clock: each is still something definite."""

import base64
import re
from typing import Any

import pytest

from backfleet.carriers.ecs.cloud import Cloud
from backfleet.carriers.ecs.model import EcsProblem, Run, Trouble
from backfleet.carriers.ecs.reading import progress_of
from backfleet_host.contract import Report, read_output
from carriers.ecs.test_cloud import BATCH, Asked
from carriers.ecs.test_cloud import asked as asked  # noqa: PLC0414 - a fixture

LIMIT = 24 * 1024  # bytes that the cloud keeps of an output
REPORT = Report("u-1", "upgrade", "courier", "succeeded", to_version="2.0", current_version="2.0").as_line() + "\n"


def results(server: Asked, cloud: Cloud, *outputs: str) -> list[Any]:
    rows = [
        {"InvokeId": "t-7", "InstanceId": f"i-{number}", "InvocationStatus": "Success", "ExitCode": 0, "Output": output}
        for number, output in enumerate(outputs)
    ]
    server.answer = lambda query: (200, {"Invocation": {"InvocationResults": {"InvocationResult": rows}}})
    return cloud.results("t-7")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (base64.b64encode(b"one\ntwo\n").decode()[:-1], b"one\ntw"),
        (base64.b64encode(b"one\ntwo\n").decode()[:-5], b"one"),
        ("no base64!", b""),
        ("!", b""),
        ("=", b""),
        (base64.b64encode("é".encode()).decode(), "é".encode()),
    ],
)
def test_an_output_that_is_cut_spoils_no_other_and_has_an_end(
    asked: tuple[Asked, Cloud], text: str, kept: bytes
) -> None:
    """The other hosts of the invocation are told of, and how the command ended is known without its output."""
    server, cloud = asked
    cut, other = results(server, cloud, text, base64.b64encode(b"done").decode())
    assert cut.output == kept
    assert other.output == b"done"
    report = progress_of(Run("t-1", "i-0", "i-0"), cut).report
    assert report is not None
    assert (report.kind, report.exit_code) == ("finish", 0)


@pytest.mark.parametrize("before", ["a" * LIMIT, "é" * LIMIT, "€" * LIMIT, "€" * LIMIT + "x"])
def test_a_report_is_read_from_what_is_left_of_an_output(asked: tuple[Asked, Cloud], before: str) -> None:
    """The cloud keeps both ends of 24 KB, and cuts wherever that is: in the middle of a character, too."""
    whole = (before + "\n" + REPORT).encode()
    kept = whole[: LIMIT // 2] + whole[-LIMIT // 2 :]
    server, cloud = asked
    rows = [{
        "InvokeId": "t-7", "InstanceId": "i-1", "InvocationStatus": "Success", "ExitCode": 0,
        "Output": base64.b64encode(kept).decode(), "Dropped": len(whole) - len(kept),
    }]  # fmt: skip
    server.answer = lambda query: (200, {"Invocation": {"InvocationResults": {"InvocationResult": rows}}})
    (found,) = cloud.results("t-7")
    report = progress_of(Run("t-1", "i-1", "i-1"), found).report
    assert report is not None
    said = read_output(report.output.decode(errors="replace"))[1]
    assert said is not None
    assert (said.order_id, said.outcome, said.current_version) == ("u-1", "succeeded", "2.0")


def test_a_clock_that_differs_is_one_problem_with_both_times(asked: tuple[Asked, Cloud]) -> None:
    """The cloud's time is that of its answer: its error does not have it."""
    server, cloud = asked
    refusal = {"Code": "InvalidTimeStamp.Expired", "Message": "Specified time stamp is expired.", "RequestId": "R"}
    server.answer = lambda query: (400, refusal)
    for call in (lambda: cloud.run(BATCH), lambda: cloud.agents(["i-1"]), lambda: cloud.results("t-7")):
        with pytest.raises(EcsProblem) as caught:
            call()
        assert (caught.value.code, caught.value.trouble) == ("EcsClockWrong", Trouble.ACCOUNT)
        here, there = r"\d{4}-\d\d-\d\d [0-9:]{8} UTC", r"\w{3}, \d\d \w{3} \d{4} [0-9:]{8} GMT"
        shown = f"this server's clock shows {here}, the cloud's {there}"
        assert re.search(shown, caught.value.message), caught.value.message
