"""Scopes for processes that must outlive the service they were started from. `busctl` is replaced by a script."""

import os
from pathlib import Path

import pytest

from backfleet_host.agent.execution.systemd_scope import move_to_own_scope, scope_command


@pytest.fixture
def systemd(tmp_path: Path) -> Path:
    """A folder that exists only where systemd has booted the machine."""
    folder = tmp_path / "systemd"
    folder.mkdir()
    return folder


def busctl(folder: Path, text: str) -> dict[str, str]:
    """Return an environment whose busctl writes down its arguments and then runs this."""
    programs = folder / "programs"
    programs.mkdir()
    program = programs / "busctl"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {folder}/asked\n{text}\n')
    program.chmod(0o755)
    return {"PATH": f"{programs}:/usr/bin:/bin"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may ask systemd for that")
def test_f01_f04_an_order_leaves_the_control_group_of_its_service(tmp_path: Path, systemd: Path) -> None:
    """F01, F04: this very process moves into a scope of its own."""
    assert move_to_own_scope("backfleet-t-1-9", systemd=systemd, environment=busctl(tmp_path, "exit 0"))
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == scope_command("busctl", os.getpid(), "backfleet-t-1-9")[1:]
    signature = asked[asked.index("StartTransientUnit") :]
    assert signature[:4] == ["StartTransientUnit", "ssa(sv)a(sa(sv))", "backfleet-t-1-9.scope", "fail"]
    assert signature[4:] == ["2", "PIDs", "au", "1", str(os.getpid()), "Description", "s", "Backfleet order", "0"]


def test_without_systemd_no_scope_is_asked_for(tmp_path: Path) -> None:
    """There is no control group to leave."""
    assert not move_to_own_scope("x", systemd=tmp_path / "none", environment=busctl(tmp_path, "exit 0"))
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize("text", ["exit 1", "sleep 60"], ids=["will not", "hangs"])
def test_a_systemd_that_fails_stops_no_order(
    tmp_path: Path, systemd: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the order is ended after all, the journal is recovered."""
    monkeypatch.setattr("backfleet_host.agent.execution.systemd_scope.ANSWER_SECONDS", 0.3)
    assert not move_to_own_scope("x", systemd=systemd, environment=busctl(tmp_path, f"exec {text}"))


def test_without_busctl_no_scope_is_asked_for(tmp_path: Path, systemd: Path) -> None:
    """As on a system that has systemd and little else."""
    assert not move_to_own_scope("x", systemd=systemd, environment={"PATH": str(tmp_path)})
