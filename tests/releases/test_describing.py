"""From what an operator says, or a recipe knows, to a manifest: every field is read, none is passed over."""

import re
from typing import Any

import pytest

from backfleet.releases import Health, Manifest, ReleaseRefused, Service
from backfleet.releases.describing import RECIPES, describe, recipe_of
from backfleet_host.manifest import read_manifest

NAMES = {"package": "acme", "version": "1.2", "platform": "linux-amd64", "form": "tar"}


def described(given: dict[str, Any] | None = None, **names: str) -> Manifest:
    return describe(**{**NAMES, **names}, given=given)


def test_every_field_of_a_manifest_is_read() -> None:
    """The version is quoted where `health.expect` names it."""
    given = {
        "bin": ["bin/acme", "bin/acmectl"],
        "switch": "idle",
        "health": {"command": ["acme", "--version"], "expect": "^acme {version}$", "seconds": 7},
        "upgrades_from": ">=1.0,<1.2",
        "repository_format": "3",
        "readable_by": "1.1",
        "keeps": ["/etc/acme"],
        "service": {"unit": "acme.service", "idle": ["acme", "idle"], "seconds": 9},
        "set_uid": ["bin/acmectl"],
    }
    assert described(given) == Manifest(
        "acme",
        "1.2",
        "linux-amd64",
        "tar",
        bin=("bin/acme", "bin/acmectl"),
        switch="idle",
        health=Health(("acme", "--version"), r"^acme 1\.2$", 7),
        upgrades_from=">=1.0,<1.2",
        repository_format="3",
        readable_by="1.1",
        preserve=("/etc/acme",),
        service=Service("acme.service", idle=("acme", "idle"), seconds=9),
        set_uid=("bin/acmectl",),
    )


@pytest.mark.parametrize("given", [None, {}], ids=["no description", "an empty description"])
def test_a_manifest_may_be_empty(given: dict[str, Any] | None) -> None:
    """Then the release may switch at any time, from any version, and has no health check."""
    assert described(given) == Manifest("acme", "1.2", "linux-amd64", "tar")


def test_a_health_command_alone_is_enough() -> None:
    """Then its exit code tells, within half a minute."""
    assert described({"health": {"command": ["acme"]}}).health == Health(("acme",), "", 30)


def test_a_given_manifest_replaces_the_recipe() -> None:
    """As a whole: their fields are not mixed."""
    assert described({}, package="rclone").health is None


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        pytest.param({"package": ""}, "package ''", id="no package"),
        pytest.param({"package": "Rclone"}, "package 'Rclone'", id="package with a capital"),
        pytest.param({"package": "../rclone"}, "package", id="package that is a path"),
        pytest.param({"package": ".."}, "package", id="package of dots"),
        pytest.param({"package": "rclone\n"}, "package", id="package with a newline"),
        pytest.param({"package": "r" * 65}, "package", id="long package"),
        pytest.param({"version": ""}, "version", id="no version"),
        pytest.param({"version": "1/2"}, "version", id="version that is a path"),
        pytest.param({"version": "1 2"}, "version", id="version with a space"),
        pytest.param({"version": "1" * 65}, "version", id="long version"),
        pytest.param({"version": "latest"}, "cannot be compared", id="version that has no place"),
        pytest.param({"version": "1.2~3"}, "cannot be compared", id="version that sorts otherwise elsewhere"),
        pytest.param({"version": "1.2+a.partial"}, "ends in .partial", id="version that is called like half of one"),
        pytest.param({"platform": "linux"}, "platform", id="half a platform"),
        pytest.param({"platform": "linux-amd64/.."}, "platform", id="platform that is a path"),
        pytest.param({"platform": "Linux-amd64"}, "platform", id="platform with a capital"),
        pytest.param({"form": "rpm"}, "format 'rpm' is not one of wheel, deb", id="unknown format"),
    ],
)
def test_names_of_another_form_are_refused(names: dict[str, str], reason: str) -> None:
    """They become paths on hosts and in signed metadata."""
    with pytest.raises(ReleaseRefused, match=reason) as refused:
        described(**names)
    assert refused.value.code == "InvalidParameter.Release"


BAD_HEALTH = "health must have a command"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        pytest.param({"healthy": True, "Bin": []}, "unknown fields: 'Bin', 'healthy'; known are", id="unknown fields"),
        pytest.param({"bin": "bin/acme"}, "bin must be a list", id="bin that is no list"),
        pytest.param({"bin": [1]}, "bin must be a list", id="bin of numbers"),
        pytest.param({"bin": [""]}, "bin must be a list", id="bin of nothing"),
        pytest.param({"bin": ["a\nb"]}, "bin must be a list", id="bin with a newline"),
        pytest.param({"bin": ["a" * 1025]}, "bin must be a list", id="long bin"),
        pytest.param({"bin": ["a"] * 201}, "bin must be a list", id="many bins"),
        pytest.param({"bin": None}, "bin must be a list", id="bin of null"),
        pytest.param({"bin": ["/bin/sh"]}, "relative to the tree", id="absolute bin"),
        pytest.param({"bin": ["bin/../acme"]}, "relative to the tree", id="bin that goes up"),
        pytest.param({"set_uid": "bin/acme"}, "set_uid must be a list", id="set_uid that is no list"),
        pytest.param({"set_uid": ["../su"]}, "relative to the tree", id="set_uid out of the tree"),
        pytest.param({"set_uid": ["./su"]}, "set_uid has './su'", id="set_uid that is not normal"),
        pytest.param({"set_uid": ["a"] * 201}, "set_uid must be a list", id="too many in set_uid"),
        pytest.param({"compression": "zstd"}, "unknown fields: 'compression'", id="what we find out ourselves"),
        pytest.param({"switch": "never"}, "switch is 'never'; it must be one of anytime, idle", id="unknown switch"),
        pytest.param({"switch": ["idle"]}, "switch is", id="switch that is a list"),
        pytest.param({"health": []}, BAD_HEALTH, id="health that is a list"),
        pytest.param({"health": {}}, BAD_HEALTH, id="health without a command"),
        pytest.param({"health": {"command": ["a"], "port": 1}}, BAD_HEALTH, id="health with something else"),
        pytest.param({"health": {"command": []}}, "health.command is empty", id="empty command"),
        pytest.param({"health": {"command": "acme"}}, "command must be a list", id="command that is a string"),
        pytest.param({"health": {"command": ["a"], "expect": 1}}, "expect must be text", id="expect of a number"),
        pytest.param(
            {"health": {"command": ["a"], "expect": "("}}, "no regular expression", id="expect that is broken"
        ),
        pytest.param({"health": {"command": ["a"], "expect": "a{99999999999}"}}, "no regular", id="expect too many"),
        pytest.param({"health": {"command": ["a"], "expect": "(" * 250 + ")" * 250}}, None, id="expect that is deep"),
        pytest.param({"health": {"command": ["a"], "expect": "x" * 501}}, "at most 500", id="long expect"),
        pytest.param({"health": {"command": ["a"], "seconds": 0}}, "seconds must be", id="no time"),
        pytest.param({"health": {"command": ["a"], "seconds": 601}}, "from 1 to 600", id="too much time"),
        pytest.param({"health": {"command": ["a"], "seconds": 1.5}}, "whole number", id="time in fractions"),
        pytest.param({"health": {"command": ["a"], "seconds": True}}, "whole number", id="time that is true"),
        pytest.param({"health": {"command": ["a"], "seconds": "30"}}, "whole number", id="time in quotes"),
        pytest.param({"keeps": ["etc/acme"]}, "must be absolute", id="keeps that is relative"),
        pytest.param({"keeps": ["/etc"]}, "two folders deep", id="keeps that is a folder of the root"),
        pytest.param({"keeps": ["/etc/../etc/x"]}, "must be absolute", id="keeps that goes up"),
        pytest.param({"service": "acme"}, "service may have", id="service that is a string"),
        pytest.param({"service": {"start": ["a"]}}, "or the commands", id="service that cannot be stopped"),
        pytest.param({"service": {"unit": "--acme.service"}}, "name of a unit", id="unit that is an option"),
        pytest.param({"service": {"unit": "a.service", "seconds": 0}}, "service.seconds", id="service without time"),
        pytest.param({"upgrades_from": "1.70"}, "must be a version range", id="version for a range"),
        pytest.param({"upgrades_from": ">=1.70 <1.75"}, "must be a version range", id="range without its comma"),
        pytest.param({"upgrades_from": [">=1"]}, "upgrades_from must be text", id="range in a list"),
        pytest.param({"upgrades_from": ">=1," * 200}, "at most 500", id="long range"),
        pytest.param({"repository_format": 3}, "repository_format must be text", id="format as a number"),
        pytest.param({"readable_by": "a\0"}, "readable_by must be text", id="NUL"),
        pytest.param({"readable_by": "\ud800"}, "readable_by must be text", id="half a character"),
        pytest.param({"keeps": {"a": "b"}}, "keeps must be a list", id="keeps that is an object"),
    ],
)
def test_a_field_that_is_not_of_its_form_is_refused(given: dict[str, Any], reason: str | None) -> None:
    """The message has its name, what was found and what is expected. What is only odd is accepted, by hosts too."""
    if reason is None:
        described(given)
        return
    with pytest.raises(ReleaseRefused, match=re.escape(reason)) as refused:
        described(given)
    assert len(str(refused.value)) < 600


def test_a_host_reads_what_the_control_plane_signed() -> None:
    """Through signed metadata and back, without a difference."""
    given = {"bin": ["bin/acme"], "health": {"command": ["acme"], "expect": "{version}", "seconds": 600}}
    manifest = described(given, version="1.2+local")
    read = read_manifest(manifest.to_json())
    assert (read.version, read.bin, read.switch) == ("1.2+local", ("bin/acme",), "anytime")
    assert read.health is not None
    assert re.search(read.health.expect, "acme 1.2+local")
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert Manifest.from_json({**manifest.to_json(), "later": 1}) == manifest, "fields of a newer version"


# --- Recipes --------------------------------------------------------------------------------------------------------

RCLONE = """rclone v{version}
- os/version: debian 12.11 (64 bit)
- os/kernel: 6.1.0-37-amd64 (x86_64)
- os/type: linux
- os/arch: amd64
- go/version: go1.25.0
- go/linking: static
- go/tags: none
"""
RESTIC = "restic {version} compiled with go1.24.1 on linux/amd64\n"
BORG = "borg {version}\n"
SAYS = {"rclone": ("1.75.2", RCLONE), "restic": ("0.18.0", RESTIC), "borg": ("1.4.1", BORG)}


def test_every_recipe_has_a_test() -> None:
    """With what its client prints."""
    assert sorted(path.stem for path in RECIPES.glob("*.toml")) == sorted(SAYS)
    assert recipe_of("acme") == {}


@pytest.mark.parametrize("package", SAYS)
def test_a_recipe_recognises_its_client_by_its_output(package: str) -> None:
    """The version itself, also with Windows line ends, and no similar one."""
    version, prints = SAYS[package]
    health = described(None, package=package, version=version).health
    assert health is not None
    assert health.command[0] == package

    def is_well(output: str) -> bool:
        return re.search(health.expect, output) is not None

    assert is_well(prints.format(version=version))
    assert is_well(prints.format(version=version).replace("\n", "\r\n"))
    assert is_well("a warning first\n" + prints.format(version=version))
    others = [f"{version}0", f"{version}.1", f"1{version}", f"{version}-beta.1", f"{version}rc1", version[:-1]]
    others += [version.replace(".", "x", 1), f"{version}-DEV", "", "0.0.1"]
    assert [other for other in others if is_well(prints.format(version=other))] == []
    assert not is_well(f"error: wanted {version}\n")


@pytest.mark.parametrize(("spelling", "name"), [("linux-x86_64", "linux-amd64"), ("linux-i686", "linux-386")])
def test_a_platform_under_a_name_that_no_host_has_is_refused(spelling: str, name: str) -> None:
    """The message says which name hosts have; a release under the other would never be taken."""
    with pytest.raises(ReleaseRefused, match=f"'{name}'"):
        describe(**{**NAMES, "platform": spelling}, given=None)


def test_state_to_preserve_may_be_named_by_either_word() -> None:
    """`keeps` is the older one, and what signed metadata says."""
    assert described({"preserve": ["/etc/acme"]}) == described({"keeps": ["/etc/acme"]})
    assert described({"preserve": ["/etc/acme"]}).to_json()["keeps"] == ("/etc/acme",)
    with pytest.raises(ReleaseRefused, match="give one of them"):
        described({"preserve": ["/etc/acme"], "keeps": ["/etc/acme"]})
