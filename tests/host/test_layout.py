"""Where things are on a host."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet_host.layout import (
    DEFAULT_ROOT,
    VERSION,
    Places,
    policy_folder,
    system_folder,
    version_folder,
    version_in_folder,
)


@pytest.mark.parametrize(
    ("root", "system", "policy"),
    [
        pytest.param(DEFAULT_ROOT, "/", "/etc/backfleet", id="the default root"),
        pytest.param(Path("/srv/host-1"), "/srv/host-1", "/srv/host-1/etc/backfleet", id="another root"),
    ],
)
def test_another_root_is_a_host_of_its_own(root: Path, system: str, policy: str) -> None:
    """Nothing outside of it is read or changed."""
    assert (system_folder(root), policy_folder(root)) == (Path(system), Path(policy))


def test_files_of_the_agent_stay_where_earlier_builds_expect_them() -> None:
    """A running fleet has agents of earlier builds, and may be put back to them."""
    places = Places(Path("/opt/backfleet"))
    names = ("agent", "identity", "key", "authority", "lock", "boot", "tasks", "program", "trusted_root")
    assert [str(getattr(places, name).relative_to("/opt/backfleet")) for name in names] == [
        "agent",
        "agent/identity.json",
        "agent/key.pem",
        "agent/ca.pem",
        "agent/lock",
        "agent/boot",
        "agent/tasks",
        "agent/program",
        "trust/root.json",
    ]


VERSIONS = st.from_regex(rf"\A{VERSION}\Z")


@pytest.mark.parametrize(
    ("version", "folder"),
    [("1.74.4", "1.74.4"), ("1.2~rc1+b3-1", "1.2~rc1+b3-1"), ("1:2.0", "1%3a2.0"), ("1.0^git1", "1.0%5egit1")],
)
def test_folders_of_versions_are_called_as_before_but_for_signs_that_folders_cannot_have(
    version: str, folder: str
) -> None:
    assert (version_folder(version), version_in_folder(folder)) == (folder, version)


@given(VERSIONS)
def test_the_folder_of_a_version_gives_it_back(version: str) -> None:
    folder = version_folder(version)
    assert version_in_folder(folder) == version
    assert not set(folder) & set(":^/\\ ")
    assert len(f".{folder}.partial") <= 255


@given(VERSIONS, VERSIONS)
def test_two_versions_never_have_the_same_folder(one: str, other: str) -> None:
    assert (version_folder(one) == version_folder(other)) is (one == other)


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".1.0.partial", "1%3A2", "%31", "1%2e0", "1%", "1%3", "1:2", "1%2f..", "-1", "1%003a"]
)
def test_what_is_no_folder_of_a_version_is_none(name: str) -> None:
    """Only the one name that we write counts."""
    assert version_in_folder(name) == ""
