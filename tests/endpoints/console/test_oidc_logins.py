"""Logging in by an identity provider: a real one, in a process of its own, over https."""

import contextlib
import html
import json
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from backfleet.endpoints.console.federation import session_name
from backfleet.ids import draw
from backfleet.operations.catalogue import RAM
from backfleet.storage import Database
from endpoints.console import oidc_provider
from endpoints.console.site import Browser, Page, Site, serve
from operations.environment import Environment, make_environment
from rollouts.outside.servers import make_certificate

ROLE = "Operators"


@dataclass
class Idp:
    """The provider's process."""

    issuer: str
    trust: ssl.SSLContext

    def ask(self, method: str, path: str, body: str | None = None) -> tuple[int, str, str]:
        """Return status, Location and body of an answer."""
        connection = HTTPSConnection(urlsplit(self.issuer).netloc, context=self.trust, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.headers.get("Location", ""), answer.read().decode()

    def shown_keys(self) -> list[dict[str, Any]]:
        """Return the keys that it shows."""
        found: list[dict[str, Any]] = json.loads(self.ask("GET", "/keys")[2])["keys"]
        return found

    def do_wrong(self, **what: object) -> None:
        """Have it answer so from now on."""
        self.ask("POST", "/wrong", json.dumps(what))

    def count(self, path: str) -> int:
        """Return how often it was asked at a path."""
        found: list[str] = json.loads(self.ask("GET", "/asked")[2])
        return found.count(path)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the provider's certificate, which vouches for itself, and its secret."""
    folder = tmp_path_factory.mktemp("idp")
    make_certificate(folder, "127.0.0.1")
    (folder / "secret").write_text(f"{oidc_provider.SECRET}\n")
    return folder


@pytest.fixture(scope="module")
def process(authority: Path) -> Iterator[Idp]:
    started = subprocess.Popen([sys.executable, oidc_provider.__file__, authority], stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    ready = json.loads(started.stdout.readline())
    yield Idp(ready["issuer"], ssl.create_default_context(cafile=str(authority / "127.0.0.1.crt")))
    started.kill()
    started.communicate()


@pytest.fixture
def idp(process: Idp) -> Idp:
    """The provider, which does nothing wrong."""
    process.do_wrong()
    return process


@pytest.fixture
def env(sqlite_database: Database, tmp_path: Path) -> Environment:
    """Services at the real time, which is the provider's."""
    return make_environment(sqlite_database, tmp_path, datetime.now(UTC).replace(microsecond=0), draw)


@pytest.fixture
def site(env: Environment, idp: Idp, authority: Path, tmp_path: Path) -> Iterator[Site]:
    """A console that knows the provider, with a role for its people, at an address known only once it serves."""
    account = env.root.account_id
    provider, role = f"acs:ram::{account}:oidc-provider/staff", f"acs:ram::{account}:role/{ROLE}"
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Federated": provider},
             "Condition": {"StringEquals": {"oidc:sub": ["ann", "ben"]}}}  # fmt: skip
    keys = json.dumps({"keys": [key for key in idp.shown_keys() if key.get("use") == "sig"]})
    ask(env, "CreateOIDCProvider", OIDCProviderName="staff", IssuerUrl=idp.issuer, ClientIds="backfleet,app", Keys=keys)
    policy = json.dumps({"Version": "1", "Statement": [trust]})
    ask(env, "CreateRole", RoleName=ROLE, AssumeRolePolicyDocument=policy)
    ask(env, "AttachPolicyToRole", PolicyType="System", PolicyName="AdministratorAccess", RoleName=ROLE)
    file = tmp_path / "oidc.toml"
    common = f"""
        provider = "{provider}"
        role = "{role}"
        client_id = "backfleet"
        client_secret_file = "{authority / "secret"}"
        authorization_url = "{idp.issuer}/authorize?tenant=1"
        token_url = "{idp.issuer}/token"
    """
    file.write_text(f"""
        console_url = "http://127.0.0.1:1/"
        [[login]]
        id = "staff"
        name = "Staff <b>"
        keys_url = "{idp.issuer}/keys"
        person = "email"
        {common}
        [[login]]
        id = "fixed-keys"
        name = "Fixed"
        {common}
    """)
    settings = replace(
        env.services.settings,
        console_oidc_file=str(file),
        outbound_allowed="127.0.0.1",
        outbound_authority=str(authority / "127.0.0.1.crt"),
    )
    env.services = replace(env.services, settings=settings)
    made, stop = serve(env)
    yield made
    stop()


def ask(env: Environment, action: str, **fields: str) -> dict[str, Any]:
    status, body = env.ask(RAM.version, action, **fields)
    assert status == 200, body
    return body


def go(browser: Browser, idp: Idp, offer: str = "staff", wanted: str = "") -> str:
    """Click on the button, and return the address at which the provider sends the browser back, below /console."""
    left = browser.get(f"/login/oidc/{offer}{wanted and '?next=' + wanted}")
    assert left.status == 303, left.text
    status, back, _ = idp.ask("GET", left.location.removeprefix(idp.issuer))
    assert status == 302
    assert back.startswith(f"http://127.0.0.1:1/console/login/oidc/{offer}/done?")
    return back.partition("/console")[2]


def reason_of(page: Page) -> str:
    """Return what a refusal says; nobody is logged in."""
    assert page.status in (403, 404), page.text
    assert not any("backfleet-session" in cookie for cookie in page.cookies)
    found = re.search(r'role="alert">([^<]*)<', page.text)
    return html.unescape(found[1]) if found else ""


def test_a_person_is_sent_to_the_provider_and_comes_back_with_the_role(site: Site, idp: Idp, env: Environment) -> None:
    """With a session of its own, whatever the browser showed before; to the page that was wanted."""
    browser = Browser(site)
    page = browser.get("/login?next=%2Fconsole%2Frollouts")
    assert "Log in with Staff &lt;b&gt;" in page.text
    assert 'href="http://127.0.0.1:1/console/login/oidc/staff?next=/console/rollouts"' in page.text
    browser.cookies["backfleet-session"] = "f" * 40
    done = browser.get(go(browser, idp, wanted="%2Fconsole%2Frollouts"))
    assert (done.status, done.location) == (303, "/console/rollouts"), done.text
    assert browser.cookies["backfleet-session"] != "f" * 40
    assert "backfleet-oidc" not in browser.cookies
    shown = browser.get("/fleet")
    assert f"assumed-role/{ROLE}/ann@example.com" in shown.text
    trail = browser.get("/trail?action=AssumeRoleWithOIDC").text
    assert ("ann@example.com" in trail, "staff" in trail) == (True, True)
    assert env.services.settings.console_oidc_file not in trail


def test_what_leaves_for_the_provider_has_a_challenge_and_no_secret(site: Site, idp: Idp) -> None:
    left = Browser(site).get("/login/oidc/staff")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(left.location).query).items()}
    assert (asked["tenant"], asked["response_type"], asked["scope"]) == ("1", "code", "openid")
    assert (asked["code_challenge_method"], len(asked["code_challenge"])) == ("S256", 43)
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    cookie = next(text for text in left.cookies if text.startswith("backfleet-oidc="))
    assert ("HttpOnly" in cookie, "SameSite=Lax" in cookie) == (True, True)
    assert asked["nonce"] not in cookie
    assert oidc_provider.SECRET not in left.location


def test_an_answer_from_another_browser_or_twice_logs_nobody_in(site: Site, idp: Idp) -> None:
    """Login CSRF, and replays: the provider is not even asked."""
    ann, eve = Browser(site), Browser(site)
    back = go(ann, idp)
    before = idp.count("/token")
    assert "did not begin this login" in reason_of(eve.get(back))
    go(eve, idp)
    assert "did not begin this login" in reason_of(eve.get(back)), "with the attempt of another login"
    assert "did not begin this login" in reason_of(ann.get(back.replace("/staff/", "/fixed-keys/")))
    assert "another provider" in reason_of(ann.get(re.sub("iss=[^&]*", "iss=https%3A%2F%2Felse", back)))
    assert idp.count("/token") == before
    kept = ann.cookies["backfleet-oidc"]
    assert ann.get(back).status == 303
    ann.cookies = {"backfleet-oidc": kept}
    assert "used already" in reason_of(ann.get(back))
    again = go(eve, idp)
    code = parse_qs(urlsplit(back).query)["code"][0]
    assert "answered 400" in reason_of(eve.get(re.sub("code=[^&]*", f"code={code}", again))), "a code that was used"


def test_a_login_that_takes_too_long_or_is_refused_at_the_provider_says_so(
    site: Site, idp: Idp, env: Environment
) -> None:
    browser = Browser(site)
    back = go(browser, idp)
    env.now += timedelta(minutes=11)
    assert "longer than 10 minutes" in reason_of(browser.get(back))
    back = go(browser, idp)
    state = parse_qs(urlsplit(back).query)["state"][0]
    refused = browser.get(f"/login/oidc/staff/done?state={state}&error=access_denied&error_description=%3Cimg%3E")
    assert "access_denied" in reason_of(refused)
    assert "<img>" not in refused.text
    assert "an error" in reason_of(browser.get(f"/login/oidc/staff/done?state={state}&error=%3Cscript%3E"))
    assert "no such way" in reason_of(browser.get("/login/oidc/none"))
    assert "no such way" in reason_of(browser.get(f"/login/oidc/none/done?state={state}&code=x"))
    elsewhere = browser.get("/login/oidc/staff", Sec_Fetch_Site="cross-site")
    assert (elsewhere.status, elsewhere.location) == (200, ""), "a link on another site begins no login"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        pytest.param({"claims": {"nonce": "another"}}, "of another login", id="another nonce"),
        pytest.param({"claims": {"nonce": None}}, "of another login", id="no nonce"),
        pytest.param({"claims": {"iss": "https://else"}}, "issuer is not", id="another issuer"),
        pytest.param({"claims": {"aud": "else"}}, "made for others", id="another audience"),
        pytest.param({"claims": {"aud": "app"}}, "for another client", id="another client of the same provider"),
        pytest.param({"claims": {"exp": 1_000_000_000}}, "has expired", id="over"),
        pytest.param({"claims": {"sub": "eve"}}, "you may not log in here", id="somebody whom the role does not trust"),
        pytest.param({"no_token": True}, "no ID token", id="no token"),
        pytest.param({"huge": True}, "longer than 65536 bytes", id="huge"),
        pytest.param({"status": 302, "location": "/keys"}, "answered 302", id="a redirect"),
        pytest.param({"status": 500}, "answered 500", id="a failure"),
    ],
)
def test_what_the_provider_answers_wrongly_logs_nobody_in(
    site: Site, idp: Idp, wrong: dict[str, object], reason: str
) -> None:
    browser = Browser(site)
    back = go(browser, idp)
    keys = idp.count("/keys")
    idp.do_wrong(**wrong)
    page = browser.get(back)
    assert reason in reason_of(page)
    assert oidc_provider.SECRET not in page.text
    if "location" in wrong:
        assert idp.count("/keys") == keys, "no redirect is followed"


def test_a_key_that_the_provider_changed_is_fetched_where_the_settings_say_where(
    site: Site, idp: Idp, env: Environment
) -> None:
    browser = Browser(site)
    assert browser.get(go(browser, idp)).status == 303
    idp.do_wrong(rotate=True)
    for offer in ("fixed-keys", "staff"):
        early = Browser(site)
        assert "no registered key" in reason_of(early.get(go(early, idp, offer))), "keys are fetched now and then"
    env.now += timedelta(seconds=31)
    fresh = Browser(site)
    assert fresh.get(go(fresh, idp)).status == 303


def test_a_session_is_over_with_its_role_or_its_provider(site: Site, idp: Idp, env: Environment) -> None:
    browser = Browser(site)
    browser.get(go(browser, idp))
    assert browser.get("/fleet").status == 200
    env.now += timedelta(minutes=59)
    assert browser.get("/fleet").status == 200
    env.now += timedelta(minutes=2)
    assert browser.get("/fleet").status == 303, "sessions of this role last an hour"
    env.now -= timedelta(minutes=61)
    second = Browser(site)
    second.get(go(second, idp))
    assert second.get("/fleet").status == 200
    ask(env, "DeleteOIDCProvider", OIDCProviderName="staff")
    assert second.get("/fleet").status == 303
    assert "not registered" in reason_of(second.get(go(second, idp)))


def test_a_session_is_named_by_a_claim_or_the_subject() -> None:
    assert session_name({"sub": "1", "email": "a+b@x.org"}, "email") == "a_b@x.org"
    assert session_name({"sub": "s|1", "email": 5}, "email") == "s_1"
    assert session_name({"sub": "1"}, "sub") == "user-1"
    assert len(session_name({"sub": "x" * 200}, "sub")) == 64
