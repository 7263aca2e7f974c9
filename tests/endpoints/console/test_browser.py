"""One person's way through the console, in a real Chromium, and what axe says of the pages."""

from collections.abc import Iterator, Sequence

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, expect

from backfleet import logins, upgrades
from backfleet.fleet._tables import clients
from endpoints.console.site import Site
from endpoints.console.test_pages import POLICY
from endpoints.console.visitor import NEEDS_CHROMIUM, Visitor, chromium_running
from operations.environment import Environment
from rollouts.fleet import Fleet
from upgrades.helpers import Helpers

pytestmark = NEEDS_CHROMIUM


@pytest.fixture
def chromium() -> Iterator[Browser]:
    with chromium_running() as browser:
        yield browser


def go_on(hosts: Fleet, site: Site) -> None:
    """Let hosts fetch their orders and report, and tell open pages that something changed."""
    for _ in range(8):
        hosts.step()
    for topic in ("upgrades", "rollouts"):
        site.pubsub.publish(topic)


def versions(env: Environment) -> Sequence[sa.Row[tuple[str]]]:
    with env.services.database.reading() as tx:
        return tx.rows(sa.select(clients.c.version))


def test_a_host_is_found_and_upgraded_and_a_rollout_is_approved_by_a_second_person_and_watched_to_its_end(
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
    hosts = Fleet(Helpers(env))
    go_on(hosts, site)
    expect(page.get_by_text("1 member; 1 succeeded")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("3 members; 3 pending")).to_be_visible()
    bob.page.goto(page.url)
    for button, then in (("Pause", "Resume"), ("Resume", "Pause")):
        bob.page.get_by_role("button", name=button, exact=True).click()
        expect(bob.page.get_by_role("button", name=then, exact=True)).to_be_visible()
    bob.page.get_by_role("button", name="Approve rest", exact=True).click()
    expect(bob.page.get_by_text("approved").first).to_be_visible()
    go_on(hosts, site)
    expect(page.get_by_text("3 members; 3 succeeded")).to_be_visible(timeout=60_000)
    expect(page.locator(".head .badge").first).to_have_text("completed", timeout=60_000)
    assert {row.version for row in versions(env)} == {"2.0"}

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
