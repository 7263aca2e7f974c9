"""A version that was kept is taken back later, without a network; wherever that is cut off, one version runs."""

import shutil
from pathlib import Path

import pytest

from backfleet_host.contract import Report
from backfleet_host.upgrader import roll_back_late
from host.upgrader.moments import CutPoint
from host.upgrader.scenarios import SERVICE, cut, cut_points, naming
from host.upgrader.small_host import PACKAGE, SmallHost, counted

REASON = "it crashes at every start"


def upgraded(root: Path) -> SmallHost:
    """Return a host that went from 1.0 to 2.0, whose service runs, and whose server is away."""
    shutil.rmtree(root, ignore_errors=True)
    host = SmallHost(root)
    for version in ("1.0", "2.0"):
        host.add(version, service=SERVICE)
        host.carry("upgrade" if host.version() else "install", version)
        host.serving = host.version()
    assert host.version() == "2.0"
    host.fetch_fails = True
    host.releases.clear()
    return host


def take(host: SmallHost) -> Report | None:
    return roll_back_late(host.installation, PACKAGE, REASON)


def check_is_back(host: SmallHost) -> None:
    """Check that the host is at 1.0 as if 2.0 had never been, except that it knows why."""
    package = host.installation.package(PACKAGE)
    assert (host.version(), package.version_before(), package.verified.resolve().name) == ("1.0", "", "1.0")
    assert (host.shim_runs(), host.serving, host.leftovers(), host.journal()) == ("1.0", "1.0", [], [])


def test_the_version_before_runs_again_and_the_other_is_quarantined(tmp_path: Path) -> None:
    host = upgraded(tmp_path / "host")
    report = take(host)
    assert report is not None
    assert (report.outcome, report.code, report.current_version) == ("failed", "RolledBack", "1.0")
    assert report.message == f"{REASON}; 1.0 runs again"
    check_is_back(host)
    assert host.is_quarantined()
    again = host.carry("upgrade", "2.0")
    assert (again.code, REASON in again.message) == ("RolledBack", True)


def test_there_is_one_way_back_and_no_chain_of_them(tmp_path: Path) -> None:
    host = upgraded(tmp_path / "host")
    assert take(host) is not None
    assert take(host) is None
    check_is_back(host)


@pytest.mark.parametrize("what", ["damaged", "quarantined", "not kept yet", "alone"])
def test_nothing_is_done_where_there_is_nothing_to_go_back_to(tmp_path: Path, what: str) -> None:
    host = upgraded(tmp_path / "host")
    if what == "damaged":
        program = host.folder / "versions" / "1.0" / "share" / "help"
        program.write_text("damaged")
    if what == "quarantined":
        folder = host.folder / "failed" / "1.0"
        folder.mkdir(parents=True)
        until = host.installation.clock() + 1000
        (folder / "reason.json").write_text(f'{{"reason": "bad", "at": 0, "until": {until}}}')
    if what == "not kept yet":
        (host.folder / "journal").write_text("")
    if what == "alone":
        (host.folder / "previous").unlink()
    before = host.picture()
    assert take(host) is None
    assert (host.version(), host.serving, host.picture()) == ("2.0", "2.0", before)


def test_the_power_fails_at_any_point_of_the_way_back(tmp_path: Path) -> None:
    """Either nothing had begun, and the next look begins again, or the recovery goes all the way back."""
    root = tmp_path / "host"
    points = cut_points(counted(lambda: upgraded(root), take))
    assert len(points) > 30
    seen = {_after(upgraded(root), point) for point in points}
    assert seen == {"1.0", "2.0"}


def _after(host: SmallHost, point: CutPoint) -> str:
    with naming(point):
        assert cut(point, lambda: take(host))
        host.reboot()
        host.serving = host.version()  # systemd starts the unit, which runs whatever is current
        host.carry("recover", order_id="r-1")
        found = host.version()
        assert host.journal() == []
        if found == "2.0":
            assert host.shim_runs() == host.serving == "2.0"
            assert take(host) is not None
        check_is_back(host)
        return found
