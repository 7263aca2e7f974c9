"""Leaving the control group of the service that an order was started from. systemd's own tool is the seam."""

import os
from pathlib import Path

import pytest

from backfleet_host.agent.execution.systemd_scope import move_apart, words_for


@pytest.fixture
def systemd(tmp_path: Path) -> Path:
    """As if systemd had booted this machine."""
    folder = tmp_path / "systemd"
    folder.mkdir()
    return folder


def busctl(folder: Path, text: str) -> dict[str, str]:
    """An environment whose busctl writes down what it is asked, and then does this."""
    programs = folder / "programs"
    programs.mkdir()
    program = programs / "busctl"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {folder}/asked\n{text}\n')
    program.chmod(0o755)
    return {"PATH": f"{programs}:/usr/bin:/bin"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may ask systemd for that")
def test_f01_f04_an_order_leaves_the_group_of_its_service(tmp_path: Path, systemd: Path) -> None:
    """F01, F04: this very process, in a scope of its own."""
    assert move_apart("backfleet-t-1-9", systemd=systemd, environment=busctl(tmp_path, "exit 0"))
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == words_for("busctl", os.getpid(), "backfleet-t-1-9")[1:]
    signature = asked[asked.index("StartTransientUnit") :]
    assert signature[:4] == ["StartTransientUnit", "ssa(sv)a(sa(sv))", "backfleet-t-1-9.scope", "fail"]
    assert signature[4:] == ["2", "PIDs", "au", "1", str(os.getpid()), "Description", "s", "Backfleet order", "0"]


def test_without_systemd_there_is_nothing_to_leave(tmp_path: Path) -> None:
    """It is not even asked."""
    assert not move_apart("x", systemd=tmp_path / "none", environment=busctl(tmp_path, "exit 0"))
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize("text", ["exit 1", "sleep 60"], ids=["will not", "hangs"])
def test_a_systemd_that_does_not_help_stops_no_order(
    tmp_path: Path, systemd: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal decides if the order is ended after all."""
    monkeypatch.setattr("backfleet_host.agent.execution.systemd_scope.SECONDS", 0.3)
    assert not move_apart("x", systemd=systemd, environment=busctl(tmp_path, f"exec {text}"))


def test_without_its_tool_neither(tmp_path: Path, systemd: Path) -> None:
    """As on a system that has systemd and little else."""
    assert not move_apart("x", systemd=systemd, environment={"PATH": str(tmp_path)})
