"""Enrolment at the first start: what was prepared waits for an activation, and copies never share a key."""

import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backfleet_host.__main__ import main
from backfleet_host.agent import machine
from backfleet_host.agent.protocol.address import read_address
from backfleet_host.agent.setup.enrolment import CannotEnrol, EnrolmentOptions, enrol
from backfleet_host.agent.setup.first_start import enrol_if_prepared, prepare, write_activation
from backfleet_host.identity import read_identity
from backfleet_host.layout import Places
from host.agent.gateway import CODE, Gateway


class StillWaiting(Exception):
    pass


def pauses(*happening: Callable[[], object]) -> Callable[[float], None]:
    """Return a pause in which something happens each time; after the last one it ends the test."""
    events = iter(happening)

    def pause(seconds: float) -> None:
        assert 0 < seconds <= 60
        event = next(events, None)
        if event is None:
            raise StillWaiting
        event()

    return pause


@pytest.fixture
def disk(tmp_path: Path, gateway: Gateway) -> Places:
    places = Places(tmp_path / "disk")
    prepare(places, read_address(gateway.address), gateway.ca, name="from-image")
    return places


def test_it_waits_for_an_activation_and_enrols_once(disk: Places, gateway: Gateway) -> None:
    """The activation is removed then, and a further start changes nothing."""
    enrol_if_prepared(
        disk, mode="restricted", pause=pauses(lambda: None, lambda: write_activation(disk, "act-1", CODE))
    )
    made = read_identity(disk)
    assert (made.name, made.server) == ("from-image", gateway.address)
    assert not disk.activation.exists()
    enrol_if_prepared(disk, mode="restricted", pause=pauses())
    assert read_identity(disk) == made


def test_a_refused_activation_is_not_tried_again(disk: Places, gateway: Gateway) -> None:
    """Another one is: the file is looked at until then, and the server is not asked."""
    write_activation(disk, "act-1", "wrong")
    asked = []
    gateway.activations["act-2"] = [CODE, 1]
    enrol_if_prepared(
        disk,
        mode="restricted",
        pause=pauses(lambda: asked.append(len(gateway.registered)), lambda: write_activation(disk, "act-2", CODE)),
    )
    assert asked == [0]
    assert read_identity(disk).instance_id in gateway.registered


def test_a_server_that_is_away_is_asked_again(disk: Places, gateway: Gateway) -> None:
    write_activation(disk, "act-1", CODE)
    gateway.go_away()
    enrol_if_prepared(disk, mode="restricted", pause=pauses(lambda: None, gateway.come_back))
    assert read_identity(disk).instance_id


def test_a_key_of_another_boot_is_not_used(disk: Places, monkeypatch: pytest.MonkeyPatch, gateway: Gateway) -> None:
    """The disk may have been copied after a try that did not end: two hosts would be one."""
    write_activation(disk, "act-1", CODE)
    gateway.go_away()
    with pytest.raises(StillWaiting):
        enrol_if_prepared(disk, mode="restricted", pause=pauses())
    left = b"a key of a try that did not end"
    disk.key.write_bytes(left)
    with pytest.raises(StillWaiting):
        enrol_if_prepared(disk, mode="restricted", pause=pauses())
    assert disk.key.read_bytes() == left
    monkeypatch.setattr(machine, "boot_id", lambda: "another boot")
    with pytest.raises(StillWaiting):
        enrol_if_prepared(disk, mode="restricted", pause=pauses())
    assert not disk.key.exists()


def test_a_disk_that_was_copied_after_it_enrolled_gets_a_new_identity(
    disk: Places, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If its machine id is another one and an activation is there. Without one it stays as it is."""
    monkeypatch.setattr(machine, "stored_machine_id", lambda *_: "machine-1")
    write_activation(disk, "act-1", CODE)
    enrol_if_prepared(disk, mode="restricted", pause=pauses())
    first = disk.key.read_bytes()
    monkeypatch.setattr(machine, "stored_machine_id", lambda *_: "machine-2")
    enrol_if_prepared(disk, mode="restricted", pause=pauses())
    assert disk.key.read_bytes() == first
    write_activation(disk, "act-1", CODE)
    enrol_if_prepared(disk, mode="restricted", pause=pauses())
    assert disk.key.read_bytes() != first
    assert read_identity(disk).machine_id == "machine-2"


def test_an_activation_that_others_may_write_is_not_read(disk: Places) -> None:
    write_activation(disk, "act-1", CODE)
    assert stat.S_IMODE(disk.activation.stat().st_mode) == 0o600
    disk.activation.chmod(0o666)
    with pytest.raises(StillWaiting):
        enrol_if_prepared(disk, mode="restricted", pause=pauses())


def test_an_enrolled_root_is_not_prepared(places: Places, gateway: Gateway) -> None:
    """All copies of it would be one host."""
    with pytest.raises(CannotEnrol, match="all copies of this disk would be one host"):
        prepare(places, read_address(gateway.address), gateway.ca)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        pytest.param(["--server", "a b", "--ca", "CA"], "a b", id="no address"),
        pytest.param(["--server", "a:1", "--ca", "/none"], "cannot be used: No such file", id="no authority"),
        pytest.param(["--server", "a:1", "--ca", "CA", "--activation-id", "x"], "given together", id="no code"),
        pytest.param(["--server", "a:1", "--ca", "CA", "--release-root", "/none"], "cannot be read", id="no root"),
    ],
)
def test_what_cannot_be_prepared(
    words: list[str], text: str, gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line; no folder is made."""
    given = [str(gateway.ca) if word == "CA" else word for word in words]
    assert main(["prepare", "--root", str(tmp_path / "root"), "--no-service", *given]) == 1
    shown = capsys.readouterr().err
    assert text in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "root").exists()


def test_the_code_comes_from_the_environment(
    gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is neither shown nor in the list of processes."""
    monkeypatch.setenv("BACKFLEET_ACTIVATION_CODE", CODE)
    root = tmp_path / "root"
    words = ["--root", str(root), "--server", gateway.address, "--ca", str(gateway.ca), "--activation-id", "act-1"]
    assert main(["prepare", "--no-service", *words]) == 0
    assert CODE not in capsys.readouterr().out
    enrol_if_prepared(Places(root), mode="restricted", pause=pauses())
    again = EnrolmentOptions(read_address(gateway.address), gateway.ca, "act-1", CODE)
    assert enrol(Places(root), again, mode="restricted", now=datetime.now(UTC), progress=lambda text: None)
