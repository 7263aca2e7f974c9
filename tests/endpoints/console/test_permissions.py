"""The page that says who may do what, and which statement says so."""

from collections.abc import Callable

import pytest

from backfleet.endpoints.console.pages.permissions import actions, conditions_of
from backfleet.wire.errors import InvalidParameter
from endpoints.console.site import Browser
from endpoints.console.test_pages import PAYLOAD, assert_harmless
from operations.environment import Environment


def test_a_decision_is_shown_with_its_statement_and_its_address_can_be_sent(env: Environment, admin: Browser) -> None:
    deny = {"Effect": "Deny", "Action": "hbr:CancelTask", "Resource": "*",
            "Condition": {"IpAddress": {"acs:SourceIp": "10.0.0.0/8"}}}  # fmt: skip
    env.user_with("eve", {"Effect": "Allow", "Action": "hbr:*", "Resource": "*"}, deny)
    assert "Nothing is called" in admin.get("/access/tester?kind=user&name=eve").text
    allowed = admin.get("/access/tester?kind=user&name=eve&operation=hbr+DescribeTask").text
    assert ("allowed" in allowed, "statement 1 of Custom/eve-policy" in allowed) == (True, True)
    address = "/access/tester?kind=user&name=eve&operation=hbr:CancelTask"
    assert "acs:sourceip" in admin.get(address).text, "a key that would count is named"
    denied = admin.get(f"{address}&conditions=acs:SourceIp+%3D+10.0.0.1").text
    assert "statement 2 of Custom/eve-policy" in denied
    assert "a statement denies it" in denied
    assert "is the account itself" not in admin.get("/access/tester?operation=hbr+DescribeTask").text
    assert "tester?kind=user&amp;name=eve" in admin.get("/access").text


def test_what_cannot_be_decided_says_why_and_odd_values_are_shown_as_they_are(
    admin: Browser, browser_of: Callable[..., Browser]
) -> None:
    for query, status, reason in (
        ("kind=user&name=nobody&operation=hbr:DescribeTask", 404, "nobody"),
        ("kind=role&operation=hbr:DescribeTask", 400, "Give the name"),
        ("operation=hbr:DescribeTask&conditions=x", 400, "is no condition"),
        ("operation=%22%27%3E%3Cimg+src%3Dx+onerror%3Dalert(1)%3E", 400, "ActionName"),
    ):
        page = admin.get(f"/access/tester?{query}")
        assert page.status == status, query
        assert reason in page.text.partition('role="alert"')[2].partition("</p>")[0], query
        assert_harmless(page.text)
    fleet = browser_of("fleet", "BackfleetFullAccess")
    assert fleet.get("/access/tester?kind=user&name=admin&operation=hbr:DescribeTask").status == 403


def test_conditions_are_read_line_by_line() -> None:
    assert conditions_of("a:B = c = d\r\n\r\n x=") == {"a:B": "c = d", "x": ""}
    with pytest.raises(InvalidParameter):
        conditions_of(PAYLOAD.replace("=", ""))
    assert actions()["hbr DescribeTask"] == "hbr:DescribeTask"
