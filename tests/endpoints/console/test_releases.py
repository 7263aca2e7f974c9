"""Releases and pins in the console: files are streamed and bounded, and refused in the words of the command line."""

import hashlib
import http.client
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from backfleet.endpoints.console.pages.releases import asked_of
from backfleet.operations._tables import audit_events
from backfleet.wire.errors import InvalidParameter
from endpoints.console.site import Browser, Page, Site, serve
from endpoints.console.test_pages import PAYLOAD, assert_harmless
from operations.environment import Environment

SCRIPT = b"#!/bin/sh\necho 1.0\n"
BOUNDARY = "----backfleet"
FIELDS = {"package": "courier", "version": "3.0", "platform": "linux-amd64", "channel": "stable", "format": "binary"}


def body_of(fields: dict[str, str], content: bytes | None, name: str = "courier") -> bytes:
    part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="'
    head = "".join(f'{part}{key}"\r\n\r\n{value}\r\n' for key, value in fields.items())
    if content is None:
        return f"{head}--{BOUNDARY}--\r\n".encode()
    file = f'{part}file"; filename="{name}"\r\n\r\n'
    return f"{head}{file}".encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def send(browser: Browser, body: bytes, *, length: int | None = None, kind: str = "", origin: str = "") -> Page:
    """Send a form with a file, as the browser does."""
    connection = http.client.HTTPConnection(browser.site.host, timeout=20)
    headers = {
        "Cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items()),
        "Content-Type": kind or f"multipart/form-data; boundary={BOUNDARY}",
        "Origin": origin or f"http://{browser.site.host}",
        "Content-Length": str(len(body) if length is None else length),
    }
    connection.request("POST", "/console/releases", body, headers)
    answer = connection.getresponse()
    page = Page(answer.status, {k.lower(): v for k, v in answer.getheaders()}, [], answer.read().decode())
    connection.close()
    return page


def add(browser: Browser, content: bytes | None = SCRIPT, **fields: str) -> Page:
    browser.get("/releases")
    assert browser.page is not None
    return send(browser, body_of({"form_token": browser.page.form_token, **FIELDS, **fields}, content))


def left_over(env: Environment) -> list[Path]:
    return list((env.services.settings.data / "incoming").glob("*"))


def test_a_release_is_added_with_its_file_shown_withdrawn_and_offered_again(env: Environment, admin: Browser) -> None:
    content = SCRIPT + b"\r\n--" * 100_000
    made = add(admin, content)
    assert made.status == 200, made.text
    assert "Added, and offered on stable" in made.text
    assert "it has no health command" in made.text
    assert hashlib.sha256(content).hexdigest() in made.text
    assert left_over(env) == []
    path = "/releases/courier/3.0/linux-amd64"
    assert "Manifest" in admin.get(path).text
    assert "Already there, nothing changed" in add(admin, content).text
    admin.get(path)
    assert "withdrawn" in admin.follow(admin.post(path, {"action": "withdraw"})).text
    assert "withdrawn" in admin.get("/releases").text
    offered = admin.follow(admin.post(path, {"action": "offer", "channel": "beta"}))
    assert ("beta" in offered.text, "withdrawn" in offered.text) == (True, False)
    assert admin.post(path, {"action": "explode"}).status == 400
    assert admin.get("/releases/courier/9.9/linux-amd64").status == 404


@pytest.mark.parametrize(
    ("fields", "content", "reason"),
    [
        pytest.param({"version": ""}, SCRIPT, "ReleaseVersion", id="no version"),
        pytest.param({"format": "deb"}, SCRIPT, "deb", id="another format than its bytes"),
        pytest.param({"channel": "No Such!"}, SCRIPT, "Channel", id="a channel that cannot be"),
        pytest.param({"manifest": "health = ["}, SCRIPT, "not a TOML manifest", id="no TOML"),
        pytest.param({}, b"", "file", id="an empty file"),
        pytest.param({}, None, "file", id="no file"),
        pytest.param({"package": PAYLOAD}, SCRIPT, "is not of the form", id="markup"),
    ],
)
def test_what_is_refused_is_said_with_the_values_kept_and_nothing_left(
    env: Environment, admin: Browser, fields: dict[str, str], content: bytes | None, reason: str
) -> None:
    page = add(admin, content, **fields)
    assert page.status == 400
    assert reason in page.text.partition('role="alert"')[2].partition("</p>")[0]
    assert_harmless(page.text)
    assert 'value="linux-amd64"' in page.text
    assert left_over(env) == []


def test_a_form_of_another_site_or_login_or_that_breaks_off_adds_nothing(env: Environment, admin: Browser) -> None:
    admin.get("/releases")
    assert admin.page is not None
    token = {"form_token": admin.page.form_token}
    assert send(admin, body_of({**token, **FIELDS}, SCRIPT), origin="http://else").status == 403
    assert send(admin, body_of({"form_token": "x" * 64, **FIELDS}, SCRIPT)).status == 403
    assert send(admin, body_of({**FIELDS, **token}, SCRIPT)).status == 403, "the token comes first"
    assert send(admin, body_of({**token, **FIELDS, "package": "x" * 70_000}, SCRIPT)).status == 403
    many = {f"field{number}": "" for number in range(30)}
    assert send(admin, body_of({**token, **many}, SCRIPT)).status == 403
    assert send(admin, b"nonsense").status == 403
    assert send(admin, b"", kind="application/x-www-form-urlencoded").status == 415
    cut = body_of({**token, **FIELDS}, SCRIPT)[:-20]
    assert send(admin, cut).status == 400
    assert "No release yet" in admin.get("/releases").text
    assert left_over(env) == []
    assert Browser(admin.site).get("/releases").status == 303


def test_who_may_not_add_a_release_is_refused_before_the_file_is_read(
    env: Environment, browser_of: Callable[..., Browser]
) -> None:
    reader = browser_of("reader", "ReadOnlyAccess")
    page = add(reader)
    assert page.status == 403
    assert "backfleet:AddRelease" in page.text
    assert not (env.services.settings.data / "incoming").exists()
    with env.services.database.reading() as tx:
        rows = tx.rows(sa.select(audit_events).where(audit_events.c.action == "AddRelease"))
    assert [(row.verdict, json.loads(row.named)["PackageName"]) for row in rows] == [("denied", "courier")]


def test_a_file_that_is_too_large_is_refused_and_deleted(env: Environment) -> None:
    env.services = replace(env.services, settings=replace(env.services.settings, upload_limit=100_000))
    site, stop = serve(env)
    try:
        browser = Browser(site)
        browser.log_in(site.key_of("ann", "AdministratorAccess"))
        page = add(browser, b"x" * 200_000)
        assert page.status == 413
        assert left_over(env) == []
    finally:
        stop()


def test_a_manifest_and_the_name_of_the_file_travel_as_over_the_api() -> None:
    found = asked_of({"package": "a", "manifest": 'health = ["a", "v"]', "new_package": "1"}, "a.deb")
    assert (found["Manifest"], found["FileName"], found["NewPackage"]) == ({"health": ["a", "v"]}, "a.deb", "true")
    assert found["Channel"] is None
    with pytest.raises(InvalidParameter):
        asked_of({"manifest": "["}, "a")


def test_releases_that_wait_for_a_signature_are_shown_with_what_to_do(env: Environment, admin: Browser) -> None:
    env.release("2.0")
    assert "for a signature" not in admin.get("/releases").text
    with env.services.database.transaction() as tx:
        tx.run(sa.text("update releases set published_at = null"))
    page = admin.get("/releases").text
    assert "1 release waits for a signature" in page
    assert "backfleet release publish" in page


# --- Pins ---------------------------------------------------------------------------------------------------------


def test_pins_are_put_on_clients_hosts_and_tags_shown_and_removed(env: Environment, admin: Browser) -> None:
    env.release("2.0")
    (host, client), (_, other) = env.host_with_client(), env.host_with_client()
    until = f"{env.now:%Y-%m}-28" if env.now.day < 28 else f"{env.now.year + 1}-01-05"
    admin.get("/fleet")
    sent = {"client_id": [client, other], "action": "pin", "until": until, "reason": "audit <week>"}
    pins = admin.follow(admin.post("/fleet/order", sent))
    assert pins.text.count("audit &lt;week&gt;") == 2
    assert "Pinned to its version" in admin.get(f"/hosts/{host}").text
    task = admin.follow(admin.post("/fleet/order", {"client_id": client, "action": "upgrade"}))
    assert "Pinned" in task.text
    admin.get("/pins")
    fields = {"on": "instance", "name": host, "package": "courier"}
    assert admin.post("/pins/remove", fields).status == 400
    admin.get("/pins")
    fields["reason"] = "audited <now>"
    assert admin.follow(admin.post("/pins/remove", fields)).text.count("audit &lt;week&gt;") == 1
    assert "audited " in admin.get("/trail?action=DeletePin").text
    admin.get("/pins")
    tag = {"on": "tag", "name": "site", "value": "Lyon", "package": "courier", "versions": ">=1.0,<2.0"}
    page = admin.follow(admin.post("/pins", {**tag, "until": until, "reason": "freeze"}))
    assert ("tag site=Lyon" in page.text, "&gt;=1.0,&lt;2.0" in page.text) == (True, True)
    for wrong in ({"until": "1999-01-01"}, {"until": ""}, {"reason": ""}, {"versions": "nonsense!"}, {"on": "host"}):
        page = admin.post("/pins", {**tag, "until": until, "reason": "kept", **wrong})
        assert page.status == 400, wrong
        assert 'role="alert"' in page.text
        assert 'value="Lyon"' in page.text or wrong == {"on": "host"}


def test_who_may_not_pin_is_told_which_permission_is_missing(site: Site, env: Environment) -> None:
    _, client = env.host_with_client()
    reader = Browser(site)
    reader.log_in(site.key_of("reader", "ReadOnlyAccess"))
    reader.get("/pins")
    page = reader.post("/pins", {"on": "client", "name": client, "until": "2099-01-01", "reason": "x"})
    assert page.status == 403
    assert "backfleet:PutPin" in page.text
