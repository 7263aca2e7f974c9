"""A small window: at 360 px no page is wider than it, whatever names there are."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from endpoints.console.crawling import crawl, fill
from endpoints.console.site import Browser as PlainBrowser
from endpoints.console.site import Site
from endpoints.console.test_pages import POLICY
from endpoints.console.visitor import NEEDS_CHROMIUM, Visitor, chromium_running
from operations.environment import Environment

pytestmark = NEEDS_CHROMIUM
LONG = "a-host-with-the-longest-name-that-anybody-gave-to-a-machine-of-theirs-in-this-data-centre.example"
TOO_WIDE = """() => {
    const window = document.documentElement, found = [...document.querySelectorAll("main .scroll")]
    const wide = found.filter((each) => !each.querySelector(".map") && each.scrollWidth > each.clientWidth + 1)
    return [...(window.scrollWidth > window.clientWidth ? ["the page"] : []), ...wide.map((each) => each.ariaLabel)]
}"""


@pytest.fixture
def chromium() -> Iterator[Browser]:
    with chromium_running() as browser:
        yield browser


def test_no_page_and_no_table_is_wider_than_a_window_of_360_px(chromium: Browser, env: Environment, site: Site) -> None:
    key = site.key_of("ann-whose-name-is-long-too-" + "x" * 30, "AdministratorAccess")
    plain = PlainBrowser(site)
    plain.log_in(key)
    fill(env, plain, POLICY)
    for number in range(2):
        env.client(env.host(name=f"{LONG}-{number}", silent=True))
    plain.get("/pins")
    until = f"{env.now.year + 1}-{env.now:%m}-01"
    pin = {"on": "tag", "name": "site", "value": "L" * 60, "until": until, "reason": "because " + "y" * 150}
    assert plain.post("/pins", pin).status == 303
    plain.get("/minimums")
    minimum = {"package": "courier", "version": "2.0", "due": until, "reason": "z" * 150}
    assert plain.post("/minimums", minimum).status == 303
    ann = Visitor(chromium, site, viewport={"width": 360, "height": 740})
    ann.log_in(key)
    wide = list[tuple[str, list[str]]]()

    def open_page(path: str) -> str:
        ann.go(path)
        found = ann.page.evaluate(TOO_WIDE)
        if found:
            wide.append((path, found))
        return ann.page.content()

    opened = list(crawl(open_page))
    ann.context.close()
    assert len(opened) >= 15
    assert wide == []
