"""Enrolment: once for each host, within the bounds of the activation."""

import base64
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from backfleet import fleet
from backfleet.ids import Draw
from backfleet.storage import Database

Activate = Callable[..., tuple[fleet.Activation, str]]
MakeRegistration = Callable[..., fleet.Registration]


def enrol(database: Database, asked: fleet.Registration, now: datetime, draw: Draw, ip: str = "10.1.1.1") -> Any:
    with database.transaction() as tx:
        return fleet.register(tx, asked, source_ip=ip, now=now, draw=draw)


def test_a_host_enrols_with_its_code(
    database: Database, activate: Activate, registration: MakeRegistration, now: datetime, draw: Draw
) -> None:
    """It gets an id, belongs to the account and region of the activation, and its key is stored."""
    activation, code = activate()
    made = enrol(database, registration(activation, code), now, draw)
    assert made.id.startswith("mi-")
    assert (made.account_id, made.region, made.name) == (activation.account_id, activation.region, "web-1")
    with database.reading() as tx:
        known = fleet.agent_identity(tx, made.id)
    assert known is not None
    assert (known.machine_id, known.deregistered) == ("m" * 32, False)


def test_a_host_that_did_not_get_the_answer_gets_the_same_instance(
    database: Database, activate: Activate, registration: MakeRegistration, now: datetime, draw: Draw
) -> None:
    """The same activation, machine id and key are the same host."""
    activation, code = activate(count=1)
    first = enrol(database, registration(activation, code), now, draw)
    assert enrol(database, registration(activation, code), now, draw).id == first.id


def test_hosts_with_one_machine_id_are_distinguished_by_their_keys(
    database: Database, activate: Activate, registration: MakeRegistration, keys: list[str], now: datetime, draw: Draw
) -> None:
    """Cloned images send the same machine id."""
    activation, code = activate()
    first = enrol(database, registration(activation, code), now, draw)
    second = enrol(database, registration(activation, code, public_key=keys[1]), now, draw)
    assert first.id != second.id


@pytest.mark.parametrize(
    ("activated", "requested", "later", "ip", "text"),
    [
        pytest.param({}, {"code": "a-wrong"}, 0, "10.1.1.1", "id or code is wrong", id="a wrong code"),
        pytest.param({}, {"activation_id": "no"}, 0, "10.1.1.1", "id or code is wrong", id="an unknown activation"),
        pytest.param({}, {}, 5, "10.1.1.1", "expired", id="too late"),
        pytest.param({"address_range": "10.0.0.0/16"}, {}, 0, "10.1.1.1", "this address", id="from elsewhere"),
    ],
)
def test_a_refused_host_is_not_enrolled(
    database: Database,
    activate: Activate,
    registration: MakeRegistration,
    now: datetime,
    draw: Draw,
    activated: dict[str, Any],
    requested: dict[str, Any],
    later: int,
    ip: str,
    text: str,
) -> None:
    """The message says why, but not whether the id or the code was wrong."""
    activation, code = activate(**activated)
    asked = registration(activation, code, **requested)
    with pytest.raises(fleet.RegistrationRefused, match=text):
        enrol(database, asked, now + timedelta(hours=later), draw, ip)
    with database.reading() as tx:
        assert fleet.count_instances(tx, activation.account_id) == 0


def test_two_hosts_cannot_both_be_the_last_one(
    database: Database, activate: Activate, registration: MakeRegistration, keys: list[str], now: datetime, draw: Draw
) -> None:
    """Hosts that enrol at once share the count of the activation."""
    activation, code = activate(count=1)
    ended: list[str] = []

    def try_to(key: str) -> None:
        try:
            enrol(database, registration(activation, code, public_key=key), now, draw)
            ended.append("enrolled")
        except fleet.RegistrationRefused:
            ended.append("refused")

    threads = [threading.Thread(target=try_to, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ended) == ["enrolled", "refused", "refused"]


def test_hosts_are_numbered_as_wide_as_the_count(
    database: Database, activate: Activate, registration: MakeRegistration, keys: list[str], now: datetime, draw: Draw
) -> None:
    """The name is `<activation name>-<number>`; a name that the host asks for takes precedence."""
    activation, code = activate(count=100, name="web")
    assert enrol(database, registration(activation, code), now, draw).name == "web-001"
    named = registration(activation, code, public_key=keys[1], instance_name="mine")
    assert enrol(database, named, now, draw).name == "mine"


def test_a_host_is_deregistered_once(
    database: Database, activate: Activate, registration: MakeRegistration, now: datetime, draw: Draw
) -> None:
    """Its identity says so, lists leave it out, and its place in the activation is not free again."""
    activation, code = activate(count=1)
    made = enrol(database, registration(activation, code), now, draw)
    with database.transaction() as tx:
        assert fleet.deregister(tx, made.id, now=now)
        assert not fleet.deregister(tx, made.id, now=now)
        known = fleet.agent_identity(tx, made.id)
        assert known is not None
        assert known.deregistered
        assert fleet.instance(tx, made.account_id, made.id) is None
    with pytest.raises(fleet.RegistrationRefused, match="used up"):
        enrol(database, registration(activation, code), now, draw)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        pytest.param({"publicKey": "x"}, "publicKey", id="no base64"),
        pytest.param({"publicKey": base64.b64encode(b"no key").decode()}, "publicKey", id="no key"),
        pytest.param({"hostname": 5}, "hostname", id="a number for a name"),
        pytest.param({"hostname": "x" * 300}, "hostname", id="a name without end"),
        pytest.param({"machineId": "a\0b"}, "machineId", id="a NUL"),
    ],
)
def test_a_malformed_registration_is_refused(keys: list[str], changes: dict[str, Any], text: str) -> None:
    """Every field is checked."""
    body = {"publicKey": base64.b64encode(keys[0].encode()).decode(), "osType": "linux"}
    with pytest.raises(fleet.RegistrationRefused, match=text):
        fleet.read_registration({**body, **changes})


@pytest.mark.parametrize(
    ("reported", "os_type", "os_version", "platform"),
    [
        ("linux-arm64", "linux", "Linux_x_x86_64", "linux-arm64"),
        ("", "linux", "Linux_#1 SMP PREEMPT_DYNAMIC @0_x86_64", "linux-amd64"),
        ("", "linux", "Linux_#1_aarch64", "linux-arm64"),
        ("../etc", "linux", "Linux_#1_i686", "linux-386"),
        ("", "linux", "Plan9_cray", ""),
    ],
)
def test_the_platform_is_reported_or_read_from_the_os_version(
    keys: list[str], reported: str, os_type: str, os_version: str, platform: str
) -> None:
    """The official agent does not report it; its OS version ends with the machine name."""
    key = base64.b64encode(keys[0].encode()).decode()
    body = {"publicKey": key, "platform": reported, "osType": os_type, "osVersion": os_version}
    assert fleet.read_registration(body).platform == platform


def test_a_host_that_enrolled_as_i686_is_known_by_the_name_that_releases_use(
    database: Database, activate: Activate, registration: MakeRegistration, now: datetime, draw: Draw
) -> None:
    """Older agents enrolled as linux-i686; the upgrader on the same host accepts only linux-386."""
    activation, code = activate()
    made = enrol(database, registration(activation, code), now, draw)
    with database.transaction() as tx:
        tx.run(sa.text("UPDATE instances SET platform = 'linux-i686'"))
    with database.reading() as tx:
        known = fleet.instance(tx, made.account_id, made.id)
    assert known is not None
    assert known.platform == "linux-386"


def test_an_unheard_instance_gives_its_place_up_to_the_same_machine_with_another_key(
    database: Database, activate: Activate, registration: MakeRegistration, keys: list[str], now: datetime, draw: Draw
) -> None:
    """The official agent makes a new key for each try. An instance that was heard of stays."""
    activation, code = activate(count=1)
    official = [registration(activation, code, public_key=key, agent_version="2.2.3.578") for key in keys[:2]]
    lost = enrol(database, official[0], now, draw)
    with database.transaction() as tx:
        assert fleet.forget_unheard(tx, official[0], source_ip="10.1.1.1", now=now) == []
        assert fleet.forget_unheard(tx, official[1], source_ip="10.1.1.1", now=now) == [lost.id]
        made = fleet.register(tx, official[1], source_ip="10.1.1.1", now=now, draw=draw)
        fleet.note_heartbeats(tx, [fleet.Heartbeat(made.id, now, signed_ms=1)])
        assert fleet.forget_unheard(tx, official[0], source_ip="10.1.1.1", now=now + timedelta(hours=1)) == []
