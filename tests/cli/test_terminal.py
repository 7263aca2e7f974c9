"""What is redrawn in a terminal, as the person in front of it sees it: small, with too many hosts, resized, stopped."""

from collections.abc import Iterator
from typing import Any

import pytest

from cli.one_task import OneTask
from cli.terminal import CTRL_C, Terminal

NAMES = ("Clients", "Current", "Behind", "Moving", "Failed", "Silent", "Drifted", "Withdrawn")
HOSTS = 500


@pytest.fixture
def task() -> Iterator[OneTask]:
    """A task on 500 hosts, of which three failed."""
    with OneTask() as made:
        made.items = [
            {"instanceId": f"mi-{number:020d}", "clientId": f"c-{number:020d}", "clientStatus": "UPGRADING",
             "stage": ("fetch", "switch")[number % 2], "fromVersion": "1.0", "toVersion": "2.0", "errorCode": "",
             "message": ""}
            for number in range(HOSTS)
        ]  # fmt: skip
        for item in made.items[:3]:
            item |= {"errorCode": "Upgrade.Unhealthy", "message": "it does not start", "completedTime": 1}
        yield made


class OneFleet(OneTask):
    """Answers every call with all that `backfleet top` asks for."""

    clients = 500

    def answer(self, status: int) -> dict[str, Any]:
        counts = dict.fromkeys(NAMES, 0)
        cells = [
            {"PackageName": "courier", "ClientVersion": f"1.{number}", "Site": f"site {number}"} | counts
            | {"Clients": 1, "Current": 1}
            for number in range(self.clients)
        ]  # fmt: skip
        of_all = counts | {"Clients": self.clients, "Current": self.clients}
        moving = {"TaskId": "t-1", "Name": "upgrade", "Description": "created", "Progress": 40}
        return {"Counts": of_all, "Map": cells, "Rollouts": [], "Tasks": [moving]}


@pytest.fixture
def fleet() -> Iterator[OneFleet]:
    """A fleet of 500 sites, each with a version of its own."""
    with OneFleet() as made:
        yield made


def is_one_picture(shown: list[str], bar: str, lines: int) -> bool:
    """Return whether a screen has one picture from its first line on, and nothing that an earlier one left."""
    return bool(shown) and shown[0].startswith("[") and sum(bar in line for line in shown) == 1 and len(shown) <= lines


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (40, 12)])
def test_progress_of_more_hosts_than_lines_is_one_picture_and_its_end_is_a_summary(
    task: OneTask, columns: int, lines: int
) -> None:
    words = ["task", "watch", "t-1", "--endpoint", task.endpoint]
    with Terminal(words, columns, lines) as terminal:
        shown = terminal.wait_for(lambda shown: any("Unhealthy" in line for line in shown))
        assert is_one_picture(shown, "of 500 done", lines), shown
        assert any(line.split() == ["249", "fetch"] or line.split() == ["248", "fetch"] for line in shown), shown
        task.is_over = True
        assert terminal.wait() == 0
        assert not [line for line in terminal.shown if line.startswith("[")], "the picture is gone"
        assert any("it does not" in line for line in terminal.shown), terminal.shown
        assert "and 497 that did well" in terminal.shown
        assert not terminal.screen.cursor.hidden


@pytest.mark.parametrize("sizes", [((80, 24), (40, 12)), ((40, 12), (100, 30))], ids=["smaller", "larger"])
def test_a_terminal_that_is_resized_has_one_picture_of_its_new_size(
    task: OneTask, sizes: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    words = ["task", "watch", "t-1", "--endpoint", task.endpoint]
    (columns, lines), then = sizes
    with Terminal(words, columns, lines) as terminal:
        terminal.wait_for(lambda shown: any("of 500 done" in line for line in shown))
        terminal.resize(*then)
        task.items[4] |= {"completedTime": 1}
        shown = terminal.wait_for(lambda shown: any("4 of 500 done" in line for line in shown))
        assert is_one_picture(shown, "of 500 done", then[1]), shown
        assert max(map(len, shown)) <= then[0]


def test_ctrl_c_leaves_a_clean_screen_with_the_id_of_the_task(task: OneTask) -> None:
    words = ["task", "watch", "t-1", "--endpoint", task.endpoint]
    with Terminal(words, 80, 24) as terminal:
        terminal.wait_for(lambda shown: any("of 500 done" in line for line in shown))
        terminal.press(CTRL_C)
        assert terminal.wait() == 130
        shown = [line.removeprefix("^C") for line in terminal.shown]
        assert shown == [
            "stopped waiting; t-1 goes on without this command",
            "go on with `backfleet task wait t-1`",
        ]
        assert not terminal.screen.cursor.hidden


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (40, 12)])
def test_top_draws_a_fleet_that_has_more_lines_than_the_screen(fleet: OneFleet, columns: int, lines: int) -> None:
    words = ["top", "--seconds", "1", "--endpoint", fleet.endpoint]
    with Terminal(words, columns, lines) as terminal:
        shown = terminal.wait_for(lambda shown: any("task t-1" in line for line in shown))
        assert is_one_picture(shown, "500 clients"[: columns - 34], lines), shown
        assert any(line.startswith("... and ") for line in shown)
        fleet.clients = 3
        terminal.resize(60, 20)
        shown = terminal.wait_for(lambda shown: any(" 3 clients" in line for line in shown))
        assert is_one_picture(shown, "3 clients", 20), shown
        assert not [line for line in shown if line.startswith("... and ")]
        terminal.press(CTRL_C)
        assert terminal.wait() == 130
        assert [line for line in terminal.shown if line != "^C"] == [], "nothing is left of it"
        assert not terminal.screen.cursor.hidden
