"""The console of a large fleet: how long its pages take, and what open pages cost that wait for changes.

    .venv/bin/python bench/console.py [--clients 50000] [--engine sqlite|postgresql] [--pages 200]

The server is a process of its own. CPU is that process's, from /proc, as wall times say little on a machine with other
work; with PostgreSQL its processes are not counted. The floor is the login page: HTTP and a template. Another commit
is measured with `PYTHONPATH=<its src>`.
"""

import argparse
import http.client
import json
import re
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import sqlalchemy as sa

from backfleet import identity
from backfleet.clock import utc_now
from backfleet.endpoints.console.live import MOST_STREAMS_EACH
from backfleet.fleet._tables import clients, instances, tags
from backfleet.ids import draw
from backfleet.opening import open_services
from backfleet.operations.catalogue import Services
from backfleet.pubsub import InProcessPubSub
from backfleet.settings import read_settings
from backfleet.upgrades._tables import tasks
from backfleet.wire.credentials import Credentials
from backfleet_sim.seeding import NEW, OLD, PACKAGE, make_activations, offer_release
from fleet import cpu_of, database_of, memory_of, started

TASKS = 20_000
SITES = 12
BATCH = 5000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=50_000)
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--pages", type=int, default=200, help="open pages that wait for changes")
    parser.add_argument("--rounds", type=int, default=7, help="how often each page is opened")
    parser.add_argument("--seconds", type=float, default=30.0, help="at rest")
    asked = parser.parse_args()
    print(f"{datetime.now(UTC):%Y-%m-%d}; {asked.clients:,} clients, {TASKS:,} tasks, {asked.engine}")
    with tempfile.TemporaryDirectory(prefix="backfleet-bench-") as folder:
        url, close = database_of(asked.engine, Path(folder))
        try:
            measure(Path(folder) / "data", url, asked)
        finally:
            close()


def measure(data: Path, url: str, asked: argparse.Namespace) -> None:
    flags = {"data": data, "http": "127.0.0.1:1", "https": "127.0.0.1:2", "database_url": url or None}
    services, _ = open_services(read_settings(flags, {}), InProcessPubSub(), clock=utc_now, draw=draw)
    admin = json.loads((data / "admin.json").read_text())
    offer_release(services)
    host = fill(services, admin["account_id"], asked.clients)
    keys = make_people(services, admin["account_id"], -(-asked.pages // MOST_STREAMS_EACH))
    services.database.close()
    process, ready = started(data, url)
    try:
        browser = Browser(ready["http"].removeprefix("http://"), process.pid)
        browser.log_in(admin["access_key_id"], admin["access_key_secret"])
        browser.get("/fleet")
        print(f"{'page':28} {'wall ms':>8} {'CPU ms':>8} {'KiB':>6}")
        for path in ("/login", "/fleet", "/fleet?state=Behind", "/fleet?state=Failed", "/fleet?q=host-04999",
                     f"/fleet?page={asked.clients // 50}", f"/fleet?page={asked.clients // 100}",
                     f"/hosts/{host}", "/tasks", f"/tasks?page={TASKS // 25}",
                     "/rollouts", "/trail"):  # fmt: skip
            browser.report(path, asked.rounds)
        before = memory_of(process.pid)
        browser.get("/fleet.csv")
        print(f"memory, KiB: {before:,}; after an export of every client: {memory_of(process.pid):,}")
        rest(browser, keys, asked.pages, asked.seconds)
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def make_people(services: Services, account: str, number: int) -> list[Credentials]:
    """Make users who may look: one person's pages that update themselves are limited."""
    keys = []
    for at in range(number):
        with services.database.transaction() as tx:
            identity.create_user(tx, account, f"person-{at}", now=utc_now(), draw=draw)
            identity.attach_policy(tx, account, f"person-{at}", "ReadOnlyAccess", "System", now=utc_now())
            key = identity.create_key(tx, services.vault, account, f"person-{at}", now=utc_now(), draw=draw)
        keys.append(Credentials(key.access_key_id, key.access_key_secret))
    return keys


def rest(browser: "Browser", keys: list[Credentials], pages: int, seconds: float) -> None:
    """Nothing happens: the cost of a server alone, and with open pages."""
    people = [Browser(browser.host, browser.pid) for _ in keys]
    for person, key in zip(people, keys, strict=True):
        person.log_in(key.access_key_id, key.access_key_secret)
        time.sleep(1)  # no more logins are taken from one address
    time.sleep(3)
    alone = browser.cpu_in(seconds)
    streams = [people[at % len(people)].stream() for at in range(pages)]
    time.sleep(3)
    memory = memory_of(browser.pid)
    used = browser.cpu_in(seconds)
    print(f"at rest, of a core: {alone * 100:.1f} % alone, {used * 100:.1f} % with {pages} open pages "
          f"({(used - alone) * 100:+.1f} %); {memory:,} KiB")  # fmt: skip
    for stream in streams:
        stream.close()


def fill(services: Services, account: str, number: int) -> str:
    """Write hosts of a dozen sites, each with a client, and tasks. Return the id of a host."""
    now, region = utc_now(), services.settings.region
    activation = make_activations(services, account, 1)[0][0]
    hosts = [
        {"id": f"mi-{draw(20)}", "account_id": account, "region": region, "activation_id": activation,
         "name": f"host-{at:05d}", "hostname": f"host-{at:05d}", "machine_id": str(at), "public_key": "x" * 450,
         "os_type": "linux", "os_version": "Debian 12", "platform": "linux-amd64", "agent_version": "1.0",
         "agent_mode": "restricted", "intranet_ip": "192.0.2.1", "internet_ip": "192.0.2.1", "registered_at": now,
         "last_heard_at": now + timedelta(days=1), "reachable_at": now}
        for at in range(number)
    ]  # fmt: skip
    made = [
        {"id": f"c-{draw(20)}", "account_id": account, "region": region, "instance_id": host["id"], "package": PACKAGE,
         "version": NEW if at % 3 else OLD, "channel": "stable", "status": "ACTIVATED", "created_at": now,
         "updated_at": now, "checked_at": now}
        for at, host in enumerate(hosts)
    ]  # fmt: skip
    sites = [
        {"kind": "instance", "resource_id": host["id"], "key": "site", "value": f"site {at % SITES}",
         "account_id": account, "region": region}
        for at, host in enumerate(hosts)
    ]  # fmt: skip
    orders = [
        {"id": f"t-{draw(20)}", "account_id": account, "kind": "upgrade", "state": "completed", "progress": 100,
         "requested_by": "somebody", "created_at": now, "updated_at": now, "completed_at": now, "deadline": now}
        for _ in range(TASKS)
    ]  # fmt: skip
    for table, rows in ((instances, hosts), (clients, made), (tags, sites), (tasks, orders)):
        for start in range(0, len(rows), BATCH):
            with services.database.transaction() as tx:
                tx.add(table, rows[start : start + BATCH])
    if services.database.engine.dialect.name == "postgresql":
        with services.database.transaction() as tx:
            tx.run(sa.text("ANALYZE"))  # as it does by itself within a minute or two, where a fleet grew
    return str(hosts[0]["id"])


class Browser:
    """Somebody who is logged in."""

    def __init__(self, host: str, pid: int) -> None:
        self.host, self.pid, self.cookie = host, pid, ""

    def log_in(self, key_id: str, secret: str) -> None:
        connection = http.client.HTTPConnection(self.host, timeout=60)
        connection.request("GET", "/console/login")
        answer = connection.getresponse()
        token = re.search(r'name="form_token" value="([^"]*)"', answer.read().decode())
        visit = (answer.getheader("Set-Cookie") or "").split(";")[0]
        assert token
        fields = urlencode({"form_token": token[1], "key_id": key_id, "secret": secret})
        headers = {"Cookie": visit, "Origin": f"http://{self.host}"}
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request("POST", "/console/login", fields, headers)
        answer = connection.getresponse()
        assert answer.status == 303, answer.read()
        cookies = answer.headers.get_all("Set-Cookie") or []
        self.cookie = next(text.split(";")[0] for text in cookies if "session=" in text)
        connection.close()

    def get(self, path: str) -> int:
        """Open a page; return its size in bytes."""
        connection = http.client.HTTPConnection(self.host, timeout=60)
        connection.request("GET", f"/console{path}", headers={"Cookie": self.cookie if path != "/login" else ""})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert answer.status == 200, (path, answer.status)
        return len(body)

    def report(self, path: str, rounds: int) -> None:
        walls, cpu = [], cpu_of(self.pid)
        for _ in range(rounds):
            began = time.perf_counter()
            size = self.get(path)
            walls.append(time.perf_counter() - began)
        used = (cpu_of(self.pid) - cpu) / rounds
        shown = re.sub(r"mi-\w+", "ID", path)
        print(f"{shown:28} {statistics.median(walls) * 1000:8.0f} {used * 1000:8.0f} {size / 1024:6.0f}", flush=True)

    def stream(self) -> http.client.HTTPConnection:
        """Open a page's stream of changes."""
        connection = http.client.HTTPConnection(self.host, timeout=60)
        connection.request(
            "GET", "/console/events?page=/fleet", headers={"Cookie": self.cookie, "Accept": "text/event-stream"}
        )
        assert connection.getresponse().status == 200
        return connection

    def cpu_in(self, seconds: float) -> float:
        """Return the share of a core that the server uses from now on."""
        before = cpu_of(self.pid)
        time.sleep(seconds)
        return (cpu_of(self.pid) - before) / seconds


if __name__ == "__main__":
    main()
