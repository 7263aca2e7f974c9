"""How far tasks are: counts, rate, expected end, and a picture that fits any terminal."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from backfleet.cli._progress import Progress, line, screen


def item(number: int, *, over: bool = False, code: str = "", stage: str = "download") -> dict[str, Any]:
    return {
        "instanceId": f"mi-{number:020d}", "clientId": f"c-{number:020d}", "clientStatus": "UPGRADING",
        "stage": stage, "fromVersion": "1.0", "toVersion": "2.0", "errorCode": code,
        "message": "why " * 40 if code else "", "completedTime": 1 if over else None,
    }  # fmt: skip


def some(total: int, done: int, failed: int = 0, seconds: float = 60, before: int = 0) -> Progress:
    items = [item(at, over=at < done, code="UnhealthyVersion" if at < failed else "") for at in range(total)]
    return Progress(tuple(items), seconds, before)


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        (some(40, 0), "0 of 40 done"),
        (some(40, 2), "2 of 40 done"),  # too few to tell
        (some(40, 12, 1), "12 of 40 done, 1 failed, 12 a minute, about 2 min left"),
        (some(40, 12, before=9, seconds=120), "12 of 40 done, 1.5 a minute, about 19 min left"),
        (some(40, 12, seconds=2), "12 of 40 done"),
        (some(1000, 100, seconds=3600), "100 of 1000 done, 1.7 a minute, about 9.0 h left"),
        (some(40, 40), "40 of 40 done"),
        (
            Progress((item(0, over=True, code="AlreadyCurrent"), item(1, over=True)), 1),
            "2 of 2 done, 1 already current",
        ),
        (some(0, 0), "0 of 0 done"),
    ],
)
def test_a_line_says_how_far_how_fast_and_until_when(progress: Progress, expected: str) -> None:
    """Once enough is over to tell."""
    assert line(progress) == expected


def test_a_few_hosts_are_shown_one_by_one() -> None:
    items = (item(0, over=True), item(1))
    lines = screen(Progress(items, 1.0, 0, {"mi-00000000000000000000": "web-1"}), 100, 24)
    assert lines[0] == "[##########..........] 1 of 2 done"
    assert [text.split()[0] for text in lines[1:]] == ["HOST", "web-1", "mi-00000000000000000001"]


def test_more_hosts_than_lines_become_counts_with_what_failed() -> None:
    lines = screen(some(500, 100, 3), 80, 24)
    assert len(lines) <= 23
    assert lines[0].startswith("[###!................] 100 of 500 done, 3 failed")
    assert [" ".join(text.split()) for text in lines[1:4]] == ["97 done", "400 download", "3 failed: UnhealthyVersion"]
    assert lines[4].split() == ["HOST", "CODE", "MESSAGE"]
    assert len(lines[5:]) == 3
    assert all(text.endswith("…") for text in lines[5:])


@given(
    st.integers(0, 60),
    st.integers(0, 60),
    st.integers(0, 60),
    st.integers(20, 200),
    st.integers(6, 60),
    st.text(max_size=90),
)
def test_a_picture_fits_any_terminal(total: int, done: int, failed: int, width: int, height: int, name: str) -> None:
    """No line is too long and none is pushed out, so that redrawing it never leaves pieces behind."""
    made = some(total, min(done, total), min(failed, done, total))
    names = {str(each["instanceId"]): name for each in made.items}
    lines = screen(Progress(made.items, made.seconds, 0, names), width, height)
    assert len(lines) < height
    assert all(cell_len(each) <= width and each.isprintable() for each in lines)
