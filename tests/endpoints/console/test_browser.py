"""One person's way through the console, in a real Chromium, and what axe says of the pages."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from backfleet import logins, upgrades
from backfleet.wire.credentials import Credentials
from documents import PROJECT
from endpoints.console.site import Site
from endpoints.console.test_pages import POLICY
from operations.environment import Environment

CHROMIUM = shutil.which("chromium")
AXE = PROJECT / ".cache/node/node_modules/axe-core/axe.min.js"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(
        CHROMIUM is None or not AXE.exists(), reason="needs Chromium and axe-core; `make test` installs"
    ),
]


class Visitor:
    """Somebody with a window of their own. Whatever the browser complains of is kept."""

    def __init__(self, chromium: Browser, site: Site, **options: object) -> None:
        self.site, self.complaints, self.hosts = site, list[str](), set[str]()
        self.context: BrowserContext = chromium.new_context(**options)  # type: ignore[arg-type]
        self.context.set_default_timeout(60_000)
        self.page: Page = self.context.new_page()
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda problem: self.complaints.append(str(problem)))
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        self.page.on("dialog", lambda dialog: dialog.accept())

    def go(self, path: str) -> None:
        self.page.goto(f"http://{self.site.host}/console{path}")

    def log_in(self, key: Credentials) -> None:
        self.go("/")
        self.page.get_by_label("Access key ID").fill(key.access_key_id)
        self.page.get_by_label("Access key secret").fill(key.access_key_secret)
        self.page.get_by_role("button", name="Log in", exact=True).click()
        self.page.wait_for_url("**/fleet")

    def faults(self) -> list[str]:
        """Return what axe finds serious on the page that is open."""
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate("async () => (await axe.run()).violations")
        return [f"{self.page.url}: {one['id']}: {one['nodes'][0]['html'][:200]}" for one in found
                if one["impact"] in ("serious", "critical")]  # fmt: skip


@pytest.fixture
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def test_a_host_is_found_and_upgraded_and_a_rollout_is_approved_by_a_second_person_and_rolled_back(
    chromium: Browser, env: Environment, site: Site
) -> None:
    env.release("2.0")
    for number in range(4):
        env.client(env.host(name=f"web-{number}"))
    ann, bob = Visitor(chromium, site), Visitor(chromium, site, color_scheme="dark")
    ann.log_in(site.key_of("ann", "AdministratorAccess"))
    bob.log_in(site.key_of("bob", "AdministratorAccess"))
    faults = ann.faults() + bob.faults()

    page = ann.page
    page.keyboard.press("/")
    page.keyboard.type("web-2")
    page.keyboard.press("Enter")
    page.get_by_label("Select courier on web-2").check()
    expect(page.locator("[data-selected]")).to_have_text("1 selected")
    page.get_by_role("button", name="Order", exact=True).click()
    page.wait_for_url("**/tasks/*")
    faults += ann.faults()

    expect(page.locator("body")).to_have_attribute("data-connected", "yes")
    task_id = page.url.rpartition("/")[2]
    with env.services.database.transaction() as tx:
        upgrades.cancel(tx, env.root.account_id, task_id, now=env.now)
    site.pubsub.publish("upgrades")
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_hidden(timeout=60_000)

    ann.go("/rollouts/new")
    page.get_by_label("Policy").fill(POLICY)
    page.get_by_role("button", name="Create and start").click()
    page.get_by_role("heading", name="courier to 2.0").wait_for()
    faults += ann.faults()
    bob.page.goto(page.url)
    bob.page.get_by_role("button", name="Approve").click()
    expect(bob.page.get_by_text("approved").first).to_be_visible()
    for button, then in (("Pause", "Resume"), ("Resume", "Pause"), ("Roll back", None)):
        bob.page.get_by_role("button", name=button, exact=True).click()
        if then:
            expect(bob.page.get_by_role("button", name=then, exact=True)).to_be_visible()
    expect(bob.page.locator(".head .badge").first).to_contain_text("roll")

    for path in ("/rollouts", "/tasks", "/releases", "/trail", "/access", "/server"):
        ann.go(path)
        faults += ann.faults()
    assert faults == []
    assert ann.complaints + bob.complaints == []
    assert ann.hosts | bob.hosts == {site.host}, "no page asks another server for anything"


def test_pages_fit_a_small_window_and_a_link_logs_in_once(chromium: Browser, env: Environment, site: Site) -> None:
    env.release("2.0")
    env.client(env.host(name="a-very-long-name-" + "x" * 90))
    key = site.key_of("ann", "AdministratorAccess")
    with env.services.database.transaction() as tx:
        code = logins.make_code(tx, key.access_key_id, now=env.now, draw=env.services.draw)
    ann = Visitor(chromium, site, viewport={"width": 360, "height": 740})
    ann.go(f"/login#{code}")
    ann.page.wait_for_url("**/fleet")
    for path in ("/fleet", "/tasks", "/rollouts", "/rollouts/new", "/releases", "/trail", "/access", "/server"):
        ann.go(path)
        assert ann.page.evaluate("document.documentElement.scrollWidth") <= 360, path
    assert ann.complaints == []
