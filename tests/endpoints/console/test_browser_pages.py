"""Every page in a real Chromium: what axe says, without a script, over a restart, and the explorer's code."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

import pytest
from playwright.sync_api import Browser, expect

from backfleet import identity
from backfleet.endpoints.console import live
from backfleet.endpoints.console.pages import events
from backfleet.ids import draw
from backfleet.storage import Database
from endpoints.console.crawling import crawl, fill
from endpoints.console.site import Browser as PlainBrowser
from endpoints.console.site import serve
from endpoints.console.test_pages import POLICY
from endpoints.console.visitor import NEEDS_CHROMIUM, Visitor, chromium_running
from operations.environment import Environment, make_environment
from samples.running import in_python

pytestmark = NEEDS_CHROMIUM
WINDOWS: Final[tuple[tuple[Literal["light", "dark"], int], ...]] = (("light", 1440), ("dark", 360))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with chromium_running() as browser:
        yield browser


@pytest.fixture
def env(sqlite_database: Database, tmp_path: Path) -> Environment:
    """At the moment that the code of samples signs for, too."""
    return make_environment(sqlite_database, tmp_path, datetime.now(UTC), draw)


def test_axe_finds_nothing_serious_on_any_page_and_the_browser_complains_of_none(
    chromium: Browser, env: Environment
) -> None:
    """On a dark screen of 360 px, too, where tables are cards."""
    site, stop = serve(env)
    key = site.key_of("ann", "AdministratorAccess")
    plain = PlainBrowser(site)
    plain.log_in(key)
    fill(env, plain, POLICY)
    ann, faults = Visitor(chromium, site), list[str]()
    ann.log_in(key)

    def open_page(path: str) -> str:
        ann.go(path)
        for scheme, width in WINDOWS:
            ann.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # no colour on its way
            ann.page.set_viewport_size({"width": width, "height": 800})
            faults.extend(f"{scheme}, {width} px: {fault}" for fault in ann.faults())
        assert ann.page.locator("main h1").count() == 1, path
        return ann.page.content()

    opened = list(crawl(open_page))
    ann.context.close()
    stop()
    assert len(opened) >= 15
    assert faults == []
    assert ann.complaints == []
    assert ann.hosts == {site.host}


def _pin_upload_test_and_ask_for_a_version(ann: Visitor, folder: Path) -> None:
    """Use every form that scripts make more comfortable, as somebody who has none."""
    page, until = ann.page, "2099-01-31"
    ann.go("/pins")
    page.get_by_label("What").select_option("tag")
    page.get_by_label("Its id, or the tag's key").fill("site")
    page.get_by_label("The tag's value").fill("Lyon")
    page.get_by_label("Until").fill(until)
    page.get_by_label("Why").fill("a freeze")
    page.get_by_role("button", name="Pin", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("days")
    page.get_by_label("Until").fill(f"{datetime.now(UTC) + timedelta(days=5):%Y-%m-%d}")
    page.get_by_role("button", name="Pin", exact=True).click()
    expect(page.get_by_role("cell", name="tag site=Lyon")).to_be_visible()
    page.get_by_label("Why this pin goes").fill("thawed")
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("Nothing is pinned")).to_be_visible()
    ann.go("/minimums")
    for label, value in (("Package", "courier"), ("At least", "2.0"), ("Due", until), ("Why", "old ones leak")):
        page.get_by_label(label).fill(value)
    page.get_by_role("button", name="Set", exact=True).click()
    expect(page.get_by_role("cell", name="old ones leak")).to_be_visible()
    page.get_by_label("Why the minimum version of courier goes").fill("sold")
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("No package has a minimum version")).to_be_visible()
    ann.go("/releases")
    file = folder / "courier"
    file.write_bytes(b"#!/bin/sh\necho 3.0\n")
    for label, value in (("Package", "courier"), ("Version", "3.0"), ("Platform", "linux-amd64")):
        page.get_by_label(label, exact=True).fill(value)
    page.get_by_label("Format").select_option("binary")
    page.get_by_label("File").set_input_files(file)
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("Added, and offered on stable")).to_be_visible()
    ann.go("/access/tester")
    page.get_by_label("Who").select_option("user")
    page.get_by_label("Name").fill("ann")
    page.get_by_label("Operation, or an action").fill("hbr:CancelTask")
    page.get_by_role("button", name="Decide").click()
    expect(page.get_by_role("status").get_by_text("allowed", exact=True)).to_be_visible()


def test_everything_but_live_updates_works_without_a_script(
    chromium: Browser, env: Environment, tmp_path: Path
) -> None:
    env.release("2.0")
    for number in range(4):
        env.client(env.host(name=f"web-{number}"))
    site, stop = serve(env)
    ann = Visitor(chromium, site, java_script_enabled=False)
    ann.log_in(site.key_of("ann", "AdministratorAccess"))
    page = ann.page
    page.get_by_label("Search ids").fill("web-2")
    page.get_by_role("button", name="Search", exact=True).click()
    page.get_by_label("Select courier on web-2").check()
    page.get_by_role("button", name="Order", exact=True).click()
    page.wait_for_url("**/tasks/*")
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)
    ann.go("/rollouts/new")
    page.get_by_label("Policy").fill(POLICY)
    page.get_by_role("button", name="Create and start").click()
    for button in ("Pause", "Resume", "Cancel"):
        page.get_by_role("button", name=button, exact=True).click()
        expect(page.get_by_role("heading", name="courier to 2.0")).to_be_visible()
    ann.go("/explorer/sts/GetCallerIdentity")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("HTTP 200")).to_be_visible()
    _pin_upload_test_and_ask_for_a_version(ann, tmp_path)
    page.locator("details.person summary").click()
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login*")
    ann.context.close()
    stop()
    assert [said for said in ann.complaints if "status of 400" not in said] == [], "one pin was to last too long"


def test_the_explorer_runs_an_operation_and_its_python_gives_the_same(chromium: Browser, env: Environment) -> None:
    site, stop = serve(env)
    key = site.key_of("ann", "AliyunRAMReadOnlyAccess")  # who may not ask for the server's address: the page's is used
    ann = Visitor(chromium, site)
    ann.log_in(key)
    ann.go("/explorer?q=list+users")
    page = ann.page
    page.get_by_role("link", name="ListUsers", exact=True).click()
    page.get_by_role("button", name="Run", exact=True).click()
    shown = page.locator("details", has=page.get_by_text("As text", exact=True)).locator("pre").first
    by_page = json.loads(shown.text_content() or "")
    code = page.locator("details", has=page.get_by_text("Python", exact=True)).locator("code").first.text_content()
    found = in_python(
        code or "",
        {
            "ALIBABA_CLOUD_ACCESS_KEY_ID": key.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": key.access_key_secret,
        },
    ).answer
    ann.context.close()
    stop()
    assert by_page.pop("RequestId") != found.pop("RequestId")
    assert (by_page, [user["UserName"] for user in found["Users"]["User"]]) == (found, ["ann"])
    assert not [said for said in ann.complaints if "403" not in said], "the fleet is not for everybody"


def test_an_open_page_comes_back_by_itself_after_the_server_was_restarted(chromium: Browser, env: Environment) -> None:
    env.client(env.host(name="web-1"))
    site, stop = serve(env)
    ann = Visitor(chromium, site)
    ann.log_in(site.key_of("ann", "AdministratorAccess"))
    body, notice = ann.page.locator("body"), ann.page.locator("#session-notice")
    expect(body).to_have_attribute("data-connected", "yes", timeout=60_000)
    stop()
    expect(notice).to_contain_text("cannot be reached", timeout=60_000)
    env.client(env.host(name="web-2"))
    _, stop = serve(env, port=int(site.host.rpartition(":")[2]))
    expect(ann.page.get_by_role("link", name="web-2")).to_be_visible(timeout=60_000)
    expect(notice).to_be_hidden(timeout=60_000)
    ann.context.close()
    stop()
    assert all("ERR_CONNECTION_REFUSED" in said or "ERR_" in said for said in ann.complaints), ann.complaints


def test_an_open_page_says_why_it_is_no_longer_kept_up_to_date(
    chromium: Browser, env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (live, events):
        monkeypatch.setattr(module, "ALIVE_SECONDS", 0.2)
    env.client(env.host(name="web-1"))
    site, stop = serve(env)
    eve, account = Visitor(chromium, site), env.root.account_id
    eve.log_in(site.key_of("eve", "ReadOnlyAccess"))
    body, notice = eve.page.locator("body"), eve.page.locator("#session-notice")
    expect(body).to_have_attribute("data-connected", "yes", timeout=60_000)
    with env.services.database.transaction() as tx:
        identity.detach_policy(tx, account, "eve", "ReadOnlyAccess", "System")
    expect(notice).to_contain_text("no longer kept up to date", timeout=60_000)
    expect(notice).to_contain_text("backfleet:DescribeFleet")
    expect(body).to_have_attribute("data-connected", "no")
    expect(eve.page.get_by_role("link", name="web-1")).to_be_visible()
    with env.services.database.transaction() as tx:
        identity.attach_policy(tx, account, "eve", "ReadOnlyAccess", "System", now=env.now)
    notice.get_by_role("link", name="Open it again").click()
    expect(body).to_have_attribute("data-connected", "yes", timeout=60_000)
    expect(notice).to_be_hidden()
    with env.services.database.transaction() as tx:
        (key,) = identity.list_keys(tx, account, "eve")
        identity.set_key(tx, account, "eve", key.id, active=False)
    expect(notice).to_contain_text("Your session is over", timeout=60_000)
    notice.get_by_role("link", name="Log in again").click()
    eve.page.wait_for_url("**/login?next=*fleet")
    eve.context.close()
    stop()
    assert not [said for said in eve.complaints if "403" not in said], eve.complaints
