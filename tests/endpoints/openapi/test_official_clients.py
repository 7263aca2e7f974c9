"""The official SDKs: the server understands their requests, and they understand its answers and errors."""

import gc
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alibabacloud_hbr20170908.client import Client as Hbr
from alibabacloud_hbr20170908.models import DescribeTaskRequest
from alibabacloud_sts20150401.client import Client as Sts
from alibabacloud_tea_openapi.client import Client as OpenApi
from alibabacloud_tea_openapi.exceptions import ClientException, ServerException, ThrottlingException
from alibabacloud_tea_openapi.models import Config, OpenApiRequest, Params
from alibabacloud_tea_util.models import RuntimeOptions
from aliyunsdkcore.acs_exception.exceptions import ServerException as LegacyServerException
from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.request import CommonRequest
from aliyunsdksts.request.v20150401.GetCallerIdentityRequest import GetCallerIdentityRequest

from backfleet.certificates import prepare_certificates
from backfleet.wire.credentials import Credentials
from endpoints.openapi.server import Server
from endpoints.openapi.signed_requests import V3
from sdk_timeouts import SDK_SECONDS, SDK_TIMEOUTS

MODES = pytest.mark.parametrize("mode", ["v3", "v1"])


def config(server: Server, mode: str, key: Credentials | None = None) -> Config:
    key = key or server.root
    found = Config(
        access_key_id=key.access_key_id,
        access_key_secret=key.access_key_secret,
        endpoint=server.host,
        protocol="HTTP",
        region_id="cn-hangzhou",
        **SDK_TIMEOUTS,
    )
    if mode == "v1":
        found.signature_algorithm = "v2"  # the client's name for signature version 1
    return found


def call(server: Server, mode: str, key: Credentials | None = None, *, method: str = "POST", **parts: Any) -> Any:
    """Our Echo by the generic call of the SDK."""
    params = Params(
        action="Echo", version="2017-09-08", protocol="HTTP", method=method, auth_type="AK", style="RPC",
        pathname="/", req_body_type="formData", body_type="json",
    )  # fmt: skip
    return OpenApi(config(server, mode, key)).call_api(params, OpenApiRequest(**parts), RuntimeOptions())["body"]


@MODES
def test_the_caller_identity(server: Server, mode: str) -> None:
    """GetCallerIdentity with the STS client, as the root of the account and as a user."""
    root = Sts(config(server, mode)).get_caller_identity().body
    assert root.identity_type == "Account"
    assert root.arn == f"acs:ram::{root.account_id}:root"
    assert root.request_id == root.request_id.upper()
    assert len(root.request_id) == 36
    user = Sts(config(server, mode, server.user("ann"))).get_caller_identity().body
    assert user.identity_type == "RAMUser"
    assert user.arn == f"acs:ram::{root.account_id}:user/ann"
    assert user.user_id == user.principal_id


@MODES
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_parameters_arrive_from_query_and_form(server: Server, mode: str, method: str) -> None:
    """Every character that encoders get wrong, in the query and, with POST, in the form."""
    text = '备 é~*\'()!+/%&=?# "x"\n'
    parts: dict[str, Any] = {"query": {"Name": text, "Ids": '["i-1","i-2"]', "Empty": ""}}
    if method == "POST":
        parts["body"] = {"Zone.2": "b +", "Zone.1": "ä", "Zone.10": "~"}
    answer = call(server, mode, method=method, **parts)
    assert answer["Name"] == text
    assert answer["Ids"] == ["i-1", "i-2"]
    assert answer["Zones"]["Zone"] == (["ä", "b +", "~"] if method == "POST" else [])
    found, _asked = server.seen[-1]
    assert found.request_id == answer["RequestId"]
    assert (found.region, found.source_ip, found.secure) == ("cn-hangzhou", "127.0.0.1", False)


@MODES
def test_a_long_value_travels_in_the_url(server: Server, mode: str) -> None:
    """The new SDKs put scripts and files into the query of a POST: some 100 KB on the wire."""
    text = "+/" * 16_000
    assert call(server, mode, query={"Name": text})["Name"] == text


@MODES
def test_an_error_is_a_typed_exception(server: Server, mode: str) -> None:
    """Code, message, status and request id, as users of the SDK read them."""
    with pytest.raises(ClientException) as refused:
        Hbr(config(server, mode)).describe_task(DescribeTaskRequest(task_id="t-0000000000000000"))
    assert refused.value.code == "TaskNotFound"
    assert refused.value.status_code == 404
    assert refused.value.request_id in refused.value.message
    with pytest.raises(ClientException) as refused:
        call(server, mode, query={"Wrong": "True"})
    assert refused.value.code == "InvalidParameter"
    assert "Name is wrong." in refused.value.message


@MODES
def test_an_unexpected_failure_is_not_shown(server: Server, mode: str) -> None:
    """It is a 500 with a request id, and nothing of the exception's text."""
    with pytest.raises(ServerException) as broken:
        call(server, mode, query={"Broken": "true"})
    assert broken.value.code == "InternalError"
    assert broken.value.status_code == 500
    assert broken.value.request_id
    assert "secret" not in json.dumps(broken.value.data)


@MODES
def test_a_refusal_says_what_was_not_allowed(server: Server, mode: str) -> None:
    """HBR's NoPermission with its details."""
    key = server.user("ann", "AliyunHBRReadOnlyAccess")
    with pytest.raises(ClientException) as refused:
        call(server, mode, key)
    assert refused.value.code == "NoPermission"
    assert refused.value.status_code == 403
    assert "User is not authorized to do this operation." in refused.value.message
    detail = refused.value.access_denied_detail
    assert detail["AuthAction"] == "hbr:Echo"
    assert (detail["AuthPrincipalType"], detail["NoPermissionType"]) == ("SubUser", "ImplicitDeny")
    assert server.seen == []


@MODES
def test_a_wrong_secret_is_a_wrong_signature(server: Server, mode: str) -> None:
    """And an unknown key is not found."""
    with pytest.raises(ClientException) as refused:
        call(server, mode, Credentials(server.root.access_key_id, "wrong"))
    assert (refused.value.code, refused.value.status_code) == ("SignatureDoesNotMatch", 400)
    with pytest.raises(ClientException) as refused:
        call(server, mode, Credentials("LTAIunknown", "wrong"))
    assert (refused.value.code, refused.value.status_code) == ("InvalidAccessKeyId.NotFound", 404)


@MODES
def test_a_token_of_another_server_is_malformed(server: Server, mode: str) -> None:
    """This server did not issue it."""
    found = config(server, mode)
    found.security_token = "CAISnQ"
    with pytest.raises(ClientException) as refused:
        Sts(found).get_caller_identity()
    assert refused.value.code == "InvalidSecurityToken.Malformed"


def test_an_endpoint_with_a_scheme_is_tolerated(server: Server) -> None:
    """The Python SDK then signs and sends `Host: http://host:port`, literally."""
    found = config(server, "v3")
    found.endpoint = f"http://{server.host}"
    found.protocol = None
    assert Sts(found).get_caller_identity().body.identity_type == "Account"


def test_the_sdk_and_the_server_agree_on_sm3(server: Server) -> None:
    """The Chinese national hash, if the build has it."""
    found = config(server, "v3")
    found.signature_algorithm = "ACS3-HMAC-SM3"
    assert Sts(found).get_caller_identity().body.identity_type == "Account"


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@MODES
def test_over_tls_with_our_own_authority(start_server: Callable[..., Server], tmp_path: Path, mode: str) -> None:
    """The `ca` setting is the path of a file; the operation that is refused over plain HTTP is served."""
    certificates = prepare_certificates(tmp_path, ["127.0.0.1"], now=datetime.now(UTC))
    server = start_server(certificates.context(), require_tls=True)
    found = config(server, mode)
    found.protocol, found.ca = "HTTPS", str(certificates.authority)
    assert Sts(found).get_caller_identity().body.identity_type == "Account"
    gc.collect()  # the SDK leaves its TLS connection to the collector; let that be here, where it is expected


# --- The legacy SDK -------------------------------------------------------------------------------------------------


def legacy(server: Server, secret: str | None = None, *, method: str = "POST", **parameters: str) -> Any:
    client = AcsClient(
        server.root.access_key_id, secret or server.root.access_key_secret, "cn-hangzhou", timeout=SDK_SECONDS
    )
    request = CommonRequest(domain=server.host, version="2017-09-08", action_name="Echo")
    request.set_protocol_type("http")
    request.set_method(method)
    for name, value in parameters.items():
        request.add_query_param(name, value)
    if method == "POST":
        request.add_body_params("Zone.1", "b +")
    return json.loads(client.do_action_with_exception(request))


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_legacy_client_is_understood(server: Server, method: str) -> None:
    """Empty SignatureType, added RegionId, form bodies with Content-MD5."""
    answer = legacy(server, method=method, Name="é ~*", Ids='["i-1", "i-2"]')
    assert (answer["Name"], answer["Ids"]) == ("é ~*", ["i-1", "i-2"])
    assert answer["Zones"]["Zone"] == (["b +"] if method == "POST" else [])


def test_the_legacy_client_recognises_a_wrong_secret(server: Server) -> None:
    """It compares the server's string to sign with its own: only if they are equal it reports a wrong secret."""
    request = GetCallerIdentityRequest()
    request.set_endpoint(server.host)
    request.set_protocol_type("http")
    request.add_query_param("Name", "é ~*:")
    client = AcsClient(server.root.access_key_id, "wrong", "cn-hangzhou")
    with pytest.raises(LegacyServerException) as refused:
        client.do_action_with_exception(request)
    assert refused.value.error_code == "InvalidAccessKeySecret"


def test_the_legacy_client_reads_our_errors(server: Server) -> None:
    """Code, status and request id."""
    with pytest.raises(LegacyServerException) as refused:
        legacy(server, Wrong="true")
    assert (refused.value.error_code, refused.value.http_status) == ("InvalidParameter", 400)
    assert refused.value.request_id


@MODES
def test_throttled_calls_get_a_time_to_try_again(start_server: Callable[..., Server], mode: str) -> None:
    """The new client has an exception for it, with the milliseconds; the call then succeeds."""
    server = start_server(calls_per_second=2, calls_burst=1)
    assert call(server, mode)["Code"] == "200"
    with pytest.raises(ThrottlingException) as refused:
        call(server, mode)
    assert (refused.value.code, refused.value.status_code) == ("Throttling.User", 429)
    assert 0 < refused.value.retry_after <= 550  # half a second, and what keeps callers apart
    assert len(server.seen) == 1
    time.sleep(refused.value.retry_after / 1000)
    assert call(server, mode)["Code"] == "200"
    status, headers, body = server.raw(bytes(V3(server).raw()))
    assert (status, json.loads(body)["Code"]) == (429, "Throttling.User")
    assert int(headers["x-acs-retry-after"]) > 0


def test_the_legacy_client_sees_that_it_is_throttled(start_server: Callable[..., Server]) -> None:
    """By code and status."""
    server = start_server(calls_per_second=1, calls_burst=1)
    legacy(server)
    with pytest.raises(LegacyServerException) as refused:
        legacy(server)
    assert (refused.value.error_code, refused.value.http_status) == ("Throttling.User", 429)
