"""What all version schemes share: names, ranges, and the upgrade path by the order of one of them."""

import pytest

from backfleet_host.versions import (
    FIRST_SCHEME,
    SCHEMES,
    Candidate,
    UnknownScheme,
    default_scheme,
    scheme_of,
    upgrade_path,
)


def test_every_scheme_is_found_by_its_name() -> None:
    assert set(SCHEMES) == {"deb", "rpm", "semver", "pep440", "calendar", "natural"}
    assert [scheme_of(name).name for name in SCHEMES] == list(SCHEMES)
    for name in SCHEMES:
        first = scheme_of(name).example.replace(",", " ").split()[0]
        assert scheme_of(name).order_of(first) is not None, f"{name} reads its own example"


@pytest.mark.parametrize("name", ["", "DEB", "debian", "../deb", "x" * 200])
def test_an_unknown_scheme_is_an_error(name: str) -> None:
    with pytest.raises(UnknownScheme, match="is none of deb, rpm") as refused:
        scheme_of(name)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("form", "expected"),
    [("deb", "deb"), ("wheel", "pep440"), ("tar", "pep440"), ("zip", "pep440"), ("binary", "pep440")],
)
def test_a_first_release_says_by_its_format_how_versions_compare(form: str, expected: str) -> None:
    assert default_scheme(form) == expected
    assert FIRST_SCHEME == "pep440"


@pytest.mark.parametrize(
    ("scheme", "version", "allowed", "is_within"),
    [
        ("deb", "4.96-15+deb12u10", ">=4.96-15+deb12u9,<4.97", True),
        ("deb", "4.96-15+deb12u9", ">=4.96-15+deb12u10", False),
        ("deb", "1:0.1", ">=2.0", True),
        ("deb", "2.9", "<1:0", True),
        ("deb", "1.75~rc1", "<1.75", True),
        ("deb", "1.0-0", "==1.0", True),
        ("deb", "1.0-1", "!=1.0", True),
        ("deb", "custom", ">=0", False),
        ("rpm", "1:2.8-3.fc40", "> 1:2.8-2.fc40 , <= 1:2.8-3.fc40", True),
        ("semver", "1.75.2", ">=v1.75.0,<1.76.0", True),
        ("semver", "1.76.0-rc.1", "<1.76.0", True),
        ("calendar", "2024.04.1", ">=24.04", True),
        ("natural", "3.0.9c", ">3.0.9", True),
        ("natural", "1.0", "", True),
    ],
)
def test_a_version_is_within_a_range_of_its_scheme(scheme: str, version: str, allowed: str, is_within: bool) -> None:
    """Nothing but the order decides."""
    assert scheme_of(scheme).is_range(allowed)
    assert scheme_of(scheme).within(version, allowed) is is_within


@pytest.mark.parametrize(
    "text", ["1.0", ">=", ">=1.0 <2.0", "~=1.0", "==1.0.*", ">=1.0,", ",", " ", ">=a b", ">=1,>=custom"]
)
def test_ranges_differ_from_other_text(text: str) -> None:
    """What cannot be read allows nothing."""
    assert not scheme_of("deb").is_range(text)
    assert not scheme_of("deb").within("1.0", text)


@pytest.mark.parametrize("name", SCHEMES)
def test_a_range_is_bounded(name: str) -> None:
    assert not scheme_of(name).is_range(">=2024.1.1," * 200 + "<2025.1.1")
    assert scheme_of(name).is_range("")


@pytest.mark.parametrize("name", SCHEMES)
def test_versions_without_end_are_read_in_no_time(name: str) -> None:
    """Or refused: a host policy may name any."""
    for text in ("9" * 5000, "1." * 5000 + "1", "1" + "~" * 5000, "1-" + "a." * 2000 + "b"):
        scheme_of(name).order_of(text)


def test_versions_that_do_not_compare_are_neither_older_nor_surely_not_newer() -> None:
    deb = scheme_of("deb")
    assert not deb.is_older("1.0", "custom")
    assert deb.is_newer("1.0", "custom")
    assert not deb.is_equal("1.0", "custom")
    assert deb.is_equal("custom", "custom")


def test_an_upgrade_path_goes_by_the_scheme() -> None:
    """By PEP 440, the rebuild 9 is newer than the rebuild 10, and 1:2.0 is nothing."""
    offered = [Candidate("1.0-1+b9", ""), Candidate("1.0-1+b10", ">=1.0-1+b9"), Candidate("1:2.0-1", ">=1.0-1+b10")]
    path = upgrade_path(scheme_of("deb"), "1.0-1", offered[2], offered)
    assert path == ["1.0-1+b9", "1.0-1+b10", "1:2.0-1"]
