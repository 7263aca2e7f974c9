"""Adding, listing and withdrawing releases."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import backfleet_host
from backfleet import releases
from backfleet.releases import signed_metadata
from backfleet_host.platforms import platform_here
from releases.artifacts import file, program, tar, zipped

Api = Any  # the fixtures' class lives in conftest.py

CLIENT = tar(program("rclone", "1.75.2"), compression="gz")
OTHER = tar(program("rclone", "another build"), compression="gz")
NAMES = {"PackageName": "rclone", "ReleaseVersion": "1.75.2", "Platform": "linux-amd64"}
MISSING = (404, "ReleaseNotFound")


def kept(api: Api) -> list[str]:
    """Return the artifacts on disk."""
    folder = api.services.settings.data / "artifacts"
    return sorted(path.name for path in folder.iterdir())


# --- AddRelease -----------------------------------------------------------------------------------------------------


def test_a_release_is_added(api: Api) -> None:
    """The answer has all of its facts, and the file has become the artifact."""
    digest = hashlib.sha256(CLIENT).hexdigest()
    assert api.add() == {
        "Added": True,
        "Release": {
            **NAMES,
            "Channels": ["stable"],
            "Sha256": digest,
            "Size": len(CLIENT),
            "FileName": "rclone.tar.gz",
            "CreatedTime": int(api.now.timestamp()),
            "Withdrawn": False,
            "Published": True,
            "Scheme": "pep440",
            "Fetched": False,
        },
        "Offered": True,
        "NeededLibraries": [],
        "Notes": [],
    }
    assert kept(api) == [digest]
    assert list(api.uploads.iterdir()) == []


def test_optional_parameters_have_defaults(api: Api) -> None:
    """The channel is `stable`, and the file has a plain name."""
    found = api.add(FileName="", Channel="")["Release"]
    assert (found["FileName"], found["Channels"]) == ("artifact", ["stable"])


def test_the_same_file_again_changes_nothing(api: Api) -> None:
    """The answer says that it is not new; on another channel it is offered there too."""
    api.add()
    again = api.later(days=1).add()
    assert (again["Added"], again["Release"]["CreatedTime"]) == (False, int(api.now.timestamp()))
    assert api.add(Channel="beta")["Release"]["Channels"] == ["beta", "stable"]


def test_a_format_need_not_be_given(api: Api) -> None:
    """The file shows it, whatever it is called; also that it is packed with zstd."""
    found = api.add(tar(program("rclone"), compression="zst"), Format="", FileName="rclone")
    manifest = api("GetRelease", **NAMES)["Release"]["Manifest"]
    assert (found["Added"], manifest["format"], manifest["compression"]) == (True, "tar", "zstd")


def test_needed_libraries_are_answered(api: Api) -> None:
    """And noted, where the file does not have them."""
    program_of_this_machine = Path(shutil.which("true") or "").read_bytes().replace(b"libc.so.6\0", b"libq.so.6\0")
    found = api.add(program_of_this_machine, Format="", Platform=platform_here())
    assert found["NeededLibraries"] == ["libq.so.6"]
    assert "libraries that are not in the file: libq.so.6" in found["Notes"][0]


def test_a_manifest_comes_as_json(api: Api) -> None:
    """GetRelease shows how it was read."""
    health = {"command": ["rclone", "version"], "expect": "v{version}", "seconds": 9}
    api.add(Manifest=json.dumps({"switch": "idle", "upgrades_from": ">=1.70", "health": health}))
    manifest = api("GetRelease", **NAMES)["Release"]["Manifest"]
    assert (manifest["switch"], manifest["upgrades_from"]) == ("idle", ">=1.70")
    assert manifest["health"] == {"command": ["rclone", "version"], "expect": r"v1\.75\.2", "seconds": 9}
    assert (manifest["bin"], manifest["entries"], manifest["unpacked_bytes"]) == (["rclone"], 1, 22)


def test_a_release_without_a_health_command_gets_a_note(api: Api) -> None:
    """It is added all the same."""
    (note,) = api.add(Manifest="{}")["Notes"]
    assert "no health command" in note


BAD = "InvalidParameter.Release"
ARM = (Path(backfleet_host.__file__).parent / "shim" / "binaries" / "linux-arm64").read_bytes()


@pytest.mark.parametrize(
    ("body", "changes", "code", "says"),
    [
        pytest.param(b"", {}, "MissingParameter", "body of the request", id="an empty file"),
        pytest.param(CLIENT, {"PackageName": ""}, "MissingParameter", "PackageName", id="no package"),
        pytest.param(CLIENT, {"ReleaseVersion": ""}, "MissingParameter", "ReleaseVersion", id="no version"),
        pytest.param(CLIENT, {"Platform": ""}, "MissingParameter", "Platform", id="no platform"),
        pytest.param(CLIENT, {"Format": "rpm"}, "InvalidParameter", "wheel, deb, tar", id="unknown format"),
        pytest.param(CLIENT, {"Channel": "Stable!"}, "InvalidParameter", "Channel", id="odd channel"),
        pytest.param(CLIENT, {"Manifest": "[]"}, "InvalidParameter", "Manifest", id="manifest that is no object"),
        pytest.param(CLIENT, {"Manifest": "{"}, "InvalidParameter", "Manifest", id="manifest that is no JSON"),
        pytest.param(CLIENT, {"Manifest": '{"sudo":true}'}, BAD, "unknown fields: 'sudo'", id="unknown field"),
        pytest.param(CLIENT, {"PackageName": "../x"}, BAD, "Package '../x' is not", id="package that is a path"),
        pytest.param(CLIENT, {"ReleaseVersion": "latest"}, BAD, "cannot be compared", id="version without a place"),
        pytest.param(CLIENT, {"Platform": "any"}, BAD, "Platform 'any'", id="half a platform"),
        pytest.param(CLIENT, {"FileName": "a b"}, BAD, "The file name 'a b'", id="odd file name"),
        pytest.param(CLIENT[:-20], {}, BAD, "The artifact is refused", id="cut off"),
        pytest.param(CLIENT, {"Format": "zip"}, BAD, "the format given is zip", id="another format than it says"),
        pytest.param(tar(file("../../etc/passwd")), {}, BAD, "would leave the tree", id="hostile"),
        pytest.param(zipped(file("README")), {"Format": "zip"}, BAD, "No program was found", id="no program"),
        pytest.param(CLIENT, {"Platform": "linux-amd46"}, BAD, "is not known; known are linux-amd64,", id="a typo"),
        pytest.param(CLIENT, {"Platform": "windows-amd64"}, BAD, "is not known", id="another system"),
        pytest.param(CLIENT, {"Platform": "linux-x86_64"}, BAD, "called 'linux-amd64' by hosts", id="another name"),
        pytest.param(b"<html>404", {"Format": "binary"}, BAD, "HTML page", id="an error page"),
        pytest.param(b"1.8", {"Format": ""}, BAD, "plain text and no program", id="three bytes"),
        pytest.param(b"\xed\xab\xee\xdb", {"Format": ""}, BAD, "an RPM package", id="rpm"),
        pytest.param(ARM, {"Format": ""}, BAD, "for arm64, and the platform given is 'linux-amd64'", id="ARM"),
    ],
)  # fmt: skip
def test_a_refused_release_leaves_nothing(api: Api, body: bytes, changes: dict[str, str], code: str, says: str) -> None:
    """Neither a row nor an artifact; the text names what is wrong."""
    answer = api.add(body, **changes)
    assert (answer["Status"], answer["Code"]) == (400, code)
    assert says in answer["Message"]
    assert answer["Message"].endswith(".")
    assert api("ListReleases") == {"Releases": []}
    assert kept(api) == []


def test_a_missing_file_is_refused(api: Api) -> None:
    """As from a caller who sends parameters only."""
    assert api.refused("AddRelease", **NAMES, Format="tar") == (400, "MissingParameter")


def test_other_contents_of_a_known_version_are_a_conflict(api: Api) -> None:
    """409, and the release stays as it was."""
    api.add()
    before = api("ListReleases")
    answer = api.add(OTHER)
    assert (answer["Status"], answer["Code"]) == (409, "ReleaseConflict")
    assert "give the new bytes a new version, such as 1.75.2-2" in answer["Message"]
    assert api("ListReleases") == before


def test_too_many_releases_are_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text says what to do, and nothing is added."""
    monkeypatch.setattr(signed_metadata, "LARGEST", 500)
    answer = api.add()
    assert (answer["Status"], answer["Code"]) == (400, "QuotaExceeded.Release")
    assert "withdraw old releases first" in answer["Message"]
    assert api("ListReleases") == {"Releases": []}


def test_a_call_completes_what_a_crashed_one_began(api: Api) -> None:
    """The artifact is there and its row is not: the same call again adds it."""
    digest = hashlib.sha256(CLIENT).hexdigest()
    api.services.repository.path_of(digest).write_bytes(CLIENT)
    assert api.add()["Added"] is True
    assert kept(api) == [digest]


def test_a_full_disk_is_an_internal_error(api: Api) -> None:
    """No row is left for a file that is missing."""
    nowhere = releases.Repository(Path("/nonexistent"), api.services.repository._signers)
    api.services = replace(api.services, repository=nowhere)
    assert api.add()["Code"] == "InternalError"
    assert api("ListReleases") == {"Releases": []}


# --- Looking --------------------------------------------------------------------------------------------------------


def test_the_newest_release_is_listed_first(api: Api) -> None:
    """Of all packages or of one; withdrawn releases are listed too."""
    api.add(ReleaseVersion="2.0")
    api.later(hours=1).add(ReleaseVersion="1.0")
    api.later(hours=2).add(tar(program("restic")), PackageName="restic", ReleaseVersion="9.0")
    api("WithdrawRelease", **{**NAMES, "ReleaseVersion": "2.0"})
    listed = [(one["ReleaseVersion"], one["Withdrawn"]) for one in api("ListReleases")["Releases"]]
    assert listed == [("9.0", False), ("1.0", False), ("2.0", True)]
    assert [one["ReleaseVersion"] for one in api("ListReleases", PackageName="rclone")["Releases"]] == ["1.0", "2.0"]
    assert api("ListReleases", PackageName="borg") == {"Releases": []}


def test_a_release_can_be_read(api: Api) -> None:
    """It has the fields of the list, its manifest, and its deltas."""
    api.add()
    (listed,) = api("ListReleases")["Releases"]
    found = api("GetRelease", **NAMES)["Release"]
    manifest = found.pop("Manifest")
    assert found.pop("Deltas") == []
    assert found == listed
    assert (manifest["package"], manifest["format"]) == ("rclone", "tar")


@pytest.mark.parametrize("action", ["GetRelease", "WithdrawRelease"])
@pytest.mark.parametrize("name", list(NAMES))
def test_a_release_is_named_by_package_version_and_platform(api: Api, action: str, name: str) -> None:
    """Another value of one of them names no release."""
    api.add()
    assert api.refused(action, **{**NAMES, name: "another-1"}) == MISSING
    assert api.refused(action, **{one: value for one, value in NAMES.items() if one != name}) == (
        400,
        "MissingParameter",
    )


def test_channels_show_the_newest_release(api: Api) -> None:
    """Of each package and platform, by name, without withdrawn releases."""
    for version, channel in (("1.9", "stable"), ("1.10", "stable"), ("1.11", "beta")):
        api.add(ReleaseVersion=version, Channel=channel)
    api.add(ReleaseVersion="1.2", Platform="linux-arm64")

    def shown() -> list[tuple[str, ...]]:
        return [tuple(one.values())[:4] for one in api("ListChannels")["Channels"]]

    assert shown() == [
        ("beta", "rclone", "linux-amd64", "1.11"),
        ("stable", "rclone", "linux-amd64", "1.10"),
        ("stable", "rclone", "linux-arm64", "1.2"),
    ]
    for version in ("1.10", "1.11"):
        api("WithdrawRelease", **{**NAMES, "ReleaseVersion": version})
    assert [row[3] for row in shown()] == ["", "1.9", "1.2"]


# --- WithdrawRelease ------------------------------------------------------------------------------------------------


def test_a_withdrawn_release_stays_withdrawn(api: Api) -> None:
    """Withdrawing it again changes nothing."""
    api.add()
    assert api("WithdrawRelease", **NAMES) == {}
    assert api("GetRelease", **NAMES)["Release"]["Withdrawn"] is True
    before = api("GetRelease", **NAMES)
    assert api.later(days=1)("WithdrawRelease", **NAMES) == {}
    assert api("GetRelease", **NAMES) == before


def test_a_withdrawn_release_is_offered_again(api: Api) -> None:
    """By the same file, or by its name."""
    api.add()
    for offer in (api.add, lambda **more: api("OfferRelease", **NAMES, **more)):
        api("WithdrawRelease", **NAMES)
        again = offer(Channel="beta")
        assert (again.get("Added", False), again["Offered"]) == (False, True)
        assert (again["Release"]["Withdrawn"], again["Release"]["Channels"]) == (False, ["beta"])
        assert offer(Channel="beta")["Offered"] is False
    assert api.refused("OfferRelease", **{**NAMES, "ReleaseVersion": "9.9"}) == MISSING


def test_a_withdrawn_version_is_given_to_other_bytes(api: Api) -> None:
    """If nobody has fetched the first."""
    api.add()
    api("WithdrawRelease", **NAMES)
    assert api.add(OTHER)["Added"] is True


def test_a_manifest_that_comes_too_late_is_noted(api: Api) -> None:
    """The release keeps the one that it has."""
    api.add()
    (note,) = api.add(Manifest='{"switch": "idle", "health": {"command": ["rclone"]}}')["Notes"]
    assert "keeps the manifest that it has" in note


# --- Packages -------------------------------------------------------------------------------------------------------


def test_a_second_package_on_a_channel_is_noted(api: Api) -> None:
    """The default stays what it was, until an operator chooses another."""
    restic = {"PackageName": "restic", "ReleaseVersion": "1.0"}
    assert api.add()["Notes"] == []
    (note,) = api.add(tar(program("restic")), **restic)["Notes"]
    assert "several packages for linux-amd64: rclone, restic" in note
    assert "still installs rclone" in note
    assert "default_package" in note

    def default() -> list[str]:
        return [one["PackageName"] for one in api("ListChannels")["Channels"] if one["Default"]]

    assert default() == ["rclone"]
    assert api("SetDefaultPackage", PackageName="restic") == {"Platforms": ["linux-amd64"]}
    assert default() == ["restic"]
    assert api.refused("SetDefaultPackage", PackageName="restic", Channel="beta") == MISSING


def test_a_package_that_looks_like_a_slip_is_refused(api: Api) -> None:
    """Unless the caller says that it is meant; what is close is a recipe, or has releases."""
    slip = {"PackageName": "rclonee", "Manifest": "{}"}
    answer = api.add(tar(program("rclonee")), **slip)
    assert (answer["Status"], answer["Code"]) == (400, "UnusualPackageName")
    assert "close to 'rclone'" in answer["Message"]
    assert api("ListReleases") == {"Releases": []}
    assert api.add(tar(program("rclonee")), **slip, NewPackage="true")["Added"] is True


# --- Who may --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "action", ["AddRelease", "ListReleases", "GetRelease", "WithdrawRelease", "ListChannels", "DescribeServer"]
)
def test_callers_without_permission_learn_nothing(api: Api, action: str) -> None:
    """Not even whether a release exists."""
    api.add()
    nobody = api.as_user("nobody", "AliyunHBRFullAccess")
    assert nobody.refused(action, **NAMES, Format="tar")[0] == 403
    assert api("GetRelease", **NAMES)["Release"]["Withdrawn"] is False


def test_a_user_with_all_permissions_may_add_a_release(api: Api) -> None:
    """Of the administrator account, like the root."""
    assert api.as_user("ann", "AdministratorAccess").add()["Added"] is True
