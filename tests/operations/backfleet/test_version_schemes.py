"""Showing and changing how the versions of a package compare, through the API."""

from typing import Any

import pytest

from releases.artifacts import program, tar

Api = Any  # the fixtures' class lives in conftest.py


def test_a_release_says_how_its_versions_compare(api: Api) -> None:
    added = api.add(ReleaseVersion="1:1.0-1", Scheme="deb")
    assert (added["Added"], added["Release"]["Scheme"]) == (True, "deb")
    names = {"PackageName": "rclone", "ReleaseVersion": "1:1.0-1", "Platform": "linux-amd64"}
    assert api("GetRelease", **names)["Release"]["Manifest"]["scheme"] == "deb"
    assert api("WithdrawRelease", **names) == {}


def test_another_scheme_than_the_package_has_is_refused(api: Api) -> None:
    api.add()
    answer = api.add(ReleaseVersion="1.76.0", Scheme="semver")
    assert (answer["Status"], answer["Code"]) == (409, "ReleaseConflict")
    assert "compare by the scheme pep440, not semver" in answer["Message"]
    assert api.add(ReleaseVersion="1.76.0", Scheme="alphabet")["Code"] == "InvalidParameter"


def test_a_version_that_is_equal_to_one_there_is_a_conflict(api: Api) -> None:
    """Its name is said."""
    api.add(ReleaseVersion="v1.75.2")
    answer = api.add(tar(program("rclone", "good"), compression="gz"))
    assert (answer["Status"], answer["Code"]) == (409, "ReleaseConflict")
    assert "equal to v1.75.2" in answer["Message"]


def test_the_order_is_shown_and_changed(api: Api) -> None:
    for version in ("1.0-1", "1.0-1c", "1.0-1.1"):
        assert api.add(ReleaseVersion=version, Scheme="natural")["Added"]
    shown = api("GetVersionScheme", PackageName="rclone", Scheme="deb")
    assert shown == {
        "PackageName": "rclone",
        "CurrentScheme": "natural",
        "Scheme": "deb",
        "Versions": ["1.0-1.1", "1.0-1c", "1.0-1"],
        "Problems": [],
    }
    assert api("GetVersionScheme", PackageName="rclone")["Scheme"] == "natural"
    assert api("SetVersionScheme", PackageName="rclone", Scheme="deb") == {
        **shown,
        "CurrentScheme": "deb",
        "Published": True,
    }
    (refused,) = [api("SetVersionScheme", PackageName="rclone", Scheme="semver")]
    assert (refused["Status"], refused["Code"]) == (409, "ReleaseConflict")
    assert "version 1.0-1 cannot be compared" in refused["Message"]


def test_a_package_from_before_says_that_another_scheme_is_usual(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps what it has until an operator changes it."""
    from backfleet_host import versions

    api.add()
    monkeypatch.setattr("backfleet.operations.backfleet.releases.default_scheme", lambda form: versions.deb.SCHEME.name)
    (note,) = api.add(ReleaseVersion="1.76.0")["Notes"]
    assert "compare by the scheme pep440, and a tar file usually has deb" in note


@pytest.mark.parametrize("action", ["GetVersionScheme", "SetVersionScheme"])
def test_a_package_without_releases_is_not_found(api: Api, action: str) -> None:
    assert api.refused(action, PackageName="nothing", Scheme="deb") == (404, "PackageNotFound")
    assert api.refused(action, Scheme="deb") == (400, "MissingParameter")
