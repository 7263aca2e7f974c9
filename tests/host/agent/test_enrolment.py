"""Enrolment: done, or nothing has changed; and a lost answer is made good by trying again."""

import json
import os
import stat
from datetime import datetime
from pathlib import Path

import pytest

from backfleet.certificates import prepare_certificates
from backfleet_host.agent.protocol.request_signature import read_request_signer
from backfleet_host.agent.protocol.server import BadAddress, read_address
from backfleet_host.agent.setup.enrolment import CannotEnrol, Wish, enrol
from backfleet_host.identity import read_identity
from backfleet_host.layout import Places
from host.agent.gateway import CODE, ROOT_METADATA, Gateway


@pytest.fixture
def root(tmp_path: Path) -> Places:
    return Places(tmp_path / "opt" / "backfleet")


def wish(gateway: Gateway, **changes: object) -> Wish:
    fields = {
        "server": read_address(gateway.address),
        "authority": gateway.ca,
        "activation_id": "act-1",
        "code": CODE,
        "name": "host-1",
    }
    return Wish(**{**fields, **changes})  # type: ignore[arg-type]


def do_enrol(places: Places, asked: Wish, now: datetime) -> str:
    return enrol(places, asked, mode="restricted", now=now, say=lambda text: None).instance_id


def test_everything_is_kept(gateway: Gateway, root: Places, now: datetime) -> None:
    """Identity and key for this user only; the authority and the release root as they were fetched."""
    assert do_enrol(root, wish(gateway), now) == "mi-test0001"
    identity = read_identity(root)
    assert (identity.instance_id, identity.server, identity.name) == ("mi-test0001", gateway.address, "host-1")
    assert "PRIVATE" not in repr(read_request_signer(root, identity))
    assert root.trusted_root.read_bytes() == ROOT_METADATA
    assert root.authority.read_bytes() == gateway.ca.read_bytes()
    for path in (root.identity, root.key):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(root.agent.stat().st_mode) == 0o700


def test_what_the_server_is_told(gateway: Gateway, root: Places, now: datetime) -> None:
    """The official fields, and two of our own."""
    do_enrol(root, wish(gateway), now)
    said = gateway.registered["mi-test0001"]
    assert " ".join(said) == (
        "activationCode activationId machineId regionId instanceName hostname intranetIp osVersion osType agentVersion "
        "publicKey tag agentMode platform"
    )
    assert said["agentVersion"].startswith("backfleet-")
    assert (said["agentMode"], said["osType"], said["instanceName"]) == ("restricted", "linux", "host-1")
    assert said["platform"].startswith("linux-")
    assert said["publicKey"].startswith("LS0tLS1CRUdJTiBQVUJMSUMgS0VZ")


def test_twice_is_refused(gateway: Gateway, root: Places, now: datetime) -> None:
    """And nothing changes, here or there."""
    do_enrol(root, wish(gateway), now)
    before = {path: path.read_bytes() for path in root.root.rglob("*") if path.is_file()}
    with pytest.raises(CannotEnrol, match="already enrolled"):
        do_enrol(root, wish(gateway), now)
    assert {path: path.read_bytes() for path in root.root.rglob("*") if path.is_file()} == before
    assert len(gateway.registered) == 1


def test_a_lost_answer_is_made_good(gateway: Gateway, root: Places, now: datetime) -> None:
    """The key is kept; the same line again gives the same instance, and the activation is spent once."""
    gateway.behaviour.lose_register_answers = 1
    with pytest.raises(CannotEnrol, match="run the same line again"):
        do_enrol(root, wish(gateway), now)
    assert root.key.exists()
    assert not root.identity.exists()
    assert do_enrol(root, wish(gateway), now) == "mi-test0001"
    assert gateway.activations["act-1"][1] == 99


def test_a_wrong_code(gateway: Gateway, root: Places, now: datetime) -> None:
    """Says so and leaves nothing behind."""
    with pytest.raises(CannotEnrol, match=r"activation code is wrong.*backfleet activation create") as problem:
        do_enrol(root, wish(gateway, code="wrong-secret"), now)
    assert "wrong-secret" not in str(problem.value)
    assert not root.root.parent.exists()


def test_nobody_there(gateway: Gateway, root: Places, now: datetime) -> None:
    """Says where it looked, and leaves nothing behind."""
    gateway.go_away()
    with pytest.raises(CannotEnrol, match=f"{gateway.address} cannot be reached.*refused.*--server") as problem:
        do_enrol(root, wish(gateway), now)
    assert "object at" not in str(problem.value)
    assert "\n" not in str(problem.value)
    assert not root.root.parent.exists()


def test_a_name_that_does_not_resolve(gateway: Gateway, root: Places, now: datetime) -> None:
    """In plain words."""
    with pytest.raises(CannotEnrol, match="the name does not resolve"):
        do_enrol(root, wish(gateway, server=read_address("nowhere.invalid:8443")), now)


def test_the_wrong_authority(gateway: Gateway, root: Places, now: datetime, tmp_path: Path) -> None:
    """Another CA: nothing is sent, nothing is left."""
    other = prepare_certificates(tmp_path / "other", ["127.0.0.1"], now=now).authority
    with pytest.raises(CannotEnrol, match=r"is not who it must be.*--ca"):
        do_enrol(root, wish(gateway, authority=other), now)
    assert gateway.registered == {}
    assert not root.root.parent.exists()


def test_another_name_than_the_certificate_says(gateway: Gateway, root: Places, now: datetime) -> None:
    """The address counts too, not only the authority."""
    server = read_address(f"127.0.0.2:{gateway.port}")
    with pytest.raises(CannotEnrol):
        do_enrol(root, wish(gateway, server=server), now)
    assert gateway.registered == {}


@pytest.mark.parametrize("content", [None, b"", b"not a certificate"])
def test_an_authority_that_is_none(
    gateway: Gateway, root: Places, now: datetime, tmp_path: Path, content: bytes
) -> None:
    """Named, with what to do."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CannotEnrol, match=f"--ca {file}"):
        do_enrol(root, wish(gateway, authority=file), now)


def test_a_root_that_cannot_be_written(gateway: Gateway, tmp_path: Path, now: datetime) -> None:
    """A file in the way: one clear line, and the activation is not spent."""
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotEnrol, match=r"cannot be written to.*--root"):
        do_enrol(Places(tmp_path / "file" / "root"), wish(gateway), now)
    assert gateway.registered == {}


@pytest.mark.parametrize("answer", [b"<html>", b"{}", b'{"signed": {"_type": "targets"}}'])
def test_a_server_that_is_something_else(gateway: Gateway, root: Places, now: datetime, answer: bytes) -> None:
    """Without a release root nothing is spent: no release could ever be believed."""
    gateway.behaviour.root_metadata = answer
    with pytest.raises(CannotEnrol, match="is it Backfleet"):
        do_enrol(root, wish(gateway), now)
    assert gateway.registered == {}
    assert not root.root.parent.exists()


def test_an_endless_answer_is_cut(gateway: Gateway, root: Places, now: datetime) -> None:
    """Sizes are bounded even where the authority is right."""
    gateway.behaviour.root_metadata = json.dumps({"signed": {"_type": "root", "x": "y" * (2 << 20)}}).encode()
    with pytest.raises(CannotEnrol, match="longer than"):
        do_enrol(root, wish(gateway), now)


def test_only_one_at_a_time(gateway: Gateway, root: Places, now: datetime) -> None:
    """An agent, or another enrolment, holds the root."""
    from backfleet_host.layout import hold, make_folder

    make_folder(root.agent)
    lock = hold(root.lock)
    assert lock is not None
    with pytest.raises(CannotEnrol, match="another backfleet-host"):
        do_enrol(root, wish(gateway), now)
    os.close(lock)
    assert do_enrol(root, wish(gateway), now)


def test_a_wish_prints_without_its_code(gateway: Gateway) -> None:
    """Secrets do not reach logs by way of repr."""
    assert CODE not in repr(wish(gateway))


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("example.com:8443", "example.com:8443"),
        ("example.com", "example.com:443"),
        ("example.com:8443/t/abc/", "example.com:8443/t/abc"),
        ("[::1]:8443", "[::1]:8443"),
        ("EXAMPLE.com:1", "example.com:1"),
    ],
)
def test_addresses(text: str, read: str) -> None:
    """What HOST:PORT may be."""
    assert str(read_address(text)) == read


@pytest.mark.parametrize(
    "text",
    ["", ":8443", "https://example.com", "a b:1", "host:port", "host:99999", "u:p@host:1", "host:1?x", "host\n:1"],
)
def test_what_is_no_address(text: str) -> None:
    """Refused, showing what was found."""
    with pytest.raises(BadAddress, match="HOST:PORT"):
        read_address(text)


def root_of(version: object, kind: str = "root") -> bytes:
    return json.dumps({"signed": {"_type": kind, "version": version}, "signatures": []}).encode()


def test_the_newest_release_root_is_kept(gateway: Gateway, root: Places, now: datetime) -> None:
    """Keys that were replaced since count for nothing on a new host either."""
    gateway.behaviour.newer_roots = [root_of(2), root_of(3)]
    do_enrol(root, wish(gateway), now)
    assert root.trusted_root.read_bytes() == root_of(3)


@pytest.mark.parametrize(
    "second", [root_of(3), root_of(True), root_of(2, "targets"), b"{}", b"[" * 100_000], ids=range(5)
)
def test_a_newer_root_that_is_none_enrols_nobody(gateway: Gateway, root: Places, now: datetime, second: bytes) -> None:
    """Nothing is spent, nothing is kept."""
    gateway.behaviour.newer_roots = [second]
    with pytest.raises(CannotEnrol, match=r"2\.root\.json is no release root"):
        do_enrol(root, wish(gateway), now)
    assert gateway.activations["act-1"][1] == 100
    assert not root.root.exists()


def test_a_root_that_came_by_another_way_is_believed_and_the_servers_is_not(
    gateway: Gateway, root: Places, tmp_path: Path, now: datetime
) -> None:
    """Then no server, stolen or not, can say which releases a new host believes."""
    file = tmp_path / "5.root.json"
    file.write_bytes(root_of(5))
    do_enrol(root, wish(gateway, release_root=file), now)
    assert root.trusted_root.read_bytes() == root_of(5)


@pytest.mark.parametrize("content", [None, b"", b"{}", root_of(1, "targets"), b" " * (1 << 20) + root_of(1)])
def test_a_root_file_that_is_none_is_refused(
    gateway: Gateway, root: Places, tmp_path: Path, now: datetime, content: bytes | None
) -> None:
    file = tmp_path / "root.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CannotEnrol, match=r"^--release-root "):
        do_enrol(root, wish(gateway, release_root=file), now)
    assert not root.root.exists()
