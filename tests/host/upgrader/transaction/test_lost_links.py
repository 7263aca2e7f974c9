"""The link `current` is lost with the power, in the middle of an order: its journal still says what was installed."""

from collections.abc import Iterator

import pytest

from backfleet_host.upgrader import disk
from host.upgrader.scenarios import (
    BY_ID,
    SCENARIOS,
    Hosts,
    Scenario,
    check_works,
    cut_points_of,
    hosts_in,
    naming,
    some,
)
from host.upgrader.small_host import SmallHost


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with hosts_in(tmp_path_factory.mktemp("hosts")) as made:
        yield made


def lost(host: SmallHost, *links: str) -> bool:
    """Lose these links; return whether `current` was there, and an order is open."""
    was_there = (host.folder / "current").is_symlink() and bool(host.journal())
    for link in links:
        (host.folder / link).unlink(missing_ok=True)
    return was_there


@pytest.mark.parametrize("links", [("current",), ("current", "previous")], ids=" and ".join)
@pytest.mark.parametrize("scenario", [each for each in SCENARIOS if each.kind != "uninstall" and each.was], ids=str)
def test_what_was_installed_is_not_forgotten(scenario: Scenario, links: tuple[str, ...], hosts: Hosts) -> None:
    """It is the old version or the new one, and runs, and a run that waits too long has a version to fall back to."""
    among = some(cut_points_of(hosts, scenario), 5, f"{scenario} {links}")
    for cut_point, moment in hosts.cut_off(scenario, among):
        host = hosts.at(moment)
        if not lost(host, *links):
            continue
        with naming(f"{cut_point}, {host.journal()[-1]}"):
            report = host.carry("recover", order_id="r-1")
            assert report.current_version == host.version()
            assert host.version() in (scenario.was, scenario.goal)
            assert (host.folder / "verified").is_dir()
            if scenario.damaged != host.version():
                assert host.shim_runs() == host.version()
            check_works(scenario, host)


def test_an_order_for_a_client_whose_link_is_lost_takes_nothing_away(hosts: Hosts) -> None:
    """What the gate falls back to, and every tree, stay until an install mends it."""
    host = hosts(BY_ID["a third version"])
    lost(host, "current")
    for kind in ("upgrade", "roll-back", "precheck", "stage", "settings"):
        assert host.carry(kind, "2.0", f"u-{kind}").code == "ClientNotInstalled"
    assert disk.version_of_link(host.folder / "verified") == "1.0"
    assert host.trees() == {"0.9", "1.0"}
    assert host.carry("install", "2.0", "u-9").current_version == host.shim_runs() == "2.0"
