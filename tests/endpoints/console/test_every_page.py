"""What holds for every page and every form, found by following links."""

import re
from datetime import datetime
from pathlib import Path
from typing import Final

from backfleet.endpoints.console.guarding import HEADERS
from backfleet.endpoints.console.pages import ROUTES
from backfleet.ids import draw
from backfleet.storage import Database
from endpoints.console.crawling import NOT_LINKED, Form, Outline, crawl, fill, filled_in, kind_of
from endpoints.console.site import Browser, Page, serve
from endpoints.console.test_pages import POLICY, assert_harmless
from operations.environment import Environment, make_environment

# No UTF-8, half a letter, a zero byte (PostgreSQL takes none), a number beyond every column, two headers, two folders.
ODD: Final = ("%FF", "%ED%A0%80", "a%00b", "9" * 30, "-1", "x%0d%0aSet-Cookie:a=1", "..%2F..%2F")
FIELDS: Final = ("q", "page", "state", "package", "version", "site", "tag", "token", "user", "action", "code", "rw",
                 "verdict", "kind", "name", "operation", "resource", "conditions", "next")  # fmt: skip


def written(admin: Browser) -> int:
    """Return how many calls that change something are in the trail."""
    found = admin.get("/explorer/backfleet/LookupEvents")
    sent = {"do": "run", "LookupAttribute.1.Key": "EventRW", "LookupAttribute.1.Value": "Write", "MaxResults": "50"}
    found = admin.post("/explorer/backfleet/LookupEvents", sent)
    assert found.status == 200, found.text
    return found.text.count("eventName")


def is_refused(page: Page) -> bool:
    """A form with a file is read after the login was looked for, and is of another type."""
    return page.status in (403, 415) or page.location.startswith("/console/login")


def test_every_page_has_the_headers_and_every_form_the_token_and_opening_them_changes_nothing(
    env: Environment, admin: Browser
) -> None:
    fill(env, admin, POLICY)
    before, forms, pages = written(admin), dict[str, Form](), dict[str, Page]()

    def open_page(path: str) -> str:
        pages[path] = admin.get(path)
        assert pages[path].status == 200, (path, pages[path].text)
        return pages[path].text

    for path in crawl(open_page):
        page = pages[path]
        assert {name: page.headers.get(name.lower()) for name in HEADERS} == HEADERS, path
        assert page.headers["cache-control"] == "no-store", path
        assert_harmless(page.text)
        assert not re.search(r'(?:href|src|action)="(?:https?:)?//', page.text), path
        for form in Outline(page.text).forms:
            if form.method == "post":
                forms[f"{kind_of(form.action) or form.action}"] = form
            assert form.method in ("get", "dialog") or "form_token" in form.fields, (path, form)

    linked = {route.path for route in ROUTES if route.method == "GET" and not route.public} - set(NOT_LINKED)
    assert linked - {kind[0] for path in pages if (kind := kind_of(path))} <= {"/fleet.csv", "/fleet.json"}
    assert written(admin) == before, "opening a page changes nothing"
    assert len(forms) >= 5
    for form in forms.values():
        sent: dict[str, object] = dict.fromkeys(form.fields, "x")
        admin.get("/fleet")
        assert is_refused(admin.post(form.action, sent | {"form_token": ""})), form
        admin.get("/fleet")
        token = admin.page.form_token if admin.page else ""
        assert is_refused(admin.post(form.action, sent | {"form_token": token}, Origin="http://evil.example")), form
    assert written(admin) == before, "nor does a form of somebody else"


def test_no_address_takes_a_form_without_its_token_and_none_but_the_login_s_works_for_nobody(admin: Browser) -> None:
    for route in ROUTES:
        path = filled_in(route.path)
        if route.method == "POST":
            assert is_refused(Browser(admin.site).post(path)), route.path
            assert is_refused(admin.post(path, {"form_token": "x"})), route.path
        elif not route.public:
            page = Browser(admin.site).get(path)
            assert (page.status, page.location[:14]) == (303, "/console/login"), route.path
            assert page.headers["content-security-policy"] == HEADERS["Content-Security-Policy"]


def test_an_address_without_a_page_has_a_page_that_says_so(env: Environment, admin: Browser) -> None:
    """An old link, and the address of a form that a browser opens again after an error."""
    before = written(admin)
    forms = {route.path for route in ROUTES} - {route.path for route in ROUTES if route.method == "GET"}
    wrong = {"/nothing": 404, "/": 303, "/fleet/": 404, "/hosts": 404, "/../openapi.json": 404, "/a" * 500: 404}
    for path, status in {**wrong, **dict.fromkeys(map(filled_in, sorted(forms)), 405)}.items():
        page = admin.get(path)
        assert page.status == status, path
        assert {name: page.headers.get(name.lower()) for name in HEADERS} == HEADERS, path
        assert status == 303 or all(text in page.text for text in ("There is no page here", 'href="/console/fleet"'))
        assert Browser(admin.site).get(path).status == status, "and nobody learns more from it"
    assert "<b>" not in admin.get("/%3Cb%3E?q=<b>").text
    assert written(admin) == before


def test_no_address_fails_whatever_is_in_it(database: Database, tmp_path: Path, now: datetime) -> None:
    """On both engines: what one of them does not take is refused before it is asked."""
    env = make_environment(database, tmp_path, now, draw)
    site, stop = serve(env)
    ann, failed = Browser(site), list[tuple[str, int]]()
    try:
        ann.log_in(site.key_of("ann", "AdministratorAccess"))
        for route in ROUTES:
            if route.method == "POST" or route.path in NOT_LINKED:
                continue
            for odd in ODD:
                path = re.sub(r"\{\w+\}", odd, route.path)
                asked = "" if path != route.path else "?" + "&".join(f"{name}={odd}" for name in FIELDS)
                page = ann.get(path + asked)
                if page.status >= 500 or any("a=1" in cookie for cookie in page.cookies):
                    failed.append((path + asked, page.status))
    finally:
        stop()
    assert failed == []


def test_a_page_past_the_end_of_a_list_does_not_say_that_the_list_is_empty(env: Environment, admin: Browser) -> None:
    """A link from yesterday, when the list was longer."""
    fill(env, admin, POLICY)
    admin.get("/pins")
    pin = {"on": "tag", "name": "site", "value": "Lyon", "until": f"{env.now:%Y}-01-31", "reason": "a freeze"}
    assert admin.post("/pins", pin).status == 303
    for path in ("/fleet", "/fleet?q=web", "/tasks", "/rollouts", "/pins"):
        page = admin.get(f"{path}{'&' if '?' in path else '?'}page=99")
        assert "Nothing is on this page: the list ends with" in page.text, path
        last = re.search(r'href="/console([^"]*)">page \d', page.text)
        assert last, path
        assert "Nothing is on this page" not in admin.get(last[1].replace("&amp;", "&")).text, path
    assert "Nothing is on this page" not in admin.get("/fleet?q=no-such-host&page=99").text
