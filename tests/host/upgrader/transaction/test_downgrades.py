"""The host decides whether it goes down: whoever controls the server could name an old version with a weakness."""

from typing import Any

import pytest

from backfleet_host.upgrader.release.upgrade_path import may_go_down
from backfleet_host.versions import scheme_of

Host = Any
Shop = Any


@pytest.fixture
def upgraded(installed: Host) -> Host:
    """Return a host that went from 1.0 to 2.0, both still offered."""
    assert installed.carry("upgrade", "2.0").outcome == "succeeded"
    return installed


@pytest.mark.parametrize("kind", ["upgrade", "install"])
def test_a_host_does_not_go_down_because_the_server_says_so(upgraded: Host, kind: str) -> None:
    report = upgraded.carry(kind, "1.0")
    assert (report.code, report.current_version) == ("NotAllowedFrom", "2.0")
    assert "1.0 is older than 2.0, which is installed here and is still offered; withdraw 2.0" in report.message
    assert upgraded.leftovers() == []


def test_a_host_does_not_go_down_over_an_uninstall(upgraded: Host) -> None:
    """Two orders must not do what one may not."""
    assert upgraded.carry("uninstall").outcome == "succeeded"
    report = upgraded.carry("install", "1.0")
    assert (report.code, report.current_version) == ("NotAllowedFrom", "")
    assert "which was installed here" in report.message
    assert upgraded.carry("install", "2.0").outcome == "succeeded"


@pytest.mark.parametrize("file", ["host", "courier"])
def test_a_host_goes_down_if_its_administrator_allows_it(upgraded: Host, file: str) -> None:
    upgraded.write_policy("allows_downgrade = true\n", file)
    assert upgraded.carry("upgrade", "1.0").outcome == "succeeded"
    assert upgraded.version() == "1.0"


def test_a_host_goes_down_from_a_version_that_signed_metadata_withdraws(upgraded: Host, shop: Shop) -> None:
    shop.withdraw("2.0")
    assert upgraded.carry("upgrade", "1.0").outcome == "succeeded"
    assert upgraded.version() == "1.0"


def test_a_host_goes_up_and_stays_as_before(upgraded: Host, shop: Shop) -> None:
    shop.add("3.0")
    assert upgraded.carry("upgrade", "2.0").code == "AlreadyCurrent"
    assert upgraded.carry("upgrade", "3.0").outcome == "succeeded"


@pytest.mark.parametrize("named", ["", "1.0"], ids=["by itself", "by name"])
def test_an_order_to_roll_back_goes_to_the_version_that_ran_before(upgraded: Host, named: str) -> None:
    """Both stay offered; no policy has to allow it."""
    report = upgraded.carry("roll-back", named)
    assert (report.outcome, report.from_version, report.to_version) == ("succeeded", "2.0", "1.0")
    assert upgraded.version() == "1.0"
    assert upgraded.leftovers() == []


def test_a_second_order_to_roll_back_does_not_return_to_the_version_that_was_left(upgraded: Host, shop: Shop) -> None:
    """That one is the version from before now; a roll-back only goes down, and no refusal advises it."""
    assert upgraded.carry("roll-back").outcome == "succeeded"
    report = upgraded.carry("roll-back")
    assert (report.code, report.current_version) == ("NotAllowedFrom", "1.0")
    assert "2.0 is not older than 1.0" in report.message
    shop.add("0.9")
    report = upgraded.carry("roll-back", "0.9")
    assert (report.code, "roll back to" in report.message) == ("NotAllowedFrom", False), report.message


def test_an_order_to_roll_back_goes_to_no_other_version(upgraded: Host, shop: Shop) -> None:
    """Whoever controls the server could name one with a known weakness."""
    shop.add("0.9")
    report = upgraded.carry("roll-back", "0.9")
    assert (report.code, report.current_version) == ("NotAllowedFrom", "2.0")
    assert "roll back to 1.0" in report.message


def test_f25_nothing_is_touched_where_no_version_from_before_is_kept(installed: Host) -> None:
    """The refusal comes before anything is changed, and says what to do."""
    report = installed.carry("roll-back")
    assert (report.code, report.current_version) == ("NotAllowedFrom", "1.0")
    assert "no version from before it is kept; name one" in report.message
    assert installed.leftovers() == []


def test_a_host_does_not_go_to_a_version_that_cannot_read_what_was_written(upgraded: Host, shop: Shop) -> None:
    """Also where its administrator allows to go down; the report says which versions can read it."""
    shop.add("3.0", repository_format="3", readable_by="2.0")
    assert upgraded.carry("upgrade", "3.0").outcome == "succeeded"
    upgraded.write_policy("allows_downgrade = true\n", "host")
    report = upgraded.carry("roll-back", "1.0")
    assert (report.code, report.current_version) == ("RepositoryFormatConflict", "3.0")
    assert "3.0 wrote a format that 2.0 and newer can read" in report.message
    assert upgraded.carry("roll-back").current_version == "2.0"


@pytest.mark.parametrize(
    ("kind", "goal", "previous", "is_allowed", "is_withdrawn", "expected"),
    [
        ("upgrade", "1.0", "1.0", False, False, False),
        ("install", "1.0", "1.0", False, False, False),
        ("upgrade", "1.0", "", True, False, True),
        ("upgrade", "1.0", "", False, True, True),
        ("roll-back", "1.0", "1.0", False, False, True),
        ("roll-back", "0.9", "1.0", False, False, False),
        ("roll-back", "", "", False, False, False),
    ],
)
def test_who_may_go_down(
    kind: str, goal: str, previous: str, is_allowed: bool, is_withdrawn: bool, expected: bool
) -> None:
    """A roll-back goes to the host's own previous version only."""
    found = may_go_down(goal, kind=kind, previous=previous, is_allowed=is_allowed, is_withdrawn=is_withdrawn)
    assert found == expected


@pytest.mark.parametrize(
    ("version", "current", "expected"),
    [("1.9", "1.10", True), ("1.10", "1.9", False), ("1.0", "1.0.0", False), ("2.0rc1", "2.0", True),
     ("build-a", "build-b", False), ("1.0", "build-b", False)],
)  # fmt: skip
def test_versions_that_do_not_compare_are_not_older(version: str, current: str, expected: bool) -> None:
    """They may be moved between as before."""
    assert scheme_of("pep440").is_older(version, current) == expected
