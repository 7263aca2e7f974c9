"""A host with an older version downloads a delta; whatever is wrong with it, the whole artifact comes instead."""

import gzip
import itertools
import random
import shutil
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import TargetFile

from backfleet.releases.deltas import base_of, make_delta, result_of
from backfleet_host.contract import Order, Report
from backfleet_host.download_paths import delta_path
from backfleet_host.manifest import read_manifest
from backfleet_host.platforms import platform_here
from backfleet_host.upgrader import Installation, carry_out_on, failpoints
from backfleet_host.upgrader.release import repository
from backfleet_host.upgrader.transaction import fetching
from host.upgrader.fake_repository import PACKAGE, FakeRepository, Server, begin_answer, served
from releases.artifacts import file, folder, link, tar

NOISE = random.Random(7).randbytes(200_000)  # what both versions have, and nothing compresses
SCRIPT = '#!/bin/sh\n[ "$1" = version ] && echo "courier {0}"\nexit 0\n'


class Shop(FakeRepository):
    """Offers two versions, and a delta from one to the other."""

    def __init__(self, space: Path) -> None:
        super().__init__()
        self.space = space
        self.whole = {version: self.add(version, artifact=self.artifact(version)) for version in ("1.0", "2.0")}
        self.delta = self.add_delta("1.0", "2.0")

    def artifact(self, version: str) -> bytes:
        script = file("bin/courier", SCRIPT.format(version).encode(), 0o755)
        content = [script, folder("empty"), file("share/noise", NOISE), link("share/more", "noise")]
        return gzip.compress(tar(*content, file(f"share/{version}", b"new")), mtime=0)

    def add(self, version: str, **more: Any) -> str:
        return super().add(version, **{"unpacked_bytes": 300_000, **more})

    def add_delta(self, base: str, version: str, content: bytes = b"", **changed: Any) -> str:
        """Offer a delta; what it is, or what is signed of it, may be something else."""
        old, new = (self._content(each, of) for each, of in ((base, base_of), (version, result_of)))
        made = content or make_delta(old, new)
        custom = {
            "base_version": base, "base_sha256": sha256(old).hexdigest(), "base_length": len(old),
            "result_sha256": sha256(new).hexdigest(), "result_length": len(new), **changed,
        }  # fmt: skip
        name, digest = delta_path(PACKAGE, version, platform_here(), base), sha256(made).hexdigest()
        self.targets.targets[name] = TargetFile(
            len(made), {"sha256": digest}, name, unrecognized_fields={"custom": {"backfleet_delta": custom}}
        )
        head, _, tail = name.rpartition("/")
        self.files[f"targets/{head}/{digest}.{tail}"] = made
        self.publish()
        return f"targets/{head}/{digest}.{tail}"

    def _content(self, version: str, of: Any) -> bytes:
        (self.space / version).write_bytes(self.artifact(version))
        raw = self.targets.targets[f"{PACKAGE}/{version}/{platform_here()}"].custom["backfleet"]
        return bytes(of(self.space / version, read_manifest(raw)))


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(repository, "FIRST_PAUSE_SECONDS", 0.005)
    return Shop(tmp_path)


@pytest.fixture
def server(shop: Shop) -> Iterator[Server]:
    with served(shop.files) as server:
        yield server


@pytest.fixture
def host(tmp_path: Path, shop: Shop, server: Server) -> Installation:
    """A host with 1.0."""
    root = tmp_path / "host"
    installation = Installation(root, root / "bin", f"{server.address}/downloads", None, shop.trust_root)
    assert order(installation, "install", "1.0").outcome == "succeeded"
    server.asked.clear()
    return installation


def order(host: Installation, kind: str, version: str) -> Report:
    asked = Order(f"u-{time.monotonic_ns()}", kind, PACKAGE, version, platform_here(), timeout_seconds=30)
    return carry_out_on(host, asked, lambda line: None)


def downloaded(server: Server) -> list[str]:
    return list(dict.fromkeys(path for path, _ in server.asked if path.startswith("targets/")))


def upgraded(host: Installation, shop: Shop, kind: str = "upgrade") -> dict[str, Any]:
    """Upgrade to 2.0; check that nothing is half done, and return what the report says of the download."""
    report = order(host, kind, "2.0")
    assert report.outcome == "succeeded", report
    tree = host.package(PACKAGE).tree("2.0")
    assert (tree / "share" / "noise").read_bytes() == NOISE
    assert (tree / "share" / "2.0").read_bytes() == b"new"
    assert (tree / "share" / "more").readlink() == Path("noise")
    assert (tree / "empty").is_dir()
    assert (tree / "bin" / "courier").stat().st_mode & 0o777 == 0o555
    assert list(host.package(PACKAGE).downloads.iterdir()) == []
    return dict(report.details.get("downloads", {}).get("2.0", {}))


def test_an_upgrade_downloads_the_delta_only(host, server, shop):
    whole, delta = (len(shop.files[path]) for path in (shop.whole["2.0"], shop.delta))
    assert upgraded(host, shop) == {"way": "delta", "base": "1.0", "bytes": delta, "saved": whole - delta}
    assert downloaded(server) == [shop.delta]
    assert delta < whole / 20


def test_the_tree_is_the_one_that_the_artifact_unpacks_to(host, shop, tmp_path):
    upgraded(host, shop)
    by_delta = host.package(PACKAGE).facts("2.0").read_bytes()
    del shop.targets.targets[delta_path(PACKAGE, "2.0", platform_here(), "1.0")]
    shop.publish()
    other = Installation(tmp_path / "b", tmp_path / "b" / "bin", host.downloads, None, shop.trust_root)
    assert order(other, "install", "2.0").outcome == "succeeded"
    assert other.package(PACKAGE).facts("2.0").read_bytes() == by_delta


def test_staging_downloads_the_delta_and_the_upgrade_then_nothing(host, server, shop):
    assert order(host, "stage", "2.0").details["downloads"]["2.0"]["way"] == "delta"
    assert order(host, "upgrade", "2.0").outcome == "succeeded"
    assert downloaded(server) == [shop.delta]


def test_a_host_without_an_older_version_downloads_the_whole(tmp_path, server, shop):
    root = tmp_path / "new"
    fresh = Installation(root, root / "bin", f"{server.address}/downloads", None, shop.trust_root)
    assert upgraded(fresh, shop, "install") == {"way": "whole", "bytes": len(shop.files[shop.whole["2.0"]])}
    assert downloaded(server) == [shop.whole["2.0"]]


def check_whole(host: Installation, server: Server, shop: Shop, why: str) -> None:
    found = upgraded(host, shop)
    assert found["way"] == "whole"
    assert why in found["no_delta"]
    assert downloaded(server)[-1] == shop.whole["2.0"]


def test_a_delta_that_the_server_does_not_have_costs_a_whole_download(host, server, shop):
    del shop.files[shop.delta]
    check_whole(host, server, shop, "HTTP status 404")


def test_a_delta_with_other_bytes_is_not_used(host, server, shop):
    shop.files[shop.delta] = shop.files[shop.delta][:-1] + b"!"
    check_whole(host, server, shop, "do not have the SHA-256")


def test_a_delta_that_is_none_is_not_used(host, server, shop):
    shop.delta = shop.add_delta("1.0", "2.0", b"BSDIFF40" + bytes(100))
    check_whole(host, server, shop, "it is no delta")


def test_a_delta_to_something_else_is_not_used(host, server, shop):
    shop.delta = shop.add_delta("1.0", "2.0", result_sha256="0" * 64)
    check_whole(host, server, shop, "does not have the SHA-256")


def test_a_delta_of_another_length_is_not_used(host, server, shop):
    shop.delta = shop.add_delta("1.0", "2.0", result_length=1000)
    check_whole(host, server, shop, "not 1000 of")


@pytest.mark.parametrize(
    "broken", [{"base_sha256": "../x"}, {"base_length": -1}, {"base_version": 7}, {"result_length": "1"}]
)
def test_a_description_of_another_form_is_ignored(host, server, shop, broken):
    shop.add_delta("1.0", "2.0", **broken)
    assert upgraded(host, shop) == {}
    assert downloaded(server) == [shop.whole["2.0"]]


def test_a_line_that_is_cut_again_and_again_ends_with_the_whole(host, server, shop):
    def cut(handler: Any, path: str) -> bool:
        if path != shop.delta:
            return False
        begin_answer(handler, 0, len(server.files[path]))
        handler.wfile.flush()
        handler.connection.shutdown(2)
        return True

    server.misbehave = cut
    check_whole(host, server, shop, "tried 4 times")


@pytest.mark.parametrize("tampered", [False, True])
def test_the_version_before_is_a_base_unless_it_was_tampered_with(host, server, shop, tampered):
    upgraded(host, shop)
    shop.add("3.0", artifact=shop.artifact("3.0"))
    shop.add_delta("1.0", "3.0")
    noise = host.package(PACKAGE).tree("1.0") / "share" / "noise"
    noise.chmod(0o644)
    noise.write_bytes(NOISE[:-1] + b"!" if tampered else NOISE)
    report = order(host, "upgrade", "3.0")
    assert report.outcome == "succeeded"
    found = report.details["downloads"]["3.0"]
    assert (found["way"], "not as that release has them" in found.get("no_delta", "")) == (
        "whole" if tampered else "delta",
        tampered,
    )


class Crash(BaseException):
    """The end of the process, at one of its effects."""


def test_after_a_crash_at_any_effect_of_the_download_the_next_order_succeeds(host, shop):
    """A result is verified again before it is used, and what was half written is written anew."""
    last = next(number for number in itertools.count(1) if not crashes_at(host, number))
    assert last > 12  # before and after: base, delta and its name, result and its name, and what is removed


def crashes_at(host: Installation, number: int) -> bool:
    """Stage 2.0, end at this effect on downloads, and stage it again; return whether there is such an effect."""
    package, seen = host.package(PACKAGE), 0

    def crash(when: str, kind: str, path: str) -> None:
        nonlocal seen
        seen += path.startswith(str(package.downloads))
        if seen >= number:  # nothing is cleaned up either
            raise Crash

    failpoints.watch(crash)
    try:
        order(host, "stage", "2.0")
    except Crash:
        failpoints.watch(None)
        assert order(host, "stage", "2.0").outcome == "succeeded"
    finally:
        failpoints.watch(None)
    assert list(package.downloads.iterdir()) == []
    assert (package.tree("2.0") / "share" / "noise").read_bytes() == NOISE
    shutil.rmtree(package.tree("2.0"))
    package.facts("2.0").unlink()
    return seen >= number


def test_a_base_that_is_not_the_signed_one_costs_no_delta(host, server, shop):
    shop.add_delta("1.0", "2.0", base_sha256="0" * 64)
    check_whole(host, server, shop, "are not as that release has them")
    assert downloaded(server) == [shop.whole["2.0"]]


def test_a_disk_without_space_for_both_takes_the_whole(host, server, shop, monkeypatch):
    monkeypatch.setattr(fetching, "SPARE_BYTES", 1 << 60)
    check_whole(host, server, shop, "MiB free")
