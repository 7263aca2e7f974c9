"""The explorer: find an operation, fill its form, run it, take it away as code."""

import html
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backfleet.ids import draw
from backfleet.operations.catalogue import every_operation
from backfleet.storage import Database
from endpoints.console.site import Browser, Page, serve
from operations.environment import Environment, make_environment
from samples.running import in_python

PAYLOAD = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>"


def run(browser: Browser, path: str, **fields: str) -> Page:
    browser.get(f"/explorer/{path}")
    return browser.post(f"/explorer/{path}", {"do": "run", **fields})


def text_of(page: Page) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", page.text))


def test_every_operation_is_found_and_has_a_form(admin: Browser) -> None:
    """By its address; and the code in every language, once its values are there."""
    listed = admin.get("/explorer").text
    for operation in every_operation():
        address = f"/explorer/{operation.product.code}/{operation.name}"
        assert f'href="/console{address}"' in listed
        page = admin.get(address)
        assert page.status == 200
        assert "<h1>" + operation.name in page.text


def test_typing_finds_operations_by_name_and_description(admin: Browser) -> None:
    found = admin.get("/explorer?q=describe+task").text
    assert "/hbr/DescribeTask" in found
    assert "/ram/CreateUser" not in found
    assert "No operation has these words" in admin.get("/explorer?q=zzzz").text
    assert PAYLOAD not in admin.get("/explorer?q=%22'%3E%3Cscript%3Ealert(1)%3C/script%3E").text


def test_an_unknown_operation_is_a_page_that_says_so(admin: Browser) -> None:
    assert admin.get("/explorer/hbr/Nothing").status == 404
    assert admin.get("/explorer/none/DescribeTask").status == 404


def test_reading_runs_at_once_and_shows_everything_about_the_answer(admin: Browser) -> None:
    page = run(admin, "sts/GetCallerIdentity")
    text = text_of(page)
    assert page.status == 200
    assert "HTTP 200" in text
    assert '"RAMUser"' in text
    assert re.search(r"RequestId\s+[0-9A-F-]{36}", text)
    assert "x-acs-request-id" in text
    assert re.search(r"\d+ ms", text)
    assert '"eventName": "GetCallerIdentity"' in text


def test_what_changes_something_asks_once(admin: Browser) -> None:
    """Without the tick nothing is done; with it, it is."""
    page = run(admin, "ram/CreateUser", UserName="bob")
    assert (page.status, "Nothing was done" in page.text) == (400, True)
    assert "EntityNotExist" in run(admin, "ram/GetUser", UserName="bob").text
    assert "HTTP 200" in run(admin, "ram/CreateUser", UserName="bob", confirmed="yes").text
    assert "HTTP 200" in run(admin, "ram/GetUser", UserName="bob").text


@pytest.mark.parametrize("name", ["backfleet/PreviewClients", "backfleet/PreviewRollout", "backfleet/SimulateRollout"])
def test_what_only_shows_what_would_be_is_run_at_once(admin: Browser, name: str) -> None:
    """It changes nothing: the trail calls it a read."""
    page = run(admin, name, ClientIds='["c-1"]', Policy="name = 1")
    assert "Nothing was done" not in page.text
    assert '"eventRW": "Write"' not in page.text


def test_opening_a_page_runs_nothing(admin: Browser) -> None:
    """Also with everything that a form would send in the address."""
    admin.get("/explorer/ram/CreateUser?UserName=eve&do=run&confirmed=yes")
    assert "EntityNotExist" in run(admin, "ram/GetUser", UserName="eve").text


def test_the_region_of_the_server_is_filled_in(admin: Browser) -> None:
    """It is the only one that is accepted; a link may name another."""
    assert 'name="RegionId" type="text" value="cn-hangzhou"' in admin.get("/explorer/ecs/RunCommand").text
    assert 'value="nowhere"' in admin.get("/explorer/ecs/RunCommand?RegionId=nowhere").text


def test_what_is_wrong_is_shown_at_the_field_before_anything_is_sent(admin: Browser) -> None:
    page = run(admin, "ecs/CreateActivation", RegionId="cn-hangzhou", InstanceCount="many")
    assert page.status == 400
    assert "Nothing was sent: 1 field" in page.text
    assert re.search(
        r'name="InstanceCount"[^>]*value="many"[^>]*aria-invalid.*?class="fault">[^<]+<', page.text, re.DOTALL
    )
    assert "HTTP 4" not in page.text


def test_lists_and_objects_are_sent_as_the_api_takes_them(admin: Browser) -> None:
    """A line each for a list; a field each for the members of an object."""
    page = run(
        admin,
        "backfleet/LookupEvents",
        **{"LookupAttribute.1.Key": "EventRW", "LookupAttribute.1.Value": "Read"},
    )
    assert "HTTP 200" in page.text
    page = admin.post("/explorer/ecs/DescribeManagedInstances", {"do": "check", "RegionId": "cn-hangzhou",
                      "InstanceId": "mi-1\r\n mi-2 \r\n"})  # fmt: skip
    assert "InstanceId.2=mi-2" in html.unescape(page.text)
    page = admin.post("/explorer/hbr/UpgradeBackupClients", {"do": "check", "InstanceIds": "mi-1\nmi-2"})
    assert '[\n        "mi-1",\n        "mi-2",\n    ]' in html.unescape(page.text)


def test_an_answer_is_shown_even_if_what_stands_beside_it_cannot_be_had(env: Environment) -> None:
    """Here the trail and the server's description, which are asked for too often."""
    settings = replace(env.services.settings, calls_per_second=0.001, calls_burst=1)
    site, stop = serve(replace(env, services=replace(env.services, settings=settings)))
    try:
        browser = Browser(site)
        browser.log_in(site.key_of("ann", "AdministratorAccess"))
        assert "audit trail" in run(browser, "sts/GetCallerIdentity").text
        page = run(browser, "ram/CreateUser", UserName="bob", confirmed="yes")
        assert "HTTP 200" in page.text
        assert "audit trail" not in page.text
        assert "Throttling.User" in run(browser, "sts/GetCallerIdentity").text
    finally:
        stop()


def test_a_refusal_shows_the_policy_that_refused(browser_of: Callable[..., Browser], admin: Browser) -> None:
    """To who may see policies; else that none allows it."""
    page = run(browser_of("ann", "AliyunRAMReadOnlyAccess"), "ram/CreateUser", UserName="x", confirmed="yes")
    assert "HTTP 403" in page.text
    assert "none allows <code>ram:CreateUser</code>" in page.text
    document = '{"Version":"1","Statement":[{"Effect":"Deny","Action":"sts:*","Resource":"*"}]}'
    run(admin, "ram/CreatePolicy", PolicyName="no-sts", PolicyDocument=document, confirmed="yes")
    attached = {"PolicyType": "Custom", "PolicyName": "no-sts", "UserName": "admin", "confirmed": "yes"}
    run(admin, "ram/AttachPolicyToUser", **attached)
    refused = text_of(run(admin, "sts/AssumeRole", RoleArn="acs:ram::1:role/x", RoleSessionName="x", confirmed="yes"))
    assert re.search(r"HTTP 403.*Deny\s+in\s+\S*\s*no-sts", refused, re.DOTALL), refused


def test_a_link_holds_the_values_and_never_a_secret(admin: Browser) -> None:
    """Nor does the page repeat it, or the code."""
    page = admin.get("/explorer/hbr/UpdateClientSettings")
    page = admin.post(
        "/explorer/hbr/UpdateClientSettings", {"do": "check", "ClientId": "c-1", "ProxyPassword": "hunter2"}
    )
    assert 'href="/console/explorer/hbr/UpdateClientSettings?ClientId=c-1"' in page.text
    assert "hunter2" not in page.text
    opened = admin.get("/explorer/hbr/UpdateClientSettings?ClientId=c-1&ProxyPassword=hunter2").text
    assert 'value="c-1"' in opened
    assert "hunter2" not in opened


def test_the_page_shows_the_same_code_as_the_command_line(admin: Browser) -> None:
    page = admin.get("/explorer/hbr/DescribeTask?TaskId=t-1")
    shown = html.unescape(page.text)
    assert 'models.DescribeTaskRequest(\n    task_id="t-1",\n)' in shown
    for title in ("TypeScript", "Go", "Java", "aliyun CLI", "backfleet CLI", "curl"):
        assert f"<summary>{title}</summary>" in page.text


def test_the_code_on_the_page_gives_what_the_page_showed(sqlite_database: Database, tmp_path: Path) -> None:
    """For the address of the page, where the person may not ask for the server's own."""
    site, stop = serve(make_environment(sqlite_database, tmp_path, datetime.now(UTC), draw))
    try:
        key, browser = site.key_of("ann"), Browser(site)
        browser.log_in(key)
        page = run(browser, "sts/GetCallerIdentity")
        code = re.search(r"<summary>Python</summary><pre[^>]*><code>(.*?)</code>", page.text, re.DOTALL)
        shown = re.search(r"<summary>As text</summary><pre[^>]*>(.*?)</pre>", page.text, re.DOTALL)
        assert code
        assert shown
        secret = {"ALIBABA_CLOUD_ACCESS_KEY_SECRET": key.access_key_secret}
        answer = in_python(html.unescape(code[1]), {"ALIBABA_CLOUD_ACCESS_KEY_ID": key.access_key_id, **secret}).answer
    finally:
        stop()
    by_page = json.loads(html.unescape(shown[1]))
    assert answer.pop("RequestId") != by_page.pop("RequestId")
    assert answer == by_page


@pytest.mark.parametrize("action", ["run", "check"])
def test_hostile_values_stay_text(admin: Browser, action: str) -> None:
    """In fields, faults, links, answers and code."""
    fields = {"do": action, "confirmed": "yes", "Name": PAYLOAD, "Type": PAYLOAD, "CommandContent": PAYLOAD}
    admin.get("/explorer/ecs/CreateCommand")
    for kind in (PAYLOAD, "RunShellScript"):
        page = admin.post("/explorer/ecs/CreateCommand", {**fields, "RegionId": "cn-hangzhou", "Type": kind,
                          "ContentEncoding": "PlainText"})  # fmt: skip
        assert "<script>alert" not in page.text
        assert "<img" not in page.text.replace('<img src="/console/static', "")
        assert "alert(1)" in html.unescape(page.text)
    page = run(admin, "ecs/DescribeCommands", RegionId="cn-hangzhou", ContentEncoding="PlainText")
    assert "<script>alert" not in page.text


def test_a_form_of_another_site_is_refused(admin: Browser) -> None:
    admin.get("/explorer/ram/CreateUser")
    page = admin.post(
        "/explorer/ram/CreateUser", {"UserName": "eve", "do": "run", "confirmed": "yes"}, Origin="http://x"
    )
    assert page.status == 403
    page = admin.post(
        "/explorer/ram/CreateUser", {"UserName": "eve", "do": "run", "confirmed": "yes", "form_token": "x"}
    )
    assert page.status == 403


def test_an_operation_that_takes_a_file_is_shown_but_not_run(admin: Browser) -> None:
    page = run(admin, "backfleet/PublishSignatures", confirmed="yes")
    assert "HTTP 200" not in page.text
    assert "which the explorer does not send" in page.text
    assert "--file FILE" in page.text
