"""When the watchdog finds that the agent of a version that was kept does not run any more: after two looks."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backfleet_host import upgrader
from backfleet_host.agent import machine
from backfleet_host.agent.setup import failing_starts
from backfleet_host.files import hold_lock
from backfleet_host.layout import HOST_PACKAGE, Places


class Watched:
    """A host whose unit says what a test says, and its watchdog."""

    def __init__(self, root: Path) -> None:
        self.places, self.state, self.restarts = Places(root), "active", 0
        self.reasons: list[str] = []
        self.slept = 0.0
        self._lock: int | None = None
        self.places.agent.mkdir()
        self.at("2.0")

    def at(self, version: str) -> None:
        """Let this version be the current one."""
        package = self.places.root / HOST_PACKAGE
        (package / "versions" / version).mkdir(parents=True)
        (package / "current").unlink(missing_ok=True)
        (package / "current").symlink_to(f"versions/{version}")

    def agent(self, *, connected: bool = True) -> None:
        """Let an agent run from now on."""
        self._lock = hold_lock(self.places.lock)
        if connected:
            self.places.ready.write_text("{}")

    def end_agent(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def look(self, more: int = 0) -> list[str]:
        """Let systemd start the agent so many times, and look."""
        self.restarts += more
        return failing_starts.check_once(self.places.root, lambda _unit: (self.state, self.restarts), self._sleep)

    def take_back(self, _installation: object, name: str, reason: str) -> Any:
        assert name == HOST_PACKAGE
        self.reasons.append(reason)
        return SimpleNamespace(code="RolledBack", message=reason)

    def _sleep(self, seconds: float) -> None:
        self.slept += seconds


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    made = Watched(tmp_path)
    monkeypatch.setattr(upgrader, "installation_at", lambda _root: None)
    monkeypatch.setattr(upgrader, "roll_back_late", made.take_back)
    yield made
    made.end_agent()


def test_an_agent_that_runs_is_left_alone(watched: Watched) -> None:
    """Also while its server is away, after an administrator's restarts, and after one crash in a night."""
    watched.agent(connected=False)
    assert [watched.look(more) for more in (0, 0, 1, 4, 4)] == [[]] * 5
    assert (watched.reasons, watched.slept) == ([], 0.0)


@pytest.mark.parametrize("state", ["active", "activating"])
def test_no_agent_in_two_looks_although_its_unit_is_up(watched: Watched, state: str) -> None:
    """It hangs at its start, or crashes before it is the agent of its root."""
    watched.state = state
    assert watched.look() == []
    assert watched.look() == [f"RolledBack: {watched.reasons[0]}"]
    assert watched.slept == 2 * failing_starts.WATCHED_SECONDS


def test_an_agent_that_crashes_after_it_was_there(watched: Watched) -> None:
    """It is often found running for a moment; what tells is how often it is started."""
    watched.agent(connected=False)
    assert watched.look() == []
    assert watched.look(5) == []
    assert watched.look(30) != []
    assert watched.reasons == ["2.0 was kept, and its agent does not run any more (30 starts since the last check)"]


def test_an_agent_by_hand_beside_its_unit_is_left_alone(watched: Watched) -> None:
    """The unit cannot start a second one, again and again; the host is not stranded."""
    watched.agent()
    assert [watched.look(30) for _ in range(4)] == [[]] * 4


@pytest.mark.parametrize("state", ["inactive", "failed", ""])
def test_an_agent_that_somebody_stopped_is_left_alone(watched: Watched, state: str) -> None:
    """And one of which systemd says nothing."""
    watched.state = state
    assert [watched.look(30) for _ in range(4)] == [[]] * 4


def test_looks_count_for_one_version_and_one_boot(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    assert watched.look() == []
    watched.at("2.1")
    assert watched.look() == []
    monkeypatch.setattr(machine, "boot_id", lambda: "another")
    assert watched.look() == []
    assert watched.look() != []


def test_a_look_that_succeeds_begins_anew(watched: Watched) -> None:
    assert watched.look() == []
    watched.agent()
    assert watched.look() == []
    watched.end_agent()
    assert watched.look() == []
    assert watched.look() != []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": "2.0"}', '{"restarts": "x", "failed": 1}'])
def test_what_cannot_be_read_was_not_seen(watched: Watched, content: str) -> None:
    watched.places.starts.write_text(content)
    assert watched.look() == []
    assert watched.look() != []
