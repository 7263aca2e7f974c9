"""Texts of hosts and callers in a real Chromium: nothing of them is run, becomes a part of a page, or leads away."""

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, expect

from backfleet.fleet._tables import instances
from endpoints.console.crawling import crawl, fill
from endpoints.console.payloads import (
    LINKS,
    RUNS,
    fill_as_hosts_do,
    fill_by_operations,
    leave_a_user_agent,
    rollout_policy,
    run_a_command,
)
from endpoints.console.site import Browser as PlainBrowser
from endpoints.console.site import Site
from endpoints.console.visitor import NEEDS_CHROMIUM, Visitor, chromium_running
from operations.environment import Environment

pytestmark = NEEDS_CHROMIUM
ANSWERS = ("ecs/DescribeActivations", "ecs/DescribeManagedInstances", "ecs/DescribeCommands", "ecs/ListTagResources",
           "ecs/DescribeInvocations", "ecs/DescribeInvocationResults", "backfleet/ListPins", "backfleet/ListRollouts",
           "backfleet/ListNotificationDestinations", "backfleet/LookupEvents", "backfleet/ListMinimumVersions",
           "backfleet/DescribeCalendar", "backfleet/ListEcsAccounts",
           "backfleet/ListTasks", "ram/ListUsers", "ram/ListPolicies", "ram/ListRoles")  # fmt: skip
MORE = {"backfleet/DescribeCalendar": "&Name=odd",
        "ecs/DescribeInvocations": "&ContentEncoding=PlainText&IncludeOutput=true&InstanceId={}",
        "ecs/DescribeInvocationResults": "&ContentEncoding=PlainText"}  # fmt: skip
OUTPUTS = ("backfleet/DescribeCalendar", "ecs/DescribeInvocations", "ecs/DescribeInvocationResults")
ADDRESSES = ("/fleet?q={0}&package={0}&site={0}&version={0}&tag={0}", "/trail?user={0}&action={0}", "/explorer?q={0}",
             "/login?next={1}", "/login?next=/console/fleet%3Fq={0}", "/hosts/{2}", "/rollouts/{2}", "/tasks/{2}",
             "/explorer/ram/CreateUser?UserName={0}&Comments={1}", "/access/tester?kind=user&name={0}")  # fmt: skip
PARTS = """() => [
  ...[...document.querySelectorAll('img[src="x"], script:not([src]), iframe, object, embed, base, [style]')],
  ...[...document.querySelectorAll('*')].filter(e => [...e.attributes].some(a => a.name.startsWith('on'))),
  ...[...document.links].filter(a => a.host !== location.host || a.protocol !== location.protocol),
  ...[...document.forms].filter(f => new URL(f.getAttribute('action') ?? '', location.href).host !== location.host),
].map(e => e.outerHTML.slice(0, 200))"""


@pytest.fixture
def chromium() -> Iterator[Browser]:
    with chromium_running() as browser:
        yield browser


def check(ann: Visitor, where: str) -> bool:
    """Check the page that is open; return whether it shows the payload."""
    assert ann.page.evaluate(PARTS) == [], where
    text = ann.page.locator("body").text_content() or ""
    assert "alert(1)>49" not in text, where
    return "alert(1)>{{7*7}}" in text


def test_no_text_of_a_host_or_a_caller_runs_in_a_browser_on_any_page(
    chromium: Browser, env: Environment, site: Site
) -> None:
    ann, plain = Visitor(chromium, site), PlainBrowser(site)
    key = site.key_of("ann", "AdministratorAccess")
    plain.log_in(key)
    fill(env, plain, rollout_policy("odd"))
    with env.services.database.reading() as tx:
        host = str(tx.rows(sa.select(instances.c.id).where(instances.c.name == "web-00"))[0].id)
    accepted = fill_by_operations(env, host)
    assert {status // 100 for status in accepted.values()} <= {2, 4}, accepted
    assert sum(status == 200 for status in accepted.values()) >= 11, accepted
    run_a_command(env, host)
    fill_as_hosts_do(env, host)
    leave_a_user_agent(plain)
    ann.log_in(key)
    showing = set()

    def open_page(path: str) -> str:
        ann.go(path)
        if check(ann, path):
            showing.add(path.split("/")[1].partition("?")[0])
        return ann.page.content()

    list(crawl(open_page))
    open_page(f"/hosts/{host}")
    assert showing >= {"fleet", "hosts", "tasks", "rollouts", "pins", "minimums", "access"}, showing
    for name in ANSWERS:
        ann.go(f"/explorer/{name}?RegionId=cn-hangzhou&ResourceType=instance{MORE.get(name, '').format(host)}")
        ann.page.get_by_role("button", name="Run", exact=True).click()
        ann.page.get_by_text(re.compile(r"HTTP \d{3}")).first.wait_for()
        shows_it = check(ann, name)
        assert shows_it or name not in OUTPUTS, name
    ann.go("/fleet")
    expect(ann.page.locator("body")).to_have_attribute("data-connected", "yes", timeout=60_000)
    with env.services.database.transaction() as tx:
        tx.run(sa.update(instances).where(instances.c.id == host).values(name=f"later {RUNS}"))
    site.pubsub.publish("upgrades")
    expect(ann.page.get_by_role("link", name="later")).to_be_visible(timeout=60_000)
    assert check(ann, "brought by an update")
    assert ann.complaints == []

    for address in ADDRESSES:
        ann.go(address.format(quote(RUNS, safe=""), quote(LINKS, safe=""), quote("<img src=x onerror=alert(1)>")))
        check(ann, address)
    assert [said for said in ann.complaints if "the server responded with a status of 4" not in said] == []
    assert ann.dialogs == []
    assert ann.hosts == {site.host}
