"""Artifacts are examined as they are: packed by the real tools, with real programs of this and other machines."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import backfleet_host
from backfleet.releases import ReleaseRefused
from backfleet.releases.contents import Findings, examine, format_of
from backfleet.releases.describing import describe
from backfleet.releases.inspecting import inspect
from backfleet_host.platforms import platform_here
from releases.artifacts import file, hard_link, link, program, tar, zipped

SHIMS = Path(backfleet_host.__file__).parent / "shim" / "binaries"
TRUE = Path(shutil.which("true") or "").read_bytes()
OTHERS = {
    "linux-386": "386", "linux-arm": "armv7l", "linux-arm64": "arm64", "linux-loongarch64": "loongarch64",
    "linux-ppc64le": "ppc64le", "linux-riscv64": "riscv64", "linux-s390x": "s390x",
}  # fmt: skip
Examined = Callable[..., Findings]


@pytest.fixture
def examined(tmp_path: Path) -> Examined:
    """Examine an artifact as acme 1.0 for linux-amd64, or as something else."""

    def make(artifact: Path | bytes, given: dict[str, Any] | None = None, **changes: str) -> Findings:
        if isinstance(artifact, bytes):
            content, artifact = artifact, tmp_path / "artifact"
            artifact.write_bytes(content)
        asked = {"package": "acme", "version": "1.0", "platform": "linux-amd64", **changes}
        manifest = describe(form=format_of(artifact, ""), given=given or {}, **asked)
        return examine(inspect(manifest, artifact), artifact)

    return make


def wheel(name: str = "acme", version: str = "1.0", tag: str = "py3-none-any", *, content: bytes = b"") -> bytes:
    """Return a wheel with one script, as build tools make it."""
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Dist: other\n\nVersion: 9 of text\n"
    about = f"acme-{version}.dist-info"
    return zipped(
        file(f"acme-{version}.data/scripts/acme", content or b"#!/bin/sh\necho 1.0\n"),
        file(f"{about}/METADATA", metadata.encode()),
        file(f"{about}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n".encode()),
        file(f"{about}/RECORD", b""),
    )


def deb(folder: Path, *, content: bytes = b"#!/bin/sh\necho 1.0\n", **fields: str) -> Path:
    """Build a package with dpkg-deb."""
    tree = folder / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin/acme").write_bytes(content)
    (tree / "usr/bin/acme").chmod(0o755)
    control = {"Package": "acme", "Version": "1.0-1", "Architecture": "amd64", "Maintainer": "x <x@example.org>"}
    lines = {**control, "Description": "a backup client", **fields}
    (tree / "DEBIAN/control").write_text("".join(f"{name}: {value}\n" for name, value in lines.items()))
    command = ["dpkg-deb", "--root-owner-group", "--build", tree, folder / "acme"]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "acme"


# --- Programs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shim", "name"), OTHERS.items(), ids=list(OTHERS))
def test_a_program_of_another_architecture_is_refused(examined: Examined, shim: str, name: str) -> None:
    """As a plain file and in an archive; the text names both architectures and the right flag."""
    content = (SHIMS / shim).read_bytes()
    for artifact in (content, tar(file("bin/acme", content, 0o755), compression="gz")):
        with pytest.raises(
            ReleaseRefused, match=f"for {name}, and the platform given is 'linux-amd64'; .*linux-{name}"
        ):
            examined(artifact)
        assert examined(artifact, platform=f"linux-{name}") == Findings()
    with pytest.raises(ReleaseRefused, match=f"for amd64, and the platform given is 'linux-{name}'"):
        examined((SHIMS / "linux-amd64").read_bytes(), platform=f"linux-{name}")


def test_every_command_is_examined(examined: Examined) -> None:
    """Not only the first, and a hard link like the file that it leads to."""
    good, bad = (file(f"bin/{name}", (SHIMS / f"linux-{name}").read_bytes(), 0o755) for name in ("amd64", "arm64"))
    given = {"bin": ["bin/amd64", "bin/arm64"]}
    with pytest.raises(ReleaseRefused, match="'bin/arm64' is a program for arm64"):
        examined(tar(good, bad), given)
    with pytest.raises(ReleaseRefused, match="'bin/acme' is a program for arm64"):
        examined(tar(good, bad, hard_link("bin/acme", "bin/arm64")), {"bin": ["bin/amd64", "bin/acme"]})
    assert examined(tar(good, bad), {"bin": ["bin/amd64"]}) == Findings()  # what is no command may be anything


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"<html>404</html>", "neither a program for Linux nor a script", id="HTML"),
        pytest.param(b"", "neither a program for Linux nor a script", id="nothing"),
        pytest.param(b"\x7fELF", "it begins as ELF, and it is cut off", id="the beginning of a program"),
        pytest.param(TRUE[:5000], "it begins as ELF, and it is cut off", id="half a program"),
        pytest.param(b"#!python\nimport acme\n", "a script for 'python'.*need pip", id="a script that pip completes"),
        pytest.param(b"#!/bin/sh\r\necho\r\n", "carriage return.*dos2unix", id="a script from Windows"),
    ],
)
def test_a_command_that_cannot_be_started_is_refused(examined: Examined, content: bytes, says: str) -> None:
    with pytest.raises(ReleaseRefused, match=says):
        examined(tar(program("bin/other"), file("bin/acme", content, 0o755)))


def test_needed_libraries_are_listed_and_missing_ones_are_noted(examined: Examined) -> None:
    """Those in the file are not missing, and glibc's own come with the loader."""
    needs = TRUE.replace(b"libc.so.6\0", b"libq.so.6\0")
    platform = platform_here()
    found = examined(tar(file("bin/acme", needs, 0o755)), platform=platform)
    assert found.libraries == ("libq.so.6",)
    assert "libraries that are not in the file: libq.so.6;" in found.notes[0]
    for inside in (file("lib/libq.so.6"), link("lib/libq.so.6", "libq.so.6.1")):
        assert examined(tar(file("bin/acme", needs, 0o755), inside), platform=platform).notes == ()
    assert examined(TRUE, platform=platform) == Findings(("libc.so.6",))


def test_interpreters_are_noted(examined: Examined) -> None:
    """Every host has /bin/sh."""
    assert examined(tar(program("bin/acme"))).notes == ()
    (note,) = examined(tar(file("bin/acme", b"#!/usr/bin/python3 -BIS\n", 0o755))).notes
    assert note == "its commands are scripts, and hosts must have their interpreters: /usr/bin/python3 -BIS"


# --- Debian packages ------------------------------------------------------------------------------------------------


def test_a_debian_package_is_what_it_declares(examined: Examined, tmp_path: Path) -> None:
    """Package, Version and Architecture are compared; what it depends on is noted."""
    package = deb(tmp_path, Depends="libc6 (>= 2.34), python3 (>= 3.11),\n libacl1")
    notes = examined(package).notes
    assert (
        notes[0]
        == "hosts do not install what the Debian package depends on: libc6 (>= 2.34), python3 (>= 3.11), libacl1"
    )
    assert notes[1] == "the Debian package declares version 1.0-1, and it is added as 1.0"
    assert examined(deb(tmp_path, Depends="libc6 (>= 2.34)"), version="1.0-1").notes == ()
    assert examined(deb(tmp_path, Architecture="all"), platform="linux-arm64", version="1.0-1").notes == ()
    assert examined(deb(tmp_path, Package="acme-agent", Version="1.0")).notes == ()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"Package": "courier"}, "the Debian package declares package 'courier', and the package given is 'other'"),
        ({"Package": "other", "Version": "1.1-1"}, "declares version '1.1-1', and the version given is '1.0'"),
        (
            {"Package": "other", "Architecture": "arm64"},
            "declares that it is for arm64, and the platform given is 'linux-amd64'",
        ),
    ],
    ids=["package", "version", "architecture"],
)
def test_a_debian_package_that_contradicts_is_refused(
    examined: Examined, tmp_path: Path, fields: dict[str, str], says: str
) -> None:
    with pytest.raises(ReleaseRefused, match=says):
        examined(deb(tmp_path, **fields), package="other")


@pytest.mark.parametrize(
    ("debian", "platform"),
    [("i386", "linux-386"), ("armhf", "linux-armv7l"), ("ppc64el", "linux-ppc64le"), ("mips64el", "linux-mips64")],
)
def test_debian_names_of_architectures_are_known(
    examined: Examined, tmp_path: Path, debian: str, platform: str
) -> None:
    package = deb(tmp_path, Architecture=debian)
    examined(package, platform=platform)
    with pytest.raises(ReleaseRefused, match="and the platform given is 'linux-amd64'"):
        examined(package)


# --- Wheels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "platform"),
    [
        ("py3-none-any", "linux-s390x"),
        ("py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64", "linux-amd64"),
        ("py3-none-manylinux1_i686", "linux-386"),
        ("py3-none-musllinux_1_2_aarch64", "linux-arm64"),
        ("py3-none-linux_armv6l", "linux-armv6l"),
    ],
)
def test_a_wheel_is_for_the_platform_of_its_tags(examined: Examined, tag: str, platform: str) -> None:
    examined(wheel(tag=tag), platform=platform)
    if "any" not in tag.split("-"):
        with pytest.raises(ReleaseRefused, match=r"the wheel declares that it is for .*'linux-ppc64le'"):
            examined(wheel(tag=tag), platform="linux-ppc64le")


@pytest.mark.parametrize(
    ("artifact", "says"),
    [
        (wheel(version="1.1"), "the wheel declares version '1.1', and the version given is '1.0'"),
        (wheel(tag="py3-none-win_amd64"), "is for win_amd64, and"),
        (wheel(tag="py3-none-macosx_11_0_arm64"), "is for macosx_11_0_arm64, and"),
        (wheel(content=(SHIMS / "linux-arm64").read_bytes()), "scripts/acme' is a program for arm64"),
    ],
    ids=["version", "Windows", "macOS", "its program is for another architecture than its tag"],
)
def test_a_wheel_that_contradicts_is_refused(examined: Examined, artifact: bytes, says: str) -> None:
    with pytest.raises(ReleaseRefused, match=says):
        examined(artifact)
