"""The official SDKs as judges: their requests are understood, our answers and errors are what they expect."""

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
from endpoints.openapi.by_hand import V3
from endpoints.openapi.serving import Served

MODES = pytest.mark.parametrize("mode", ["v3", "v1"])


def config(served: Served, mode: str, key: Credentials | None = None) -> Config:
    key = key or served.root
    found = Config(
        access_key_id=key.access_key_id,
        access_key_secret=key.access_key_secret,
        endpoint=served.host,
        protocol="HTTP",
        region_id="cn-hangzhou",
    )
    if mode == "v1":
        found.signature_algorithm = "v2"  # the client's name for signature version 1
    return found


def call(served: Served, mode: str, key: Credentials | None = None, *, method: str = "POST", **parts: Any) -> Any:
    """Our Echo by the generic call of the SDK."""
    params = Params(
        action="Echo", version="2017-09-08", protocol="HTTP", method=method, auth_type="AK", style="RPC",
        pathname="/", req_body_type="formData", body_type="json",
    )  # fmt: skip
    return OpenApi(config(served, mode, key)).call_api(params, OpenApiRequest(**parts), RuntimeOptions())["body"]


@MODES
def test_who_am_i(served: Served, mode: str) -> None:
    """GetCallerIdentity by the STS client, as the root of the account and as a user."""
    root = Sts(config(served, mode)).get_caller_identity().body
    assert root.identity_type == "Account"
    assert root.arn == f"acs:ram::{root.account_id}:root"
    assert root.request_id == root.request_id.upper()
    assert len(root.request_id) == 36
    user = Sts(config(served, mode, served.user("ann"))).get_caller_identity().body
    assert user.identity_type == "RAMUser"
    assert user.arn == f"acs:ram::{root.account_id}:user/ann"
    assert user.user_id == user.principal_id


@MODES
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_parameters_arrive_from_query_and_form(served: Served, mode: str, method: str) -> None:
    """Every mark that encoders get wrong, in the query and, by POST, in the form beside it."""
    text = '备 é~*\'()!+/%&=?# "x"\n'
    parts: dict[str, Any] = {"query": {"Name": text, "Ids": '["i-1","i-2"]', "Empty": ""}}
    if method == "POST":
        parts["body"] = {"Zone.2": "b +", "Zone.1": "ä", "Zone.10": "~"}
    answer = call(served, mode, method=method, **parts)
    assert answer["Name"] == text
    assert answer["Ids"] == ["i-1", "i-2"]
    assert answer["Zones"]["Zone"] == (["ä", "b +", "~"] if method == "POST" else [])
    found, _asked = served.seen[-1]
    assert found.request_id == answer["RequestId"]
    assert (found.region, found.source_ip, found.secure) == ("cn-hangzhou", "127.0.0.1", False)


@MODES
def test_a_long_value_travels_in_the_url(served: Served, mode: str) -> None:
    """The new SDKs put scripts and files into the query of a POST: some 100 KB on the wire."""
    text = "+/" * 16_000
    assert call(served, mode, query={"Name": text})["Name"] == text


@MODES
def test_an_error_is_a_typed_exception(served: Served, mode: str) -> None:
    """Code, message, status and request id, as the SDK's users read them."""
    with pytest.raises(ClientException) as refused:
        Hbr(config(served, mode)).describe_task(DescribeTaskRequest(task_id="t-0000000000000000"))
    assert refused.value.code == "TaskNotFound"
    assert refused.value.status_code == 404
    assert refused.value.request_id in refused.value.message
    with pytest.raises(ClientException) as refused:
        call(served, mode, query={"Wrong": "True"})
    assert refused.value.code == "InvalidParameter"
    assert "Name is wrong." in refused.value.message


@MODES
def test_what_breaks_is_not_told(served: Served, mode: str) -> None:
    """A failure of ours is a 500 with a request id, and none of the exception's text."""
    with pytest.raises(ServerException) as broken:
        call(served, mode, query={"Broken": "true"})
    assert broken.value.code == "InternalError"
    assert broken.value.status_code == 500
    assert broken.value.request_id
    assert "secret" not in json.dumps(broken.value.data)


@MODES
def test_a_refusal_says_what_was_not_allowed(served: Served, mode: str) -> None:
    """HBR's NoPermission with its details."""
    key = served.user("ann", "AliyunHBRReadOnlyAccess")
    with pytest.raises(ClientException) as refused:
        call(served, mode, key)
    assert refused.value.code == "NoPermission"
    assert refused.value.status_code == 403
    assert "User is not authorized to do this operation." in refused.value.message
    detail = refused.value.access_denied_detail
    assert detail["AuthAction"] == "hbr:Echo"
    assert (detail["AuthPrincipalType"], detail["NoPermissionType"]) == ("SubUser", "ImplicitDeny")
    assert served.seen == []


@MODES
def test_a_wrong_secret_is_a_wrong_signature(served: Served, mode: str) -> None:
    """And an unknown key is a key that is not found."""
    with pytest.raises(ClientException) as refused:
        call(served, mode, Credentials(served.root.access_key_id, "wrong"))
    assert (refused.value.code, refused.value.status_code) == ("SignatureDoesNotMatch", 400)
    with pytest.raises(ClientException) as refused:
        call(served, mode, Credentials("LTAIunknown", "wrong"))
    assert (refused.value.code, refused.value.status_code) == ("InvalidAccessKeyId.NotFound", 404)


@MODES
def test_a_strangers_token_is_malformed(served: Served, mode: str) -> None:
    """A token we did not give out."""
    found = config(served, mode)
    found.security_token = "CAISnQ"
    with pytest.raises(ClientException) as refused:
        Sts(found).get_caller_identity()
    assert refused.value.code == "InvalidSecurityToken.Malformed"


def test_an_endpoint_with_a_scheme_is_tolerated(served: Served) -> None:
    """The Python SDK then signs and sends `Host: http://host:port`, literally."""
    found = config(served, "v3")
    found.endpoint = f"http://{served.host}"
    found.protocol = None
    assert Sts(found).get_caller_identity().body.identity_type == "Account"


def test_the_crypto_library_of_the_sdk_and_ours_agree_on_sm3(served: Served) -> None:
    """The Chinese national hash, where the build has it."""
    found = config(served, "v3")
    found.signature_algorithm = "ACS3-HMAC-SM3"
    assert Sts(found).get_caller_identity().body.identity_type == "Account"


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@MODES
def test_over_tls_with_our_own_authority(serve: Callable[..., Served], tmp_path: Path, mode: str) -> None:
    """The `ca` setting is a file's path; the operation that is refused over plain HTTP is served."""
    certificates = prepare_certificates(tmp_path, ["127.0.0.1"], now=datetime.now(UTC))
    served = serve(certificates.context(), require_tls=True)
    found = config(served, mode)
    found.protocol, found.ca = "HTTPS", str(certificates.authority)
    assert Sts(found).get_caller_identity().body.identity_type == "Account"
    gc.collect()  # the SDK leaves its TLS connection to the collector; let that be here, where it is expected


# --- The legacy SDK -------------------------------------------------------------------------------------------------


def legacy(served: Served, secret: str | None = None, *, method: str = "POST", **parameters: str) -> Any:
    client = AcsClient(served.root.access_key_id, secret or served.root.access_key_secret, "cn-hangzhou")
    request = CommonRequest(domain=served.host, version="2017-09-08", action_name="Echo")
    request.set_protocol_type("http")
    request.set_method(method)
    for name, value in parameters.items():
        request.add_query_param(name, value)
    if method == "POST":
        request.add_body_params("Zone.1", "b +")
    return json.loads(client.do_action_with_exception(request))


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_legacy_client_is_understood(served: Served, method: str) -> None:
    """Empty SignatureType, added RegionId, form bodies with Content-MD5."""
    answer = legacy(served, method=method, Name="é ~*", Ids='["i-1", "i-2"]')
    assert (answer["Name"], answer["Ids"]) == ("é ~*", ["i-1", "i-2"])
    assert answer["Zones"]["Zone"] == (["b +"] if method == "POST" else [])


def test_the_legacy_client_recognises_a_wrong_secret(served: Served) -> None:
    """It compares our string to sign with its own: only if they are equal it says that the secret is wrong."""
    request = GetCallerIdentityRequest()
    request.set_endpoint(served.host)
    request.set_protocol_type("http")
    request.add_query_param("Name", "é ~*:")
    client = AcsClient(served.root.access_key_id, "wrong", "cn-hangzhou")
    with pytest.raises(LegacyServerException) as refused:
        client.do_action_with_exception(request)
    assert refused.value.error_code == "InvalidAccessKeySecret"


def test_the_legacy_client_reads_our_errors(served: Served) -> None:
    """Code, status and request id."""
    with pytest.raises(LegacyServerException) as refused:
        legacy(served, Wrong="true")
    assert (refused.value.error_code, refused.value.http_status) == ("InvalidParameter", 400)
    assert refused.value.request_id


@MODES
def test_too_many_calls_are_told_when_to_ask_again(serve: Callable[..., Served], mode: str) -> None:
    """The new client has an exception of its own for it, with the milliseconds; asking then succeeds."""
    served = serve(calls_per_second=2, calls_burst=1)
    assert call(served, mode)["Code"] == "200"
    with pytest.raises(ThrottlingException) as refused:
        call(served, mode)
    assert (refused.value.code, refused.value.status_code) == ("Throttling.User", 429)
    assert 0 < refused.value.retry_after <= 500
    assert len(served.seen) == 1
    time.sleep(refused.value.retry_after / 1000)
    assert call(served, mode)["Code"] == "200"
    status, headers, body = served.raw(bytes(V3(served).raw()))
    assert (status, json.loads(body)["Code"]) == (429, "Throttling.User")
    assert int(headers["x-acs-retry-after"]) > 0


def test_the_legacy_client_is_told_as_well(serve: Callable[..., Served]) -> None:
    """By code and status."""
    served = serve(calls_per_second=1, calls_burst=1)
    legacy(served)
    with pytest.raises(LegacyServerException) as refused:
        legacy(served)
    assert (refused.value.error_code, refused.value.http_status) == ("Throttling.User", 429)
