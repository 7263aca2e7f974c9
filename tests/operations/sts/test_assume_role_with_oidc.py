"""AssumeRoleWithOIDC: temporary credentials for the subject of an identity provider's token, without a key."""

import json
from dataclasses import replace
from typing import Any

import pytest

from backfleet import identity
from backfleet.operations._tables import audit_events
from identity.signed_tokens import CLAIMS, ISSUER, ec_key, public, token
from operations.ram.conftest import OTHER, Ram

KEYS = json.dumps({"keys": [public(ec_key("ours"), "k1")]})


class Hub:
    """An account with a provider `hub` and a role `Deploy` that trusts it for one subject; callers are anonymous."""

    def __init__(self, ram: Ram) -> None:
        self.ram, self.account = ram, ram.caller.account_id
        self.role = f"acs:ram::{self.account}:role/Deploy"
        self.provider = f"acs:ram::{self.account}:oidc-provider/hub"
        ram("CreateOIDCProvider", OIDCProviderName="hub", IssuerUrl=ISSUER, ClientIds="backfleet,other", Keys=KEYS)
        ram("CreateRole", RoleName="Deploy", AssumeRolePolicyDocument=self.trusting("repo:fleet/*"))
        ram("AttachPolicyToRole", PolicyName="AliyunRAMReadOnlyAccess", PolicyType="System", RoleName="Deploy")
        self.nobody = Ram(ram.services, identity.ANONYMOUS, ram.now)

    def trusting(self, subject: str, principal: str = "") -> str:
        statement = {
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": {"Federated": principal or self.provider},
            "Condition": {"StringLike": {"oidc:sub": subject}, "StringEquals": {"oidc:aud": "backfleet"}},
        }
        return json.dumps({"Version": "1", "Statement": [statement]})

    def claims(self, **more: Any) -> dict[str, Any]:
        at = int(self.ram.now.timestamp())
        return {**CLAIMS, "iat": at - 60, "exp": at + 600, **more}

    def ask(self, given: str | None = None, **fields: str) -> dict[str, Any]:
        asked = {
            "OIDCProviderArn": self.provider, "RoleArn": self.role, "RoleSessionName": "build",
            "OIDCToken": given or token(ec_key("ours"), self.claims()),
        }  # fmt: skip
        return self.nobody.sts("AssumeRoleWithOIDC", **{**asked, **fields})

    def trail(self) -> int:
        with self.ram.services.database.reading() as tx:
            return len(tx.rows(audit_events.select()))


@pytest.fixture
def hub(ram: Ram) -> Hub:
    return Hub(ram)


def test_the_subject_of_a_token_gets_the_role(hub: Hub) -> None:
    """The audit trail of the account shows it."""
    before = hub.trail()
    made = hub.ask()
    assert made["OIDCTokenInfo"]["Subject"] == "repo:fleet/deploy"
    assert made["AssumedRoleUser"]["Arn"].endswith(":assumed-role/Deploy/build")
    assert hub.trail() == before + 1
    session = hub.ram.with_token(made["Credentials"]["SecurityToken"])
    assert session("ListRoles")["Roles"]["Role"][0]["RoleName"] == "Deploy"
    assert session.refused("DeleteRole", RoleName="Deploy") == (403, "Forbidden.RAM")


def test_a_signed_call_is_on_each_trail_once(hub: Hub) -> None:
    """Whether the signer is of the same account or of another."""
    given = token(ec_key("ours"), hub.claims())
    asked = {
        "OIDCProviderArn": hub.provider, "RoleArn": hub.role, "RoleSessionName": "build", "OIDCToken": given,
    }  # fmt: skip
    before = hub.trail()
    assert "Credentials" in hub.ram.sts("AssumeRoleWithOIDC", **asked)
    assert hub.trail() == before + 1
    foreign = Ram(hub.ram.services, identity.root_caller(OTHER), hub.ram.now)
    assert "Credentials" in foreign.sts("AssumeRoleWithOIDC", **asked)
    assert hub.trail() == before + 3


REFUSED = [
    pytest.param({"sub": "repo:else/deploy"}, 401, "AuthenticationFail.NoPermission", id="another subject"),
    pytest.param({"aud": "other"}, 401, "AuthenticationFail.NoPermission", id="an audience the role does not trust"),
    pytest.param({"aud": "else"}, 401, "AuthenticationFail.OIDCToken.AudienceNotMatch", id="for somebody else"),
    pytest.param({"iss": "https://else"}, 401, "AuthenticationFail.OIDCToken.Invalid", id="another issuer"),
    pytest.param({"exp": 1}, 401, "AuthenticationFail.OIDCToken.Expired", id="over"),
]


@pytest.mark.parametrize(("claims", "status", "code"), REFUSED)
def test_bad_tokens_are_refused(hub: Hub, claims: dict[str, Any], status: int, code: str) -> None:
    """An anonymous caller writes nothing into an audit trail."""
    before = hub.trail()
    refused = hub.ask(token(ec_key("ours"), hub.claims(**claims)))
    assert (refused["Status"], refused["Code"]) == (status, code)
    assert hub.trail() == before


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        pytest.param({"OIDCToken": "a.b.c"}, "AuthenticationFail.OIDCToken.Invalid", id="no token"),
        pytest.param({"OIDCToken": "x" * 30_000}, "AuthenticationFail.OIDCToken.Invalid", id="an endless token"),
        pytest.param({"OIDCProviderArn": "hub"}, "InvalidParameter.OIDCProviderArn", id="a name for an ARN"),
        pytest.param(
            {"OIDCProviderArn": f"acs:ram::{OTHER}:oidc-provider/hub"}, "InvalidParameter.OIDCProviderArn",
            id="another account's provider",
        ),
        pytest.param({"RoleSessionName": "x"}, "InvalidParameter.RoleSessionName", id="a short name"),
        pytest.param({"DurationSeconds": "3601"}, "InvalidParameter.DurationSeconds", id="too long"),
        pytest.param({"Policy": "{"}, "InvalidParameter.PolicyGrammar", id="a broken policy"),
    ],
)  # fmt: skip
def test_bad_parameters_are_refused(hub: Hub, fields: dict[str, str], code: str) -> None:
    """Each with its own code."""
    assert hub.ask(**fields)["Code"] == code


def test_a_token_signed_with_another_key_is_refused(hub: Hub) -> None:
    """With an error of its own."""
    refused = hub.ask(token(ec_key("theirs"), hub.claims()))
    assert (refused["Status"], refused["Code"]) == (401, "AuthenticationFail.OIDCToken.InvalidSignature")


def test_a_refusal_does_not_show_whether_the_role_exists(hub: Hub) -> None:
    """One answer for an unknown role and for a role without trust."""
    hub.ram("CreateRole", RoleName="Other", AssumeRolePolicyDocument=hub.trusting("repo:none"))
    answers = [hub.ask(RoleArn=hub.role.replace("Deploy", name)) for name in ("Other", "None")]
    assert answers[0] == answers[1]
    assert answers[0]["Code"] == "AuthenticationFail.NoPermission"


def test_sessions_end_when_their_provider_is_deleted(hub: Hub) -> None:
    """From the next request on. If its keys change, old tokens are refused."""
    given = hub.ask()["Credentials"]["SecurityToken"]
    hub.ram("UpdateOIDCProvider", OIDCProviderName="hub", Keys=json.dumps({"keys": [public(ec_key("next"))]}))
    assert hub.ask()["Code"] == "AuthenticationFail.OIDCToken.InvalidSignature"
    assert hub.ram.with_token(given)
    hub.ram("DeleteOIDCProvider", OIDCProviderName="hub")
    with hub.ram.services.database.reading() as tx:
        opened = identity.open_token(hub.ram.services.vault, given)
        assert identity.session_caller(tx, opened, now=hub.ram.now) is None
        assert identity.session_caller(tx, replace(opened, provider=""), now=hub.ram.now) is not None


def test_a_session_cannot_outlast_its_role_or_provider(hub: Hub) -> None:
    """A chain that began with a provider's token ends with the provider."""
    assuming = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
    hub.ram("CreatePolicy", PolicyName="assuming", PolicyDocument=json.dumps({"Version": "1", "Statement": [assuming]}))
    hub.ram("AttachPolicyToRole", PolicyName="assuming", PolicyType="Custom", RoleName="Deploy")
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": f"acs:ram::{hub.account}:role/Deploy"}}
    hub.ram(
        "CreateRole", RoleName="Second", AssumeRolePolicyDocument=json.dumps({"Version": "1", "Statement": [trust]})
    )
    first = hub.ram.with_token(hub.ask()["Credentials"]["SecurityToken"])
    arn = hub.role.replace("Deploy", "Second")
    second = first.sts("AssumeRole", RoleArn=arn, RoleSessionName="next")["Credentials"]["SecurityToken"]
    hub.ram("DeleteOIDCProvider", OIDCProviderName="hub")
    with hub.ram.services.database.reading() as tx:
        assert identity.session_caller(tx, identity.open_token(hub.ram.services.vault, second), now=hub.ram.now) is None
