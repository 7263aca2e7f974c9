"""Enrolment: it is complete or nothing has changed, and a lost answer is recovered by trying again."""

import json
import os
import shutil
import stat
from datetime import datetime
from pathlib import Path

import pytest

from backfleet.certificates import prepare_certificates
from backfleet_host.agent import machine
from backfleet_host.agent.protocol.address import BadAddress, read_address
from backfleet_host.agent.protocol.request_signature import read_request_signer
from backfleet_host.agent.setup.enrolment import CannotEnrol, EnrolmentOptions, enrol
from backfleet_host.identity import read_identity
from backfleet_host.layout import Places
from host.agent.gateway import CODE, ROOT_METADATA, Gateway


@pytest.fixture
def root(tmp_path: Path) -> Places:
    return Places(tmp_path / "opt" / "backfleet")


def options(gateway: Gateway, **changes: object) -> EnrolmentOptions:
    fields = {
        "server": read_address(gateway.address),
        "authority": gateway.ca,
        "activation_id": "act-1",
        "code": CODE,
        "name": "host-1",
    }
    return EnrolmentOptions(**{**fields, **changes})  # type: ignore[arg-type]


def do_enrol(places: Places, asked: EnrolmentOptions, now: datetime) -> str:
    return enrol(places, asked, mode="restricted", now=now, progress=lambda text: None).instance_id


def test_enrolment_stores_identity_key_authority_and_release_root(
    gateway: Gateway, root: Places, now: datetime
) -> None:
    """Identity and key are readable for this user only."""
    assert do_enrol(root, options(gateway), now) == "mi-test0001"
    identity = read_identity(root)
    assert (identity.instance_id, identity.server, identity.name) == ("mi-test0001", gateway.address, "host-1")
    assert "PRIVATE" not in repr(read_request_signer(root, identity))
    assert root.trusted_root.read_bytes() == ROOT_METADATA
    assert root.authority.read_bytes() == gateway.ca.read_bytes()
    for path in (root.identity, root.key):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(root.agent.stat().st_mode) == 0o700


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o027, 0o077], ids=oct)
def test_folders_have_their_modes_whatever_the_umask(gateway: Gateway, root: Places, now: datetime, umask: int) -> None:
    """Others pass through to the client, write nothing, and see nothing of the agent."""
    before = os.umask(umask)
    try:
        do_enrol(root, options(gateway), now)
    finally:
        os.umask(before)
    expected = {root.root.parent: 0o755, root.root: 0o755, root.trust: 0o755, root.trusted_root: 0o644}
    expected |= {root.agent: 0o700, root.identity: 0o600, root.key: 0o600, root.authority: 0o600, root.lock: 0o600}
    assert {path: stat.S_IMODE(path.stat().st_mode) for path in expected} == expected


def test_the_registration_has_the_official_fields_and_two_of_ours(
    gateway: Gateway, root: Places, now: datetime
) -> None:
    """In the official agent's order."""
    do_enrol(root, options(gateway), now)
    fields = gateway.registered["mi-test0001"]
    assert " ".join(fields) == (
        "activationCode activationId machineId regionId instanceName hostname intranetIp osVersion osType agentVersion "
        "publicKey tag agentMode platform"
    )
    assert fields["agentVersion"].startswith("backfleet-")
    assert (fields["agentMode"], fields["osType"], fields["instanceName"]) == ("restricted", "linux", "host-1")
    assert fields["platform"].startswith("linux-")
    assert fields["publicKey"].startswith("LS0tLS1CRUdJTiBQVUJMSUMgS0VZ")


def files_of(root: Places) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("reachable", [True, False], ids=["and says so", "and the server is away"])
def test_a_host_that_is_enrolled_with_this_server_keeps_its_identity(
    gateway: Gateway, root: Places, now: datetime, reachable: bool
) -> None:
    """The line can be pasted again: nothing changes, on the host or on the server, and no activation is spent."""
    first = do_enrol(root, options(gateway), now)
    before, notes = files_of(root), []
    if not reachable:
        gateway.go_away()
    identity = enrol(root, options(gateway, code="spent"), mode="restricted", now=now, progress=notes.append)
    assert identity.instance_id == first
    assert files_of(root) == before
    assert len(gateway.registered) == 1
    assert notes[-1] == f"{root.root} is already enrolled; nothing was changed"
    assert len(notes) == (1 if reachable else 2)


def test_a_host_of_another_server_is_not_enrolled_again(gateway: Gateway, root: Places, now: datetime) -> None:
    """The message says whose it is and what to do; nothing changes."""
    do_enrol(root, options(gateway), now)
    before = files_of(root)
    with pytest.raises(
        CannotEnrol, match=f"already enrolled with {gateway.address}, as mi-test0001.*remove {root.agent}"
    ):
        do_enrol(root, options(gateway, server=read_address("elsewhere.example:8443")), now)
    assert files_of(root) == before


def test_a_host_that_its_server_deregistered_gets_a_new_identity(gateway: Gateway, root: Places, now: datetime) -> None:
    """With a new key: the old one belongs to the instance that is gone."""
    first = do_enrol(root, options(gateway), now)
    key = root.key.read_bytes()
    del gateway.keys[first]
    second = do_enrol(root, options(gateway), now)
    assert second != first
    assert read_identity(root).instance_id == second
    assert root.key.read_bytes() != key
    assert not root.next_key.exists()
    assert stat.S_IMODE(root.key.stat().st_mode) == 0o600


def test_a_copied_root_gets_an_identity_of_its_own(
    gateway: Gateway, root: Places, now: datetime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On another machine by itself, and on one with the same machine id if its administrator says so."""
    first = do_enrol(root, options(gateway), now)
    copy = Places(tmp_path / "copy")
    shutil.copytree(root.root, copy.root)
    assert do_enrol(copy, options(gateway), now) == first
    second = do_enrol(copy, options(gateway, new_identity=True), now)
    assert second != first
    assert read_identity(root).instance_id == first
    assert copy.key.read_bytes() != root.key.read_bytes()
    monkeypatch.setattr(machine, "stored_machine_id", lambda *_: "another-machine")
    assert do_enrol(root, options(gateway), now) not in (first, second)


def test_a_new_identity_that_the_server_refuses_leaves_the_old_one(
    gateway: Gateway, root: Places, now: datetime
) -> None:
    """The activation is wrong: the host stays what it was."""
    first = do_enrol(root, options(gateway), now)
    before = files_of(root)
    with pytest.raises(CannotEnrol, match="refuses this enrolment"):
        do_enrol(root, options(gateway, code="wrong", new_identity=True), now)
    assert files_of(root) == before
    assert do_enrol(root, options(gateway), now) == first


def test_a_lost_answer_is_recovered_by_enrolling_again(gateway: Gateway, root: Places, now: datetime) -> None:
    """The key is kept: the same command gives the same instance, and the activation is spent once."""
    gateway.behaviour.lose_register_answers = 1
    with pytest.raises(CannotEnrol, match="run the same command again"):
        do_enrol(root, options(gateway), now)
    assert root.key.exists()
    assert not root.identity.exists()
    assert do_enrol(root, options(gateway), now) == "mi-test0001"
    assert gateway.activations["act-1"][1] == 99


def test_a_wrong_activation_code_leaves_nothing_behind(gateway: Gateway, root: Places, now: datetime) -> None:
    """The message says what to do and does not show the code."""
    with pytest.raises(CannotEnrol, match=r"activation code is wrong.*backfleet activation create") as problem:
        do_enrol(root, options(gateway, code="wrong-secret"), now)
    assert "wrong-secret" not in str(problem.value)
    assert not root.root.parent.exists()


def test_enrolment_without_a_server_leaves_nothing_behind(gateway: Gateway, root: Places, now: datetime) -> None:
    """The message names the address and the flag."""
    gateway.go_away()
    with pytest.raises(CannotEnrol, match=f"{gateway.address} cannot be reached.*refused.*--server") as problem:
        do_enrol(root, options(gateway), now)
    assert "object at" not in str(problem.value)
    assert "\n" not in str(problem.value)
    assert not root.root.parent.exists()


def test_a_server_name_that_does_not_resolve_is_named(gateway: Gateway, root: Places, now: datetime) -> None:
    """In plain words."""
    with pytest.raises(CannotEnrol, match="the name does not resolve"):
        do_enrol(root, options(gateway, server=read_address("nowhere.invalid:8443")), now)


def test_a_server_of_another_authority_is_sent_nothing(
    gateway: Gateway, root: Places, now: datetime, tmp_path: Path
) -> None:
    """Nothing is left behind either."""
    other = prepare_certificates(tmp_path / "other", ["127.0.0.1"], now=now).authority
    with pytest.raises(CannotEnrol, match=r"does not have the certificate.*--ca"):
        do_enrol(root, options(gateway, authority=other), now)
    assert gateway.registered == {}
    assert not root.root.parent.exists()


def test_the_certificate_must_be_for_this_address(gateway: Gateway, root: Places, now: datetime) -> None:
    """The authority alone is not enough."""
    server = read_address(f"127.0.0.2:{gateway.port}")
    with pytest.raises(CannotEnrol):
        do_enrol(root, options(gateway, server=server), now)
    assert gateway.registered == {}


@pytest.mark.parametrize("content", [None, b"", b"not a certificate"])
def test_a_file_that_is_no_authority_is_refused(
    gateway: Gateway, root: Places, now: datetime, tmp_path: Path, content: bytes
) -> None:
    """The message names the flag and the file."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CannotEnrol, match=f"--ca {file}"):
        do_enrol(root, options(gateway, authority=file), now)


def test_a_root_that_cannot_be_written_costs_no_activation(gateway: Gateway, tmp_path: Path, now: datetime) -> None:
    """A file is in the way: one clear line."""
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotEnrol, match=r"cannot be written to.*--root"):
        do_enrol(Places(tmp_path / "file" / "root"), options(gateway), now)
    assert gateway.registered == {}


@pytest.mark.parametrize("answer", [b"<html>", b"{}", b'{"signed": {"_type": "targets"}}'])
def test_a_server_that_is_not_backfleet_costs_no_activation(
    gateway: Gateway, root: Places, now: datetime, answer: bytes
) -> None:
    """Without a release root the host could trust no release."""
    gateway.behaviour.root_metadata = answer
    with pytest.raises(CannotEnrol, match="is --server a Backfleet server"):
        do_enrol(root, options(gateway), now)
    assert gateway.registered == {}
    assert not root.root.parent.exists()


def test_an_answer_that_is_too_long_is_refused(gateway: Gateway, root: Places, now: datetime) -> None:
    """Even from a server of the right authority."""
    gateway.behaviour.root_metadata = json.dumps({"signed": {"_type": "root", "x": "y" * (2 << 20)}}).encode()
    with pytest.raises(CannotEnrol, match="longer than"):
        do_enrol(root, options(gateway), now)


def test_a_root_that_is_in_use_is_not_enrolled(gateway: Gateway, root: Places, now: datetime) -> None:
    """An agent, or another enrolment, holds its lock."""
    from backfleet_host.files import hold_lock, make_folder

    make_folder(root.agent)
    lock = hold_lock(root.lock)
    assert lock is not None
    with pytest.raises(CannotEnrol, match="another backfleet-host"):
        do_enrol(root, options(gateway), now)
    os.close(lock)
    assert do_enrol(root, options(gateway), now)


def test_options_print_without_the_activation_code(gateway: Gateway) -> None:
    """Secrets must not reach a log by way of repr."""
    assert CODE not in repr(options(gateway))


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
def test_an_address_is_host_and_port(text: str, read: str) -> None:
    """Port 443 if there is none."""
    assert str(read_address(text)) == read


@pytest.mark.parametrize(
    "text",
    ["", ":8443", "https://example.com", "a b:1", "host:port", "host:99999", "u:p@host:1", "host:1?x", "host\n:1"],
)
def test_what_is_not_host_and_port_is_refused(text: str) -> None:
    """The message shows what was found."""
    with pytest.raises(BadAddress, match="HOST:PORT"):
        read_address(text)


def root_of(version: object, kind: str = "root") -> bytes:
    return json.dumps({"signed": {"_type": kind, "version": version}, "signatures": []}).encode()


def test_the_newest_release_root_is_stored(gateway: Gateway, root: Places, now: datetime) -> None:
    """Keys that were replaced since do not count on a new host either."""
    gateway.behaviour.newer_roots = [root_of(2), root_of(3)]
    do_enrol(root, options(gateway), now)
    assert root.trusted_root.read_bytes() == root_of(3)


@pytest.mark.parametrize(
    "second", [root_of(3), root_of(True), root_of(2, "targets"), b"{}", b"[" * 100_000], ids=range(5)
)
def test_a_newer_release_root_that_is_invalid_stops_enrolment(
    gateway: Gateway, root: Places, now: datetime, second: bytes
) -> None:
    """Nothing is spent and nothing stored."""
    gateway.behaviour.newer_roots = [second]
    with pytest.raises(CannotEnrol, match=r"2\.root\.json is not a release root"):
        do_enrol(root, options(gateway), now)
    assert gateway.activations["act-1"][1] == 100
    assert not root.root.exists()


def test_a_release_root_from_a_file_replaces_that_of_the_server(
    gateway: Gateway, root: Places, tmp_path: Path, now: datetime
) -> None:
    """Then even a server that was taken over cannot say which releases a new host trusts."""
    file = tmp_path / "5.root.json"
    file.write_bytes(root_of(5))
    do_enrol(root, options(gateway, release_root=file), now)
    assert root.trusted_root.read_bytes() == root_of(5)


@pytest.mark.parametrize("content", [None, b"", b"{}", root_of(1, "targets"), b" " * (1 << 20) + root_of(1)])
def test_a_file_that_is_no_release_root_is_refused(
    gateway: Gateway, root: Places, tmp_path: Path, now: datetime, content: bytes | None
) -> None:
    file = tmp_path / "root.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CannotEnrol, match=r"^--release-root "):
        do_enrol(root, options(gateway, release_root=file), now)
    assert not root.root.exists()
