"""Temporary credentials: with requests made by hand, with official clients, and with providers that renew them."""

import gc
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alibabacloud_credentials.provider.oidc import OIDCRoleArnCredentialsProvider
from alibabacloud_credentials.provider.ram_role_arn import RamRoleArnCredentialsProvider
from alibabacloud_hbr20170908 import models as hbr
from alibabacloud_hbr20170908.client import Client as Hbr
from alibabacloud_sts20150401 import models as sts
from alibabacloud_sts20150401.client import Client as Sts
from alibabacloud_tea_openapi.exceptions import ClientException
from alibabacloud_tea_openapi.models import Config
from aliyunsdkcore.auth.credentials import StsTokenCredential
from aliyunsdkcore.client import AcsClient
from aliyunsdksts.request.v20150401.AssumeRoleRequest import AssumeRoleRequest
from aliyunsdksts.request.v20150401.GetCallerIdentityRequest import GetCallerIdentityRequest

from backfleet import identity
from backfleet.certificates import prepare_certificates
from backfleet.wire.credentials import Credentials
from endpoints.openapi.server import Server
from endpoints.openapi.signed_requests import V1, V3, Raw
from identity.signed_tokens import CLAIMS, ISSUER, ec_key, public, token
from sdk_timeouts import SDK_SECONDS, SDK_TIMEOUTS

MODES = pytest.mark.parametrize("mode", ["v3", "v1"])
ASSUMING = '{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}]}'


@pytest.fixture
def ann(server: Server) -> Credentials:
    """A user who may assume roles; `Ops` trusts the account and may look at backup clients."""
    return prepare(server)


def prepare(server: Server) -> Credentials:
    account, services = server.root_caller.account_id, server.services
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": f"acs:ram::{account}:root"}}
    trust = json.dumps({"Version": "1", "Statement": [statement]})
    with services.database.transaction() as tx:
        made = identity.create_role(tx, account, "Ops", trust, now=server.clock(), draw=services.draw)
        identity.attach_policy(tx, account, "Ops", "AliyunHBRReadOnlyAccess", "System", to="Role", now=server.clock())
    assert made.arn == arn(server)
    return server.user("ann", document=ASSUMING)


def arn(server: Server) -> str:
    return f"acs:ram::{server.root_caller.account_id}:role/Ops"


def config(server: Server, mode: str, key: Credentials, **more: Any) -> Config:
    found = Config(
        access_key_id=key.access_key_id,
        access_key_secret=key.access_key_secret,
        security_token=key.security_token or None,
        endpoint=server.host,
        protocol="HTTP",
        region_id="cn-hangzhou",
        **SDK_TIMEOUTS,
        **more,
    )
    if mode == "v1":
        found.signature_algorithm = "v2"  # the client's name for signature version 1
    return found


def assumed(server: Server, ann: Credentials, **parameters: Any) -> Credentials:
    asked = sts.AssumeRoleRequest(role_arn=arn(server), role_session_name="night", **parameters)
    found = Sts(config(server, "v3", ann)).assume_role(asked).body.credentials
    return Credentials(found.access_key_id, found.access_key_secret, found.security_token)


def answer(server: Server, raw: Raw) -> tuple[int, str]:
    status, _headers, body = server.raw(bytes(raw))
    return status, json.loads(body).get("Code", "")


def by_v1(server: Server, key: Credentials) -> Raw:
    return V1(server, key=key, parameters={"Action": "DescribeRegions", "SecurityToken": key.security_token}).raw()


def by_v3(server: Server, key: Credentials) -> Raw:
    named = {"x-acs-security-token": key.security_token, "x-acs-accesskey-id": key.access_key_id}
    return V3(server, "DescribeRegions", key=key, extra=named).raw()


BY_HAND = pytest.mark.parametrize("signed", [by_v1, by_v3])


@MODES
def test_the_new_client_assumes_a_role(server: Server, ann: Credentials, mode: str) -> None:
    """It has the role's identity and permissions, and no more."""
    session = assumed(server, ann)
    who = Sts(config(server, mode, session)).get_caller_identity().body
    account = server.root_caller.account_id
    assert (who.identity_type, who.arn) == ("AssumedRoleUser", f"acs:sts::{account}:assumed-role/Ops/night")
    looked = Hbr(config(server, mode, session)).describe_backup_clients(
        hbr.DescribeBackupClientsRequest(client_type="ECS_CLIENT")
    )
    assert looked.body.total_count == 0
    with pytest.raises(ClientException) as refused:
        Hbr(config(server, mode, session)).upgrade_backup_clients(hbr.UpgradeBackupClientsRequest(instance_ids=["i-1"]))
    assert (refused.value.code, refused.value.access_denied_detail["AuthPrincipalType"]) == (
        "NoPermission",
        "AssumedRoleUser",
    )


def test_the_legacy_client_uses_a_session(server: Server, ann: Credentials) -> None:
    """With a token that it was given. Its own provider knows only the cloud's endpoint."""

    def call(client: AcsClient, request: Any) -> dict[str, Any]:
        request.set_endpoint(server.host)
        request.set_protocol_type("http")
        found: dict[str, Any] = json.loads(client.do_action_with_exception(request))
        return found

    asked = AssumeRoleRequest()
    asked.set_RoleArn(arn(server))
    asked.set_RoleSessionName("night")
    given = call(AcsClient(ann.access_key_id, ann.access_key_secret, "cn-hangzhou", timeout=SDK_SECONDS), asked)[
        "Credentials"
    ]
    client = AcsClient(
        region_id="cn-hangzhou",
        timeout=SDK_SECONDS,
        credential=StsTokenCredential(given["AccessKeyId"], given["AccessKeySecret"], given["SecurityToken"]),
    )
    assert call(client, GetCallerIdentityRequest())["IdentityType"] == "AssumedRoleUser"


@BY_HAND
def test_a_token_belongs_to_its_key(server: Server, ann: Credentials, signed: Callable[..., Raw]) -> None:
    """With another key, long-term or temporary, it is refused; so is the key without it."""
    one, two = assumed(server, ann), assumed(server, ann)
    assert answer(server, signed(server, one)) == (200, "200")
    mixed = Credentials(one.access_key_id, one.access_key_secret, two.security_token)
    assert answer(server, signed(server, mixed)) == (400, "InvalidSecurityToken.MismatchWithAccessKey")
    long_term = Credentials(ann.access_key_id, ann.access_key_secret, one.security_token)
    assert answer(server, signed(server, long_term)) == (400, "InvalidSecurityToken.MismatchWithAccessKey")
    wrong = Credentials(one.access_key_id, "wrong", one.security_token)
    assert answer(server, signed(server, wrong)) == (400, "SignatureDoesNotMatch")
    status, code = answer(server, V3(server, key=Credentials(one.access_key_id, one.access_key_secret)).raw())
    assert (status, code) == (400, "MissingSecurityToken")


@BY_HAND
def test_a_forged_token_is_refused_without_the_database(
    server: Server, ann: Credentials, signed: Callable[..., Raw]
) -> None:
    """Changed, made up, or over: refused by arithmetic alone."""
    session = assumed(server, ann, duration_seconds=900)
    text = session.security_token
    changed = f"{text[:40]}{'A' if text[40] != 'A' else 'B'}{text[41:]}"
    with questions(server) as asked:
        for forged in (changed, text[:-4], f"{text}=", "CAIS" * 100, "x" * 9000):
            attempt = Credentials(session.access_key_id, session.access_key_secret, forged)
            assert answer(server, signed(server, attempt)) == (400, "InvalidSecurityToken.Malformed"), forged[:8]
        server.clock.stopped_at = datetime.now(UTC) + timedelta(minutes=16)
        assert answer(server, signed(server, session)) == (400, "InvalidSecurityToken.Expired")
        assert asked == []
        server.clock.stopped_at = None
        assert answer(server, signed(server, session)) == (200, "200")
        assert asked


@contextmanager
def questions(server: Server) -> Iterator[list[str]]:
    """What the database is asked."""
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        asked.append(statement)

    engine = server.services.database.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


@BY_HAND
@pytest.mark.parametrize("ends", ["the role", "the key", "a disabled key"])
def test_what_ends_a_session_early(server: Server, ann: Credentials, signed: Callable[..., Raw], ends: str) -> None:
    """At its next request."""
    session = assumed(server, ann)
    account, services = server.root_caller.account_id, server.services
    assert answer(server, signed(server, session)) == (200, "200")
    with services.database.transaction() as tx:
        if ends == "the role":
            identity.detach_policy(tx, account, "Ops", "AliyunHBRReadOnlyAccess", "System", of="Role")
            identity.delete_role(tx, account, "Ops")
        elif ends == "the key":
            identity.delete_key(tx, account, "ann", ann.access_key_id)
        else:
            identity.set_key(tx, account, "ann", ann.access_key_id, active=False)
    assert answer(server, signed(server, session)) == (400, "InvalidSecurityToken.Expired")


@BY_HAND
def test_a_signed_request_works_once(server: Server, ann: Credentials, signed: Callable[..., Raw]) -> None:
    """With temporary credentials as with others."""
    raw = signed(server, assumed(server, ann))
    assert answer(server, raw) == (200, "200")
    assert answer(server, raw) == (400, "SignatureNonceUsed")


# --- Providers that renew credentials -------------------------------------------------------------------------------


@pytest.fixture
def over_tls(start_server: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server that demands TLS for what the cloud demands it for, and clients that trust its authority."""
    certificates = prepare_certificates(tmp_path, ["127.0.0.1"], now=datetime.now(UTC))
    server = start_server(certificates.context(), require_tls=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    return server


def whoami(server: Server, given: Any) -> str:
    key = Credentials(given.get_access_key_id(), given.get_access_key_secret(), given.get_security_token())
    found = config(server, "v3", key)
    found.protocol = "HTTPS"
    parameters: str = Sts(found).get_caller_identity().body.arn
    return parameters


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_the_role_provider_renews_by_itself(over_tls: Server) -> None:
    """It treats sessions of a quarter of an hour as stale: each use makes a new one."""
    ann = prepare(over_tls)
    provider = RamRoleArnCredentialsProvider(
        access_key_id=ann.access_key_id, access_key_secret=ann.access_key_secret, role_arn=arn(over_tls),
        role_session_name="renewed", duration_seconds=900, sts_endpoint=over_tls.host,
    )  # fmt: skip
    first, second = provider.get_credentials(), provider.get_credentials()
    assert first.get_access_key_id() != second.get_access_key_id()
    assert whoami(over_tls, first).endswith(":assumed-role/Ops/renewed")
    assert whoami(over_tls, second).endswith(":assumed-role/Ops/renewed")
    gc.collect()  # its connections are left to the collector; let that be here, where it is expected


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_the_federated_provider_renews_by_itself(over_tls: Server, tmp_path: Path) -> None:
    """With only a token in a file, as on build machines."""
    account, services, now = over_tls.root_caller.account_id, over_tls.services, datetime.now(UTC)
    statement = {
        "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"Federated": f"acs:ram::{account}:oidc-provider/hub"},
        "Condition": {"StringEquals": {"oidc:sub": CLAIMS["sub"]}},
    }  # fmt: skip
    with services.database.transaction() as tx:
        identity.create_provider(
            tx, account, "hub", issuer=ISSUER, client_ids=("backfleet",),
            keys=json.dumps({"keys": [public(ec_key("ours"))]}), now=now, draw=services.draw,
        )  # fmt: skip
        trust = json.dumps({"Version": "1", "Statement": [statement]})
        identity.create_role(tx, account, "Deploy", trust, now=now, draw=services.draw)
    file = tmp_path / "token"
    at = int(now.timestamp())
    file.write_text(token(ec_key("ours"), {**CLAIMS, "iat": at, "exp": at + 600}))
    provider = OIDCRoleArnCredentialsProvider(
        role_arn=f"acs:ram::{account}:role/Deploy", oidc_provider_arn=f"acs:ram::{account}:oidc-provider/hub",
        oidc_token_file_path=str(file), role_session_name="build", sts_endpoint=over_tls.host,
    )  # fmt: skip
    assert whoami(over_tls, provider.get_credentials()).endswith(":assumed-role/Deploy/build")
    gc.collect()
