"""What pages show and do, over HTTP, for people with and without permission, and with odd names everywhere."""

import csv
import html
import io
import json
import re
from collections.abc import Callable
from datetime import timedelta
from html.parser import HTMLParser

import pytest
import sqlalchemy as sa

from backfleet import fleet, identity
from backfleet.endpoints.console.exports import cell
from backfleet.endpoints.console.pages.fleet import MOST_SITES, OTHER_SITES, maps_of
from backfleet.endpoints.console.pages.others import fact_of
from backfleet.endpoints.console.pages.rollouts import gates_of
from backfleet.endpoints.console.pages.tasks import shown_item
from backfleet.fleet._tables import clients, instances
from backfleet.operations._tables import audit_events
from endpoints.console.site import Browser, Site
from operations.environment import REGION, Environment

PAYLOAD = """"'><img src=x onerror=alert(1)><script>alert(2)</script>{{7*7}}"""
POLICY = """
name = "courier to 2.0"
package = "courier"
version = "2.0"
deadline = "2099-01-01T00:00:00Z"
ring = [{ name = "canary", count = 1 }, { name = "rest", gates = [{ kind = "approval" }] }]
"""


class Tags(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def assert_harmless(text: str) -> None:
    """Check that nothing of the payload became a part of the page."""
    tags = Tags()
    tags.feed(text)
    assert not [tag for tag, given in tags.found if tag == "img" and given.get("src") == "x"]
    assert [given.get("type") for tag, given in tags.found if tag == "script"] == ["module"]
    assert not [name for _, given in tags.found for name in given if name.startswith("on") or name == "style"]


def tag(env: Environment, host: str, **tags: str) -> None:
    with env.services.database.transaction() as tx:
        fleet.set_tags(tx, env.root.account_id, REGION, "instance", [host], tags)


@pytest.fixture
def odd_fleet(env: Environment) -> str:
    """A host whose every text is a payload, with a client and a release."""
    env.release("2.0")
    host, client = env.host_with_client()
    with env.services.database.transaction() as tx:
        named = {"name": PAYLOAD, "hostname": PAYLOAD, "agent_version": PAYLOAD[:60], "time_zone": PAYLOAD[:60]}
        tx.run(sa.update(instances).where(instances.c.id == host).values(**named))
        failure = json.dumps({"code": PAYLOAD, "message": PAYLOAD, "version": PAYLOAD, "at": 1.7e9, "output": PAYLOAD,
                              "quarantined_until": None})  # fmt: skip
        drift = {"drift": PAYLOAD, "version": PAYLOAD[:60], "failure": failure}
        tx.run(sa.update(clients).where(clients.c.id == client).values(**drift))
    tag(env, host, site=PAYLOAD)
    return host


def test_no_text_of_a_host_or_a_caller_becomes_a_part_of_a_page(
    odd_fleet: str, env: Environment, admin: Browser
) -> None:
    env.host_with_client()
    admin.get("/rollouts/new")
    made = admin.post("/rollouts/new", {"policy": f"{POLICY}# {PAYLOAD}", "action": "create"})
    assert made.status == 303, made.text
    paths = ["/fleet", f"/hosts/{odd_fleet}", "/tasks", "/rollouts", "/releases", "/trail", "/access", "/server",
             made.location.removeprefix("/console"), "/fleet?q=<script>alert(1)</script>&package=%22%3E<img src=x>",
             "/trail?user=<img src=x>&action=%22onfocus=x", "/hosts/<img src=x>", "/rollouts/<script>"]  # fmt: skip
    for path in paths:
        page = admin.get(path.replace(" ", "%20").replace("<", "%3C").replace(">", "%3E"))
        assert page.status == 200 or "<" in path, (path, page.text)
        assert_harmless(page.text)
        assert "49" not in re.findall(r"alert\(2\)&lt;/script&gt;(\d+)", page.text)
    admin.get("/rollouts/new")
    assert_harmless(admin.post("/rollouts/new", {"policy": PAYLOAD, "action": "preview"}).text)
    admin.get("/login")


def test_the_fleet_is_searched_filtered_and_paged_by_its_address(env: Environment, admin: Browser) -> None:
    env.release("2.0")
    hosts = [env.host(name=f"web-{number:02d}") for number in range(60)]
    ids = [env.client(host, "1.0" if number else "2.0") for number, host in enumerate(hosts)]
    tag(env, hosts[3], site="Lyon", team="red_team")
    first = admin.get("/fleet").text
    assert "60 clients" in first
    assert first.count('name="client_id"') == 50
    assert admin.get("/fleet?page=2").text.count('name="client_id"') == 10
    for query, expected in (("q=web-07", 1), (f"q={ids[9]}", 1), ("q=RED_", 1), ("q=red%25", 0), ("state=Current", 1),
                            ("state=Behind", 50), ("site=Lyon", 1), ("version=2.0", 1), ("site=", 50),
                            ("page=x&q=", 50), ("state=Nonsense", 50)):  # fmt: skip
        page = admin.get(f"/fleet?{query}")
        assert (page.status, page.text.count('name="client_id"')) == (200, expected), query


def test_the_fleet_and_a_host_show_the_host_program(env: Environment, admin: Browser) -> None:
    """It leads to all hosts with that version, and is in exports; another agent has none."""
    ours = env.host(name="ours", agent="backfleet-0.2.0")
    theirs = env.host(name="theirs", agent="2.2.3.1040")
    for host in (ours, theirs, env.host(name="older", agent="backfleet-0.1.0")):
        env.client(host, "1.0")
    text = admin.get("/fleet").text
    assert re.search(r'data-label="Host program"><a href="[^"]*host_version=0\.2\.0[^"]*">0\.2\.0</a>', text)
    assert re.search(r'data-label="Host program"><span class="small">another agent&#39;s</span>|'
                     r"data-label=\"Host program\"><span class=\"small\">another agent's</span>", text)  # fmt: skip
    found = admin.get("/fleet?host_version=0.2.0").text
    assert (found.count('name="client_id"'), "on hosts with the host program 0.2.0" in found) == (1, True)
    for host, program in ((ours, "0.2.0"), (theirs, "another agent's")):
        assert f"<dt>Host program</dt><dd>{program}" in html.unescape(admin.get(f"/hosts/{host}").text)
    rows = csv.DictReader(io.StringIO(admin.get("/fleet.csv?host_version=0.2.0").text))
    assert [(row["InstanceName"], row["HostVersion"]) for row in rows] == [("ours", "0.2.0")]


def test_the_fleet_is_exported_whole_with_formulas_disarmed(env: Environment, admin: Browser) -> None:
    for number in range(7):
        env.client(env.host(name="=HYPERLINK(1)" if number == 0 else f"web-{number}"))
    page = admin.get("/fleet.csv?q=courier")
    rows = list(csv.DictReader(io.StringIO(page.text)))
    assert len(rows) == 7
    assert {row["InstanceName"] for row in rows} >= {"'=HYPERLINK(1)", "web-3"}
    assert "attachment" in page.headers["content-disposition"]
    assert len(json.loads(admin.get("/fleet.json").text)) == 7
    assert [cell(value) for value in ("=1", "+1", "-1", "@x", "\tx", "a=1", 5, None, True)] == [
        "'=1", "'+1", "'-1", "'@x", "'\tx", "a=1", "5", "", "true"]  # fmt: skip


def test_an_export_of_too_many_clients_is_refused_and_not_cut_off(
    env: Environment, admin: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who takes a part for the whole forgets the hosts that are not in it."""
    monkeypatch.setattr("backfleet.endpoints.console.pages.fleet.MOST_EXPORTED", 2)
    for number in range(3):
        env.client(env.host(name=f"web-{number}"), "1.0")
    for file in ("/fleet.csv", "/fleet.json"):
        page = admin.get(file)
        assert (page.status, "3 clients are found, and a file has at most 2" in page.text) == (400, True), page.text
        assert len(re.findall("web-[0-9]", admin.get(f"{file}?q=web-1").text)) >= 1
        assert admin.get(f"{file}?q=web-1").status == 200


def test_selected_clients_are_ordered_to_upgrade_and_the_task_is_shown(env: Environment, admin: Browser) -> None:
    env.release("2.0")
    (host, first), (_, second) = env.host_with_client(), env.host_with_client()
    admin.get("/fleet")
    page = admin.post("/fleet/order", {"client_id": [first, second], "action": "upgrade"})
    task = admin.follow(page)
    assert host in task.text
    assert "Cancel" in task.text
    cancelled = admin.follow(admin.post(f"{page.location.removeprefix('/console')}/cancel"))
    assert "cancel" in cancelled.text
    assert page.location.rpartition("/")[2] in admin.get("/tasks").text


def test_an_order_without_a_client_or_with_a_made_up_action_says_so(env: Environment, admin: Browser) -> None:
    _, client = env.host_with_client()
    admin.get("/fleet")
    assert "No client is selected" in admin.post("/fleet/order", {"action": "upgrade"}).text
    admin.get("/fleet")
    assert admin.post("/fleet/order", {"action": "delete", "client_id": client}).status == 400


def test_who_may_only_look_is_refused_with_the_reason_and_nothing_happens(
    env: Environment, browser_of: Callable[..., Browser]
) -> None:
    env.release("2.0")
    _, client = env.host_with_client()
    reader = browser_of("reader", "ReadOnlyAccess")
    assert reader.get("/fleet").status == 200
    page = reader.post("/fleet/order", {"client_id": client, "action": "upgrade"})
    assert page.status == 403
    assert "hbr:UpgradeBackupClients" in page.text
    assert env.tasks() == 0
    nobody = browser_of("nobody")
    assert nobody.get("/fleet").status == 403
    assert nobody.get("/access").status == 200, "what one may not see is left out"
    assert "You may not see these" in nobody.get("/access").text


def test_a_policy_that_changes_counts_from_the_next_page_on(site: Site, browser_of: Callable[..., Browser]) -> None:
    eve = browser_of("eve", "ReadOnlyAccess")
    assert eve.get("/fleet").status == 200
    with site.env.services.database.transaction() as tx:
        identity.detach_policy(tx, site.env.root.account_id, "eve", "ReadOnlyAccess", "System")
    assert eve.get("/fleet").status == 403


def test_a_preview_names_what_cannot_be_had_and_who_is_pinned(env: Environment, admin: Browser) -> None:
    env.release("2.0")
    env.client(env.host())
    admin.get("/rollouts/new")
    env.client(env.host(platform="linux-<arm>"), pin="<2")
    lacking = admin.post("/rollouts/new", {"policy": POLICY, "action": "preview"}).text
    assert "courier 2.0 for linux-&lt;arm&gt;: has no release; 1 host cannot have it" in lacking
    assert re.search(r"1 member waits? for the end of their pins.*pinned to &lt;2 until .* by .*year", lacking, re.S)
    assert "It would be refused" in lacking


def test_a_release_is_rolled_out_by_the_policy_that_its_page_leads_to(env: Environment, admin: Browser) -> None:
    env.release("2.0")
    for number in range(3):
        env.client(env.host(name=f"web-{number}"))
    assert "Roll it out" in admin.get("/rollouts/new").text, "where to begin"
    release = admin.get("/releases/courier/2.0/linux-amd64").text
    address = re.search(r'href="/console(/rollouts/new\?[^"]+)">Roll it out', release)
    assert address is not None
    form = admin.get(html.unescape(address[1])).text
    policy = html.unescape(re.findall(r"<textarea[^>]*>(.*?)</textarea>", form, re.S)[0])
    assert "3 clients" in admin.post("/rollouts/new", {"policy": policy, "action": "preview"}).text
    page = admin.follow(admin.post("/rollouts/new", {"policy": policy, "action": "start"})).text
    assert re.search("canary.*rest", page, re.S)
    odd = admin.get('/rollouts/new?package=courier&version=2"%0aname="x')
    assert re.findall(r"<textarea[^>]*>(.*?)</textarea>", odd.text, re.S) == [""]


def test_a_rollout_is_previewed_created_started_approved_and_rolled_back(env: Environment, admin: Browser) -> None:
    env.release("2.0")
    for number in range(3):
        env.client(env.host(name=f"web-<{number}>"))
    admin.get("/rollouts/new")
    preview = admin.post("/rollouts/new", {"policy": POLICY, "action": "preview"}).text
    assert "3 clients" in preview
    assert "canary" in preview
    wrong = admin.post("/rollouts/new", {"policy": "name = 1", "action": "create"})
    assert wrong.status == 400
    assert 'role="alert"' in wrong.text
    made = admin.post("/rollouts/new", {"policy": POLICY, "action": "start"})
    path = made.location.removeprefix("/console")
    page = admin.get(path)
    assert ("canary" in page.text, "Pause" in page.text) == (True, True)
    assert re.search(r'aria-label="web-&lt;1&gt;: \w+"', page.text), "its host's name, not its id"
    paused = admin.follow(admin.post(path, {"action": "pause"})).text
    assert "Resume" in paused
    assert admin.post(path, {"action": "explode"}).status == 400
    admin.get(path)
    assert admin.follow(admin.post(path, {"action": "cancel"})).status == 200
    assert "courier to 2.0" in admin.get("/rollouts").text


def test_every_call_of_a_page_is_in_the_trail_as_the_person(admin: Browser) -> None:
    admin.get("/server")
    page = admin.get("/trail?action=DescribeServer&user=admin").text
    assert "backfleet-console" in page
    assert page.count("DescribeServer") >= 2


def test_a_map_has_the_newest_version_first_and_the_worst_state_of_each_cell() -> None:
    def of(version: str, site: str, **counts: int) -> dict[str, object]:
        states = dict.fromkeys(("Current", "Behind", "Moving", "Failed", "Silent", "Drifted", "Withdrawn"), 0)
        return {"PackageName": "courier", "ClientVersion": version, "Site": site, "Clients": 10, **states, **counts}

    (drawn,) = maps_of([of("1.9", "a", Behind=10), of("1.10", "b", Current=10), of("1.10", "a", Failed=1, Current=9)])
    assert drawn["sites"] == ["a", "b"]
    assert [row["version"] for row in drawn["rows"]] == ["1.10", "1.9"]
    tones = [[c and c["tone"] for c in row["cells"]] for row in drawn["rows"]]
    assert tones == [["bad", "good"], ["warn", None]]
    (wide,) = maps_of([of("1", f"site {number}") for number in range(MOST_SITES + 5)])
    assert (wide["sites"][-1], wide["rows"][0]["cells"][-1]["number"]) == (OTHER_SITES, 50)


@pytest.mark.parametrize(
    ("item", "word", "tone"),
    [({}, "waiting", "none"), ({"stage": "drain"}, "drain", "busy"), ({"completedTime": 1}, "done", "good"),
     ({"completedTime": 1, "errorCode": "X"}, "failed", "bad"), ({"stage": "<b>"}, "<b>", "none")],
)  # fmt: skip
def test_an_item_of_a_task_has_a_word_and_not_only_a_colour(item: dict[str, object], word: str, tone: str) -> None:
    shown = shown_item(item)
    assert (shown["word"], shown["tone"]) == (word, tone)


def test_what_a_page_repeats_by_itself_is_in_the_trail_once_in_a_while_and_refusals_each_time(
    env: Environment, site: Site, browser_of: Callable[..., Browser]
) -> None:
    ann = browser_of("ann", "AdministratorAccess")

    def rows(action: str, verdict: str = "allowed") -> int:
        with env.services.database.reading() as tx:
            found = sa.select(audit_events).where(audit_events.c.action == action, audit_events.c.verdict == verdict)
            return len(tx.rows(found))

    ann.get("/fleet")
    for _ in range(5):
        assert ann.get("/fleet", X_Backfleet_Live="1").status == 200
    assert rows("DescribeFleet") == 1
    ann.get("/fleet")
    assert rows("DescribeFleet") == 2, "what a person asks for has a row each time"
    ann.get("/fleet?q=web", X_Backfleet_Live="1")
    assert rows("DescribeFleet") == 3, "other parameters are another call"
    env.now += timedelta(minutes=16)
    ann.get("/fleet", X_Backfleet_Live="1")
    assert rows("DescribeFleet") == 4
    second = Browser(site)
    second.log_in(site.key_of("ben", "ReadOnlyAccess"))
    second.get("/fleet", X_Backfleet_Live="1")
    assert rows("DescribeFleet") == 5, "nobody's look hides another's"
    with env.services.database.transaction() as tx:
        identity.detach_policy(tx, env.root.account_id, "ben", "ReadOnlyAccess", "System")
    for _ in range(2):
        assert second.get("/fleet", X_Backfleet_Live="1").status == 403
    assert rows("DescribeFleet", "denied") == 2


def test_a_rollout_shows_its_budget_its_expected_end_its_gates_and_what_to_approve(
    env: Environment, admin: Browser
) -> None:
    env.release("2.0")
    for _ in range(3):
        env.host_with_client()
    admin.get("/rollouts/new")
    made = admin.post("/rollouts/new", {"policy": f"{POLICY}\n[failure]\nmax_failed = 2\n", "action": "start"})
    text = admin.follow(made).text
    assert "0 failures of 2 that may happen" in text
    assert "Expected end" in text
    assert "<strong>approval</strong>" in text
    assert "Approve rest" in text
    assert_harmless(text)


def test_gates_of_a_policy_are_shown_and_what_cannot_be_read_is_not() -> None:
    assert gates_of('ring = [{ name = "a", gates = [{ kind = "soak", for = "1h" }] }]') == {
        "a": [{"kind": "soak", "text": "for 1h"}]
    }
    for odd in ("", "ring = 5", "ring = [5]", "[[", "ring = [{ gates = [] }]", 'ring = [{ name = "a", gates = 5 }]'):
        assert gates_of(odd) == {}, odd


def test_what_the_server_says_is_shown_as_people_read_it() -> None:
    facts = [("CopiedTime", 0), ("RestoredTime", 1_795_894_935), ("Held", False), ("Held", True), ("HostBinaries", []),
             ("HostBinaries", ["linux-amd64", "x"]), ("Instances", 50_000), ("AuthoritySha256", "")]  # fmt: skip
    shown = [re.sub("<[^>]*>", "", str(fact_of(*each))) for each in facts]
    assert shown == ["never", "2026-11-28 19:42", "no", "yes", "none", "linux-amd64, x", "50,000", "none"]
