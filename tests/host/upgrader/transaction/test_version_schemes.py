"""A host compares versions by the scheme that the signed manifest carries, and refuses one that it does not know."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from backfleet import releases
from backfleet_host.layout import version_folder
from backfleet_host.upgrader.status import status_of

Host = Any
Shop = Any

OLD, NEW = "1:4.96-15+deb12u9", "1:4.96-15+deb12u10"


@pytest.fixture
def debian(shop: Shop) -> Shop:
    """A shop whose versions are Debian's."""
    shop.scheme = "deb"
    return shop


def test_an_upgrade_to_a_version_with_an_epoch(debian: Shop, host: Host) -> None:
    """Its folders have names that every file system takes; reports, status and rollback have the version's own."""
    debian.add(OLD)
    debian.add(NEW, upgrades_from=f">={OLD}")
    assert host.carry("install", OLD).current_version == OLD
    report = host.carry("upgrade", NEW)
    assert (report.outcome, report.from_version, report.current_version) == ("succeeded", OLD, NEW), report.message
    assert sorted(path.name for path in (host.folder / "versions").iterdir()) == sorted(map(version_folder, (OLD, NEW)))
    assert host.folder.joinpath("current").readlink().as_posix() == "versions/1%3a4.96-15+deb12u10"
    (status,) = status_of(host.installation)["packages"]
    assert (status["current"], status["previous"], status["versions"]) == (NEW, OLD, sorted((OLD, NEW)))
    assert status["drift"] == []
    assert host.carry("upgrade", NEW, order_id="again").code == "AlreadyCurrent"
    assert host.leftovers() == []


def test_an_unhealthy_version_with_an_epoch_is_rolled_back_and_quarantined(debian: Shop, host: Host) -> None:
    debian.add(OLD)
    debian.add(NEW, health=3)
    host.carry("install", OLD)
    report = host.carry("upgrade", NEW)
    assert (report.code, report.current_version) == ("RolledBack", OLD), report.message
    (status,) = status_of(host.installation)["packages"]
    assert (status["failed"], list(status["failures"]), status["current"]) == ([NEW], [NEW], OLD)
    again = host.carry("upgrade", NEW, order_id="again")
    assert (again.code, "was rolled back on this host recently" in again.message) == ("RolledBack", True)
    assert host.carry("uninstall").outcome == "succeeded"
    assert not (host.folder / "current").is_symlink()


def test_old_trees_with_epochs_are_removed_and_others_files_stay(debian: Shop, host: Host) -> None:
    for version in ("1:1.0", "1:2.0", "1:3.0"):
        debian.add(version)
        assert host.carry("upgrade" if version != "1:1.0" else "install", version).outcome == "succeeded"
        (host.folder / "versions" / "1:1.0").mkdir(exist_ok=True)  # not a name that we write
    assert sorted(path.name for path in (host.folder / "versions").iterdir()) == ["1%3a2.0", "1%3a3.0", "1:1.0"]
    assert sorted(path.name for path in (host.folder / "facts").iterdir()) == ["1%3a2.0.json", "1%3a3.0.json"]


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("4.96-15+deb12u9", "4.96-15+deb12u10"),
        ("0.10.0-6+b9", "0.10.0-6+b10"),
        ("3.3.0-1", "3.3.0+ds1-2"),
        ("7.15-1", "7.15+repack-1"),
        ("3.0.9", "3.0.9c"),
    ],
)
def test_a_host_goes_up_and_not_down_by_debians_order(debian: Shop, host: Host, older: str, newer: str) -> None:
    """Compared as PEP 440 these went the other way."""
    debian.add(older)
    debian.add(newer)
    assert host.carry("install", older).outcome == "succeeded"
    assert host.carry("upgrade", newer).current_version == newer
    report = host.carry("upgrade", older)
    assert (report.code, report.current_version) == ("NotAllowedFrom", newer)
    assert f"{older} is older than {newer}" in report.message


def test_intermediate_versions_are_found_by_debians_order(debian: Shop, host: Host) -> None:
    debian.add("1.0-1+b9")
    debian.add("1.0-1+b10")
    debian.add("1:0.5-1", upgrades_from=">=1.0-1+b10")
    host.carry("install", "1.0-1+b9")
    report = host.carry("upgrade", "1:0.5-1")
    assert (report.outcome, report.current_version) == ("succeeded", "1:0.5-1"), report.message


def test_readers_compare_by_debians_order(debian: Shop, host: Host) -> None:
    """A reader with b10 reads what b9 and newer can read."""
    debian.add("1.0-1+b9")
    debian.add("1.0-1+b10", repository_format="2", readable_by="1.0-1+b9")
    host.carry("install", "1.0-1+b9")
    host.write_policy('oldest_reader = "1.0-1+b8"\n')
    assert host.carry("upgrade", "1.0-1+b10").code == "RepositoryFormatConflict"
    host.write_policy('oldest_reader = "1.0-1+b10"\n')
    assert host.carry("upgrade", "1.0-1+b10", order_id="again").outcome == "succeeded"


def test_a_scheme_that_the_host_program_does_not_know_is_refused_with_a_code(
    shop: Shop, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is touched; a newer host program may know it. Other releases can still be installed."""
    shop.add("1.0")
    shop.add("2.0")
    host.carry("install", "1.0")
    written = releases.Manifest.to_json
    monkeypatch.setattr(
        releases.Manifest,
        "to_json",
        lambda manifest: {**written(manifest), **({"scheme": "zodiac"} if manifest.version == "2.0" else {})},
    )
    shop.add("3.0")  # signs all of them again
    report = host.carry("upgrade", "2.0")
    assert (report.code, report.current_version) == ("UnsupportedPlatform", "1.0")
    assert report.details["reason"] == "UnknownScheme"
    assert "version scheme 'zodiac' is none of deb, rpm" in report.message
    assert "update the host program" in report.message
    assert host.carry("upgrade", "3.0").outcome == "succeeded"


def test_a_changed_scheme_holds_for_the_next_order(shop: Shop, host: Host) -> None:
    """3.0.9c is a candidate of 3.0.9 to PEP 440, and newer to Debian."""
    shop.add("3.0.9")
    shop.add("3.0.9c")
    host.carry("install", "3.0.9")
    assert host.carry("upgrade", "3.0.9c").code == "NotAllowedFrom"
    with shop.database.transaction() as tx:
        releases.change_scheme(tx, shop.repository, "courier", "deb", now=datetime.now(UTC))
    report = host.carry("upgrade", "3.0.9c", order_id="again")
    assert (report.outcome, report.current_version) == ("succeeded", "3.0.9c"), report.message


def test_a_tree_from_before_versions_were_escaped_is_used_on(shop: Shop, host: Host) -> None:
    """Names that could be used before are the same now."""
    shop.add("1.2~rc1")
    host.carry("install", "1.2~rc1")
    assert (host.folder / "versions" / "1.2~rc1").is_dir()
    order = replace(host.order("upgrade", "1.2~rc1"), order_id="again")
    assert order.version == "1.2~rc1"
    assert host.version() == "1.2~rc1"


def test_an_order_to_roll_back_goes_down_by_debians_order(debian: Shop, host: Host) -> None:
    """By PEP 440 the version that ran before would be the newer one."""
    debian.add("1.0-1+b9")
    debian.add("1.0-1+b10")
    host.carry("install", "1.0-1+b9")
    host.carry("upgrade", "1.0-1+b10")
    report = host.carry("roll-back")
    assert (report.outcome, report.current_version) == ("succeeded", "1.0-1+b9"), report.message
    assert host.carry("roll-back", order_id="again").code == "NotAllowedFrom"
