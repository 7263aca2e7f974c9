"""Reports about tasks: parameters, and which bytes of the output they carry."""

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet_host.agent.protocol import task_reports
from backfleet_host.agent.protocol.task_reports import TaskReport, TaskTimes, final_cut, next_chunk, read_report

TIMES = TaskTimes("t-1", 2, 1000, 2000)


@pytest.mark.parametrize(
    ("report", "path"),
    [
        (task_reports.running(TIMES, b"x"), "running?taskId=t-1&invokeVersion=2&start=1000"),
        (
            task_reports.finished(TIMES, 3, 0, b""),
            "finish?taskId=t-1&invokeVersion=2&start=1000&end=2000&exitCode=3&dropped=0",
        ),
        (
            task_reports.timed_out(TIMES, 7, b""),
            "timeout?taskId=t-1&invokeVersion=2&start=1000&end=2000&exitCode=1&dropped=7",
        ),
        (
            task_reports.stopped(TaskTimes("t-1", 0)),
            "stopped?taskId=t-1&invokeVersion=0&start=0&end=0&exitcode=0&dropped=0&result=killed",
        ),
        (
            task_reports.error(TaskTimes("t-1", 0), "-9", "a b"),
            "error?taskId=t-1&invokeVersion=0&start=0&end=0&exitCode=0&dropped=0&errCode=-9&errDesc=a+b",
        ),
        (
            task_reports.invalid(TaskTimes("t-1", 0), "TypeInvalid", "OrdersOnly"),
            "invalid?taskId=t-1&invokeVersion=0&param=TypeInvalid&value=OrdersOnly",
        ),
        (task_reports.verified(TaskTimes("t-1", 0)), "verified?taskId=t-1&invokeVersion=0"),
        (task_reports.file_refused("f-1", "p", "v"), "invalid?taskId=f-1&taskType=sendfile&param=p&value=v"),
    ],
    ids=lambda value: value.name if isinstance(value, TaskReport) else "",
)
def test_each_report_has_the_parameters_of_the_official_agent(report: TaskReport, path: str) -> None:
    """Names, parameters and their order as captured from it."""
    assert report.path == f"/luban/api/v1/task/{path}"
    assert read_report(report.to_json()) == report


def test_a_long_errdesc_is_cut() -> None:
    """At 255 bytes, without half a character at the end."""
    query = dict(task_reports.error(TIMES, "-13", "ü" * 500).query)
    assert query["errDesc"] == "ü" * 127


@given(st.text(), st.binary())
def test_a_report_is_read_from_disk_and_url_as_it_was_written(text: str, body: bytes) -> None:
    """Whatever is in it."""
    report = task_reports.error(TIMES, "-13", text, body=body)
    assert read_report(report.to_json()) == report
    query = report.path.split("?", 1)[1]
    assert parse_qsl(query, keep_blank_values=True) == list(report.query)


@pytest.mark.parametrize(
    ("total", "sent", "quota", "carried", "dropped"),
    [(30004, 0, 12000, 12000, 18004), (108898, 6144, 12000, 5856, 96898), (108898, 6144, 24000, 17856, 84898),
     (13000, 0, 12000, 12000, 1000), (5, 0, 12000, 5, 0), (5, 5, 12000, 0, 0)],
)  # fmt: skip
def test_the_final_report_carries_what_the_quota_leaves(
    total: int, sent: int, quota: int, carried: int, dropped: int
) -> None:
    """Measurements of the protocol page, section 7.2."""
    assert final_cut(total, sent, quota) == (carried, dropped)


@given(st.integers(0, 10**7), st.integers(0, 8048), st.integers(12000, 10**6))
def test_every_byte_of_output_is_sent_or_counted_as_dropped(total: int, sent: int, quota: int) -> None:
    """Chunks, dropped bytes and tail together are the output."""
    total = max(total, sent)
    carried, dropped = final_cut(total, sent, quota)
    assert sent + carried + dropped == total
    assert sent + carried <= max(quota, sent)


@given(st.integers(0, 10**6))
def test_chunks_end_after_the_head(printed: int) -> None:
    """At most 2048 bytes each, and none once more than 6000 have been sent."""
    sent = 0
    while chunk := next_chunk(printed, sent):
        assert chunk <= 2048
        sent += chunk
    assert sent == (printed if printed <= 6144 else 6144)
