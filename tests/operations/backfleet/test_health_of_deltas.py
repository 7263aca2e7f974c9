"""What `backfleet doctor` says of deltas: which are not made, why, and what to do."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from backfleet import releases
from backfleet.ids import Draw
from backfleet.storage import Database
from operations.environment import Environment, make_environment

NAMES = [f"rclone 1.{minor} from 1.{minor - 1} (linux-amd64)" for minor in range(1, 8)]
GOOD = releases.DeltaOutlook(has_library=True, may_sign=True, free=900, too_large={}, waiting={}, failed={})
WHOLE = "hosts download whole artifacts instead"


@pytest.fixture
def env(sqlite_database: Database, tmp_path: Path, now: datetime, draw: Draw) -> Environment:
    return make_environment(sqlite_database, tmp_path, now, draw)


def finding(env: Environment) -> tuple[str, str, str, list[str]]:
    """Return the severity of the finding, its text, its advice, and the names in it."""
    status, body = env.ask("2026-11-01", "GetServerHealth")
    assert status == 200, body
    (found,) = (each for each in body["Findings"] if each["Code"] == "Deltas")
    return found["Severity"], found["Found"], found["Advice"], found["Subjects"]


def with_megabytes(env: Environment, megabytes: int) -> Environment:
    settings = replace(env.services.settings, delta_megabytes=megabytes)
    env.services = replace(env.services, settings=settings)
    return env


@pytest.mark.parametrize(
    ("outlook", "severity", "text", "advice", "named"),
    [
        pytest.param({}, "Ok", "every delta that is of use is made, or is about to be", "", 0, id="all are made"),
        pytest.param({"may_sign": False}, "Ok", "none are made: the targets key is kept elsewhere", "", 0,
                     id="another signs"),
        pytest.param({"has_library": False}, "Warning", f"bsdiff4 is not installed, so none are made: {WHOLE}",
                     "pip install bsdiff4", 0, id="no library"),
        pytest.param({"too_large": {NAMES[0]: 1500, NAMES[1]: 2100}}, "Note",
                     f"2 delta(s) ({NAMES[0]}, {NAMES[1]}) would take up to 2100 MB of memory, "
                     f"and delta_megabytes is 1000: {WHOLE}", "raise `delta_megabytes`", 2, id="too large"),
        pytest.param({"waiting": {NAMES[0]: 950}}, "Note", f"1 delta(s) ({NAMES[0]}) wait(s) for 950 MB of memory, "
                     f"and 900 MB are free here: {WHOLE}", "free memory", 1, id="too little is free"),
        pytest.param({"failed": {NAMES[0]: "making it took more than 3600 s"}}, "Note",
                     f"1 delta(s) ({NAMES[0]}) failed: making it took more than 3600 s", "within a day", 1,
                     id="one failed"),
    ],
)  # fmt: skip
def test_each_reason_has_its_words(
    env: Environment,
    monkeypatch: pytest.MonkeyPatch,
    outlook: dict[str, Any],
    severity: str,
    text: str,
    advice: str,
    named: int,
) -> None:
    asked: list[int] = []

    def answer(tx: object, repository: object, *, megabytes: int) -> releases.DeltaOutlook:
        asked.append(megabytes)
        return replace(GOOD, **outlook)

    monkeypatch.setattr(releases, "delta_outlook", answer)
    found = finding(with_megabytes(env, 1000))
    assert (found[0], len(found[3]), asked) == (severity, named, [1000])
    assert text in found[1]
    assert advice in found[2]
    assert bool(found[2]) == (severity != "Ok")


def test_none_are_made_where_the_setting_says_so(env: Environment) -> None:
    assert finding(with_megabytes(env, 0)) == ("Ok", "none are made (delta_megabytes is 0)", "", [])
