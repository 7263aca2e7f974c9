"""What a host went through, and which packages have minimum versions, as the console shows them."""

import re
from collections.abc import Callable
from datetime import timedelta

import sqlalchemy as sa

from backfleet import identity
from backfleet.endpoints.console.pages.hosts import orders_of
from backfleet.upgrades._tables import items
from endpoints.console.site import Browser
from endpoints.console.test_pages import PAYLOAD, assert_harmless
from operations.environment import Environment


def test_a_host_shows_every_order_with_its_outcome_its_evidence_and_who_asked(
    env: Environment, admin: Browser, browser_of: Callable[..., Browser]
) -> None:
    env.release("2.0")
    (host, client), (other, _) = env.host_with_client(), env.host_with_client()
    assert "No order was given to this host" in admin.get(f"/hosts/{host}").text
    for _ in range(2):
        env.now += timedelta(minutes=1)
        admin.get("/fleet")
        made = admin.post("/fleet/order", {"client_id": client, "action": "upgrade"})
        task = made.location.removeprefix("/console")
        admin.follow(made)
        assert admin.follow(admin.post(f"{task}/cancel")).status == 200
    failed = {"state": "failed", "code": "Upgrade.Unhealthy", "message": PAYLOAD, "evidence": f"panic: {PAYLOAD}"}
    with env.services.database.transaction() as tx:
        last = sa.select(items.c.id).where(items.c.task_id == task.rpartition("/")[2])
        tx.run(sa.update(items).where(items.c.id.in_(last)).values(**failed))
    page = browser_of("reader", "ReadOnlyAccess").get(f"/hosts/{host}")
    assert "2 tasks with orders for this host" in page.text
    for part in (task, "1.0 → 2.0", "cancelled", "failed", "Upgrade.Unhealthy", "panic: ", ":user/admin"):
        assert part in page.text, part
    outcomes = re.findall(r'<span class="badge \w+">(failed|cancelled)</span>', page.text)
    assert outcomes == ["failed", "cancelled"], "the newest is the first"
    assert_harmless(page.text)
    assert "No order was given to this host" in admin.get(f"/hosts/{other}").text


def test_the_page_of_the_server_has_what_doctor_finds_the_worst_first_and_for_whom_may_see_it(
    env: Environment, admin: Browser, browser_of: Callable[..., Browser]
) -> None:
    env.client(env.host(name=PAYLOAD, silent=True))
    page = admin.get("/server")
    assert_harmless(page.text)
    severities = re.findall(r'<span class="badge \w+">(error|warning|note|ok)</span>', page.text)
    assert severities[0] == min(severities, key=("error", "warning", "note", "ok").index)
    assert severities[1:] == sorted(severities[1:], key=("error", "warning", "note", "ok").index)
    assert "What to do" in page.text
    sees_server = browser_of("eve")
    with env.services.database.transaction() as tx:
        document = '{"Version":"1","Statement":[{"Effect":"Allow","Action":"backfleet:DescribeServer","Resource":"*"}]}'
        identity.create_policy(tx, env.root.account_id, "one", document, now=env.now)
        identity.attach_policy(tx, env.root.account_id, "eve", "one", "Custom", now=env.now)
    page = sees_server.get("/server")
    assert (page.status, "What to do" in page.text, "What it says of itself" in page.text) == (200, False, True)


def test_orders_of_a_host_have_a_word_and_a_tone() -> None:
    order = {"State": "expired", "PackageName": "courier"}
    (one, two) = orders_of([{"Name": "PrecheckClientsTask", "Orders": [order, {**order, "State": "running"}]}])
    assert (one["what"], one["tone"], two["tone"]) == ("precheck", "bad", "busy")
    assert orders_of([{"Name": "night of the 5th", "Orders": [order]}])[0]["what"] == "night of the 5th"


def test_minimum_versions_are_set_shown_replaced_and_removed(
    env: Environment, admin: Browser, browser_of: Callable[..., Browser]
) -> None:
    env.release("2.0")
    host, _ = env.host_with_client()
    assert "No package has a minimum version" in admin.get("/minimums").text
    due = f"{env.now + timedelta(days=30):%Y-%m-%d}"
    asked = {"package": "courier", "version": "2.0", "due": due, "reason": PAYLOAD}
    shown = admin.follow(admin.post("/minimums", asked))
    assert_harmless(shown.text)
    for part in ("pending", "1 of 1", due, ">admin<"):
        assert part in shown.text, part
    assert "Below the minimum version 2.0 of courier" in admin.get(f"/hosts/{host}").text
    for wrong in ({"version": "not a version"}, {"reason": ""}, {"due": "soon"}, {"package": "nothing"}):
        admin.get("/minimums")
        page = admin.post("/minimums", asked | wrong)
        assert page.status == 400, wrong
        assert 'role="alert"' in page.text
        assert 'id="due"' in page.text
    admin.get("/minimums")
    assert "met" in admin.follow(admin.post("/minimums", asked | {"version": "1.0"})).text
    reader = browser_of("reader", "ReadOnlyAccess")
    assert "courier" in reader.get("/minimums").text
    why = {"package": "courier", "reason": f"sold {PAYLOAD}"}
    assert "backfleet:DeleteMinimumVersion" in reader.post("/minimums/remove", why).text
    silent = admin.post("/minimums/remove", {"package": "courier", "reason": " "})
    assert (silent.status, "Say why it is removed" in silent.text) == (400, True)
    assert "courier" in admin.get("/minimums").text
    assert "No package has a minimum" in admin.follow(admin.post("/minimums/remove", why)).text
    trail = admin.get("/trail?action=DeleteMinimumVersion").text
    assert_harmless(trail)
    assert "sold " in trail
