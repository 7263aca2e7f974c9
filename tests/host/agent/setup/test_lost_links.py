"""The running agent has lost links of its own package made again; what it finds in order it leaves alone."""

import logging
import threading
from pathlib import Path

import pytest

from backfleet_host.agent.setup import own_package
from backfleet_host.agent.setup.lost_links import LINKS, LinkWatch
from backfleet_host.layout import HOST_PACKAGE


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with one version, and both links to it."""
    folder = tmp_path / HOST_PACKAGE
    (folder / "versions" / "1.0").mkdir(parents=True)
    for name in LINKS:
        (folder / name).symlink_to("versions/1.0")
    return folder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The roots that were to be mended."""
    roots: list[Path] = []

    def mend(root: Path) -> str:
        roots.append(root)
        return "it leads to 1.0 again"

    monkeypatch.setattr(own_package, "mend", mend)
    return roots


@pytest.mark.parametrize("lost", [(), ("current",), ("verified",), LINKS])
def test_only_a_lost_link_is_mended(package: Path, asked: list[Path], lost: tuple[str, ...]) -> None:
    for name in lost:
        (package / name).unlink()
    LinkWatch(package.parent, 60).run_once()
    assert asked == ([package.parent] if lost else [])


def test_a_link_that_became_a_file_is_lost(package: Path, asked: list[Path]) -> None:
    (package / "current").unlink()
    (package / "current").write_bytes(b"")
    LinkWatch(package.parent, 60).run_once()
    assert asked == [package.parent]


def test_a_host_without_the_package_has_nothing_to_lose(tmp_path: Path, asked: list[Path]) -> None:
    LinkWatch(tmp_path, 60).run_once()
    assert asked == []


def test_what_cannot_be_mended_does_not_end_the_agent(
    package: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried again; the log says so."""
    (package / "verified").unlink()
    stopping = threading.Event()
    tries: list[Path] = []

    def fail(root: Path) -> str:
        tries.append(root)
        if len(tries) == 3:
            stopping.set()
        raise OSError("read-only")

    monkeypatch.setattr(own_package, "mend", fail)
    with caplog.at_level(logging.WARNING):
        LinkWatch(package.parent, 0.01).run(stopping)
    assert len(tries) == 3
    assert "cannot be made again: read-only" in caplog.text
