"""A client that is there already is taken over without a moment without a program, and comes back as it was."""

import contextlib
import dataclasses
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.upgrader import adopt, give_back, leaving
from backfleet_host.upgrader.adopting import version_in
from backfleet_host.upgrader.errors import OrderFailed
from backfleet_host.upgrader.host import adopted
from backfleet_host.upgrader.status import status_of
from host.upgrader.conftest import CLIENT, LONG_ENOUGH

Host = Any
Shop = Any
PACKAGE = "courier"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")


@pytest.fixture
def system(shop: Shop, host: Host, tmp_path: Path) -> Path:
    """Return the file system of a host to which 1.0 and 2.0 are offered."""
    system = tmp_path / "system"
    for folder in ("usr/bin", "usr/local/bin", "usr/sbin"):
        (system / folder).mkdir(parents=True)
    host.installation = dataclasses.replace(host.installation, system=system)
    shop.add("1.0")
    shop.add("2.0")
    return system


def put(path: Path, version: str, text: str = CLIENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.format(package=PACKAGE, version=version, health=0))
    path.chmod(0o755)
    return path


def says(path: Path) -> str:
    """Return the version that a program says it is."""
    return subprocess.run([path, "version"], capture_output=True, text=True, check=True).stdout.split()[-1]


def changes_of(path: Path) -> tuple[int, ...] | None:
    """Return what any change of a file shows in; None if there is none. Reading it moves its access time only."""
    if not os.path.lexists(path):
        return None
    found = path.lstat()
    return (
        found.st_ino,
        found.st_mode,
        found.st_uid,
        found.st_nlink,
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
    )


def facts_of(path: Path) -> tuple[int, int, bytes]:
    found = path.lstat()
    return found.st_ino, found.st_mode, path.read_bytes()


def test_what_was_installed_by_hand_is_taken_over_upgraded_rolled_back_and_given_back(host: Host, system: Path) -> None:
    path = put(system / "usr/bin/courier", "0.9")
    before = facts_of(path)
    adoption = adopt(host.installation, PACKAGE)
    assert (adoption.version, [place.path for place in adoption.places]) == ("0.9", [str(path)])
    assert (says(path), says(host.shim), host.version(), host.leftovers()) == ("0.9", "0.9", "0.9", [])
    (package,) = host.carry("status").details["packages"]
    assert (package["drift"], package["adopted"]) == ([], [str(path)])
    report = host.carry("install", "2.0")
    assert (report.outcome, report.from_version, says(path)) == ("succeeded", "0.9", "2.0")
    report = host.carry("roll-back")
    assert (report.outcome, report.current_version, says(path)) == ("succeeded", "0.9", "0.9")
    host.carry("upgrade", "2.0", order_id="again")
    assert give_back(host.installation, PACKAGE, "back") == [str(path)]
    assert (facts_of(path), host.shim.exists(), host.version()) == (before, False, "")
    assert [each.name for each in path.parent.iterdir()] == ["courier"]
    assert host.carry("status").details["packages"][0]["adopted"] == []


def test_a_program_at_the_place_of_the_shim_is_taken_over(host: Host, system: Path) -> None:
    """An order to uninstall gives it back too."""
    path = put(host.shim, "0.9")
    before = facts_of(path)
    report = host.carry("install", "2.0")
    assert (report.code, "backfleet-host adopt courier" in report.message) == ("ManagedElsewhere", True)
    adopt(host.installation, PACKAGE)
    assert host.carry("install", "2.0", order_id="i").outcome == "succeeded"
    assert says(path) == "2.0"
    report = host.carry("uninstall")
    assert (report.outcome, report.details["given_back"], facts_of(path)) == ("succeeded", [str(path)], before)


def test_a_backup_that_runs_goes_on_while_its_client_is_taken_over(host: Host, system: Path, tmp_path: Path) -> None:
    path = put(system / "usr/bin/courier", "0.9")
    held = tmp_path / "held"
    held.touch()
    with subprocess.Popen([path, "hold", held], stdout=subprocess.PIPE, text=True) as backup:
        assert backup.stdout is not None
        assert backup.stdout.readline() == "holding 0.9\n"
        adopt(host.installation, PACKAGE)
        assert host.carry("install", "2.0").outcome == "succeeded"
        assert says(path) == "2.0"
        held.unlink()
        assert backup.stdout.read() == "done 0.9\n"


@contextlib.contextmanager
def begin_backup(path: Path, held: Path) -> Iterator["subprocess.Popen[str]"]:
    """Start a backup that goes on until `held` is removed, at the latest at the end; yield it once it runs."""
    held.touch()
    with subprocess.Popen([path, "hold", held], stdout=subprocess.PIPE, text=True) as backup:
        try:
            assert backup.stdout is not None
            assert backup.stdout.readline().startswith("holding ")
            yield backup
        finally:
            held.unlink(missing_ok=True)


def test_an_order_waits_for_a_backup_that_began_before_its_client_was_taken_over(
    host: Host, shop: Shop, system: Path, tmp_path: Path
) -> None:
    """It has none of our locks. It is not ended, and the order says why it gave up."""
    shop.add("3.0", switch="idle")
    path = put(system / "usr/bin/courier", "0.9")
    with begin_backup(path, tmp_path / "held") as backup:
        adopt(host.installation, PACKAGE)
        began = time.monotonic()
        report = host.carry("install", "3.0", timeout_seconds=2)
        assert time.monotonic() - began < 30
        assert (report.code, report.outcome, host.version()) == ("BackupRunning", "failed", "0.9")
        assert f"process {backup.pid} of " in report.message, report.message
        assert "before the client was taken over" in report.message
        assert (backup.poll(), says(path)) == (None, "0.9")
        threading.Timer(1.0, (tmp_path / "held").unlink).start()
        report = host.carry("install", "3.0", order_id="patient")
        assert (report.outcome, says(path)) == ("succeeded", "3.0")
        assert backup.wait(10) == 0
    with begin_backup(path, tmp_path / "held"):  # through the shim, from a tree
        assert adopted.runs_from_before(host.installation.package(PACKAGE)) == []
        (tmp_path / "held").unlink()


@contextlib.contextmanager
def ended_at_last(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    try:
        yield
    finally:
        process.kill()


def test_a_program_whose_package_was_upgraded_meanwhile_is_waited_for(host: Host, shop: Shop, system: Path) -> None:
    """A compiled one is told by its file, which has no name any more once its package was upgraded."""
    shop.add("3.0", switch="idle")
    path, compiled = system / "usr/bin/courier", Path("/bin/sleep").read_bytes()
    path.write_bytes(compiled)
    path.chmod(0o755)
    with subprocess.Popen([path, "600"]) as backup, ended_at_last(backup):
        (place,) = adopt(host.installation, PACKAGE).places
        for attempt in ("one", "two"):
            assert adopted.runs_from_before(host.installation.package(PACKAGE)) == [backup.pid]
            report = host.carry("install", "3.0", timeout_seconds=LONG_ENOUGH, order_id=attempt)
            assert (report.code, str(backup.pid) in report.message) == ("BackupRunning", True), report.message
            fresh = Path(f"{place.aside}.dpkg-new")
            fresh.write_bytes(compiled)
            fresh.chmod(0o755)
            fresh.rename(place.aside)
        backup.kill()
    assert host.carry("install", "3.0", order_id="last").outcome == "succeeded"


def test_a_backup_from_before_does_not_keep_its_client_from_being_given_back(
    host: Host, system: Path, tmp_path: Path
) -> None:
    """What it runs stays where it is."""
    path = put(system / "usr/bin/courier", "0.9")
    with begin_backup(path, tmp_path / "held") as backup:
        adopt(host.installation, PACKAGE)
        assert host.carry("uninstall", timeout_seconds=5).outcome == "succeeded"
        assert (backup.poll(), says(path)) == (None, "0.9")
        (tmp_path / "held").unlink()


def test_a_client_that_runs_a_backup_is_not_given_back(host: Host, system: Path, tmp_path: Path) -> None:
    """After the time of the order it is there as before, taken over."""
    path = put(system / "usr/bin/courier", "0.9")
    adopt(host.installation, PACKAGE)
    held = tmp_path / "held"
    held.touch()
    with subprocess.Popen([path, "hold", held], stdout=subprocess.PIPE, text=True) as backup:
        assert backup.stdout is not None
        assert backup.stdout.readline() == "holding 0.9\n"
        report = host.carry("uninstall", timeout_seconds=2)
        assert (report.code, host.version()) == ("BackupRunning", "0.9")
        assert (os.readlink(path), says(path)) == (str(host.shim), "0.9")
        held.unlink()
        assert backup.stdout.read() == "done 0.9\n"
    assert host.carry("uninstall", order_id="later").outcome == "succeeded"
    assert (path.is_symlink(), says(path)) == (False, "0.9")


def test_a_policy_lets_an_install_take_over_what_is_there(host: Host, system: Path) -> None:
    path = put(system / "usr/bin/courier", "0.9")
    host.write_policy('adopt = "divert"\n', "host")
    report = host.carry("install", "2.0")
    assert (report.outcome, report.from_version) == ("succeeded", "0.9")
    assert report.details["adopted"] == {str(path): "0.9"}
    assert says(path) == "2.0"


def test_a_policy_lets_an_install_go_beside_what_is_there(host: Host, system: Path) -> None:
    """That is then no drift either."""
    path = put(system / "usr/bin/courier", "0.9")
    host.write_policy('adopt = "shadow"\n')
    assert host.carry("install", "2.0").outcome == "succeeded"
    assert (says(path), says(host.shim)) == ("0.9", "2.0")
    assert host.carry("status").details["packages"][0]["drift"] == []


def test_a_policy_with_another_word_is_refused(host: Host, system: Path) -> None:
    host.write_policy('adopt = "always"\n')
    report = host.carry("install", "2.0")
    assert (report.outcome, "adopt must be one of refuse, shadow, divert" in report.message) == ("failed", True)


def test_the_bytes_that_were_there_are_not_taken_for_the_release_of_their_version(host: Host, system: Path) -> None:
    put(system / "usr/bin/courier", "2.0", CLIENT + "# patched by hand\n")
    adopt(host.installation, PACKAGE)
    program = host.folder / "versions/2.0/bin/courier"
    assert b"by hand" in program.read_bytes()
    report = host.carry("install", "2.0")
    assert (report.outcome, report.code) == ("succeeded", "")
    assert b"by hand" not in program.read_bytes()
    assert host.carry("install", "2.0", order_id="again").code == "AlreadyCurrent"


def test_a_version_that_fails_leads_back_to_what_was_there(host: Host, shop: Shop, system: Path) -> None:
    path = put(system / "usr/bin/courier", "0.9")
    shop.add("3.0", health=1)
    adopt(host.installation, PACKAGE)
    assert host.carry("install", "3.0").code == "RolledBack"
    assert (says(path), host.version()) == ("0.9", "0.9")


def test_every_program_of_that_name_is_taken_over_and_the_first_of_the_path_stays_the_version(
    host: Host, system: Path
) -> None:
    second, first = put(system / "usr/bin/courier", "0.8"), put(system / "usr/local/bin/courier", "0.9")
    adoption = adopt(host.installation, PACKAGE)
    assert (adoption.version, [place.path for place in adoption.places]) == ("0.9", [str(first), str(second)])
    assert (says(first), says(second)) == ("0.9", "0.9")
    give_back(host.installation, PACKAGE, "back")
    assert (says(first), says(second)) == ("0.9", "0.8")


def test_a_link_to_a_program_is_taken_over_and_comes_back_as_a_link(host: Host, system: Path, tmp_path: Path) -> None:
    put(tmp_path / "opt/tools/courier", "0.9")
    path = system / "usr/local/bin/courier"
    path.symlink_to("../../../../opt/tools/courier")
    adopt(host.installation, PACKAGE, path)
    assert says(path) == "0.9"
    give_back(host.installation, PACKAGE, "back")
    assert os.readlink(path) == "../../../../opt/tools/courier"


def test_rights_go_over(host: Host, system: Path) -> None:
    """restic's recipe without root: what only a group may run, only it may run afterwards."""
    path = put(system / "usr/bin/courier", "0.9")
    path.chmod(0o750)
    adopt(host.installation, PACKAGE)
    assert (host.folder / "versions/0.9/bin/courier").stat().st_mode & 0o777 == 0o550
    host.carry("install", "2.0")
    assert (host.folder / "versions/2.0/bin/courier").stat().st_mode & 0o777 == 0o550


def gone(path: Path) -> None:
    path.unlink()


def open_to_all(path: Path) -> None:
    path.chmod(0o777)


def open_to_a_group(path: Path) -> None:
    path.chmod(0o775)
    os.chown(path, 0, 50)


def below_a_folder_of_others(path: Path) -> None:
    """Whose owner can put another folder in the place of the program's."""
    os.chown(path.parent.parent, 65534, 65534)


def not_a_program(path: Path) -> None:
    path.chmod(0o644)


def mute(path: Path) -> None:
    put(path, "0.9", "#!/bin/sh\nexit 1\n")


def needs_its_neighbours(path: Path) -> None:
    put(path, "0.9", '#!/bin/sh\n[ -e "$(dirname "$0")/beside" ] && echo courier 0.9\n')
    (path.parent / "beside").touch()


def of_alternatives(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/alternatives/courier")


def has_a_copy(path: Path) -> None:
    path.with_name("courier.before-backfleet").touch()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (gone, "no program courier was found"),
        (open_to_all, "can be changed by others than root"),
        pytest.param(open_to_a_group, "can be changed by others than root", marks=as_root),
        pytest.param(below_a_folder_of_others, "can be changed by others than root", marks=as_root),
        (not_a_program, "is not a program"),
        (mute, "does not say which version it is"),
        (needs_its_neighbours, "it needs what is around it"),
        (of_alternatives, "which its own manager would write again"),
        (has_a_copy, "move it elsewhere first"),
    ],
)
def test_what_cannot_be_taken_over_runs_as_before(
    host: Host, system: Path, make: Callable[[Path], None], expected: str
) -> None:
    path = put(system / "usr/bin/courier", "0.9")
    make(path)
    before = changes_of(path)
    with pytest.raises(OrderFailed, match=expected):
        adopt(host.installation, PACKAGE)
    assert changes_of(path) == before
    assert (host.version(), host.shim.exists(), host.leftovers()) == ("", False, [])


def test_a_link_of_ours_that_was_replaced_is_drift_and_mended_by_the_same_command(host: Host, system: Path) -> None:
    path = put(system / "usr/bin/courier", "0.9")
    adopt(host.installation, PACKAGE)
    path.unlink()
    newer = facts_of(put(path, "0.95"))
    (package,) = host.carry("status").details["packages"]
    assert [each for each in package["drift"] if "does not lead to our shim any more" in each]
    adopt(host.installation, PACKAGE)
    assert says(path) == "0.9"
    give_back(host.installation, PACKAGE, "back")
    assert facts_of(path) == newer


def test_a_host_that_leaves_goes_back_to_what_was_there_unless_it_was_upgraded(host: Host, system: Path) -> None:
    """Then the newer version stays, as a repository may need it, and the older one is named."""
    path = put(system / "usr/bin/courier", "0.9")
    adopt(host.installation, PACKAGE)
    assert leaving.is_as_adopted(host.installation, PACKAGE)
    host.carry("install", "2.0")
    assert not leaving.is_as_adopted(host.installation, PACKAGE)
    assert leaving.kept_aside(host.installation, PACKAGE) == [f"{path}.before-backfleet"]
    leaving.hand_back(host.installation, PACKAGE, "2.0")
    leaving.clear_package(host.installation, PACKAGE, "2.0")
    assert (says(path), says(host.shim), says(Path(f"{path}.before-backfleet"))) == ("2.0", "2.0", "0.9")


def test_nothing_is_given_back_that_was_not_taken(host: Host, system: Path) -> None:
    host.carry("install", "1.0")
    with pytest.raises(leaving.InTheWay, match="nothing to give back"):
        give_back(host.installation, PACKAGE, "back")
    assert host.version() == "1.0"


@pytest.mark.parametrize(
    ("output", "name", "version"),
    [
        ("restic 0.14.0 compiled with go1.19.8 on linux/amd64\n", "restic", "0.14.0"),
        ("rclone v1.60.1-DEV\n- os/version: debian 12.5 (64 bit)\n", "rclone", "1.60.1-DEV"),
        ("2026/11/28 NOTICE: Config file not found\nrclone v1.53.3\n", "rclone", "1.53.3"),
        ("borg 1.2.4\n", "borg", "1.2.4"),
        ("courier version 3.1\n", "courier", "3.1"),
        ("v2.0.1\n", "courier", "2.0.1"),
        ("usage: courier\n", "courier", ""),
    ],
)
def test_versions_are_read_from_what_programs_print(output: str, name: str, version: str) -> None:
    assert version_in(output, name) == version


def test_a_refused_adoption_leaves_the_status_as_it_was(host: Host, system: Path) -> None:
    """Neither where there is no such program, nor where it does not say its version."""
    before = status_of(host.installation)
    for text in ("", "#!/bin/sh\nexit 3\n"):
        if text:
            put(system / "usr/bin/courier", "0.9", text)
        with pytest.raises(OrderFailed):
            adopt(host.installation, PACKAGE)
        assert status_of(host.installation) == before
    put(system / "usr/bin/courier", "0.9")
    adopt(host.installation, PACKAGE)
    assert [each["current"] for each in status_of(host.installation)["packages"]] == ["0.9"]
