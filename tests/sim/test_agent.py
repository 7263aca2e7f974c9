"""Simulated agents: what they sign before they send it."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from backfleet_sim import Agent, HttpClient, Server, Simulation, agent, make_keys, sign_ahead


class Noting(HttpClient):
    """A client that sends nothing, and notes which requests it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []

    async def request(
        self, server: Server, method: str, path: str, headers: Mapping[str, str], body: bytes, seconds: float
    ) -> tuple[int, bytes]:
        self.ids.append(headers["X-Acs-Request-Id"])
        return 200, b"{}"


async def signed(number: int) -> tuple[Agent, Noting, set[str]]:
    """Return an agent that has signed so many requests ahead, what notes its requests, and their ids."""
    client = Noting()
    one = Agent(Simulation([Server("127.0.0.1", 1)], make_keys(1), client), 0)
    one.instance_id = "i-1"
    await sign_ahead([one], number)
    return one, client, {headers["X-Acs-Request-Id"] for headers in one._signed}


async def ask(one: Agent, *paths: str) -> None:
    for path in paths:
        await one.ask("POST", path)


async def test_only_requests_about_tasks_are_those_that_were_signed_ahead() -> None:
    """Each once; a heartbeat says when it was sent."""
    one, client, ahead = await signed(2)
    await ask(one, "/api/heart-beat?index=0", *["/api/v1/task/list?offset=0"] * 3)
    assert [each in ahead for each in client.ids] == [False, True, True, False]
    assert len(set(client.ids)) == 4


async def test_what_was_signed_too_long_ago_is_signed_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server would refuse it."""
    monkeypatch.setattr(agent, "SIGNED_SECONDS", 0.02)
    one, client, ahead = await signed(1)
    await asyncio.sleep(0.05)
    await ask(one, "/api/v1/task/list?offset=0")
    assert not ahead.intersection(client.ids)


async def test_agents_go_on_while_others_sign() -> None:
    """Else what is due meanwhile would be sent at once afterwards."""
    turns: list[Any] = []

    async def count() -> None:
        while True:
            turns.append(None)
            await asyncio.sleep(0)

    client = Noting()
    simulation = Simulation([Server("127.0.0.1", 1)], make_keys(1), client)
    simulation.start(count())
    await sign_ahead([Agent(simulation, number) for number in range(20)], 1)
    await simulation.end()
    assert len(turns) >= 20
