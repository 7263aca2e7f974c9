"""Permissions as official clients meet them: what is refused, and what the refusal says."""

import json
from typing import Any

import pytest
from alibabacloud_tea_openapi.client import Client as OpenApi
from alibabacloud_tea_openapi.exceptions import ClientException
from alibabacloud_tea_openapi.models import OpenApiRequest, Params
from alibabacloud_tea_util.models import RuntimeOptions
from aliyunsdkcore.acs_exception.exceptions import ServerException as LegacyServerException
from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.request import CommonRequest

from backfleet import identity
from backfleet.wire.credentials import Credentials
from endpoints.openapi.scenario import Installation, prepare
from endpoints.openapi.server import Server
from endpoints.openapi.signed_requests import FORM, V3, Raw
from endpoints.openapi.test_official_clients import MODES, config

SECRET_IS_WRONG = "The secret is wrong, or the request was changed on its way."


@pytest.fixture
def installation(server: Server) -> Installation:
    return prepare(server)


def user_with(installation: Installation, *statements: dict[str, Any]) -> Credentials:
    server = installation.server
    key, account, now = server.user("ann"), server.root_caller.account_id, server.clock()
    document = json.dumps({"Version": "1", "Statement": list(statements)})
    with server.services.database.transaction() as tx:
        identity.create_policy(tx, account, "anns", document, description="", now=now)
        identity.attach_policy(tx, account, "ann", "anns", "Custom", now=now)
    return key


def upgrade(server: Server, mode: str, key: Credentials, *clients: str) -> Any:
    params = Params(
        action="UpgradeBackupClients", version="2017-09-08", protocol="HTTP", method="POST", auth_type="AK",
        style="RPC", pathname="/", req_body_type="formData", body_type="json",
    )  # fmt: skip
    request = OpenApiRequest(query={"ClientIds": json.dumps(clients)})
    return OpenApi(config(server, mode, key)).call_api(params, request, RuntimeOptions())["body"]


def legacy_upgrade(server: Server, key: Credentials, *clients: str) -> Any:
    request = CommonRequest(domain=server.host, version="2017-09-08", action_name="UpgradeBackupClients")
    request.set_protocol_type("http")
    request.set_method("POST")
    request.add_query_param("ClientIds", json.dumps(clients))
    client = AcsClient(key.access_key_id, key.access_key_secret, "cn-hangzhou")
    return json.loads(client.do_action_with_exception(request))


@MODES
def test_one_client_may_be_upgraded_and_another_not(installation: Installation, mode: str) -> None:
    """Both signature versions, and the legacy client; the refusal names action, target and policy."""
    server, known = installation.server, installation.known
    mine = f"acs:ecs:*:*:instance/{known['host1']}"
    ann = user_with(installation, {"Effect": "Allow", "Action": "hbr:*", "Resource": mine})
    assert upgrade(server, mode, ann, known["client1"])["Success"]
    with pytest.raises(ClientException) as refused:
        upgrade(server, mode, ann, known["client1"], known["client2"])
    assert refused.value.code == "NoPermission"
    for part in ("hbr:UpgradeBackupClients", known["client2"], "AliyunHBRFullAccess"):
        assert part in refused.value.message
    with pytest.raises(LegacyServerException) as old:
        legacy_upgrade(server, ann, known["client2"])
    assert old.value.error_code == "NoPermission"


def test_a_wrong_secret_is_said_first_where_no_client_compares_the_text(server: Server) -> None:
    """V3 says it in the message; V1 in Recommend, because clients compare its message with what they signed."""
    with pytest.raises(ClientException) as refused:
        upgrade(server, "v3", Credentials(server.root.access_key_id, "wrong"), "c-1")
    text = refused.value.message
    assert SECRET_IS_WRONG in text
    assert text.index(SECRET_IS_WRONG) < text.index("server string to sign is:")
    with pytest.raises(ClientException) as refused:
        upgrade(server, "v1", Credentials(server.root.access_key_id, "wrong"), "c-1")
    prefix = "Specified signature is not matched with our calculation. server string to sign is:POST&"
    assert prefix in refused.value.message
    assert refused.value.data["Recommend"].startswith(SECRET_IS_WRONG)


def test_digits_of_other_scripts_are_not_a_timestamp(server: Server) -> None:
    """They were signed; the time is still not one."""
    full_width = "2026".translate({ord(digit): 0xFF10 + int(digit) for digit in "0123456789"})
    status, body = answer(server, V3(server, date=f"{full_width}-01-02T03:04:05Z").raw())
    assert (status, body["Code"]) == (400, "InvalidTimeStamp.Format")


def test_an_unsigned_content_type_makes_no_parameters_of_a_signed_body(server: Server) -> None:
    """Anybody can have added it on the way; where it is signed, the body has parameters."""
    body = b"ClientIds=%5B%22c-1%22%5D"
    asked = {"action": "UpgradeBackupClients", "body": body}
    status, found = answer(server, V3(server, **asked, content_type=FORM).raw())
    assert (status, found["Code"]) == (404, "ResourceNotFound")
    status, found = answer(server, V3(server, **asked).raw().with_header("content-type", FORM))
    assert (status, found["Code"]) == (400, "MissingParameter")


def answer(server: Server, raw: Raw) -> tuple[int, dict[str, Any]]:
    status, _headers, body = server.raw(bytes(raw))
    return status, json.loads(body)
