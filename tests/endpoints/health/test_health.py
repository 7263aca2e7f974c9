"""/healthz and /readyz of a server whose parts work or fail. /metrics is tested with the whole server."""

import time

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from backfleet.endpoints import health


def works() -> None:
    """A part that works."""


def fails() -> None:
    """A part that fails."""
    raise ConnectionError("no secret here: db.internal")


def hangs() -> None:
    """A part that does not answer in time."""
    time.sleep(0.5)


@pytest.mark.parametrize(
    ("checks", "status", "found"),
    [
        pytest.param({}, 200, {}, id="nothing to check"),
        pytest.param({"database": works}, 200, {"database": True}, id="all work"),
        pytest.param({"database": works, "other": fails}, 503, {"database": True, "other": False}, id="one fails"),
        pytest.param({"database": hangs}, 503, {"database": False}, id="one does not answer"),
    ],
)
async def test_a_server_is_ready_if_every_part_works(
    checks: dict[str, health.Check], status: int, found: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer names the parts, and nothing of their errors; the process is alive in any case."""
    monkeypatch.setattr(health, "READY_WITHIN_SECONDS", 0.1)
    app = web.Application()
    health.add_to(app, checks)
    async with TestClient(TestServer(app)) as client:
        ready = await client.get("/readyz")
        assert (ready.status, await ready.json()) == (
            status,
            {"status": "ready" if status == 200 else "not ready", "checks": found},
        )
        alive = await client.get("/healthz")
        assert (alive.status, await alive.json()) == (200, {"status": "ok"})
