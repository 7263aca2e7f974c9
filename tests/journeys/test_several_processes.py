"""One server of two processes, each of which is chosen by the test: what one of them was told, the other one knows.

The crashes of such a server are in `tests/test_process_group.py`.
"""

import asyncio
import hashlib
import http.client
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest
from click.testing import CliRunner

from backfleet.cli import main
from backfleet.wire.credentials import Credentials
from backfleet_sim import Agent, HttpClient, Server, Simulation, all_connected, enrol, make_keys
from backfleet_sim.seeding import PER_ACTIVATION, give_clients, make_activations, offer_release
from endpoints.console.site import Browser
from journeys.installation import LONG
from journeys.several_processes import Group

NOTHING = hashlib.sha256(b"").hexdigest()
PLACES = 40  # for connections, in each process
POLL_SECONDS = 15  # after which an agent is kicked although its notification was lost

Answer = tuple[int, dict[str, Any]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    found = Group(
        tmp_path_factory.mktemp("group"),
        CALLS_PER_SECOND="1",
        CALLS_BURST="20",
        MOST_CONNECTIONS=str(PLACES),
        MOST_CONNECTIONS_PER_ADDRESS=str(PLACES),
    )
    try:
        yield found
    finally:
        found.end()


@pytest.fixture
def group(server: Group) -> Iterator[Group]:
    yield server
    server.hang_up()


def asked(connection: http.client.HTTPConnection, method: str, path: str, headers: dict[str, str]) -> Answer:
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read() or b"{}")


def signed(group: Group, product: str, action: str, **parameters: str) -> tuple[str, str, dict[str, str]]:
    """Return a signed call: it can be made twice."""
    client = group.client
    headers = client._headers(product, action, parameters, NOTHING, client.clock(), {})
    return "POST", f"/?{urlencode(parameters)}", headers


def test_a_call_is_made_once_at_all_of_them(group: Group) -> None:
    """A nonce that one process has seen is refused by the other one."""
    here, there = group.connected_to(0), group.connected_to(1)
    for first, second in ((here, there), (there, here)):
        call = signed(group, "sts", "GetCallerIdentity")
        assert asked(first, *call)[0] == 200
        status, answer = asked(second, *call)
        assert (status, answer["Code"]) == (400, "SignatureNonceUsed")


def test_one_rate_holds_for_all_of_them(group: Group) -> None:
    """Calls of one account, by turns: no more than the burst and what the time adds."""
    connections, began, answered = [group.connected_to(0), group.connected_to(1)], time.monotonic(), 0
    for number in range(60):
        status, answer = asked(connections[number % 2], *signed(group, "ram", "ListUsers"))
        assert (status, answer.get("Code", "")) in ((200, ""), (429, "Throttling.User")), answer
        answered += status == 200
    assert 10 <= answered <= 20 + (time.monotonic() - began) * 1 + 1


def test_a_full_process_leaves_connections_to_the_other(group: Group) -> None:
    """None is closed or refused while there is a place."""
    first = [group.connected_to(0)]
    with group.only(0):
        first += [group.connection() for _ in range(PLACES - 1)]
        for one in first[1:]:
            one.connect()
    further = [group.connection() for _ in range(PLACES // 2)]
    for connection in [*further, *first]:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        assert (answer.status, answer.read() is not None) == (200, True)
    for connection in first:  # whoever was closed would connect again
        before = connection.sock
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() is not None
        assert connection.sock is before


def test_a_login_holds_at_all_of_them(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so does the end of it."""
    browser, key = Browser(SimpleNamespace(host=group.host)), group.admin  # type: ignore[arg-type]
    at: list[http.client.HTTPConnection] = []
    monkeypatch.setattr("http.client.HTTPConnection", lambda _host, timeout: at.pop())

    def use(number: int, times: int = 1) -> None:
        at.extend(group.connected_to(number) for _ in range(times))

    use(0, 2)
    assert browser.log_in(Credentials(key["access_key_id"], key["access_key_secret"])).status == 303
    use(1)
    browser.page = browser.get("/fleet")
    assert browser.page.status == 200
    use(1)
    assert browser.post("/logout").status == 303
    use(0)
    assert browser.get("/fleet").location.startswith("/console/login")


def with_agents(group: Group, count: int, work: Callable[[Simulation, list[Agent]], Awaitable[None]]) -> None:
    """Do this with simulated hosts that are connected to the second process."""

    async def run() -> None:
        async with HttpClient() as client:
            simulation = Simulation([Server("127.0.0.1", group.ports[0])], make_keys(1), client, work_seconds=0.1)
            agents = [Agent(simulation, number) for number in range(count)]
            codes = make_activations(group.services, group.account, count)
            await enrol(agents, codes, per_code=PER_ACTIVATION)
            ids = [agent.instance_id for agent in agents]
            await asyncio.to_thread(give_clients, group.services, group.account, ids)
            try:
                with group.only(1):
                    for agent in agents:
                        simulation.start(agent.run())
                    await asyncio.sleep(0.5)  # they dial; what they ask is answered when both go on
                await all_connected(agents, LONG)
                await work(simulation, agents)
            finally:
                await simulation.end()

    asyncio.run(run())


def test_an_order_reaches_a_host_that_is_connected_to_another_process(group: Group) -> None:
    """Each within less than a poll: an order that either process took leaves by the first, for a host at the second."""
    offer_release(group.services)

    async def upgrade(simulation: Simulation, agents: list[Agent]) -> None:
        began = time.monotonic()
        for number, agent in enumerate(agents):
            connection = await asyncio.to_thread(group.connected_to, number % 2)
            call = signed(group, "hbr", "UpgradeBackupClients", InstanceIds=json.dumps([agent.instance_id]))
            status, answer = await asyncio.to_thread(partial(asked, connection, *call))
            assert (status, answer.get("Success")) == (200, True), answer
            async with asyncio.timeout(LONG):
                while agent.instance_id not in simulation.fetched_at:  # noqa: ASYNC110 -- the simulation records it
                    await asyncio.sleep(0.02)
        assert time.monotonic() - began < (len(agents) - 1) * POLL_SECONDS

    with_agents(group, 4, upgrade)


def test_an_agents_request_is_taken_once_at_all_of_them(group: Group) -> None:
    """A signature that one process accepted is refused by the other one, at once."""
    here, there = group.connected_to(0), group.connected_to(1)

    async def repeat(_simulation: Simulation, agents: list[Agent]) -> None:
        for path in ("/luban/api/heart-beat?index=1", "/luban/api/v1/task/list?reason=kickoff"):
            request = ("GET" if "heart" in path else "POST", path, agents[0].headers())
            answers = [await asyncio.to_thread(partial(asked, one, *request)) for one in (here, there, here)]
            assert [status for status, _ in answers] == [200, 401, 401]

    with_agents(group, 1, repeat)


def test_the_operator_sees_how_many_there_are(group: Group) -> None:
    """In `doctor` and in what `server show` says; and each log line is a line."""
    words = ["--endpoint", group.line["http"], "--data", str(group.data)]
    shown = CliRunner().invoke(main, ["server", "show", *words])
    assert "2 processes" in shown.output, shown.output
    looked = CliRunner().invoke(main, ["doctor", "--json", *words])
    found = {each["Code"]: each for each in json.loads(looked.output)["Findings"]}
    assert (found["Processes"]["Severity"], "2 of 2" in found["Processes"]["Found"]) == ("Ok", True)
    for line in group.log.read_text().splitlines():
        assert json.loads(line)["message"]
