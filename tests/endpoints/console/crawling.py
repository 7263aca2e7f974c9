"""Every page that links lead to, one of each kind; and an installation that has something on each of them."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urljoin, urlsplit

from backfleet.endpoints.console.pages import ROUTES
from endpoints.console.site import Browser
from operations.environment import REGION, Environment

ROOT: Final = "/console"
FILES: Final = (".csv", ".json")
NOT_LINKED: Final = ("/events",)  # what scripts open
MOST: Final = 150  # pages


@dataclass
class Form:
    """A form, its address below /console, and the names of its fields."""

    method: str
    action: str
    fields: list[str] = field(default_factory=list)


class Outline(HTMLParser):
    """The links and forms of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.forms: list[Form] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "form":
            self.forms.append(Form(given.get("method", "get"), given.get("action", "").removeprefix(ROOT)))
        elif tag in ("input", "select", "textarea", "button") and self.forms and given.get("name"):
            self.forms[-1].fields.append(given["name"])


def kind_of(path: str) -> tuple[str, tuple[str, ...]] | None:
    """Return what pages have in common that differ in ids and values only; None for what is no page."""
    parts = urlsplit(path)
    patterns = [route.path for route in ROUTES if route.method == "GET"]
    exact = [pattern for pattern in patterns if pattern == parts.path]
    likely = [
        pattern for pattern in patterns if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(pattern)), parts.path)
    ]
    for pattern in (exact + likely)[:1]:
        names = tuple(sorted({name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}))
        return pattern, names
    return None


def crawl(open_page: Callable[[str], str], start: str = "/fleet") -> Iterator[str]:
    """Yield the address below /console of one page of each kind, after it was opened.

    Args:
        open_page: opens an address, and returns the page's HTML.
    """
    waiting, seen = [start], {kind_of(start)}
    for _ in range(MOST):
        if not waiting:
            return
        path = waiting.pop(0)
        outline = Outline(open_page(path))
        yield path
        for link in outline.links:
            target = urlsplit(urljoin(f"{ROOT}{path}", link))
            if target.netloc or not target.path.startswith(f"{ROOT}/") or target.path.endswith(FILES):
                continue
            found = target.path.removeprefix(ROOT) + (f"?{target.query}" if target.query else "")
            kind = kind_of(unquote(target.path).removeprefix(ROOT) + (f"?{target.query}" if target.query else ""))
            if kind is not None and kind not in seen and kind[0] not in NOT_LINKED:
                seen.add(kind)
                waiting.append(found)
    raise AssertionError(f"more than {MOST} kinds of pages")


def fill(env: Environment, admin: Browser, policy: str) -> None:
    """Give the installation more than one page of hosts, a task, a rollout, and a saved command."""
    env.release("2.0")
    ids = [env.client(env.host(name=f"web-{number:02d}"), "2.0" if number % 3 else "1.0") for number in range(58)]
    admin.get("/fleet")
    assert admin.post("/fleet/order", {"client_id": ids[:3:3], "action": "upgrade"}).status == 303
    admin.get("/rollouts/new")
    assert admin.post("/rollouts/new", {"policy": policy, "action": "start"}).status == 303
    admin.get("/explorer/ecs/CreateCommand")
    made = admin.post("/explorer/ecs/CreateCommand", {"do": "run", "confirmed": "yes", "RegionId": REGION, "Name": "x",
                      "Type": "RunShellScript", "CommandContent": "ZWNobw=="})  # fmt: skip
    assert made.status == 200


def filled_in(pattern: str) -> str:
    """Return an address of a route, with something for each of its parts."""
    return re.sub(r"\{\w+\}", quote("x"), pattern)
