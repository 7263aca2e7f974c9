"""Adding, listing and withdrawing releases, in the API's words."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backfleet import releases
from backfleet.releases import signed_metadata
from releases.artifacts import file, program, tar, zipped

Own = Any  # the fixtures' class lives in conftest.py

CLIENT = tar(program("rclone", "1.75.2"), compression="gz")
OTHER = tar(program("rclone", "another build"), compression="gz")
NAMES = {"PackageName": "rclone", "ReleaseVersion": "1.75.2", "Platform": "linux-amd64"}
MISSING = (404, "ReleaseNotFound")


def kept(own: Own) -> list[str]:
    """The artifacts on disk."""
    folder = own.services.settings.data / "artifacts"
    return sorted(path.name for path in folder.iterdir())


# --- AddRelease -----------------------------------------------------------------------------------------------------


def test_a_release_is_added(own: Own) -> None:
    """The answer tells all there is to know of it; the file has become the artifact."""
    digest = hashlib.sha256(CLIENT).hexdigest()
    assert own.add() == {
        "Added": True,
        "Release": {
            **NAMES,
            "Channels": ["stable"],
            "Sha256": digest,
            "Size": len(CLIENT),
            "FileName": "rclone.tar.gz",
            "CreatedTime": int(own.now.timestamp()),
            "Withdrawn": False,
            "Published": True,
        },
        "Notes": [],
    }
    assert kept(own) == [digest]
    assert list(own.uploads.iterdir()) == []


def test_only_what_is_needed_must_be_said(own: Own) -> None:
    """The channel is `stable`, the file has a plain name."""
    found = own.add(FileName="", Channel="")["Release"]
    assert (found["FileName"], found["Channels"]) == ("artifact", ["stable"])


def test_the_same_file_again_changes_nothing(own: Own) -> None:
    """It says that it is not new; on another channel it is offered there as well."""
    own.add()
    again = own.later(days=1).add()
    assert (again["Added"], again["Release"]["CreatedTime"]) == (False, int(own.now.timestamp()))
    assert own.add(Channel="beta")["Release"]["Channels"] == ["beta", "stable"]


def test_a_manifest_says_more_of_it(own: Own) -> None:
    """As JSON; GetRelease shows what became of it."""
    health = {"command": ["rclone", "version"], "expect": "v{version}", "seconds": 9}
    own.add(Manifest=json.dumps({"switch": "idle", "upgrades_from": ">=1.70", "health": health}))
    manifest = own("GetRelease", **NAMES)["Release"]["Manifest"]
    assert (manifest["switch"], manifest["upgrades_from"]) == ("idle", ">=1.70")
    assert manifest["health"] == {"command": ["rclone", "version"], "expect": r"v1\.75\.2", "seconds": 9}
    assert (manifest["bin"], manifest["entries"], manifest["unpacked_bytes"]) == (["rclone"], 1, 22)


def test_a_release_nobody_can_prove_well_is_noted(own: Own) -> None:
    """It is added, and the operator knows."""
    (note,) = own.add(Manifest="{}")["Notes"]
    assert "no health command" in note


BAD = "InvalidParameter.Release"


@pytest.mark.parametrize(
    ("body", "changes", "code", "says"),
    [
        pytest.param(b"", {}, "MissingParameter", "body of the request", id="an empty file"),
        pytest.param(CLIENT, {"PackageName": ""}, "MissingParameter", "PackageName", id="no package"),
        pytest.param(CLIENT, {"ReleaseVersion": ""}, "MissingParameter", "ReleaseVersion", id="no version"),
        pytest.param(CLIENT, {"Platform": ""}, "MissingParameter", "Platform", id="no platform"),
        pytest.param(CLIENT, {"Format": ""}, "MissingParameter", "Format", id="no format"),
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
        pytest.param(CLIENT, {"Format": "zip"}, BAD, "cannot be read as zip", id="another format than it says"),
        pytest.param(tar(file("../../etc/passwd")), {}, BAD, "would leave the tree", id="hostile"),
        pytest.param(zipped(file("README")), {"Format": "zip"}, BAD, "No program was found", id="no program"),
    ],
)  # fmt: skip
def test_a_release_that_is_refused_leaves_nothing(
    own: Own, body: bytes, changes: dict[str, str], code: str, says: str
) -> None:
    """A code, a sentence that names what is wrong; neither a row nor an artifact."""
    answer = own.add(body, **changes)
    assert (answer["Status"], answer["Code"]) == (400, code)
    assert says in answer["Message"]
    assert answer["Message"].endswith(".")
    assert own("ListReleases") == {"Releases": []}
    assert kept(own) == []


def test_no_file_at_all(own: Own) -> None:
    """As a caller who sends parameters only."""
    assert own.refused("AddRelease", **NAMES, Format="tar") == (400, "MissingParameter")


def test_other_bytes_are_a_conflict(own: Own) -> None:
    """409, and what was there stays as it was."""
    own.add()
    before = own("ListReleases")
    answer = own.add(OTHER)
    assert (answer["Status"], answer["Code"]) == (409, "ReleaseConflict")
    assert "give the new bytes a new version" in answer["Message"]
    assert own("ListReleases") == before


def test_more_releases_than_hosts_take(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quota, with what to do; nothing is added."""
    monkeypatch.setattr(signed_metadata, "LARGEST", 500)
    answer = own.add()
    assert (answer["Status"], answer["Code"]) == (400, "QuotaExceeded.Release")
    assert "withdraw old releases first" in answer["Message"]
    assert own("ListReleases") == {"Releases": []}


def test_an_artifact_that_was_kept_by_a_call_that_died_is_taken(own: Own) -> None:
    """Between the file and its row everything may die: the same call again completes it."""
    digest = hashlib.sha256(CLIENT).hexdigest()
    own.services.repository.path_of(digest).write_bytes(CLIENT)
    assert own.add()["Added"] is True
    assert kept(own) == [digest]


def test_a_disk_that_is_full_is_not_the_caller_s_fault(own: Own) -> None:
    """InternalError, and no row speaks of a file that is not there."""
    nowhere = releases.Repository(Path("/nonexistent"), own.services.repository._signers)
    own.services = replace(own.services, repository=nowhere)
    assert own.add()["Code"] == "InternalError"
    assert own("ListReleases") == {"Releases": []}


# --- Looking --------------------------------------------------------------------------------------------------------


def test_the_list_has_the_last_added_first(own: Own) -> None:
    """All of them, or one package's; withdrawn ones too."""
    own.add(ReleaseVersion="2.0")
    own.later(hours=1).add(ReleaseVersion="1.0")
    own.later(hours=2).add(tar(program("restic")), PackageName="restic", ReleaseVersion="9.0")
    own("WithdrawRelease", **{**NAMES, "ReleaseVersion": "2.0"})
    listed = [(one["ReleaseVersion"], one["Withdrawn"]) for one in own("ListReleases")["Releases"]]
    assert listed == [("9.0", False), ("1.0", False), ("2.0", True)]
    assert [one["ReleaseVersion"] for one in own("ListReleases", PackageName="rclone")["Releases"]] == ["1.0", "2.0"]
    assert own("ListReleases", PackageName="borg") == {"Releases": []}


def test_one_release(own: Own) -> None:
    """What the list says of it, and its manifest."""
    own.add()
    (listed,) = own("ListReleases")["Releases"]
    found = own("GetRelease", **NAMES)["Release"]
    manifest = found.pop("Manifest")
    assert found == listed
    assert (manifest["package"], manifest["format"]) == ("rclone", "tar")


@pytest.mark.parametrize("action", ["GetRelease", "WithdrawRelease"])
@pytest.mark.parametrize("name", list(NAMES))
def test_a_release_is_named_by_all_three(own: Own, action: str, name: str) -> None:
    """One that is another, and none at all."""
    own.add()
    assert own.refused(action, **{**NAMES, name: "another-1"}) == MISSING
    assert own.refused(action, **{one: value for one, value in NAMES.items() if one != name}) == (
        400,
        "MissingParameter",
    )


def test_channels_show_the_newest(own: Own) -> None:
    """Of each package and platform, by name; of those that stand."""
    for version, channel in (("1.9", "stable"), ("1.10", "stable"), ("1.11", "beta")):
        own.add(ReleaseVersion=version, Channel=channel)
    own.add(ReleaseVersion="1.2", Platform="linux-arm64")

    def shown() -> list[tuple[str, ...]]:
        return [tuple(one.values()) for one in own("ListChannels")["Channels"]]

    assert shown() == [
        ("beta", "rclone", "linux-amd64", "1.11"),
        ("stable", "rclone", "linux-amd64", "1.10"),
        ("stable", "rclone", "linux-arm64", "1.2"),
    ]
    for version in ("1.10", "1.11"):
        own("WithdrawRelease", **{**NAMES, "ReleaseVersion": version})
    assert [row[3] for row in shown()] == ["", "1.9", "1.2"]


# --- WithdrawRelease ------------------------------------------------------------------------------------------------


def test_withdrawing_is_for_good(own: Own) -> None:
    """Saying so again changes nothing; the same bytes do not bring it back."""
    own.add()
    assert own("WithdrawRelease", **NAMES) == {}
    assert own("GetRelease", **NAMES)["Release"]["Withdrawn"] is True
    before = own("GetRelease", **NAMES)
    assert own.later(days=1)("WithdrawRelease", **NAMES) == {}
    assert own("GetRelease", **NAMES) == before
    answer = own.add()
    assert (answer["Status"], answer["Code"]) == (409, "ReleaseConflict")


# --- Who may --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "action", ["AddRelease", "ListReleases", "GetRelease", "WithdrawRelease", "ListChannels", "DescribeServer"]
)
def test_without_permission_nothing_is_told(own: Own, action: str) -> None:
    """Not even whether a release is there."""
    own.add()
    nobody = own.as_user("nobody", "AliyunHBRFullAccess")
    assert nobody.refused(action, **NAMES, Format="tar")[0] == 403
    assert own("GetRelease", **NAMES)["Release"]["Withdrawn"] is False


def test_an_administrator_may(own: Own) -> None:
    """A user with all rights, as the root."""
    assert own.as_user("ann", "AdministratorAccess").add()["Added"] is True
