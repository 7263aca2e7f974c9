"""How the versions of each package compare: fixed by its first release, changed only if nothing is lost."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from tuf.api.metadata import Metadata

from backfleet import releases
from backfleet.releases import ReleaseConflict, ReleaseRefused
from backfleet.storage import Database, metadata
from releases.artifacts import deb, program, tar

Add = Callable[..., tuple[releases.Release, bool]]


def scheme_of(database: Database, package: str = "rclone") -> str:
    with database.reading() as tx:
        return releases.schemes_of(tx, [package])[package]


def signed(database: Database) -> dict[str, dict[str, Any]]:
    """Return the manifests in the newest signed metadata, by the release's name there."""
    table = metadata.tables["signed_metadata"]
    with database.reading() as tx:
        content = tx.scalar(
            sa.select(table.c.bytes).where(table.c.role == "targets").order_by(table.c.version.desc()).limit(1)
        )
    targets = Metadata.from_bytes(bytes(content)).signed.targets
    return {path: target.custom["backfleet"] for path, target in targets.items()}


def change(database: Database, repository: releases.Repository, name: str, now: datetime) -> None:
    with database.transaction() as tx:
        releases.change_scheme(tx, repository, "rclone", name, now=now)


@pytest.mark.parametrize(
    ("form", "asked", "expected"),
    [("deb", None, "deb"), ("tar", None, "pep440"), ("tar", "natural", "natural"), ("deb", "pep440", "pep440")],
)
def test_a_first_release_has_the_scheme_it_names_or_that_of_its_format(
    shop: Database, add: Add, form: str, asked: str | None, expected: str
) -> None:
    with shop.reading() as tx:
        scheme = releases.scheme_for(tx, "rclone", asked)
    content = deb(program("usr/bin/rclone", "1.0-1")) if form == "deb" else tar(program("rclone"))
    added, _ = add("1.0-1", content=content, form=form, file_name="rclone", scheme=scheme)
    assert (added.manifest.scheme, scheme_of(shop)) == (expected, expected)


def test_the_first_release_fixes_the_scheme(shop: Database, add: Add) -> None:
    """Later releases have it, whatever their format says; another one is refused, and how to change it is said."""
    add("1.0-1", scheme="deb")
    assert scheme_of(shop) == "deb"
    assert scheme_of(shop, "restic") == "pep440", "of a package that is not there yet"
    with shop.reading() as tx:
        assert releases.scheme_for(tx, "rclone", None) == "deb"
        with pytest.raises(ReleaseConflict, match=r"by the scheme deb, not rpm.*`backfleet release scheme rclone rpm`"):
            releases.scheme_for(tx, "rclone", "rpm")
        with pytest.raises(ReleaseRefused, match="'alphabet' is not one of deb, rpm"):
            releases.scheme_for(tx, "borg", "alphabet")
    with pytest.raises(ReleaseConflict, match="compare by deb, not semver"):
        add("1.0.1", scheme="semver")


def test_the_signed_manifest_carries_the_scheme(shop: Database, add: Add) -> None:
    """Programs from before there were schemes refuse it: to them the range is none."""
    add("1:1.0-1+b9", scheme="deb", given={"bin": ["rclone"], "upgrades_from": ">=1:0.9"})
    add("1.0", package="restic")
    found = signed(shop)
    assert found["rclone/1%3a1.0-1+b9/linux-amd64"]["scheme"] == "deb"
    assert found["rclone/1%3a1.0-1+b9/linux-amd64"]["upgrades_from"] == "deb:>=1:0.9"
    assert "scheme" not in found["restic/1.0/linux-amd64"], "as it was before there were several"


@pytest.mark.parametrize(
    ("scheme", "there", "added"),
    [
        ("pep440", "v1.75.2", "1.75.2"),
        ("pep440", "1.75.2", "v1.75.2"),
        ("pep440", "1.2", "1.2.0"),
        ("pep440", "1.2-1", "1.2.post1"),
        ("pep440", "1.0rc1", "1.0~rc1"),
        ("semver", "v1.75.2", "1.75.2"),
        ("semver", "1.0.0+a", "1.0.0+b"),
        ("deb", "1.0", "0:1.0-0"),
        ("rpm", "1.05-1", "1.5-1"),
        ("calendar", "24.04", "2024.4.0"),
        ("natural", "v3.0.9c", "3.0.9c"),
    ],
)
def test_a_version_that_is_equal_to_one_there_is_refused_naming_that_one(
    shop: Database, repository: releases.Repository, add: Add, now: datetime, scheme: str, there: str, added: str
) -> None:
    """Two releases of equal rank would block each other. On every platform, and after the other was withdrawn, too."""
    add(there, scheme=scheme)
    before = signed(shop)
    for platform in ("linux-amd64", "linux-arm64"):
        with pytest.raises(ReleaseConflict) as refused:
            add(added, scheme=scheme, platform=platform)
        assert f"version {added} of rclone is equal to {there} in the scheme {scheme}" in str(refused.value)
        assert f"{there} is there already" in str(refused.value)
    assert signed(shop) == before
    assert add(there, scheme=scheme)[1] is False, "the same bytes under the same name change nothing"
    assert add(there, scheme=scheme, platform="linux-arm64")[1] is True
    with shop.transaction() as tx:
        assert releases.withdraw(tx, repository, "rclone", there, "linux-amd64", now=now)
        assert releases.withdraw(tx, repository, "rclone", there, "linux-arm64", now=now)
    with pytest.raises(ReleaseConflict, match="is withdrawn: use that name, or a version that is newer"):
        add(added, scheme=scheme)


def test_versions_that_only_look_alike_are_two(add: Add) -> None:
    """Where the scheme tells them apart."""
    for version in ("1.2", "1.2.0", "v1.2.1"):
        assert add(version, scheme="natural")[1]
    for version in ("1.2", "1.2.0", "1.2-1", "1:1.2"):
        assert add(version, package="restic", scheme="deb")[1]


@pytest.mark.parametrize(
    ("scheme", "version", "advice"),
    [
        ("pep440", "1:2.0", "by deb or rpm"),
        ("pep440", "2.0~bpo12+1", "by deb or rpm or natural"),
        ("semver", "1.2", "by deb or rpm or pep440 or natural"),
        ("deb", "v1.2", "by rpm or pep440 or natural"),
        ("natural", "1^2", "by rpm"),
    ],
)
def test_a_version_that_its_scheme_cannot_read_is_refused(add: Add, scheme: str, version: str, advice: str) -> None:
    """Naming the schemes that can. Signs such as `:` and `^` are allowed where the scheme has them."""
    with pytest.raises(ReleaseRefused, match=f"cannot be compared with others by the scheme {scheme}") as refused:
        add(version, scheme=scheme, file_name="rclone.tar.gz")
    assert advice in str(refused.value)


def test_the_new_order_is_shown_before_it_is_changed(
    shop: Database, repository: releases.Repository, add: Add, now: datetime
) -> None:
    """Changing it signs every release of the package again; the same scheme once more signs nothing."""
    for version in ("3.0.9", "3.0.9c", "3.0.10"):
        add(version)
    with shop.reading() as tx:
        assert releases.review_scheme(tx, "rclone", None).versions == ("3.0.10", "3.0.9", "3.0.9c")
        review = releases.review_scheme(tx, "rclone", "deb")
    assert (review.current, review.scheme, review.problems) == ("pep440", "deb", ())
    assert review.versions == ("3.0.10", "3.0.9c", "3.0.9")
    assert scheme_of(shop) == "pep440"
    change(shop, repository, "deb", now)
    assert scheme_of(shop) == "deb"
    found = signed(shop)
    assert {manifest["scheme"] for manifest in found.values()} == {"deb"}
    with shop.reading() as tx:
        offered = releases.offered(tx, "rclone", "linux-amd64", "stable")
    assert releases.select(offered, current="3.0.9", pin="<3.0.10").target == next(
        release for release in offered if release.version == "3.0.9c"
    )
    table = metadata.tables["signed_metadata"]
    with shop.reading() as tx:
        documents = tx.scalar(sa.select(sa.func.count()).select_from(table))
    change(shop, repository, "deb", now)
    with shop.reading() as tx:
        assert tx.scalar(sa.select(sa.func.count()).select_from(table)) == documents


def test_a_change_that_would_lose_a_release_is_refused(
    shop: Database, repository: releases.Repository, add: Add, now: datetime
) -> None:
    """Every reason is named, and nothing changes. A withdrawn release need not fit."""
    add("1.2", scheme="natural")
    add("1.2.0", given={"bin": ["rclone"], "upgrades_from": ">=1.0"}, scheme="natural")
    add("nightly-7", scheme="natural")
    before = signed(shop)
    with pytest.raises(ReleaseConflict) as refused:
        change(shop, repository, "pep440", now)
    assert "version nightly-7 cannot be compared; 1.2 and 1.2.0 would be equal" in str(refused.value)
    with pytest.raises(ReleaseRefused, match="'zodiac' is not one of"):
        change(shop, repository, "zodiac", now)
    assert (signed(shop), scheme_of(shop)) == (before, "natural")
    with shop.transaction() as tx:
        for version in ("1.2", "nightly-7"):
            releases.withdraw(tx, repository, "rclone", version, "linux-amd64", now=now)
    change(shop, repository, "pep440", now)
    assert scheme_of(shop) == "pep440"


def test_a_range_that_the_new_scheme_cannot_read_is_a_problem(
    shop: Database, repository: releases.Repository, add: Add, now: datetime
) -> None:
    add("1.2", given={"bin": ["rclone"], "upgrades_from": "~=1.0"}, content=tar(program("rclone")))
    with pytest.raises(ReleaseConflict, match=r"upgrades_from of 1\.2, ~=1\.0, cannot be read"):
        change(shop, repository, "deb", now)


def test_a_package_without_releases_has_no_scheme_to_change(
    shop: Database, repository: releases.Repository, now: datetime
) -> None:
    with pytest.raises(releases.UnknownPackage):
        change(shop, repository, "deb", now)


def test_a_withdrawn_release_is_offered_again_only_where_it_has_a_place_of_its_own(
    shop: Database, repository: releases.Repository, add: Add, now: datetime
) -> None:
    """The scheme may have been changed, or an equal version may have been added, since it was withdrawn."""

    def offer_again(version: str) -> None:
        with shop.transaction() as tx:
            names = ("rclone", version, "linux-amd64")
            releases.offer(tx, repository, *names, channel="stable", now=now)

    for version in ("1.2", "1.2.0", "nightly-7"):
        add(version, scheme="natural")
    with shop.transaction() as tx:
        for version in ("1.2", "nightly-7"):
            releases.withdraw(tx, repository, "rclone", version, "linux-amd64", now=now)
    change(shop, repository, "pep440", now)
    with pytest.raises(ReleaseConflict, match=r"1\.2 of rclone is equal to 1\.2\.0"):
        offer_again("1.2")
    with pytest.raises(ReleaseRefused, match="'nightly-7' cannot be compared"):
        offer_again("nightly-7")
    assert set(signed(shop)) == {"rclone/1.2.0/linux-amd64"}
    change(shop, repository, "natural", now)
    offer_again("1.2")
    assert set(signed(shop)) == {"rclone/1.2/linux-amd64", "rclone/1.2.0/linux-amd64"}
