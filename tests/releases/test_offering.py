"""Offering again, giving a version back, and what an install gets that names no package."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from backfleet import releases
from backfleet.releases import ReleaseConflict, UnusualPackage
from backfleet.storage import Database
from backfleet_host.versions import scheme_of
from releases.artifacts import program, tar
from releases.test_registry import NAMES, rows, signed_releases

Add = Callable[..., tuple[releases.Release, bool]]
OTHER = tar(program("rclone", "another build"))


@pytest.fixture
def withdraw(shop: Database, repository: releases.Repository, now: datetime) -> Callable[..., None]:
    """Withdraw a release."""

    def make(*names: str) -> None:
        with shop.transaction() as tx:
            assert releases.withdraw(tx, repository, *(names or NAMES), now=now)

    return make


def fetch(database: Database, release: releases.Release) -> bool:
    """Note that a host fetches a release."""
    with database.transaction() as tx:
        return releases.note_fetched(tx, release.sha256, now=release.created_at + timedelta(hours=1))


def found(database: Database, *names: str) -> releases.Release | None:
    with database.reading() as tx:
        return releases.find(tx, *(names or NAMES))


def defaults(database: Database, channel: str = "stable") -> dict[str, str]:
    with database.reading() as tx:
        return releases.default_packages(tx, channel)


@pytest.mark.parametrize("fetched", [False, True])
def test_the_same_file_brings_a_withdrawn_release_back(
    shop: Database, add: Add, withdraw: Callable[..., None], fetched: bool
) -> None:
    """Signed again, and on the channel that is named only."""
    first, _ = add()
    add(channel="beta")
    if fetched:
        assert fetch(shop, first)
    withdraw()
    assert signed_releases(shop) == {}
    again, is_new = add(channel="edge")
    assert (again.withdrawn_at, again.channels, is_new) == (None, ("edge",), False)
    assert again.published_at is not None
    assert signed_releases(shop) == {"rclone/1.75.2/linux-amd64": first.sha256}


def test_a_release_is_offered_again_without_its_file(
    shop: Database, repository: releases.Repository, add: Add, withdraw: Callable[..., None], now: datetime
) -> None:
    """And on another channel, if it was not withdrawn."""
    first, _ = add()
    withdraw()

    def offered(channel: str, version: str = "1.75.2") -> releases.Release | None:
        with shop.transaction() as tx:
            return releases.offer(tx, repository, "rclone", version, "linux-amd64", channel=channel, now=now)

    again = offered("beta")
    assert again is not None
    assert (again.withdrawn_at, again.channels) == (None, ("beta",))
    assert signed_releases(shop) == {"rclone/1.75.2/linux-amd64": first.sha256}
    signed = rows(shop)["signed_metadata"]
    both = offered("stable")
    assert both is not None
    assert both.channels == ("beta", "stable")
    assert rows(shop)["signed_metadata"] == signed
    assert offered("stable", "1.0") is None


def test_a_withdrawn_version_that_nobody_fetched_can_be_given_to_other_bytes(
    shop: Database, add: Add, withdraw: Callable[..., None]
) -> None:
    """It is a new release then, on the channel that is named only, and the first bytes are sent to nobody any more."""
    first, _ = add()
    withdraw()
    second, is_new = add(content=OTHER, channel="beta")
    assert (second.sha256 != first.sha256, is_new, second.channels, second.withdrawn_at) == (
        True,
        True,
        ("beta",),
        None,
    )
    assert signed_releases(shop) == {"rclone/1.75.2/linux-amd64": second.sha256}
    assert not fetch(shop, first)
    assert fetch(shop, second)


def test_another_manifest_counts_as_other_bytes(shop: Database, add: Add, withdraw: Callable[..., None]) -> None:
    """A wrong health check is mended under the same version, if nobody has fetched it."""
    add()
    withdraw()
    again, is_new = add(given={"switch": "idle"})
    assert (again.manifest.switch, is_new) == ("idle", True)
    assert fetch(shop, again)
    withdraw()
    kept, is_new = add()
    assert (kept.manifest.switch, is_new) == ("idle", False)


def test_a_version_that_was_fetched_keeps_its_bytes(shop: Database, add: Add, withdraw: Callable[..., None]) -> None:
    """The advice works: that version is free, and its health check accepts what a rebuild prints."""
    first, _ = add()
    add("1.75.2-2")
    fetch(shop, first)
    withdraw()
    before = rows(shop)
    with pytest.raises(ReleaseConflict, match=r"hosts have fetched; .* such as 1\.75\.2-3, .* prints 1\.75\.2$"):
        add(content=OTHER)
    assert rows(shop) == before
    rebuilt, is_new = add("1.75.2-3", content=OTHER)
    assert is_new
    assert rebuilt.manifest.health is not None
    assert rebuilt.manifest.health.expect == r"(?m)^rclone v(?:1\.75\.2\-3|1\.75\.2)\s*$"


@pytest.mark.parametrize(
    ("scheme", "version", "advised", "accepts"),
    [
        ("semver", "1.75.2", "1.75.3-0.2", "expects what the program prints"),
        ("semver", "v1.75.2", "v1.75.3-0.2", "expects what the program prints"),
        ("semver", "1.75.2-rc.1", "1.75.2-rc.1.2", "expects what the program prints"),
        ("deb", "4.96-15+deb12u9", "4.96-15+deb12u9+2", "a program that prints 4.96"),
        ("deb", "0.10.0-6", "0.10.0-6.2", "a program that prints 0.10.0"),
        ("rpm", "2.8.1-3.fc40", "2.8.1-3.fc40+2", "a program that prints 2.8.1"),
        ("rpm", "1.75.2", "1.75.2-2", "a program that prints 1.75.2"),
        ("natural", "3.0.9c", "3.0.9c-2", "a program that prints 3.0.9c"),
        ("calendar", "2024.04.1", "2024.04.1-2", "a program that prints 2024.04.1"),
    ],
)
def test_other_bytes_are_advised_a_version_that_is_newer_in_the_scheme(
    add: Add, scheme: str, version: str, advised: str, accepts: str
) -> None:
    """To semver, 1.75.2-2 comes before 1.75.2: hosts would never move to it."""
    add(version, scheme=scheme)
    with pytest.raises(ReleaseConflict, match=rf"such as {re.escape(advised)}, .*{re.escape(accepts)}"):
        add(version, content=OTHER, scheme=scheme)
    assert scheme_of(scheme).is_newer(advised, version)
    assert add(advised, content=OTHER, scheme=scheme)[1]


def test_an_offered_version_keeps_its_bytes_until_it_is_withdrawn(shop: Database, add: Add) -> None:
    """Also if nobody has fetched it: the text says so."""
    add()
    with pytest.raises(ReleaseConflict, match=r"or withdraw 1\.75\.2: nobody has fetched it"):
        add(content=OTHER)


def test_the_first_fetch_is_noted_once(shop: Database, add: Add) -> None:
    """For every release with these bytes."""
    first, _ = add()
    with shop.reading() as tx:
        assert not releases.is_noted_as_fetched(tx, first.sha256)
        assert not releases.may_be_sent(tx, "0" * 64)
    fetch(shop, first)
    with shop.transaction() as tx:
        assert releases.is_noted_as_fetched(tx, first.sha256)
        releases.note_fetched(tx, first.sha256, now=first.created_at + timedelta(days=9))
    noted = found(shop)
    assert noted is not None
    assert noted.fetched_at == first.created_at + timedelta(hours=1)


# --- Packages -------------------------------------------------------------------------------------------------------


def test_the_first_package_on_a_channel_stays_the_default(
    shop: Database, add: Add, withdraw: Callable[..., None]
) -> None:
    """Whatever is added or withdrawn later; each channel and platform has its own."""
    add()
    restic: Any = {"package": "restic", "content": tar(program("restic"))}
    add("1.0", **restic)
    add("1.0", **restic, platform="linux-arm64")
    add("1.1", **restic, channel="beta")
    assert defaults(shop) == {"linux-amd64": "rclone", "linux-arm64": "restic"}
    assert defaults(shop, "beta") == {"linux-amd64": "restic"}
    withdraw()
    add("1.2", **restic)
    assert defaults(shop) == {"linux-amd64": "rclone", "linux-arm64": "restic"}


def test_an_operator_chooses_another_default(shop: Database, add: Add) -> None:
    """Of packages that are offered there, for all of their platforms or for one."""
    restic: Any = {"package": "restic", "content": tar(program("restic"))}
    for platform in ("linux-amd64", "linux-arm64"):
        add(platform=platform)
        add("1.0", **restic, platform=platform)

    def choose(channel: str, package: str, platform: str | None = None) -> list[str]:
        with shop.transaction() as tx:
            return releases.set_default_package(tx, channel, package, platform)

    assert choose("stable", "restic", "linux-arm64") == ["linux-arm64"]
    assert defaults(shop) == {"linux-amd64": "rclone", "linux-arm64": "restic"}
    assert choose("stable", "restic") == ["linux-amd64", "linux-arm64"]
    assert defaults(shop) == {"linux-amd64": "restic", "linux-arm64": "restic"}
    assert choose("beta", "restic") == choose("stable", "borg") == choose("stable", "restic", "linux-386") == []


def test_a_package_that_looks_like_a_slip_must_be_meant(
    shop: Database, repository: releases.Repository, prepare: Callable[..., releases.Prepared], now: datetime
) -> None:
    """Its second release is added like any other."""

    def add(version: str, *, is_meant: bool) -> bool:
        prepared = prepare(version, package="rclonee")
        with shop.transaction() as tx:
            options: Any = {"channel": "stable", "now": now, "is_new_package_meant": is_meant}
            return releases.add(tx, repository, prepared, **options)[1]

    with pytest.raises(UnusualPackage, match=r"'rclonee' yet, and the name is close to 'rclone'.*--new-package"):
        add("1.0", is_meant=False)
    assert rows(shop)["releases"] == []
    assert add("1.0", is_meant=True)
    assert add("1.1", is_meant=False)
