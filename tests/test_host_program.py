"""The host program that a server gives to hosts: parts that need it do not start without it."""

import hashlib
import os
from pathlib import Path

import pytest

from backfleet import app, host_program
from backfleet.clock import utc_now
from backfleet.ids import draw
from backfleet.settings import Settings


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return where it is looked for; nothing is there."""
    file = tmp_path / "backfleet-host.pyz"
    monkeypatch.setattr(host_program, "FILE", file)
    return file


@pytest.mark.parametrize("part", sorted(host_program.NEEDED_BY))
def test_a_server_without_it_does_not_start(program: Path, tmp_path: Path, part: str) -> None:
    """Nothing is written; the message says how to build it."""
    settings = Settings(data=tmp_path / "data", only=(part, "agents"))
    with pytest.raises(app.CannotStart, match="make host-program"):
        app.serve(settings, clock=utc_now, draw=draw, announce=print)
    assert not (tmp_path / "data").exists()


def test_the_agents_part_starts_without_it(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It hands out what others have written."""

    def bound(_settings: Settings) -> app.Listeners:
        raise app.CannotStart("it got as far as the listeners")

    monkeypatch.setattr(app, "bind", bound)
    mask = os.umask(0o022)
    try:
        with pytest.raises(app.CannotStart, match="as far as the listeners"):
            app.serve(Settings(data=tmp_path, only=("agents",)), clock=utc_now, draw=draw, announce=print)
    finally:
        os.umask(mask)


def test_its_hash_follows_the_file(program: Path) -> None:
    """Empty while there is none; that of a new file at once."""
    assert host_program.sha256() == ""
    for content in (b"one", b"three"):
        program.write_bytes(content)
        assert host_program.find() == program
        assert host_program.sha256() == hashlib.sha256(content).hexdigest()
