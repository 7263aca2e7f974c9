"""Answers as callers see them: JSON and XML bodies, headers, and errors that official clients can read."""

import json
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet.wire import answers, errors
from backfleet.wire.credentials import Credentials
from backfleet.wire.errors import ApiError, DatedBeforeRestore, InvalidParameter, MissingField, SignatureDoesNotMatch

ID = "8B1D1C0E-5B0E-4E4B-8F5A-0123456789AB"


def test_a_result_carries_its_request_id() -> None:
    """In the body and in the header; fields without a value are left out at every depth."""
    found = answers.success("Act", {"A": 1, "B": None, "C": [{"D": None, "E": "é"}]}, ID, xml=False)
    assert json.loads(found.body) == {"RequestId": ID, "A": 1, "C": [{"E": "é"}]}
    assert found.status == 200
    assert found.headers["x-acs-request-id"] == ID
    assert found.headers["Content-Type"] == "application/json;charset=utf-8"


def test_a_field_without_a_value_is_left_out_beside_text_that_looks_like_none() -> None:
    """Text stays as it is; a list keeps its places; and a mapping of any kind is an object."""
    result = {"A": "null", "B": None, "C": [None, "null"], "D": MappingProxyType({"E": None, "F": ("null",)})}
    found = answers.success("Act", result, ID, xml=False)
    assert json.loads(found.body) == {"RequestId": ID, "A": "null", "C": [None, "null"], "D": {"F": ["null"]}}
    proxy = answers.success("Act", {"D": MappingProxyType({"F": 1})}, ID, xml=False)
    assert json.loads(proxy.body) == {"RequestId": ID, "D": {"F": 1}}


def test_text_in_an_answer_may_be_json_that_has_fields_without_a_value() -> None:
    """As that of DescribeTask: the text stays as it is, and fields beside it without a value are left out as ever."""
    inner = json.dumps({"A": None, "B": {'C"': None}}, separators=(",", ":"))
    for outer in ({}, {"D": None}):
        found = answers.success("Act", {"Result": inner, **outer, "E": [{"F": None}]}, ID, xml=False)
        assert json.loads(found.body) == {"RequestId": ID, "Result": inner, "E": [{}]}


def test_xml_repeats_the_elements_of_a_list() -> None:
    """The root is named after the action."""
    found = answers.success(
        "DescribeRegions", {"Ok": True, "Regions": {"Region": [{"Id": "a"}, {"Id": "b"}]}}, ID, xml=True
    )
    assert found.headers["Content-Type"] == "text/xml;charset=utf-8"
    root = ElementTree.fromstring(found.body)
    assert root.tag == "DescribeRegionsResponse"
    assert [node.text for node in root.iterfind("Regions/Region/Id")] == ["a", "b"]
    assert (root.findtext("Ok"), root.findtext("RequestId")) == ("true", ID)


@pytest.mark.parametrize("xml", [False, True])
def test_an_error_has_every_field_as_a_string(xml: bool) -> None:
    """Another type in one of them makes a client fail; only AccessDeniedDetail is an object."""
    problem = InvalidParameter("Name is <bad> & \ud800 long.", extra={"AccessDeniedDetail": {"AuthAction": "a:B"}})
    found = answers.failure(problem, ID, "host:1", xml=xml)
    assert found.status == 400
    if xml:
        root = ElementTree.fromstring(found.body)
        assert root.tag == "Error"
        body: dict[str, Any] = {node.tag: node.text for node in root}
    else:
        body = json.loads(found.body)
        assert body.pop("AccessDeniedDetail") == {"AuthAction": "a:B"}
        assert all(isinstance(value, str) for value in body.values())
        assert body["Message"] == "Name is <bad> & ? long."
    assert (body["RequestId"], body["HostId"], body["Code"]) == (ID, "host:1", "InvalidParameter")
    assert body["Recommend"]


@given(st.text())
def test_any_text_survives_xml_or_is_left_out(text: str) -> None:
    """What XML cannot hold is dropped; everything else comes back unchanged."""
    found = answers.success("Act", {"A": text}, ID, xml=True)
    read = ElementTree.fromstring(found.body).findtext("A") or ""
    assert read == "".join(c for c in text if c in "\t\n\r" or (c >= " " and c not in "\ufffe\uffff"))


@given(st.text(st.characters(codec="utf-8")))
def test_any_text_survives_json(text: str) -> None:
    """Byte for byte."""
    assert json.loads(answers.success("Act", {"A": text}, ID, xml=False).body)["A"] == text


def test_the_colon_that_clients_split_at_is_the_first() -> None:
    """The legacy client takes what follows the first colon for the server's string to sign, and fails without one."""
    assert SignatureDoesNotMatch("GET&%2F&a").message.split(":")[1] == "GET&%2F&a"
    assert SignatureDoesNotMatch("GET&%2F&a", "Odd: very.").message.split(":")[1] == "GET&%2F&a"


def test_missing_fields_have_their_name_in_the_code() -> None:
    """And an instance does not change the class."""
    assert (MissingField("Timestamp").code, MissingField("SecurityToken").code) == (
        "MissingTimestamp",
        "MissingSecurityToken",
    )
    assert MissingField.code == ApiError.code


# Codes and statuses as the common error table has them.
GATEWAY = {
    "MissingParameter": 400, "InvalidParameter": 400, "ContentLengthDoesNotMatch": 400, "ContentMD5NotMatched": 400,
    "InvalidAction.NotFound": 404, "InvalidVersion": 400, "InvalidProtocol.NeedSsl": 400, "UnsupportedHTTPMethod": 403,
    "InvalidAccessKeyId.NotFound": 404, "InvalidAccessKeyId.Inactive": 400, "InvalidSecurityToken.Malformed": 400,
    "IncompleteSignature": 400, "SignatureDoesNotMatch": 400, "InvalidSignatureMethod": 400,
    "InvalidSignatureVersion": 400, "SignatureNonceUsed": 400, "InvalidTimeStamp.Expired": 400,
    "InvalidTimeStamp.Format": 400, "OperationConflict": 409, "InternalError": 500,
}  # fmt: skip


def every_error(of: type[ApiError] = ApiError) -> Iterator[type[ApiError]]:
    for error in of.__subclasses__():
        if error.__module__ == errors.__name__:
            yield error
            yield from every_error(error)


def test_codes_and_statuses_are_those_of_the_table() -> None:
    """Every row of the table that is implemented, and no code twice but with another text for the same case."""
    several = {MissingField, DatedBeforeRestore}
    found = {error.code: error.status for error in every_error() if error not in several}
    assert found.items() >= GATEWAY.items()
    assert len(found) == len(list(every_error())) - len(several)


def test_credentials_print_without_their_secret() -> None:
    """Neither secret nor token."""
    shown = repr(Credentials("id", "the secret", "the token"))
    assert "id" in shown
    assert "the secret" not in shown
    assert "the token" not in shown
