"""What debs and wheels declare, against what they are added as; and the versions that programs print."""

import pytest

from backfleet.releases import ReleaseRefused
from backfleet.releases.contents.declared import ANY, Declared, check_declared, upstream_versions
from backfleet_host.versions import scheme_of


@pytest.mark.parametrize(
    ("version", "printed"),
    [
        ("1.75.2", ("1.75.2",)),
        ("1.75.2-2", ("1.75.2-2", "1.75.2")),
        ("0.14.0-1+b5", ("0.14.0-1+b5", "0.14.0")),
        ("4.96-15+deb12u10", ("4.96-15+deb12u10", "4.96")),
        ("1:2.3-4", ("1:2.3-4", "2.3-4", "2.3")),
        ("3.3.0+ds1-2", ("3.3.0+ds1-2", "3.3.0+ds1", "3.3.0")),
        ("2.0~rc1", ("2.0~rc1",)),
        ("2.0-rc1", ("2.0-rc1",)),
        ("1.0.post1", ("1.0.post1",)),
    ],
)
def test_a_rebuild_prints_the_version_that_it_had(version: str, printed: tuple[str, ...]) -> None:
    """The numbers of Debian and of operators are not in the program."""
    assert upstream_versions(version) == printed


GIVEN = {"package": "restic", "version": "0.14.0", "platform": "linux-amd64"}


@pytest.mark.parametrize(
    ("declared", "given"),
    [
        pytest.param(Declared("it"), {}, id="nothing declared"),
        pytest.param(Declared("it", "restic", "0.14.0-1+b5", ("amd64",)), {}, id="Debian's"),
        pytest.param(Declared("it", "restic", "0.14.0-1+b5"), {"version": "0.14.0-1+b5"}, id="as it is declared"),
        pytest.param(Declared("it", "restic", "0.14.0-1+b6"), {"version": "0.14.0-2"}, id="a number of one's own"),
        pytest.param(Declared("it", "restic", "1:0.14.0-1"), {"version": "0.14.0-1"}, id="without the epoch"),
        pytest.param(Declared("it", "borgbackup", "0.14.0"), {"package": "borg"}, id="the name that people use"),
        pytest.param(Declared("it", "rclone-bin", "0.14.0"), {"package": "rclone"}, id="a part of the name"),
        pytest.param(Declared("it", "bareos-filedaemon"), {"package": "bareos-fd"}, id="called like its command"),
        pytest.param(Declared("it", "Rclone_Bin"), {"package": "rclone-bin"}, id="written in another way"),
        pytest.param(Declared("it", "", "1.0.0"), {"version": "1.0"}, id="the same version, written shorter"),
        pytest.param(Declared("it", architectures=(ANY,)), {}, id="for every architecture"),
        pytest.param(Declared("it", architectures=("armv7l",)), {"platform": "linux-armv6l"}, id="Raspbian's armhf"),
    ],
)  # fmt: skip
def test_what_agrees_is_accepted(declared: Declared, given: dict[str, str]) -> None:
    check_declared(declared, **{**GIVEN, **given}, commands=("bareos-fd",), scheme=scheme_of("pep440"))


@pytest.mark.parametrize(
    ("declared", "given", "says"),
    [
        pytest.param(Declared("it", "restic"), {"package": "rclone"}, "'restic', and .* is 'rclone'", id="name"),
        pytest.param(Declared("it", "rclone-bin"), {"package": "rclonee"}, "'rclone-bin'.*'rclonee'", id="a typo"),
        pytest.param(Declared("it", "", "0.13.1-1"), {}, "'0.13.1-1', and the version given is '0.14.0'", id="version"),
        pytest.param(Declared("it", "", "4.96-15+deb12u9"), {"version": "4.96-15+deb12u10"}, "u9.*u10", id="update"),
        pytest.param(Declared("it", "", "0.14.0~rc1-1"), {}, "'0.14.0~rc1-1'", id="a candidate"),
        pytest.param(Declared("it", architectures=("arm64",)), {}, "for arm64, .* is 'linux-amd64'", id="machine"),
        pytest.param(Declared("it", architectures=("win_amd64",)), {}, "for win_amd64", id="another system"),
    ],
)  # fmt: skip
def test_what_contradicts_is_refused_with_both_names(declared: Declared, given: dict[str, str], says: str) -> None:
    with pytest.raises(ReleaseRefused, match=says):
        check_declared(declared, **{**GIVEN, **given}, commands=("restic",), scheme=scheme_of("pep440"))


@pytest.mark.parametrize(
    ("scheme", "given", "declared", "agree"),
    [
        ("deb", "1.2-1", "1.2-1", True),
        ("deb", "0:1.2-1", "1.2-1", True),
        ("deb", "1.2", "1:1.2-1", True),
        ("deb", "1.2-3", "1.2-1+b4", True),
        ("deb", "3.4.1-2", "3.4.1+ds1-5", True),
        ("deb", "1.2-1", "1.2-2", False),
        ("deb", "4.96-15", "4.96-15+deb12u9", False),
        ("deb", "0.10.0-6+b10", "0.10.0-6+b9", False),
        ("deb", "1.2.post3", "1.2-3", False),
        ("deb", "1.0.0", "1.0", False),
        ("deb", "1.0a0", "1.0a", True),
        ("deb", "2:1.2-1", "1:1.2-1", False),
        ("pep440", "1.0.0", "1.0", True),
        ("pep440", "1.0a0", "1.0a", True),
        ("semver", "v1.2.0", "1.2.0", True),
        ("semver", "1.2.0", "1.2.0+build5", True),
        ("semver", "1.2.0", "1.2.0-rc.1", False),
        ("natural", "v3.0.9c", "3.0.9c", True),
        ("natural", "3.0.9", "3.0.9c", False),
    ],
)
def test_versions_agree_by_the_scheme_of_the_package(scheme: str, given: str, declared: str, agree: bool) -> None:
    """What PEP 440 takes for the same version may be two of Debian's."""

    def check() -> None:
        asked = {**GIVEN, "version": given}
        check_declared(Declared("it", "", declared), **asked, commands=(), scheme=scheme_of(scheme))

    if agree:
        check()
        return
    with pytest.raises(ReleaseRefused, match="and the version given is"):
        check()
