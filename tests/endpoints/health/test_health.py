"""/healthz and /readyz of a server whose parts work or fail. /metrics is tested with the whole server."""

import threading
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


def refuses() -> None:
    """A part that says what is wrong."""
    raise health.NotReady("the disk of the database is full")


@pytest.mark.parametrize(
    ("checks", "status", "found", "reasons"),
    [
        pytest.param({}, 200, {}, {}, id="nothing to check"),
        pytest.param({"database": works}, 200, {"database": True}, {}, id="all work"),
        pytest.param(
            {"database": works, "other": fails}, 503, {"database": True, "other": False},
            {"other": "it failed; the log of the server says how"}, id="one fails",
        ),
        pytest.param(
            {"database": hangs}, 503, {"database": False},
            {"database": "no answer within 0.1 seconds"}, id="one does not answer",
        ),
        pytest.param(
            {"database": refuses}, 503, {"database": False},
            {"database": "the disk of the database is full"}, id="one says what is wrong",
        ),
    ],
)  # fmt: skip
async def test_a_server_is_ready_if_every_part_works(
    checks: dict[str, health.Check],
    status: int,
    found: dict[str, bool],
    reasons: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The answer says why not, in words that everybody may read; the process is alive in any case."""
    monkeypatch.setattr(health, "READY_WITHIN_SECONDS", 0.1)
    app = web.Application()
    health.add_to(app, checks)
    async with TestClient(TestServer(app)) as client:
        ready = await client.get("/readyz")
        assert (ready.status, await ready.json()) == (
            status,
            {"status": "ready" if status == 200 else "not ready", "checks": found}
            | ({"reasons": reasons} if reasons else {}),
        )
        alive = await client.get("/healthz")
        assert (alive.status, await alive.json()) == (200, {"status": "ok"})


async def test_many_questions_cost_one_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Balancers may ask as often as they like, and a part that hangs is not asked again meanwhile."""
    monkeypatch.setattr(health, "READY_WITHIN_SECONDS", 0.05)
    asked, go_on = [], threading.Event()

    def hangs() -> None:
        asked.append(True)
        go_on.wait(20)

    app = web.Application()
    health.add_to(app, {"database": hangs})
    async with TestClient(TestServer(app)) as client:
        assert [(await client.get("/readyz")).status for _ in range(3)] == [503, 503, 503]
        go_on.set()
    assert asked == [True]
