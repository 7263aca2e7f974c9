"""An artifact is read through, as a host will read it, before it is offered to any."""

import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backfleet.releases import Manifest, ReleaseRefused
from backfleet.releases.describing import describe
from backfleet.releases.inspecting import inspect
from backfleet_host.manifest import read_manifest
from backfleet_host.upgrader.disk import remove_tree
from backfleet_host.upgrader.host.health import verify
from backfleet_host.upgrader.host.trees import unpack
from releases.artifacts import deb, file, folder, hard_link, link, program, tar, zipped

Inspect = Callable[..., Manifest]


@pytest.fixture
def inspected(tmp_path: Path) -> Inspect:
    """Inspect these bytes as a release of acme."""

    def inspect_as_acme(content: bytes, form: str = "tar", **given: Any) -> Manifest:
        artifact = tmp_path / "artifact"
        artifact.write_bytes(content)
        manifest = describe(package="acme", version="1.0", platform="linux-amd64", form=form, given=given)
        return inspect(manifest, artifact)

    return inspect_as_acme


@pytest.mark.parametrize(
    ("form", "content", "commands", "size", "entries"),
    [
        pytest.param("tar", tar(program("acme-1.0/acme"), compression="gz"), ("acme-1.0/acme",), 16, 1, id="tar.gz"),
        pytest.param("tar", tar(folder("x"), program("x/acme"), compression="xz"), ("x/acme",), 16, 2, id="tar.xz"),
        pytest.param("zip", zipped(program("acme"), file("LICENSE")), ("acme",), 17, 2, id="zip"),
        pytest.param("deb", deb(folder("usr"), program("usr/bin/acme")), ("usr/bin/acme",), 16, 2, id="deb"),
        pytest.param("wheel", zipped(file("a-1.data/scripts/acme")), ("a-1.data/scripts/acme",), 1, 1, id="wheel"),
        pytest.param("binary", b"\x7fELF", ("acme",), 4, 1, id="plain binary"),
        pytest.param(
            "tar",
            tar(program("bin/acmed"), program("sbin/acmectl"), program("lib/x")),
            ("bin/acmed", "sbin/acmectl"),
            48,
            3,
            id="no namesake: all in the usual places",
        ),
        pytest.param(
            "wheel",
            zipped(file("a.data/scripts/one"), file("a.data/scripts/two"), file("a.py")),
            ("a.data/scripts/one", "a.data/scripts/two"),
            3,
            3,
            id="no namesake: all scripts of a wheel",
        ),
        pytest.param(
            "tar",
            tar(program("share/tests/acme"), program("bin/acme"), program("bin/other")),
            ("bin/acme",),
            48,
            3,
            id="several namesakes: the shortest path",
        ),
        pytest.param(
            "tar", tar(file("lib/acme"), program("bin/acme")), ("bin/acme",), 17, 2, id="a namesake that is no program"
        ),
    ],
)
def test_commands_and_sizes_are_found_in_the_artifact(
    inspected: Inspect, form: str, content: bytes, commands: tuple[str, ...], size: int, entries: int
) -> None:
    """Also how many entries it has, and how many bytes it unpacks to."""
    found = inspected(content, form)
    assert (found.bin, found.unpacked_bytes, found.entries) == (commands, size, entries)


@pytest.mark.parametrize(
    ("form", "content", "compression"),
    [
        pytest.param("deb", deb(program("acme"), compression="zst"), "zstd", id="deb of Ubuntu"),
        pytest.param("tar", tar(program("acme"), compression="zst"), "zstd", id="tar.zst"),
        pytest.param("tar", tar(program("acme"), compression="xz"), "xz", id="tar.xz"),
        pytest.param("zip", zipped(program("acme")), "", id="zip"),
    ],
)
def test_the_manifest_names_the_compression(inspected: Inspect, form: str, content: bytes, compression: str) -> None:
    """So a host knows before the download whether it can read the artifact."""
    manifest = inspected(content, form)
    assert manifest.compression == compression
    assert read_manifest(manifest.to_json()).needs_zstd == (compression == "zstd")
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_hard_links_count_as_the_files_they_become(inspected: Inspect) -> None:
    """Also if they are programs."""
    found = inspected(tar(program("bin/a"), hard_link("bin/acme", "bin/a")))
    assert (found.bin, found.unpacked_bytes, found.entries) == (("bin/acme",), 32, 2)


def test_set_uid_files_must_be_named_and_exist(inspected: Inspect) -> None:
    """A file with the bit must be named, and a named file must have it."""
    content = tar(program("acme"), file("su", mode=0o4755), file("wall", mode=0o2755), link("l", "su"))
    with pytest.raises(ReleaseRefused, match="'su' has set-uid"):
        inspected(content)
    with pytest.raises(ReleaseRefused, match="'wall' has set-uid"):
        inspected(content, set_uid=["su"])
    for name in ("acme", "l", "nothing"):
        with pytest.raises(ReleaseRefused, match=f"set_uid names '{name}', which has no set-uid"):
            inspected(content, set_uid=["su", "wall", name])
    manifest = inspected(content, set_uid=["su", "wall"])
    assert read_manifest(manifest.to_json()).set_uid == Manifest.from_json(manifest.to_json()).set_uid == ("su", "wall")


def test_named_commands_keep_their_order(inspected: Inspect) -> None:
    """No other commands are exposed."""
    content = tar(program("bin/acme"), program("bin/acmed"), program("opt/tool"))
    found = inspected(content, bin=["opt/tool", "bin/acmed"])
    assert found.commands == ("tool", "acmed")


@pytest.mark.parametrize(
    ("content", "given", "reason"),
    [
        pytest.param(
            tar(program("bin/acme")), {"bin": ["bin/other"]}, "bin names 'bin/other'", id="bin that is not there"
        ),
        pytest.param(
            tar(file("acme"), program("x")),
            {"bin": ["acme"]},
            "which is not an executable file",
            id="bin that cannot be run",
        ),
        pytest.param(
            tar(program("x"), link("acme", "x")),
            {"bin": ["acme"]},
            "which is not an executable file",
            id="bin that is a link",
        ),
        pytest.param(
            tar(folder("acme"), program("x")),
            {"bin": ["acme"]},
            "which is not an executable file",
            id="bin that is a folder",
        ),
        pytest.param(tar(file("README")), {}, "no program was found", id="no program"),
        pytest.param(tar(), {}, "no program was found", id="nothing in it"),
        pytest.param(tar(program("lib/x")), {}, "name its commands as bin", id="a program in no usual place"),
        pytest.param(
            tar(program("a/x"), program("b/x")), {"bin": ["a/x", "b/x"]}, "a name of its own", id="one name twice"
        ),
        pytest.param(tar(*(program(f"bin/{n}") for n in range(51))), {}, "at most 50 commands", id="too many commands"),
        pytest.param(tar(program("bin/a b")), {}, "the command 'a b' is not of the form", id="command with a space"),
        pytest.param(
            tar(program("acme")),
            {"health": {"command": ["sh", "-c", "true"]}},
            "'sh'; it must be a command of the release",
            id="health",
        ),
    ],
)
def test_a_release_without_its_commands_is_refused(
    inspected: Inspect, content: bytes, given: dict[str, Any], reason: str
) -> None:
    """A host could not run it."""
    with pytest.raises(ReleaseRefused, match=reason):
        inspected(content, **given)


@pytest.mark.parametrize(
    ("form", "content"),
    [
        pytest.param("tar", tar(program("acme"), compression="gz")[:-9], id="cut off"),
        pytest.param("tar", b"<html>404 Not Found</html>", id="something else"),
        pytest.param("tar", tar(program("acme"), file("../x")), id="hostile"),
        pytest.param(
            "zip", zipped(program("acme"), compression=zipfile.ZIP_STORED).replace(b"echo", b"evil"), id="damaged"
        ),
        pytest.param("deb", deb(program("acme"))[:200], id="deb, cut off"),
        pytest.param("wheel", b"", id="empty"),
    ],
)
def test_f70_an_artifact_that_cannot_be_read_is_refused(inspected: Inspect, form: str, content: bytes) -> None:
    """Here, and not on a thousand hosts."""
    with pytest.raises(ReleaseRefused, match="the artifact is refused: "):
        inspected(content, form)


def test_a_host_can_unpack_and_run_an_inspected_release(inspected: Inspect, tmp_path: Path) -> None:
    """With the host's code, within the limits in the manifest."""
    content = tar(folder("bin"), program("bin/acme", "acme 1.0"), link("acme", "bin/acme"), compression="gz")
    health = {"command": ["acme"], "expect": "^acme {version}$", "seconds": 5}
    manifest = read_manifest(inspected(content, health=health).to_json())
    unpack(tmp_path / "artifact", manifest, tmp_path / "tree")
    try:
        verify(manifest, tmp_path / "tree")
        output = subprocess.run([tmp_path / "tree" / "acme"], capture_output=True, text=True, check=True).stdout
    finally:
        remove_tree(tmp_path / "tree")
    assert output == "acme 1.0\n"
