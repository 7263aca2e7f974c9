"""The stream of an open page: it ends with its session, key or permission, and nobody can have too many."""

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import pytest
from aiohttp import web

from backfleet import identity
from backfleet.endpoints.console import live
from backfleet.endpoints.console.live import Changes, Full, Owner
from backfleet.endpoints.console.pages import events
from backfleet.endpoints.console.pages.events import asked_by
from backfleet.pubsub import InProcessPubSub
from endpoints.console.crawling import crawl, fill
from endpoints.console.site import Browser, Site
from endpoints.console.test_pages import POLICY
from operations.environment import Environment


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams look at their session all the time."""
    for module in (live, events):
        monkeypatch.setattr(module, "ALIVE_SECONDS", 0.05)
    monkeypatch.setattr(events, "AT_MOST_EVERY_SECONDS", 0.01)


@contextmanager
def opened(browser: Browser, page: str = "/fleet") -> Iterator[http.client.HTTPResponse]:
    """Open the stream of a page."""
    connection = http.client.HTTPConnection(browser.site.host, timeout=30)
    shown = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    connection.request("GET", f"/console/events?page={page}", headers={"Cookie": shown, "Accept": "text/event-stream"})
    answer = connection.getresponse()
    try:
        yield answer
    finally:
        answer.close()
        connection.close()


def data_until_end(stream: http.client.HTTPResponse) -> list[str]:
    """Read a stream until the server ends it; return what its events say."""
    lines = stream.read().decode().splitlines()
    return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]


def switch_key_off(env: Environment, browser: Browser) -> None:
    with env.services.database.transaction() as tx:
        (key,) = identity.list_keys(tx, env.root.account_id, "eve")
        identity.set_key(tx, env.root.account_id, "eve", key.id, active=False)


def log_out(env: Environment, browser: Browser) -> None:
    browser.get("/fleet")
    assert browser.post("/logout").status == 303


def let_time_pass(env: Environment, browser: Browser) -> None:
    env.now += timedelta(hours=2)


def take_permission(env: Environment, browser: Browser) -> None:
    with env.services.database.transaction() as tx:
        identity.detach_policy(tx, env.root.account_id, "eve", "ReadOnlyAccess", "System")


def deny_one(env: Environment, browser: Browser) -> None:
    document = {"Version": "1", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}
    with env.services.database.transaction() as tx:
        identity.create_policy(tx, env.root.account_id, "none", json.dumps(document), description="", now=env.now)
        identity.attach_policy(tx, env.root.account_id, "eve", "none", "Custom", now=env.now)


@pytest.mark.parametrize(
    ("change", "why", "status"),
    [(log_out, "session", 401), (let_time_pass, "session", 401), (switch_key_off, "session", 401),
     (take_permission, "permission", 403), (deny_one, "permission", 403)],
)  # fmt: skip
@pytest.mark.usefixtures("often")
def test_a_stream_ends_and_says_why_when_its_person_may_no_longer_see_the_page(
    env: Environment,
    browser_of: Callable[..., Browser],
    change: Callable[[Environment, Browser], None],
    why: str,
    status: int,
) -> None:
    eve, ann = browser_of("eve", "ReadOnlyAccess"), browser_of("ann", "ReadOnlyAccess")
    with opened(eve) as stream, opened(ann) as of_another:
        change(env, eve)
        assert data_until_end(stream) == [why]
        if change is not let_time_pass:
            assert of_another.readline(), "nobody else's stream ends"
    with opened(eve) as again:
        assert again.status == status, "nor does it begin again"


def test_logging_out_ends_the_stream_at_once_and_not_when_it_would_look_again(
    env: Environment, browser_of: Callable[..., Browser], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (live, events):
        monkeypatch.setattr(module, "ALIVE_SECONDS", 600.0)
    eve = browser_of("eve", "ReadOnlyAccess")
    with opened(eve) as stream:
        log_out(env, eve)
        assert data_until_end(stream) == ["session"]


@pytest.mark.usefixtures("often")
def test_looking_at_the_permission_of_a_stream_writes_nothing_into_the_trail(admin: Browser) -> None:
    before = admin.get("/trail?action=DescribeFleet").text.count("DescribeFleet")
    with opened(admin) as stream:
        for _ in range(9):
            stream.readline()
    assert admin.get("/trail?action=DescribeFleet").text.count("DescribeFleet") == before


def test_every_page_that_updates_itself_is_one_whose_permission_is_looked_at(env: Environment, admin: Browser) -> None:
    fill(env, admin, POLICY)
    live_pages = set()

    def open_page(path: str) -> str:
        text = admin.get(path).text
        if "data-live=" in text:
            live_pages.add(path.partition("?")[0])
        return text

    list(crawl(open_page))
    assert len(live_pages) == 6
    assert [page for page in live_pages if asked_by(page) is None] == []
    for odd in ("", "/", "/trail", "/hosts", "/fleet/x", "/../x", "/explorer/ram/ListUsers"):
        assert asked_by(odd) is None, odd


def test_a_page_of_one_thing_is_judged_by_that_thing() -> None:
    operation, flat = asked_by("/rollouts/ro-1") or (None, {})
    assert (operation and operation.name, flat) == ("DescribeRollout", {"RolloutId": "ro-1"})


def test_the_oldest_stream_of_a_person_ends_when_there_are_too_many(
    site: Site, browser_of: Callable[..., Browser], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_STREAMS_EACH", 2)
    monkeypatch.setattr(live, "MOST_STREAMS_OF_ACCOUNT", 3)
    eve, ann = browser_of("eve", "ReadOnlyAccess"), browser_of("ann", "ReadOnlyAccess")
    with ExitStack() as stack:
        first, *_ = [stack.enter_context(opened(eve)) for _ in range(3)]
        assert data_until_end(first) == ["crowded"], "and it is told apart, so that its page does not come back at once"
        assert stack.enter_context(opened(ann)).status == 200
        full = stack.enter_context(opened(ann))
        assert (full.status, full.headers["Retry-After"]) == (503, "60")
        assert ann.get("/fleet").status == 200, "pages are shown all the same"


def test_streams_are_bounded_for_a_person_an_account_and_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_STREAMS", 5)
    monkeypatch.setattr(live, "MOST_STREAMS_OF_ACCOUNT", 4)
    monkeypatch.setattr(live, "MOST_STREAMS_EACH", 3)
    changes = Changes(InProcessPubSub())

    async def open_all() -> None:
        with ExitStack() as stack:
            mine = [stack.enter_context(changes.stream(Owner("1", "ann", f"{number}"))) for number in range(4)]
            assert [stream.is_one_too_many for stream in mine] == [True, False, False, False]
            stack.enter_context(changes.stream(Owner("1", "bob", "b")))
            with pytest.raises(Full):
                stack.enter_context(changes.stream(Owner("2", "eve", "e")))
        with ExitStack() as stack:
            for number in range(4):
                stack.enter_context(changes.stream(Owner("1", f"{number}", "")))
            with pytest.raises(Full):
                stack.enter_context(changes.stream(Owner("1", "one more", "")))
            stack.enter_context(changes.stream(Owner("2", "of another account", "")))

    asyncio.run(open_all())


def test_a_reader_that_does_not_read_is_cut_off_and_holds_nobody_up(
    site: Site, admin: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "AT_MOST_EVERY_SECONDS", 0)
    really, cut = events._is_not_reading, threading.Event()

    def looking(request: web.Request) -> bool:
        if request.transport is not None:  # the kernel keeps little for this one
            request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        if found := really(request):
            cut.set()
        return found

    monkeypatch.setattr(events, "_is_not_reading", looking)
    host, _, port = site.host.rpartition(":")
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(30)
        slow.connect((host, int(port)))
        shown = "; ".join(f"{name}={value}" for name, value in admin.cookies.items())
        slow.sendall(f"GET /console/events?page=/fleet HTTP/1.1\r\nHost: x\r\nCookie: {shown}\r\n\r\n".encode())
        assert slow.recv(10)
        for _ in range(100_000):
            site.pubsub.publish("upgrades")
            if cut.wait(0.0005):
                break
        assert cut.is_set()
        assert admin.get("/fleet").status == 200
        received = b""
        while part := slow.recv(65536):
            received += part
        assert not received.endswith(b"0\r\n\r\n"), "it was cut off, not ended: what waited is thrown away"
