"""Recovery of journals that an older build wrote, line by line as they are on the disks of hosts."""

import json
from pathlib import Path

import pytest

from backfleet_host.contract import Order
from backfleet_host.platforms import platform_here
from backfleet_host.upgrader import disk, failpoints
from backfleet_host.upgrader.transaction.journal import AttemptJournal
from host.upgrader.small_host import PACKAGE, PowerCut, SmallHost, Trouble, counted, with_trouble

ORDER = (
    '{"line": "order", "order": {"order_id": "u-1", "kind": "%s", "package": "courier", "version": "%s", '
    '"platform": "%s", "patience": 30, "downloads": "", "oldest_reader": "", "bytes_per_second": 0, "settings": '
    '{"cores": 2}, "remove_state": false, "tries_again": false}, "from_version": "1.0", "previous": "0.9", '
    '"at": 1764000000.0}\n'
)
UPGRADE = ORDER % ("upgrade", "2.0", platform_here())
UNINSTALL = ORDER % ("uninstall", "", "")
SWITCHING = '{"line": "switching", "serving": true, "failing": ["a look"], "unwell": ""}\n'
PROVEN = '{"line": "proven"}\n'
GOING_BACK = (
    '{"line": "going back", "code": "RolledBack", "reason": "`courier version` ended with exit code 3", '
    '"is_its_fault": true, "trying": "2.0"}\n'
)
REMOVING = '{"line": "removing", "serving": true}\n'
SERVICE = {"start": [PACKAGE, "start"], "stop": [PACKAGE, "stop"], "ready": [PACKAGE, "ready"], "seconds": 1}


def prepared(root: Path) -> SmallHost:
    """Return a host that has run 0.9, runs 1.0 as a service, and is offered 2.0."""
    host = SmallHost(root)
    host.state.mkdir(parents=True)
    (host.state / "config").write_text("mine")
    for version in ("0.9", "1.0", "2.0"):
        host.add(version, service=SERVICE)
    for kind, version in (("install", "0.9"), ("upgrade", "1.0")):
        assert host.carry(kind, version).outcome == "succeeded"
    host.serving = "1.0"
    return host


def cut_off(root: Path, kind: str, effect: str, number: int) -> SmallHost:
    """Return a host whose power failed just after this effect, the `number`th of its kind."""
    version = "2.0" if kind == "upgrade" else ""
    effects = counted(lambda: prepared(root / "twin"), lambda host: host.carry(kind, version)).effects
    at = [index for index, found in enumerate(effects, 1) if found == effect][number]
    host = prepared(root / "host")
    with with_trouble(Trouble(at, "after")), pytest.raises(PowerCut):
        host.carry(kind, version)
    return host


@pytest.mark.parametrize(
    ("kind", "effect", "number", "lines", "code", "message", "version"),
    [
        pytest.param("upgrade", "append journal", 0, [UPGRADE], "HostBusy", "ask again", "1.0", id="before the switch"),
        pytest.param(
            "upgrade",
            "append journal",
            1,
            [UPGRADE, SWITCHING],
            "InternalError",
            "in the middle of the switch",
            "1.0",
            id="switching, before the link moved",
        ),
        pytest.param(
            "upgrade",
            "rename current",
            0,
            [UPGRADE, SWITCHING],
            "",
            "verified after a crash",
            "2.0",
            id="switching, after the link moved",
        ),
        pytest.param(
            "upgrade",
            "append journal",
            2,
            [UPGRADE, SWITCHING, PROVEN],
            "",
            "finished after a crash",
            "2.0",
            id="verified",
        ),
        pytest.param(
            "upgrade",
            "rename current",
            0,
            [UPGRADE, SWITCHING, GOING_BACK],
            "RolledBack",
            "exit code 3; 1.0 runs again",
            "1.0",
            id="rolling back",
        ),
        pytest.param(
            "uninstall", "append journal", 0, [UNINSTALL], "HostBusy", "ask again", "1.0", id="before removing"
        ),
        pytest.param(
            "uninstall",
            "append journal",
            1,
            [UNINSTALL, REMOVING],
            "",
            "finished after a crash",
            "",
            id="removing",
        ),
        pytest.param(
            "uninstall",
            "append journal",
            1,
            [UNINSTALL, REMOVING, GOING_BACK],
            "RolledBack",
            "exit code 3",
            "1.0",
            id="putting back",
        ),
    ],
)
def test_a_journal_of_an_older_build_is_recovered(
    tmp_path: Path, kind: str, effect: str, number: int, lines: list[str], code: str, message: str, version: str
) -> None:
    """The host program may be replaced between the crash and the next start."""
    host = cut_off(tmp_path, kind, effect, number)
    (host.folder / "journal").write_text("".join(lines))
    report = host.carry("recover")
    assert (report.code, report.current_version, host.version()) == (code, version, version)
    assert message in report.message
    assert host.serving == version
    assert host.shim_runs() == version
    assert (host.state / "config").read_text() == "mine"
    assert host.leftovers() == []
    assert host.installation.package(PACKAGE).version_before() == {"2.0": "1.0", "1.0": "0.9", "": ""}[version]


@pytest.mark.parametrize("lines", [[UPGRADE, SWITCHING, PROVEN], [UPGRADE, SWITCHING], [UNINSTALL, REMOVING]])
def test_an_older_build_can_read_what_we_write(tmp_path: Path, lines: list[str]) -> None:
    """After a downgrade: the lines have at least the words and fields that the older build wrote."""
    ours: list[str] = []
    kind = "uninstall" if lines[0] == UNINSTALL else "upgrade"

    def note(when: str, name: str, path: str) -> None:
        if (when, name) == ("after", "append"):
            ours.append(Path(path).read_text().splitlines()[-1])

    host = prepared(tmp_path / "host")
    failpoints.watch(note)
    try:
        host.carry(kind, "2.0" if kind == "upgrade" else "")
    finally:
        failpoints.watch(None)
    for line in map(json.loads, lines):
        (found,) = [json.loads(each) for each in ours if json.loads(each)["line"] == line["line"]]
        assert set(line) <= set(found)
        assert set(line.get("order", ())) <= set(found.get("order", ()))


def test_the_first_line_keeps_its_settings_and_its_time(tmp_path: Path) -> None:
    """Written by an older build, read by this one."""
    (tmp_path / "journal").write_text(UPGRADE)
    found = AttemptJournal(tmp_path / "journal").read()
    assert found is not None
    assert isinstance(found.order, Order)
    assert (found.from_version, found.previous, found.order.settings) == ("1.0", "0.9", {"cores": 2})
    assert '"patience": 30' in found.order.as_command()


@pytest.mark.parametrize(("hours", "code"), [(0, ""), (48, "RolledBack")])
def test_a_version_is_quarantined_for_as_long_as_the_host_says_after_a_crash_too(
    tmp_path: Path, hours: int, code: str
) -> None:
    """The rollback that a crash cut off goes on by the host policy, not by the default of a day."""
    host = cut_off(tmp_path, "upgrade", "rename current", 0)
    (host.folder / "journal").write_text(UPGRADE + SWITCHING + GOING_BACK)
    host.installation.etc.mkdir(parents=True)
    (host.installation.etc / "host.toml").write_text(f"held_back_hours = {hours}\n")
    assert host.carry("recover").code == "RolledBack"
    record = disk.read_json(host.folder / "failed" / "2.0" / "reason.json")
    assert record is not None
    assert record["until"] - record["at"] == hours * 3600
    assert host.carry("upgrade", "2.0").code == code


def test_a_policy_that_cannot_be_read_does_not_stop_a_rollback(tmp_path: Path) -> None:
    """The version is then quarantined for the default time."""
    host = cut_off(tmp_path, "upgrade", "rename current", 0)
    (host.folder / "journal").write_text(UPGRADE + SWITCHING + GOING_BACK)
    host.installation.etc.mkdir(parents=True)
    (host.installation.etc / "host.toml").write_text("held_back_hours = 'long'\n")
    report = host.carry("recover")
    assert (report.code, report.current_version) == ("RolledBack", "1.0")
    record = disk.read_json(host.folder / "failed" / "2.0" / "reason.json")
    assert record is not None
    assert record["until"] - record["at"] == 24 * 3600
