"""Names, reasons, tags and notes hold no characters that would deceive or garble a line which shows them."""

from typing import Any

import pytest

from backfleet import operations
from backfleet.operations.catalogue import every_operation
from backfleet.wire.errors import InvalidParameter
from backfleet.wire.parameters import parse
from backfleet.wire.parameters._requests import BadCharacter, parameters_of

assert operations.__all__, "importing it enters all operations"

DOCUMENTS = {
    "AlertSetting", "AssumeRolePolicyDocument", "Authority", "ClientInfo", "CommandContent", "Content",
    "DownloadsAuthority", "EncodedDiagnosticMessage", "Ics", "KeySecret", "Keys", "NewAssumeRolePolicyDocument",
    "OIDCToken", "Policy", "PolicyDocument", "PrivateKey", "ProxyPassword", "Secret",
}  # fmt: skip
"""Parameters whose values are documents, programs or secrets: any character."""
BY_RAM = {
    "Comments", "Description", "DisplayName", "Email", "GroupName", "Marker", "MobilePhone", "NewComments",
    "NewDescription", "NewDisplayName", "NewEmail", "NewGroupName", "NewMobilePhone", "NewUserName",
    "OIDCProviderName", "PolicyName", "RoleName", "Tag", "UserName", "VersionId",
}  # fmt: skip
OWN_CHECKS = {"backfleet": {"ExternalId"}, "ram": BY_RAM, "sts": {"RoleSessionName"}}
"""What operations check themselves, with errors of their own: tests/operations/ram and sts. A cloud takes secrets."""
BAD = ["\x1b", "\x00", "\x7f", "\x85", "\u061c", "\u200f", "\u2028", "\u202e", "\u2066", "\ud800"]


def texts() -> list[Any]:
    """Return every text of every operation that people read."""
    found = {}
    for operation in every_operation():
        for parameter in parameters_of(operation.request):
            is_ours = parameter.name not in OWN_CHECKS.get(operation.product.code, ())
            if parameter.kind == "string" and parameter.name not in DOCUMENTS and is_ours:
                found[operation.product.code, operation.name, parameter.name] = parameter
    return [pytest.param(each, id=".".join(name)) for name, each in sorted(found.items())]


@pytest.mark.parametrize("parameter", texts())
def test_no_text_that_people_read_has_control_characters_or_marks_of_direction(parameter: Any) -> None:
    """Whatever else its operation checks."""
    for bad in BAD:
        with pytest.raises(InvalidParameter):
            parameter.read({parameter.name: f"1{bad}1"})


@pytest.mark.parametrize("end", ["\n", "\r", "\t"])
def test_a_name_has_one_line_and_a_description_may_have_several(end: str) -> None:
    """The error names the character and its place."""
    by_name = {(each.product.code, each.name): each.request for each in every_operation()}
    named = {"RegionId": "cn-hangzhou", "Name": f"night{end}", "Type": "RunShellScript", "CommandContent": f"ls{end}"}
    with pytest.raises(BadCharacter, match=rf"Name has the character U\+{ord(end):04X} at position 6"):
        parse(by_name["ecs", "CreateCommand"], named)
    fit = {**named, "Name": "nuit d\u00e9\u3000\u05d0", "Description": f"first{end}second"}
    assert parse(by_name["ecs", "CreateCommand"], fit).description == f"first{end}second"


def test_lists_and_tags_are_held_to_the_same() -> None:
    """Repeated, or as JSON."""
    by_name = {(each.product.code, each.name): each.request for each in every_operation()}
    flat = {"Tag.1.Key": "site", "Tag.1.Value": "a\u202eb", "RegionId": "x", "ResourceType": "instance"}
    with pytest.raises(InvalidParameter, match=r"Tag\.1\.Value has the character U\+202E"):
        parse(by_name["ecs", "TagResources"], flat)
    with pytest.raises(BadCharacter):
        parse(by_name["hbr", "UpgradeBackupClients"], {"InstanceIds": '["i-1\\u202e"]'})
    with pytest.raises(BadCharacter):
        parse(by_name["ecs", "TagResources"], {**flat, "Tag.1.Value": "a", "ResourceId.1": "i-1\x1b[2J"})
