"""The console in a server of its own thread, and a browser that keeps cookies and sends the forms of pages."""

import asyncio
import html
import http.client
import queue
import re
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urlsplit

from aiohttp import web

from backfleet import identity
from backfleet.endpoints import console, openapi
from backfleet.operations.perform import Performer
from backfleet.pubsub import InProcessPubSub
from backfleet.wire.credentials import Credentials
from listening import end_of
from operations.environment import Environment


@dataclass
class Site:
    """A running console, and what it serves."""

    env: Environment
    host: str
    pubsub: InProcessPubSub

    def key_of(self, name: str, *policies: str) -> Credentials:
        """Make a user with these policies of the system; return their key."""
        services, account, now = self.env.services, self.env.root.account_id, self.env.now
        with services.database.transaction() as tx:
            identity.create_user(tx, account, name, now=now, draw=services.draw)
            for policy in policies:
                identity.attach_policy(tx, account, name, policy, "System", now=now)
            key = identity.create_key(tx, services.vault, account, name, now=now, draw=services.draw)
        return Credentials(key.access_key_id, key.access_key_secret)


@dataclass
class Page:
    """An answer."""

    status: int
    headers: dict[str, str]
    cookies: list[str]
    text: str

    @property
    def location(self) -> str:
        return self.headers.get("location", "")

    @property
    def form_token(self) -> str:
        found = re.search(r'name="form_token" value="([^"]*)"', self.text)
        return html.unescape(found[1]) if found else ""


@dataclass
class Browser:
    """Somebody's browser: it shows cookies, and says of its forms where they are from."""

    site: Site
    cookies: dict[str, str] = field(default_factory=dict)
    page: Page | None = None
    tls: ssl.SSLContext | None = None

    def get(self, path: str, **headers: str) -> Page:
        """Open a page below /console."""
        return self._send("GET", path, None, headers)

    def post(self, path: str, fields: dict[str, object] | None = None, **headers: str) -> Page:
        """Send a form with the token of the last page; `Origin` is this site's unless given."""
        token = self.page.form_token if self.page else ""
        sent = {"form_token": token} | dict(fields or {})
        return self._send(
            "POST",
            path,
            urlencode(sent, doseq=True),
            {"Origin": f"http{'s' if self.tls else ''}://{self.site.host}", **headers},
        )

    def follow(self, page: Page) -> Page:
        """Open where an answer leads."""
        assert page.status == 303, page.text
        return self.get(page.location.removeprefix("/console"))

    def log_in(self, key: Credentials) -> Page:
        """Log in with a key."""
        self.get("/login")
        return self.post("/login", {"key_id": key.access_key_id, "secret": key.access_key_secret})

    def _send(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> Page:
        make = http.client.HTTPSConnection if self.tls else http.client.HTTPConnection
        more = {"context": self.tls} if self.tls else {}
        connection = make(self.site.host, timeout=20, **more)  # type: ignore[arg-type]
        shown = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {"Cookie": shown} if shown else {}
        if body is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, f"/console{path}", body, sent)
        answer = connection.getresponse()
        page = Page(
            answer.status,
            {name.lower(): value for name, value in answer.getheaders()},
            answer.headers.get_all("Set-Cookie") or [],
            answer.read().decode(),
        )
        connection.close()
        for text in page.cookies:
            for name, morsel in SimpleCookie(text).items():
                self.cookies.pop(name, None)
                if morsel.value:
                    self.cookies[name] = morsel.value
        if page.form_token:
            self.page = page
        return page


def serve(env: Environment, tls: ssl.SSLContext | None = None, port: int = 0) -> tuple[Site, Callable[[], None]]:
    """Serve the console and the API in a thread. Return the site, and a function that stops it."""
    ready: queue.Queue[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = queue.Queue()
    pubsub = InProcessPubSub()

    async def run() -> None:
        app, performer = web.Application(), Performer(env.services)
        console.add_to(app, env.services, performer, pubsub, lambda: env.now)
        openapi.add_to(app, env.services, performer, lambda: env.now)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
        stopping = asyncio.Event()
        ready.put((f"127.0.0.1:{runner.addresses[0][1]}", asyncio.get_running_loop(), stopping))
        await stopping.wait()
        await end_of(runner)
        performer.close()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    host, loop, stopping = ready.get(timeout=10)

    def stop() -> None:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(10)

    assert urlsplit(f"http://{host}").port
    return Site(env, host, pubsub), stop
