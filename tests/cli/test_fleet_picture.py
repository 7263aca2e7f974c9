"""The picture of `backfleet top`."""

from typing import Any

import pytest

from backfleet.cli._fleet_picture import STATES, picture

NOW = 1_767_323_045.0


def cell(version: str, site: str, **counts: int) -> dict[str, Any]:
    return {"PackageName": "courier", "ClientVersion": version, "Site": site} | dict.fromkeys(STATES, 0) | counts


def fleet(*cells: dict[str, Any]) -> dict[str, Any]:
    names = ("Clients", *STATES)
    return {"Counts": {name: sum(each.get(name, 0) for each in cells) for name in names}, "Map": list(cells)}


TWO = fleet(cell("1.0", "berlin", Clients=10, Behind=8, Failed=2), cell("2.0", "", Clients=30, Current=30, Silent=1))


def test_it_begins_with_how_many_clients_are_in_which_state() -> None:
    lines = picture(TWO, [], [], NOW, (120, 40))
    assert lines[0] == f"[{'#' * 22}{'!' * 2}{'.' * 6}] 40 clients: 30 current, 8 behind, 2 failed, 1 silent"
    assert lines[1] == "2026-01-02 03:04:05Z"


def test_the_largest_group_is_first_and_zeros_are_left_out() -> None:
    lines = picture(TWO, [], [], NOW, (120, 40))
    assert lines[3].split() == ["PACKAGE", "VERSION", "SITE", "CLIENTS", *map(str.upper, STATES)]
    assert [line.split() for line in lines[4:]] == [
        ["courier", "2.0", "-", "30", "30", "1"],
        ["courier", "1.0", "berlin", "10", "8", "2"],
    ]


def test_a_narrow_terminal_leaves_out_states_that_nobody_is_in() -> None:
    """And no state that somebody is in: what failed, or is silent, stands in the last columns."""
    lines = picture(TWO, [], [], NOW, (85, 40))
    assert lines[3].split() == ["PACKAGE", "VERSION", "SITE", "CLIENTS", "CURRENT", "BEHIND", "FAILED", "SILENT"]
    narrow = picture(TWO, [], [], NOW, (62, 40))
    assert narrow[:2] == [f"[{'#' * 22}{'!' * 2}{'.' * 6}] 40 clients", "30 current, 8 behind, 2 failed, 1 silent"]


def test_what_runs_is_below() -> None:
    ring = {"Succeeded": 3, "AlreadyThere": 1, "Failed": 1}
    rollouts = [
        {"Name": "to 2.0", "State": "running", "Members": 9, "Rings": [ring], "StartedTime": 1, "WaitsFor": "approval"},
        {"Name": "ended", "State": "succeeded", "Members": 1, "Rings": [], "StartedTime": 1, "EndedTime": 2},
        {"Name": "not begun", "State": "created", "Members": 1, "Rings": []},
    ]
    tasks = [
        {"TaskId": "t-1", "Name": "upgrade", "Description": "created", "Progress": 40},
        {"TaskId": "t-2", "Name": "upgrade", "Description": "finished", "Progress": 100},
    ]
    assert picture(TWO, rollouts, tasks, NOW, (120, 40))[-2:] == [
        "rollout to 2.0: running, 4 of 9 done, waits for approval",
        "task t-1 upgrade: 40 %",
    ]


@pytest.mark.parametrize("size", [(20, 5), (40, 10), (80, 24), (200, 60)])
def test_it_fits_the_terminal(size: tuple[int, int]) -> None:
    """With thousands of groups, and names that are wide or not printable."""
    many = fleet(*(cell(f"1.{number}", "北京\x1b[2J" * 9, Clients=1) for number in range(3000)))
    lines = picture(many, [], [], NOW, size)
    assert len(lines) < size[1]
    assert all(len(line) <= size[0] for line in lines)
    assert "\x1b" not in "".join(lines)
    assert any("more" in line for line in lines) or size[0] < 30


def test_an_empty_fleet_is_a_picture_too() -> None:
    assert picture(fleet(), [], [], NOW, (80, 24))[0] == f"[{'.' * 30}] 0 clients"
