"""Which hosts are visited, by whom, and how many at once. The visits are a test's own; the database is real."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from backfleet import commands
from backfleet.carriers.ssh import TOPIC, Worker, add_key, import_host
from backfleet.carriers.ssh.model import Hop, SshHost, SshKey
from backfleet.carriers.ssh.worker import FIRST_PAUSE, HELD_FOR, LONGEST_PAUSE, MOST_VISITS
from backfleet.commands import NewInvocation
from journeys.installation import wait_for
from operations.environment import REGION, Environment

EVERY = timedelta(seconds=60)
HOSTS = 3 * MOST_VISITS
SECONDS = 60


@dataclass
class Visiting:
    """Visits that last until a test lets them end."""

    reach: bool = True
    begun: list[str] = field(default_factory=list)
    ended: int = 0
    open: threading.Event = field(default_factory=threading.Event)

    async def visit(self, instance_id: str) -> bool:
        self.begun.append(instance_id)
        while not self.open.is_set():  # noqa: ASYNC110 - it is set by another thread
            await asyncio.sleep(0.02)
        self.ended += 1
        return self.reach


@dataclass
class Hosts:
    """Hosts of an account, with workers that share their database."""

    env: Environment
    now: datetime
    ids: list[str]
    visits: list[Visiting] = field(default_factory=list)

    def worker(self, *, reach: bool = True) -> tuple[Worker, Visiting]:
        made = Visiting(reach)
        self.visits.append(made)
        return Worker(self.env.services.database, lambda: made, lambda: self.now, every=EVERY), made

    def send(self, *instance_ids: str) -> None:
        account = self.env.root.account_id
        asked = [NewInvocation(account, each, "echo", 60, f"c-{next(self.env.numbers)}") for each in instance_ids]
        with self.env.services.database.transaction() as tx:
            commands.send(tx, asked, topic="tests", now=self.now, draw=self.env.services.draw)


@pytest.fixture
def hosts(env: Environment) -> Iterator[Hosts]:
    account, services = env.root.account_id, env.services
    ids = []
    with services.database.transaction() as tx:
        add_key(tx, SshKey(account, "fleet", "public", "fingerprint", env.now, "sealed"))
        for number in range(HOSTS):
            host = SshHost("", account, Hop(f"10.0.0.{number}", 22, "root", ("key",)), "fleet", False, "/opt/x")
            made, _ = import_host(tx, host, region=REGION, name="", now=env.now, draw=services.draw)
            ids.append(made.instance_id)
    made_hosts = Hosts(env, env.now, ids)
    yield made_hosts
    for visiting in made_hosts.visits:
        visiting.open.set()
    wait_for(lambda: all(each.ended == len(each.begun) for each in made_hosts.visits), SECONDS)


def begun(visiting: Visiting, count: int) -> set[str]:
    """Wait until so many visits began; return whom they are to."""
    wait_for(lambda: len(visiting.begun) >= count, SECONDS)
    return set(visiting.begun)


def test_two_replicas_visit_many_hosts_and_none_of_them_twice(hosts: Hosts) -> None:
    """Each has connections to as many as it may, however often it looks."""
    hosts.send(*hosts.ids)
    (first, its), (second, others) = hosts.worker(), hosts.worker()
    for _ in range(3):
        first.run_once(hosts.now)
        second.run_once(hosts.now)
    mine, theirs = begun(its, MOST_VISITS), begun(others, MOST_VISITS)
    assert (len(its.begun), len(others.begun), mine & theirs) == (MOST_VISITS, MOST_VISITS, set())
    its.open.set()
    wait_for(lambda: first.run_once(hosts.now) or len(its.begun) >= HOSTS - MOST_VISITS, SECONDS)
    assert set(its.begun) >= set(hosts.ids) - theirs


def test_where_every_host_is_visited_another_replica_has_nothing_to_do(hosts: Hosts) -> None:
    """Three have all of them; a fourth, and each of the three again, begin no more."""
    hosts.send(*hosts.ids)
    replicas = [hosts.worker() for _ in range(HOSTS // MOST_VISITS)]
    for worker, _ in replicas:
        worker.run_once(hosts.now)
    visited = [begun(visits, MOST_VISITS) for _, visits in replicas]
    assert set().union(*visited) == set(hosts.ids)
    idle, visits = hosts.worker()
    for worker in (idle, *(each for each, _ in replicas)):
        worker.run_once(hosts.now)
    assert (idle._under_way, visits.begun) == (set(), [])
    assert [len(its.begun) for _, its in replicas] == [MOST_VISITS] * len(replicas)


def test_the_first_host_of_all_is_published_and_looked_for_often(env: Environment) -> None:
    """Before it, a worker knows after one look that there is none."""
    services, made = env.services, Visiting()
    made.open.set()
    worker = Worker(services.database, lambda: made, lambda: env.now, every=EVERY)
    worker.run_once(env.now)
    assert not worker.has_any
    with services.database.transaction() as tx:
        add_key(tx, SshKey(env.root.account_id, "fleet", "public", "fingerprint", env.now, "sealed"))
        host = SshHost("", env.root.account_id, Hop("10.0.0.1", 22, "root", ("key",)), "fleet", False, "/opt/x")
        import_host(tx, host, region=REGION, name="", now=env.now, draw=services.draw)
        assert TOPIC in tx.published
    worker.run_once(env.now)
    assert worker.has_any
    begun(made, 1)
    wait_for(lambda: made.ended == 1, SECONDS)


def test_hosts_of_a_process_that_died_are_free_after_a_while(hosts: Hosts) -> None:
    (dead, its), (other, others) = hosts.worker(), hosts.worker()
    hosts.send(hosts.ids[0])
    dead.run_once(hosts.now)
    taken = begun(its, MOST_VISITS)
    other.run_once(hosts.now)
    assert not begun(others, MOST_VISITS) & taken
    others.open.set()
    wait_for(lambda: others.ended == MOST_VISITS, SECONDS)
    hosts.now += HELD_FOR
    wait_for(lambda: other.run_once(hosts.now) or hosts.ids[0] in others.begun, SECONDS)


def test_hosts_out_of_reach_do_not_keep_others_waiting(hosts: Hosts) -> None:
    """All have work. Those that were tried pause, also for other replicas, and longer each time."""
    hosts.send(*hosts.ids)
    (first, its), (second, others) = hosts.worker(reach=False), hosts.worker(reach=False)
    its.open.set()
    others.open.set()
    wait_for(lambda: first.run_once(hosts.now) or len(its.begun) == HOSTS, SECONDS)
    wait_for(lambda: not first._under_way, SECONDS)  # their pauses are stored, at the time that it is
    assert (set(its.begun), len(its.begun)) == (set(hosts.ids), HOSTS)
    second.run_once(hosts.now)
    assert not second._under_way
    hosts.now += timedelta(seconds=FIRST_PAUSE + 1)
    wait_for(lambda: first.run_once(hosts.now) or len(its.begun) == 2 * HOSTS, SECONDS)
    wait_for(lambda: not first._under_way, SECONDS)
    hosts.now += timedelta(seconds=FIRST_PAUSE + 1)
    second.run_once(hosts.now)
    assert not second._under_way


def test_a_clock_that_is_set_back_keeps_no_host_from_being_visited(hosts: Hosts) -> None:
    """Also one without work, whose next visit was set for a moment that is still to come."""
    worker, visiting = hosts.worker()
    visiting.open.set()
    wait_for(lambda: worker.run_once(hosts.now) or visiting.ended == HOSTS, SECONDS)
    worker.run_once(hosts.now)
    assert len(visiting.begun) == HOSTS
    hosts.now -= timedelta(days=1)
    wait_for(lambda: worker.run_once(hosts.now) or visiting.ended == 2 * HOSTS, SECONDS)
    worker.run_once(hosts.now)
    assert len(visiting.begun) == 2 * HOSTS


def test_a_host_that_is_imported_again_is_visited_at_once(hosts: Hosts) -> None:
    """Whoever mended something does not wait for the end of a pause; nor does a clock that was set back."""
    worker, visiting = hosts.worker(reach=False)
    visiting.open.set()
    wait_for(lambda: worker.run_once(hosts.now) or visiting.ended == HOSTS, SECONDS)
    wait_for(lambda: not worker._under_way, SECONDS)
    env, services = hosts.env, hosts.env.services
    host = SshHost("", env.root.account_id, Hop("10.0.0.7", 22, "root", ("new key",)), "fleet", False, "/opt/x")
    with services.database.transaction() as tx:
        known, is_new = import_host(tx, host, region=REGION, name="", now=hosts.now, draw=services.draw)
    assert (known.instance_id, is_new) == (hosts.ids[7], False)
    wait_for(lambda: worker.run_once(hosts.now) or visiting.begun.count(hosts.ids[7]) == 2, SECONDS)
    hosts.send(hosts.ids[0])
    hosts.now -= timedelta(seconds=LONGEST_PAUSE * 10)
    wait_for(lambda: worker.run_once(hosts.now) or visiting.begun.count(hosts.ids[0]) == 2, SECONDS)
