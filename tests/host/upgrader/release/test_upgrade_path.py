"""Upgrade paths and repository formats: which versions lead to the goal, and which must not be used."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet_host.manifest import Manifest, read_manifest
from backfleet_host.upgrader.errors import OrderFailed
from backfleet_host.upgrader.release import upgrade_path

Host = Any
Shop = Any


def release(version: str, upgrades_from: str = "", form: str = "", readable_by: str = "") -> Manifest:
    return read_manifest(
        {
            "package": "courier", "version": version, "platform": "linux-amd64", "format": "tar", "bin": ["courier"],
            "switch": "anytime", "unpacked_bytes": 1, "entries": 1, "upgrades_from": upgrades_from,
            "repository_format": form, "readable_by": readable_by,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("current", "offered", "path"),
    [
        pytest.param("1.0", [("4.0", "")], ["4.0"], id="directly"),
        pytest.param("", [("4.0", ">=3")], ["4.0"], id="from nothing, directly"),
        pytest.param("1.0", [("3.0", ""), ("4.0", ">=3")], ["3.0", "4.0"], id="F59 over a bridge"),
        pytest.param(
            "1.0", [("2.0", ""), ("3.0", ">=2"), ("4.0", ">=3")], ["2.0", "3.0", "4.0"], id="F59 over two bridges"
        ),
        pytest.param("1.0", [("3.0", ""), ("3.5", ""), ("4.0", ">=3")], ["3.5", "4.0"], id="over the newest bridge"),
        pytest.param("1.0", [("2.0", ""), ("3.0", ""), ("4.0", ">=3")], ["3.0", "4.0"], id="the shortest"),
        pytest.param("1.0", [("3.0", ">=2"), ("4.0", ">=3")], None, id="a bridge out of reach"),
        pytest.param("1.0", [("5.0", ""), ("4.0", ">=5")], None, id="never past the goal"),
        pytest.param("3.9", [("3.0", ""), ("4.0", "<3.5")], None, id="F33 never backwards"),
        pytest.param("odd one", [("3.0", ""), ("4.0", ">=3")], None, id="from a version that does not compare"),
    ],
)
def test_the_upgrade_path(current: str, offered: list[tuple[str, str]], path: list[str] | None) -> None:
    """The last release that is offered is the goal."""
    releases = [release(*one) for one in offered]
    assert upgrade_path.find_path(current, releases[-1], releases) == path


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), max_size=9, unique_by=lambda pair: pair[0]))
def test_an_upgrade_path_is_allowed_at_every_step(offered: list[tuple[int, int]]) -> None:
    """And only leads forwards."""
    goal = release("10", ">=8")
    releases = [release(str(version), f">={least}") for version, least in offered]
    path = upgrade_path.find_path("1", goal, [*releases, goal])
    known = {manifest.version: manifest for manifest in [*releases, goal]}
    if path is not None:
        steps = ["1", *path]
        assert steps[-1] == "10"
        assert all(known[after].accepts(before) for before, after in itertools.pairwise(steps))
        assert [int(version) for version in steps] == sorted({int(version) for version in steps})


@pytest.mark.parametrize(
    ("old", "readable_by", "reader", "refused"),
    [
        pytest.param(("1.0", "1"), "", "0.1", False, id="it names no readers"),
        pytest.param(("1.0", "1"), "2.0", "", True, id="F41 the old version could not read it after a rollback"),
        pytest.param(("1.0", "3"), "2.0", "", True, id="F41 the same, whatever the formats are called"),
        pytest.param(("1.0", "2"), "2.0", "", False, id="the same format as before"),
        pytest.param(("2.1", "1"), "2.0", "", False, id="the old version reads it"),
        pytest.param(("2.1", "1"), "2.0", "1.9", True, id="F41 an older host must restore"),
        pytest.param(("2.1", "1"), "2.0", "2.0", False, id="every reader can"),
        pytest.param(None, "2.0", "", False, id="nothing was there"),
        pytest.param(("1.10", "1"), "1.9", "", False, id="versions are not text"),
    ],
)
def test_f41_a_format_is_refused_until_all_can_read_it(
    old: tuple[str, str] | None, readable_by: str, reader: str, refused: bool
) -> None:
    """Before anything is downloaded."""
    before = release(old[0], form=old[1]) if old else None
    goal = release("3.0", form="2", readable_by=readable_by)
    if not refused:
        upgrade_path.check_format(goal, before, reader)
        return
    with pytest.raises(OrderFailed) as caught:
        upgrade_path.check_format(goal, before, reader)
    assert caught.value.code == "RepositoryFormatConflict"


@pytest.mark.parametrize(
    ("old_format", "readable_by", "is_refused"),
    [
        pytest.param("3", "3.1", True, id="F41 the new version is too old to read it"),
        pytest.param("3", "3.0", False, id="the new version is just new enough"),
        pytest.param("2", "3.1", False, id="the format is the new version's own"),
        pytest.param("3", "", False, id="the old version names no readers"),
    ],
)
def test_f41_a_version_must_be_able_to_read_what_was_written_before(
    old_format: str, readable_by: str, is_refused: bool
) -> None:
    """Otherwise the host could not restore its own backups."""
    before, goal = release("2.5", form=old_format, readable_by=readable_by), release("3.0", form="2")
    if not is_refused:
        upgrade_path.check_format(goal, before, "")
        return
    with pytest.raises(OrderFailed, match=r"3\.0 cannot read it"):
        upgrade_path.check_format(goal, before, "")


def test_f59_one_order_goes_through_the_intermediate_version(shop: Shop, host: Host) -> None:
    """Each is verified before the next; a rollback leads to the first version."""
    shop.add("1.0")
    host.carry("install", "1.0")
    shop.add("2.0")
    shop.add("3.0", upgrades_from=">=2,<3")
    report = host.carry("upgrade", "3.0")
    assert (report.outcome, report.from_version, report.current_version) == ("succeeded", "1.0", "3.0")
    assert host.installation.package("courier").version_before() == "1.0"
    assert sorted(path.name for path in (host.folder / "versions").iterdir()) == ["1.0", "3.0"]


def test_f59_every_version_on_the_path_is_verified_before_the_next(shop: Shop, host: Host, tmp_path: Path) -> None:
    """By its own health command and by every probe of the host, as the version that is current then."""
    seen = tmp_path / "seen"
    say = f'echo "$1 {{version}} $(readlink {host.folder}/current)" >> {seen}'
    client = f'#!/bin/sh\n{say}\necho "{{package}} {{version}}"\nexit {{health}}\n'
    shop.add("1.0", client=client)
    host.carry("install", "1.0")
    shop.add("2.0", client=client)
    shop.add("3.0", client=client, upgrades_from=">=2,<3")
    shop.add("4.0", client=client, upgrades_from=">=3,<4")
    host.write_policy('[[probe]]\ncommand = ["courier", "probe"]\n')
    seen.unlink()
    report = host.carry("upgrade", "4.0")
    assert (report.outcome, report.current_version) == ("succeeded", "4.0"), report.message
    *before, by_shim, last = seen.read_text().splitlines()
    assert [*before, last] == [
        f"{what} {version} versions/{version}"
        for version in ("1.0", "2.0", "3.0", "4.0")
        for what in ("version", "probe")
    ]
    assert by_shim == "version 4.0 versions/4.0"  # as another user would run it


@pytest.mark.parametrize("failing", ["2.0", "3.0"])
def test_f59_a_probe_that_fails_on_an_intermediate_version_rolls_back(
    shop: Shop, host: Host, tmp_path: Path, failing: str
) -> None:
    """Its own health command is content, and the version after it would be healthy: it is never switched to."""
    seen = tmp_path / "seen"
    client = f'#!/bin/sh\necho {{version}} >> {seen}\n[ "$1 {{version}}" != "probe {failing}" ] || exit 4\n'
    client += 'echo "{package} {version}"; exit {health}\n'
    shop.add("1.0", client=client)
    host.carry("install", "1.0")
    shop.add("2.0", client=client)
    shop.add("3.0", client=client, upgrades_from=">=2,<3")
    shop.add("4.0", client=client, upgrades_from=">=3,<4")
    host.write_policy('[[probe]]\ncommand = ["courier", "probe"]\n')
    report = host.carry("upgrade", "4.0")
    assert (report.code, report.current_version) == ("RolledBack", "1.0"), report.message
    assert "4.0" not in seen.read_text()
    assert (host.folder / "failed" / failing / "reason.json").exists()


@pytest.mark.parametrize("unhealthy", ["2.0", "3.0"])
def test_an_unhealthy_intermediate_version_is_rolled_back_to_the_start(shop: Shop, host: Host, unhealthy: str) -> None:
    """An order never ends on an intermediate version."""
    shop.add("1.0")
    host.carry("install", "1.0")
    shop.add("2.0", health=int(unhealthy == "2.0"))
    shop.add("3.0", upgrades_from=">=2,<3", health=int(unhealthy == "3.0"))
    report = host.carry("upgrade", "3.0")
    assert (report.code, report.current_version) == ("RolledBack", "1.0")
    assert (host.folder / "failed" / unhealthy / "reason.json").exists()
    assert host.leftovers() == []


@pytest.mark.parametrize("who", ["the order", "the host"])
def test_f41_the_oldest_reader_is_respected(shop: Shop, host: Host, who: str) -> None:
    """From the order or from the host policy."""
    import dataclasses

    from backfleet_host.upgrader import carry_out_on

    shop.add("1.0", repository_format="2", readable_by="0.9")
    host.carry("install", "1.0")
    shop.add("2.0", repository_format="2", readable_by="1.5")
    if who == "the host":
        host.write_policy('oldest_reader = "1.2"\n')
    order = dataclasses.replace(host.order("upgrade", "2.0"), oldest_reader="1.2" if who == "the order" else "")
    report = carry_out_on(host.installation, order, lambda line: None)
    assert (report.code, report.current_version) == ("RepositoryFormatConflict", "1.0")
