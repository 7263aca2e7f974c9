"""Hosts that a restored server does not know: they are taken in while it is held, by their key and by nothing else."""

import base64
import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from backfleet import fleet, hold
from backfleet.endpoints import agents
from backfleet.fleet._tables import instances
from backfleet.settings import Settings
from backfleet.storage import Database
from endpoints.agents.hosts import ACCOUNT, AgentServer, Host, key, public_pem, start_server

NOTED: list[tuple[str, str]] = []


@pytest.fixture
def held(database: Database, now: datetime, tmp_path: Path) -> Iterator[AgentServer]:
    """A server that was restored a minute ago from a copy of an hour before that."""
    NOTED.clear()
    with database.transaction() as tx:
        restored = now - timedelta(minutes=1)
        hold.begin(tx, copied_at=restored - timedelta(hours=1), now=restored)
    adopters = agents.Adopters(
        hold.Watch(database), lambda tx: ACCOUNT, lambda tx, made, mark, at: NOTED.append((made.id, mark))
    )
    server, shut = start_server(database, Settings(data=tmp_path), now, adopters)
    try:
        yield server
    finally:
        shut()


def host(server: AgentServer, instance_id: str = "mi-unknown", number: int = 7) -> Host:
    return Host(server, key(number), instance_id)


def adopt(asking: Host, *, names: int | None = None, skew_ms: int = 0, **changes: Any) -> int:
    """Ask to be taken in; return the status. `names` is the number of the key that the body has."""
    pem = public_pem(asking.key if names is None else key(names))
    body = {
        "machineId": asking.machine_id, "hostname": "web-9", "instanceName": "web-9", "osType": "linux",
        "osVersion": "Linux_x86_64", "agentVersion": "backfleet-0.1.0", "agentMode": "restricted",
        "intranetIp": "10.0.0.9", "publicKey": base64.b64encode(pem).decode(),
    } | changes  # fmt: skip
    headers = asking.signed(skew_ms=skew_ms) | {"Content-Type": "application/json"}
    path = "/luban/api/backfleet/adopt"
    return asking.server.ask("POST", path, json.dumps(body).encode(), headers).status


def test_an_unknown_host_is_taken_in_by_its_key(held: AgentServer, database: Database) -> None:
    """Once, under the id that it had, in the administrator account; that is written down."""
    unknown = host(held)
    assert unknown.heartbeat().status == 401
    assert adopt(unknown) == 200
    assert unknown.heartbeat().status == 200
    with database.reading() as tx:
        made = fleet.instance(tx, ACCOUNT, "mi-unknown")
        restore = hold.state(tx)
    assert made is not None
    assert (made.name, made.agent_version) == ("web-9", "backfleet-0.1.0")
    assert restore is not None
    assert restore.adopted == 1
    assert [name for name, _ in NOTED] == ["mi-unknown"]
    assert NOTED[0][1].startswith("SHA256:")


def test_nobody_is_taken_in_without_proof(held: AgentServer, database: Database) -> None:
    """Another's key, an id that is known or malformed, a request that is old or of before the restore."""
    assert adopt(host(held), names=8) == 401
    assert adopt(host(held), machineId="another") == 401
    assert adopt(host(held, "i-cloud")) == 401
    assert adopt(host(held), skew_ms=-120_000) == 401
    assert adopt(host(held), skew_ms=-3_600_000) == 401
    assert adopt(host(held), publicKey="none") == 401
    assert adopt(host(held)) == 200
    assert adopt(host(held)) == 401, "it is known by now"
    assert adopt(host(held, number=8)) == 401, "it is another's"
    with database.transaction() as tx:
        hold.release(tx, by="an operator", now=held.clock())
    assert adopt(host(held, "mi-later")) == 401
    with database.reading() as tx:
        assert tx.scalar(sa.select(sa.func.count()).select_from(instances)) == 1


def test_what_was_signed_before_the_restore_is_refused(held: AgentServer) -> None:
    """The copy does not know which request ids were used since it was made. What is older than it, it knows."""
    known = host(held)
    assert adopt(known) == 200
    for skew, status in ((-30_000, 200), (-120_000, 401), (-1_800_000, 401), (0, 200)):
        path = "/luban/api/heart-beat"
        assert held.ask("GET", path, headers=known.signed(skew_ms=skew)).status == status


def test_a_server_that_was_never_restored_takes_nobody_in(database: Database, now: datetime, tmp_path: Path) -> None:
    adopters = agents.Adopters(hold.Watch(database), lambda tx: ACCOUNT, lambda tx, made, mark, at: None)
    server, shut = start_server(database, Settings(data=tmp_path), now, adopters)
    with ExitStack() as ends:
        ends.callback(shut)
        assert adopt(host(server)) == 401
