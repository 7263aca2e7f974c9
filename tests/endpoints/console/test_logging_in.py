"""Sessions and forms of the console, as browsers and attackers send them."""

import re
import ssl
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from backfleet import identity
from backfleet.endpoints.console.guarding import is_same_origin, local_path
from backfleet.endpoints.console.pages.logging_in import network_of
from backfleet.operations.catalogue import BACKFLEET
from backfleet.wire.credentials import Credentials
from endpoints.console.site import Browser, Page, Site, serve
from operations.environment import Environment
from rollouts.outside.servers import make_certificate


def is_login(page: Page) -> bool:
    return page.status == 303 and page.location.startswith("/console/login")


def test_a_key_logs_in_and_the_session_shows_whose_it_is(site: Site) -> None:
    browser = Browser(site)
    assert is_login(browser.get("/fleet"))
    page = browser.log_in(site.key_of("eve", "AdministratorAccess"))
    assert (page.status, page.location) == (303, "/console/fleet")
    assert "user/eve" in browser.get("/fleet").text
    browser.post("/logout")
    assert is_login(browser.get("/fleet"))


def test_the_session_ends_for_every_copy_of_its_cookie_when_its_person_logs_out(admin: Browser) -> None:
    copy = Browser(admin.site, dict(admin.cookies))
    assert copy.get("/fleet").status == 200
    admin.get("/fleet")
    admin.post("/logout")
    assert is_login(copy.get("/fleet"))


def test_a_wrong_secret_and_an_unknown_key_are_refused_alike(site: Site) -> None:
    known = site.key_of("eve")
    answers = set()
    for key_id, secret in (
        (known.access_key_id, "wrong"),
        ("LTAIunknown", known.access_key_secret),
        ("", ""),
        ("\x00", "x"),
    ):
        browser = Browser(site)
        browser.get("/login")
        page = browser.post("/login", {"key_id": key_id, "secret": secret})
        assert page.status == 403
        assert not any(name.endswith("session") for name in browser.cookies)
        answers.add(re.sub(r'value="[^"]*"', "", page.text))
    assert len(answers) == 1
    assert known.access_key_secret not in answers.pop()


def test_guessing_is_slowed_down_for_the_address_that_guesses(site: Site) -> None:
    key = site.key_of("eve")
    browser = Browser(site)
    browser.get("/login")
    found = [browser.post("/login", {"key_id": key.access_key_id, "secret": str(n)}).status for n in range(30)]
    assert found.count(403) <= 12
    assert found[-1] == 429
    assert browser.log_in(key).status == 429, "the right secret does not get around it"
    site.env.now += timedelta(minutes=1)
    assert browser.log_in(key).status == 303


def test_an_address_in_ipv6_counts_as_its_network() -> None:
    assert network_of("2001:db8:1:2:3:4:5:6") == network_of("2001:db8:1:2::9") != network_of("2001:db8:1:3::9")
    assert network_of("192.0.2.1") != network_of("192.0.2.2")


def test_a_login_gets_an_id_of_its_own_whatever_the_browser_showed(site: Site) -> None:
    chosen = "a" * 40
    browser = Browser(site, {"backfleet-session": chosen})
    assert browser.log_in(site.key_of("eve", "ReadOnlyAccess")).status == 303
    assert browser.cookies["backfleet-session"] != chosen
    assert browser.get("/fleet").status == 200
    assert is_login(Browser(site, {"backfleet-session": chosen}).get("/fleet"))


def test_logging_in_again_ends_the_former_session(admin: Browser) -> None:
    former = dict(admin.cookies)
    again = Browser(admin.site, dict(former))
    again.get("/fleet")
    again.post(
        "/login", {"key_id": (key := admin.site.key_of("second")).access_key_id, "secret": key.access_key_secret}
    )
    assert again.cookies != former
    assert is_login(Browser(admin.site, former).get("/fleet"))


def test_a_session_ends_everywhere_when_its_key_is_switched_off(site: Site, admin: Browser) -> None:
    with site.env.services.database.transaction() as tx:
        account = site.env.root.account_id
        (key,) = identity.list_keys(tx, account, "admin")
        identity.set_key(tx, account, "admin", key.id, active=False)
    assert is_login(admin.get("/fleet"))
    assert admin.get("/fleet", X_Backfleet_Live="1").status == 401


def test_a_session_is_over_after_its_time(site: Site, admin: Browser) -> None:
    site.env.now += timedelta(minutes=59)
    assert admin.get("/fleet", X_Backfleet_Live="1").status == 200
    site.env.now += timedelta(minutes=1)
    assert is_login(admin.get("/fleet"))


def test_a_form_of_another_site_does_nothing(admin: Browser) -> None:
    admin.get("/fleet")
    host = admin.site.host
    for origin in ("http://evil.example", f"http://{host}.evil.example", "null", f"http://evil@{host}:1", "", host):
        assert admin.post("/logout", Origin=origin).status == 403, origin
    for token in ("", "x", "0" * 64, "\xff"):
        assert admin.post("/logout", {"form_token": token}).status == 403, token
    stranger = Browser(admin.site)
    stranger.get("/login")
    assert stranger.page is not None
    assert admin.post("/logout", {"form_token": stranger.page.form_token}).status == 403
    assert admin.get("/fleet").status == 200, "nobody was logged out"


def test_nobody_is_logged_in_by_a_form_of_another_site(site: Site) -> None:
    """Otherwise somebody could have others work in their own account without noticing."""
    key = site.key_of("mallory")
    fields = {"key_id": key.access_key_id, "secret": key.access_key_secret}
    assert Browser(site).post("/login", fields).status == 403
    browser = Browser(site)
    browser.get("/login")
    assert browser.post("/login", fields, Origin="http://evil.example").status == 403
    assert browser.post("/login", fields, Content_Type="text/plain").status == 415


def test_get_changes_nothing(admin: Browser) -> None:
    assert admin.get("/logout").status == 405
    assert admin.get("/login/once").status == 405


def test_every_answer_keeps_scripts_frames_and_forms_of_others_out(site: Site, admin: Browser) -> None:
    stranger = Browser(site)
    pages = [admin.get("/fleet"), stranger.get("/login"), stranger.get("/fleet"), admin.get("/"), admin.post("/x")]
    style = re.search(r'href="/console(/static/console\.[0-9a-f]+\.css)"', admin.get("/fleet").text)
    assert style
    pages += [admin.get(style[1]), admin.post("/logout", Origin="http://evil.example")]
    for page in pages:
        if page.status in (404, 405):
            continue
        policy = page.headers["content-security-policy"]
        assert policy == "default-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["referrer-policy"] == "same-origin"
        assert not re.search(r"<script(?! type=\"module\" src=)|<style|\sstyle=|\son[a-z]+=", page.text)
        assert not re.search(r'(?:href|src|action)="(?:https?:)?//', page.text)
    assert "immutable" in pages[-2].headers["cache-control"]
    assert pages[0].headers["cache-control"] == "no-store"


def test_a_session_cookie_is_for_the_server_alone(site: Site) -> None:
    browser = Browser(site)
    page = browser.log_in(site.key_of("eve"))
    (cookie,) = [text for text in page.cookies if text.startswith("backfleet-session=")]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/console" in cookie


def test_over_tls_the_console_is_there_if_it_is_set_and_its_cookies_stay_there(
    env: Environment, tmp_path: Path
) -> None:
    certificate, server = make_certificate(tmp_path, "127.0.0.1")
    client = ssl.create_default_context(cafile=str(certificate))
    client.check_hostname = False
    closed, stop = serve(env, server)
    assert Browser(closed, tls=client).get("/login").status == 404
    assert Browser(closed, tls=client).get("/").status == 404
    assert Browser(closed, tls=client).get("/static/x").status == 404
    stop()
    env.services = replace(env.services, settings=replace(env.services.settings, console_https=True))
    site, stop = serve(env, server)
    page = (browser := Browser(site, tls=client)).log_in(site.key_of("eve"))
    stop()
    (cookie,) = [text for text in page.cookies if text.startswith("__Host-backfleet-session=")]
    assert all(part in cookie for part in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"))
    assert "__Host-backfleet-session" in browser.cookies


@pytest.mark.parametrize(
    "wanted",
    ["//evil.example", "/console//evil.example", "https://evil.example", "/console/\\evil", "/\\evil", "/console/\tx",
     "/consolefoo", "javascript:alert(1)", "/console/login?next=/console/login", "/console/logout", "", "/", "/console",
     "/console/é", "/console/" + "x" * 5000],
)  # fmt: skip
def test_a_login_leads_to_a_page_of_the_console_only(wanted: str) -> None:
    assert local_path(wanted) == "/fleet"


def test_a_login_leads_on_to_where_its_person_wanted(site: Site) -> None:
    browser = Browser(site)
    page = browser.get("/fleet?q=web%26x&page=2")
    assert "next=" in page.location
    browser.follow(page)
    key = site.key_of("eve")
    sent = {"key_id": key.access_key_id, "secret": key.access_key_secret, "next": "/console/fleet?q=web%26x&page=2"}
    assert browser.post("/login", sent).location == "/console/fleet?q=web%26x&page=2"


def test_an_origin_is_the_same_with_its_port_only() -> None:
    assert is_same_origin("http://a:8080", "a:8080")
    assert is_same_origin("https://A", "a")
    for origin in ("http://a", "http://a:80801", "file://a:8080", "null", None, "", "a:8080"):
        assert not is_same_origin(origin, "a:8080"), origin


def test_a_code_logs_its_maker_in_once(site: Site, ask: Callable[..., dict[str, str]]) -> None:
    key = site.key_of("eve", "AdministratorAccess")
    made = ask(key, "CreateConsoleLogin")
    assert made["Path"] == f"/console/login#{made['LoginCode']}"
    browser = Browser(site)
    browser.get("/login")
    assert browser.post("/login/once", {"code": made["LoginCode"]}).status == 303
    assert "user/eve" in browser.get("/fleet").text
    second = Browser(site)
    second.get("/login")
    assert second.post("/login/once", {"code": made["LoginCode"]}).status == 403


def test_a_code_of_a_key_that_was_switched_off_logs_nobody_in(site: Site, ask: Callable[..., dict[str, str]]) -> None:
    made = ask(site.key_of("eve", "AdministratorAccess"), "CreateConsoleLogin")
    with site.env.services.database.transaction() as tx:
        (key,) = identity.list_keys(tx, site.env.root.account_id, "eve")
        identity.set_key(tx, site.env.root.account_id, "eve", key.id, active=False)
    browser = Browser(site)
    browser.get("/login")
    assert browser.post("/login/once", {"code": made["LoginCode"]}).status == 403


@pytest.fixture
def ask(site: Site) -> Callable[..., dict[str, str]]:
    def call(key: Credentials, action: str, **fields: object) -> dict[str, str]:
        env = site.env
        with env.services.database.reading() as tx:
            caller = identity.owner_of_key(tx, key.access_key_id)
        status, body = env.ask(BACKFLEET.version, action, caller, **fields)
        assert status == 200, body
        return body

    return call
