"""Hosts that enrol, and hosts that have enrolled."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from backfleet import fleet
from backfleet.ids import Draw
from backfleet.storage import Database

ACCOUNT, OTHER, REGION = "1000000000000001", "1000000000000002", "cn-hangzhou"


def new_key() -> str:
    """Return a public key in the form in which it is stored."""
    key = rsa.generate_private_key(65537, 2048).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture(scope="session")
def keys() -> list[str]:
    """Return a few keys, made once because each takes time."""
    return [new_key() for _ in range(3)]


@pytest.fixture
def activate(database: Database, now: datetime, draw: Draw) -> Callable[..., tuple[fleet.Activation, str]]:
    """Return a function that creates an activation."""

    def make(**changes: Any) -> tuple[fleet.Activation, str]:
        asked = {"account_id": ACCOUNT, "region": REGION, "count": 2, "hours": 4, "name": "", "description": ""}
        with database.transaction() as tx:
            return fleet.create_activation(tx, **{**asked, "address_range": "", **changes}, now=now, draw=draw)

    return make


@pytest.fixture
def registration(keys: list[str]) -> Callable[..., fleet.Registration]:
    """Return a function that makes the request of a host that enrols."""

    def make(activation: fleet.Activation, shown: str, /, **changes: Any) -> fleet.Registration:
        fields = {
            "activation_id": activation.id,
            "code": shown,
            "machine_id": "m" * 32,
            "instance_name": "",
            "hostname": "web-1",
            "intranet_ip": "10.0.0.2",
            "os_type": "linux",
            "os_version": "Linux_#1 SMP_x86_64",
            "agent_version": "backfleet-0.1.0",
            "agent_mode": "restricted",
            "platform": "linux-amd64",
            "public_key": keys[0],
        }
        return fleet.Registration(**{**fields, **changes})

    return make


@pytest.fixture
def hosts(
    database: Database,
    activate: Callable[..., Any],
    registration: Callable[..., Any],
    keys: list[str],
    now: datetime,
    draw: Draw,
) -> list[fleet.Instance]:
    """Enrol two hosts of one account, whose agents have opened their sockets."""
    activation, code = activate()
    made = []
    with database.transaction() as tx:
        for number in range(2):
            asked = registration(activation, code, public_key=keys[number], hostname=f"web-{number}")
            made.append(fleet.register(tx, asked, source_ip="10.1.1.1", now=now, draw=draw))
        fleet.note_heartbeats(tx, [fleet.Heartbeat(host.id, now, reachable_at=now) for host in made])
    return [replace(host, reachable_at=now) for host in made]
