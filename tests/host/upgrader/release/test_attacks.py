"""F74: the attacks of the TUF specification, section 1.5.2, by name: each is refused, and the host is untouched."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import MetaFile
from tuf.ngclient._internal import trusted_metadata_set

from backfleet_host.contract import Order, Report
from backfleet_host.platforms import platform_here
from backfleet_host.upgrader import Installation, carry_out_on
from backfleet_host.upgrader.release import repository, retrieval
from host.upgrader.fake_repository import PACKAGE, FakeRepository, Server, served, signed_by

ONLINE = ("targets", "snapshot", "timestamp")


def order(kind: str, version: str, timeout_seconds: int = 30) -> Order:
    return Order(f"u-{time.monotonic_ns()}", kind, PACKAGE, version, platform_here(), timeout_seconds)


class Attacked:
    """A host that runs 1.0, an honest repository, and an attacker between them."""

    def __init__(self, root: Path, offering: FakeRepository, server: Server) -> None:
        self.offering, self.server, self.root = offering, server, root
        self.installation = Installation(root, root / "bin", f"{server.address}/downloads", None, offering.trust_root)

    def carry(self, kind: str, version: str, timeout_seconds: int = 30) -> Report:
        return carry_out_on(self.installation, order(kind, version, timeout_seconds), lambda line: None)

    def picture(self) -> dict[str, Any]:
        shown = [path for path in self.root.rglob("*") if path.parts[len(self.root.parts)] != "trust"]
        skipped = ("outcomes", "outcome.json", "downloads")
        return {
            str(path): path.readlink() if path.is_symlink() else path.stat().st_mtime_ns
            for path in shown
            if not path.is_dir() and not any(part in skipped for part in path.parts)
        }


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Attacked]:
    monkeypatch.setattr(repository, "FIRST_PAUSE_SECONDS", 0.005)
    monkeypatch.setattr(retrieval, "READ_SECONDS", 2.0)
    offering = FakeRepository()
    offering.add("1.0")
    with served(offering.files) as server:
        target = Attacked(tmp_path / "host", offering, server)
        assert target.carry("install", "1.0").outcome == "succeeded"
        yield target


def replay_timestamp(target: Attacked) -> None:
    old = target.offering.files["metadata/timestamp.json"]
    target.offering.publish()
    assert target.carry("upgrade", "1.0").code == "AlreadyCurrent"
    target.carry("upgrade", "9")  # so that the newer timestamp has been seen
    target.offering.add("2.0")
    target.offering.files["metadata/timestamp.json"] = old


def replay_snapshot(target: Attacked) -> None:
    target.offering.add("2.0")
    target.offering.timestamp.version += 1
    target.offering.timestamp.snapshot_meta = MetaFile(version=1)
    target.offering.snapshot.version = 1
    target.offering.publish_as("snapshot", "1.snapshot", target.offering.snapshot)
    target.offering.publish_as("timestamp", "timestamp", target.offering.timestamp)


def replay_targets(target: Attacked) -> None:
    target.offering.add("2.0")
    target.offering.targets.version = 0
    target.offering.snapshot.meta = {"targets.json": MetaFile(version=1)}
    target.offering.targets.version = 1
    target.offering.publish_as("targets", "1.targets", target.offering.targets)
    target.offering.snapshot.version += 1
    target.offering.publish_as("snapshot", f"{target.offering.snapshot.version}.snapshot", target.offering.snapshot)
    target.offering.publish_timestamp()


def freeze(target: Attacked) -> None:
    target.offering.timestamp.expires = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=1)
    target.offering.add("2.0")


def freeze_snapshot(target: Attacked) -> None:
    target.offering.snapshot.expires = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=1)
    target.offering.add("2.0")


def freeze_targets(target: Attacked) -> None:
    target.offering.targets.expires = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=1)
    target.offering.add("2.0")


def mix_and_match(target: Attacked) -> None:
    """Serve the newest timestamp with the snapshot before it, under the new one's name."""
    old = target.offering.files[f"metadata/{target.offering.snapshot.version}.snapshot.json"]
    target.offering.add("2.0")
    target.offering.files[f"metadata/{target.offering.snapshot.version}.snapshot.json"] = old


def mix_targets(target: Attacked) -> None:
    old = target.offering.files[f"metadata/{target.offering.targets.version}.targets.json"]
    target.offering.add("2.0")
    target.offering.files[f"metadata/{target.offering.targets.version}.targets.json"] = old


def endless(handler: Any) -> bool:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(2000):
        handler.wfile.write(b"x" * 65536)
    return True


def endless_metadata(target: Attacked) -> None:
    target.offering.add("2.0")
    target.server.misbehave = lambda handler, path: path.endswith("timestamp.json") and endless(handler)


def endless_artifact(target: Attacked) -> None:
    target.offering.add("2.0")
    target.server.misbehave = lambda handler, path: path.startswith("targets/") and endless(handler)


def other_bytes(target: Attacked) -> None:
    path = target.offering.add("2.0")
    content = target.offering.files[path]
    target.offering.files[path] = content[:-1] + b"x"


def longer_than_signed(target: Attacked) -> None:
    path = target.offering.add("2.0")
    target.offering.files[path] += b"x"


def shorter_than_signed(target: Attacked) -> None:
    path = target.offering.add("2.0")
    target.offering.files[path] = target.offering.files[path][:-1]


def wrong_key_for(role: str) -> Callable[[Attacked], None]:
    def attack(target: Attacked) -> None:
        target.offering.keys[role] = [CryptoSigner.generate_ed25519()]
        target.offering.add("2.0")

    return attack


def no_signature(target: Attacked) -> None:
    target.offering.keys["targets"] = []
    target.offering.add("2.0")


def stolen_timestamp_key(target: Attacked) -> None:
    """Sign with a key that can call a snapshot the newest, and can make none."""
    mine = CryptoSigner.generate_ed25519()
    target.offering.keys.update(snapshot=[mine], targets=[mine])
    target.offering.add("2.0")


def stolen_snapshot_key(target: Attacked) -> None:
    target.offering.keys["targets"] = target.offering.keys["snapshot"]
    target.offering.add("2.0")


def expired_root(target: Attacked) -> None:
    target.offering.root.version += 1
    target.offering.root.expires = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    target.offering.publish_root(*target.offering.keys["root"])
    target.offering.add("2.0")


def root_of_the_attacker(target: Attacked) -> None:
    """Serve a new root that names the attacker's keys, signed by the attacker alone."""
    mine = CryptoSigner.generate_ed25519()
    offering = target.offering
    offering.root.version += 1
    for role in ("root", "targets", "snapshot", "timestamp"):
        offering.root.revoke_key(offering.keys[role][0].public_key.keyid, role)
        offering.root.add_key(mine.public_key, role)
        offering.keys[role] = [mine]
    offering.publish_root(mine)
    offering.add("2.0")


def root_that_leaves_one_out(target: Attacked) -> None:
    target.offering.root.version += 2
    target.offering.files["metadata/2.root.json"] = signed_by(target.offering.root, *target.offering.keys["root"])
    target.offering.add("2.0")


def below_threshold(target: Attacked) -> None:
    """Serve root 2, which requires two signatures of three, and root 3 with one."""
    offering = target.offering
    three_keys(offering)
    offering.root.version += 1
    offering.publish_root(offering.keys["root"][0])
    offering.add("2.0")


def three_keys(offering: FakeRepository) -> None:
    more = [CryptoSigner.generate_ed25519() for _ in range(2)]
    offering.root.version += 1
    for signer in more:
        offering.root.add_key(signer.public_key, "root")
    offering.root.roles["root"].threshold = 2
    offering.publish_root(offering.keys["root"][0], more[0])
    offering.keys["root"] += more


def broken_json(target: Attacked) -> None:
    target.offering.add("2.0")
    target.offering.files["metadata/timestamp.json"] = b'{"signed": '


def another_package(target: Attacked) -> None:
    """Serve a correctly signed description of another package."""
    target.offering.add("2.0", package="other")


def no_description(target: Attacked) -> None:
    target.offering.add("2.0", bin="../../bin/sh")


def another_release(target: Attacked) -> None:
    target.offering.add("3.0")


ATTACKS = [
    pytest.param(replay_timestamp, "RolledBackMetadata", id="rollback of the timestamp"),
    pytest.param(replay_snapshot, "RolledBackMetadata", id="rollback of the snapshot"),
    pytest.param(replay_targets, "RolledBackMetadata", id="rollback of the targets"),
    pytest.param(freeze, "Expired", id="freeze"),
    pytest.param(freeze_snapshot, "Expired", id="freeze of the snapshot"),
    pytest.param(freeze_targets, "Expired", id="freeze of the targets"),
    pytest.param(mix_and_match, "MixedMetadata", id="mix and match"),
    pytest.param(mix_targets, "MixedMetadata", id="mix and match of targets"),
    pytest.param(endless_metadata, "TooLong", id="endless metadata"),
    pytest.param(endless_artifact, "TooLong", id="endless artifact"),
    pytest.param(other_bytes, "WrongBytes", id="arbitrary software"),
    pytest.param(longer_than_signed, "TooLong", id="wrong size, longer"),
    pytest.param(shorter_than_signed, "TooShort", id="wrong size, shorter"),
    *[pytest.param(wrong_key_for(role), "WrongSignature", id=f"wrong key for {role}") for role in ONLINE],
    pytest.param(no_signature, "WrongSignature", id="no signature"),
    pytest.param(stolen_timestamp_key, "WrongSignature", id="stolen timestamp key"),
    pytest.param(stolen_snapshot_key, "WrongSignature", id="stolen snapshot key"),
    pytest.param(expired_root, "Expired", id="expired root"),
    pytest.param(root_of_the_attacker, "WrongSignature", id="a root signed by the attacker"),
    pytest.param(root_that_leaves_one_out, "MixedMetadata", id="a root that leaves one out"),
    pytest.param(below_threshold, "WrongSignature", id="a root below its threshold"),
    pytest.param(broken_json, "UnreadableMetadata", id="metadata that is no JSON"),
    pytest.param(another_package, "BadDescription", id="wrong software"),
    pytest.param(no_description, "BadDescription", id="a description that cannot be read"),
    pytest.param(another_release, "NotOffered", id="a release that no metadata names"),
]


@pytest.mark.parametrize(("attack", "reason"), ATTACKS)
def test_f74_an_attack_is_refused(target: Attacked, attack: Callable[[Attacked], None], reason: str) -> None:
    """With a reason of its own, nothing changed, and within limits of time and bytes."""
    attack(target)
    before = target.picture()
    report = target.carry("upgrade", "2.0")
    code = "DownloadFailed" if reason == "TooShort" else "UntrustedRelease"
    assert (report.outcome, report.code, report.current_version) == ("failed", code, "1.0"), report.message
    assert report.details.get("reason") == reason, report.message
    assert target.picture() == before


def trickle(handler: Any) -> bool:
    """Send a byte now and then, so that no single read times out."""
    handler.send_response(200)
    handler.end_headers()
    return slowly(handler, b" " * 1000)


def trickle_of_headers(handler: Any) -> bool:
    return slowly(handler, b"HTTP/1.1 200 OK\r\n" + b"X-More: and more\r\n" * 80)


def slowly(handler: Any, content: bytes) -> bool:
    for number in range(len(content)):
        handler.wfile.write(content[number : number + 1])
        handler.wfile.flush()
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("how", [trickle, trickle_of_headers])
@pytest.mark.parametrize("what", ["metadata/timestamp.json", "targets/"])
def test_f74_a_slow_server_costs_no_more_than_the_orders_time(
    target: Attacked, what: str, how: Callable[[Any], bool]
) -> None:
    """A server that sends next to nothing for a minute cannot keep the host busy until it ends: it hangs up."""
    target.offering.add("2.0")
    read_to_the_end: list[str] = []

    def misbehave(handler: Any, path: str) -> bool:
        if not path.startswith(what):
            return False
        how(handler)
        read_to_the_end.append(path)
        return True

    target.server.misbehave = misbehave
    before = target.picture()
    report = target.carry("upgrade", "2.0", timeout_seconds=1)
    assert read_to_the_end == []
    assert (report.code, report.details.get("reason")) == ("DownloadFailed", "TooSlow"), report.message
    assert target.picture() == before
    target.server.misbehave = lambda handler, path: False
    assert target.carry("upgrade", "2.0").current_version == "2.0"


def test_f74_endless_metadata_is_not_requested_again(target: Attacked) -> None:
    """It is an attack, not a network failure: retries would only fetch more bytes."""
    endless_metadata(target)
    target.server.asked.clear()
    target.carry("upgrade", "2.0")
    assert [path for path, _ in target.server.asked].count("metadata/timestamp.json") == 1


def test_a_clock_that_jumped_ahead_quarantines_nothing(target: Attacked, monkeypatch: pytest.MonkeyPatch) -> None:
    """All metadata is expired for this host; once its clock is right again, orders succeed."""

    class NextYear(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(days=365)

    target.offering.add("2.0")
    with monkeypatch.context() as there:
        there.setattr(trusted_metadata_set, "datetime", SimpleNamespace(datetime=NextYear, timezone=timezone))
        report = target.carry("upgrade", "2.0")
    assert (report.code, report.details.get("reason")) == ("UntrustedRelease", "Expired")
    assert not (target.root / PACKAGE / "failed").exists()
    assert target.carry("upgrade", "2.0").current_version == "2.0"


def test_a_new_root_is_trusted_with_enough_signatures(target: Attacked) -> None:
    """Two of three old key holders sign the next root, which drops the third."""
    offering = target.offering
    three_keys(offering)
    gone = offering.keys["root"].pop(0)
    offering.root.version += 1
    offering.root.revoke_key(gone.public_key.keyid, "root")
    offering.publish_root(*offering.keys["root"])
    offering.add("2.0")
    assert target.carry("upgrade", "2.0").current_version == "2.0"


def test_a_stolen_key_is_replaced_by_the_root(target: Attacked) -> None:
    """Signatures of the old key no longer count, those of the new key do."""
    offering = target.offering
    stolen = offering.keys["timestamp"]
    offering.keys["timestamp"] = [CryptoSigner.generate_ed25519()]
    offering.root.version += 1
    offering.root.revoke_key(stolen[0].public_key.keyid, "timestamp")
    offering.root.add_key(offering.keys["timestamp"][0].public_key, "timestamp")
    offering.publish_root(*offering.keys["root"])
    offering.add("2.0")
    assert target.carry("upgrade", "2.0").current_version == "2.0"
    offering.keys["timestamp"] = stolen
    offering.add("3.0")
    assert target.carry("upgrade", "3.0").code == "UntrustedRelease"


def test_fast_forward_is_recovered_from(target: Attacked) -> None:
    """The attacker signed the highest version there is; a new key in the root starts the versions again."""
    offering = target.offering
    offering.timestamp.version = 2**31
    offering.publish_timestamp()
    target.carry("upgrade", "9")  # the host has seen it
    stolen = offering.keys["timestamp"]
    offering.keys["timestamp"] = [CryptoSigner.generate_ed25519()]
    offering.root.version += 1
    offering.root.revoke_key(stolen[0].public_key.keyid, "timestamp")
    offering.root.add_key(offering.keys["timestamp"][0].public_key, "timestamp")
    offering.publish_root(*offering.keys["root"])
    offering.timestamp.version = 5
    offering.add("2.0")
    assert target.carry("upgrade", "2.0").current_version == "2.0"


def test_f68_metadata_that_times_out_is_requested_again(target: Attacked) -> None:
    """Nothing is ever trusted without its signature."""
    target.offering.add("2.0")
    failures = [0]

    def twice(handler: Any, path: str) -> bool:
        if not path.endswith("snapshot.json") or failures[0] >= 2:
            return False
        failures[0] += 1
        handler.send_error(503)
        return True

    target.server.misbehave = twice
    assert target.carry("upgrade", "2.0").current_version == "2.0"
    assert failures[0] == 2


def test_f74_an_archive_with_the_shims_own_folder_is_refused(target: Attacked) -> None:
    """Signed metadata says which program a command is, not the archive."""
    import io
    import tarfile

    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        for name, content in (("bin/courier", b"#!/bin/sh\necho courier 2.0\n"), (".backfleet/courier", b"/bin/sh\n")):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            archive.addfile(info, io.BytesIO(content))
    target.offering.add("2.0", artifact=held.getvalue())
    before = target.picture()
    report = target.carry("upgrade", "2.0")
    assert (report.code, report.details["reason"]) == ("UntrustedRelease", "BadArchive")
    assert target.picture() == before
