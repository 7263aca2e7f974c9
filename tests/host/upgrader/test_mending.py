"""Files of a package are lost, also in the middle of an upgrade: the version that was verified last runs again."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from backfleet_host.upgrader import mend_lost
from host.upgrader.scenarios import SERVICE, CutPoint, cut, cut_points, naming
from host.upgrader.small_host import PACKAGE, SmallHost, counted


def installed(root: Path) -> SmallHost:
    """Return a host with 1.0, whose service runs, and 2.0 to upgrade to."""
    shutil.rmtree(root, ignore_errors=True)
    host = SmallHost(root)
    for version in ("1.0", "2.0"):
        host.add(version, service=SERVICE)
    host.carry("install", "1.0")
    host.serving = "1.0"
    return host


def upgrade(host: SmallHost) -> object:
    return host.carry("upgrade", "2.0", order_id="u-1")


def mend(host: SmallHost) -> str:
    return mend_lost(host.installation, PACKAGE, Path.exists)


def half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def first_line(file: Path) -> None:
    file.write_bytes(file.read_bytes().split(b"\n")[0] + b"\n")


@pytest.mark.parametrize("lose", [Path.unlink, half, first_line], ids=["gone", "half", "first line"])
def test_the_power_takes_the_journal_of_an_upgrade_with_it(tmp_path: Path, lose: Callable[[Path], object]) -> None:
    """Wherever it is cut off, a version that was verified serves afterwards, and the next order finds all in order."""
    root = tmp_path / "host"
    points = cut_points(counted(lambda: installed(root), upgrade))
    assert len(points) > 30
    for point in points[::4]:
        host = installed(root)
        with naming(point):
            _check(host, point, lose)


def _check(host: SmallHost, point: CutPoint, lose: Callable[[Path], object]) -> None:
    assert cut(point, lambda: upgrade(host))
    host.reboot()
    host.serving = host.version()  # systemd starts the unit, which runs whatever is current
    is_verified = (host.folder / "journal").exists() and b'"proven"' in (host.folder / "journal").read_bytes()
    was_open = (host.folder / "unproven").exists()
    if (host.folder / "journal").exists():
        lose(host.folder / "journal")
    mend(host)
    host.carry("recover", order_id="r-1")  # the watchdog's next step: a journal that can still be read
    found = host.version()
    assert found == host.shim_runs() == host.serving
    assert found == "1.0" or is_verified or not was_open
    assert host.journal() == []
    host.carry("upgrade", "2.0")
    assert (host.version(), host.leftovers()) == ("2.0", [])


@pytest.mark.parametrize("what", ["current", "versions/2.0", "versions/2.0/bin/courier"])
@pytest.mark.parametrize("known", [{"verified", "previous"}, {"previous"}])
def test_a_kept_version_that_is_lost_leaves_the_one_before_it(tmp_path: Path, what: str, known: set[str]) -> None:
    host = installed(tmp_path / "host")
    upgrade(host)
    lost = host.folder / what
    if lost.is_dir() and not lost.is_symlink():
        shutil.rmtree(lost)
    else:
        lost.unlink()
    if "verified" not in known:
        (host.folder / "verified").unlink()
    assert "1.0" in mend(host) or what == "current"
    assert host.version() == ("2.0" if what == "current" and "verified" in known else "1.0")
    assert mend(host) == ""


def test_nothing_is_mended_that_is_in_order_or_cannot_be(tmp_path: Path) -> None:
    host = installed(tmp_path / "host")
    before = host.picture()
    assert mend(host) == ""
    assert host.picture() == before
    host.add("3.0", service=SERVICE)
    host.carry("stage", "3.0")
    (host.folder / "current").unlink()
    (host.folder / "verified").unlink()
    assert mend(host) == "", "of two versions, one may be staged only"


@pytest.mark.parametrize("how", ["gone", "elsewhere", "to nothing", "a file"])
def test_a_lost_link_to_the_version_verified_last_is_made_again(tmp_path: Path, how: str) -> None:
    """While all else is there, for the next loss would leave nothing to go by."""
    host = installed(tmp_path / "host")
    upgrade(host)
    verified = host.folder / "verified"
    verified.unlink()
    if how == "elsewhere":
        verified.symlink_to("/nowhere")
    elif how == "to nothing":
        verified.symlink_to("versions/0.1")
    elif how == "a file":
        verified.write_bytes(b"")
    assert "leads to 2.0 again" in mend(host)
    assert (verified.readlink(), host.version(), mend(host)) == (Path("versions/2.0"), "2.0", "")


def test_a_version_that_was_not_verified_gets_no_such_link(tmp_path: Path) -> None:
    host = installed(tmp_path / "host")
    upgrade(host)
    (host.folder / "verified").unlink()
    (host.folder / "previous").unlink()
    (host.folder / "unproven").touch()
    assert mend(host) == ""
    assert not (host.folder / "verified").exists()


def test_where_every_link_is_lost_the_only_version_runs_again(tmp_path: Path) -> None:
    host = installed(tmp_path / "host")
    for link in ("current", "verified", "previous"):
        (host.folder / link).unlink(missing_ok=True)
    assert "1.0 runs again" in mend(host)
    assert (host.version(), (host.folder / "verified").readlink()) == ("1.0", Path("versions/1.0"))
    assert host.carry("upgrade", "2.0").outcome == "succeeded"


def test_the_only_version_does_not_run_again_where_it_is_damaged(tmp_path: Path) -> None:
    host = installed(tmp_path / "host")
    for link in ("current", "verified", "previous"):
        (host.folder / link).unlink(missing_ok=True)
    program = host.folder / "versions" / "1.0" / "bin" / PACKAGE
    program.chmod(0o755)
    half(program)
    assert mend(host) == ""
    assert not (host.folder / "current").is_symlink()
