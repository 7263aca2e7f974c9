"""Which person is behind a caller: through whatever roles, sessions and providers they come."""

import json
from typing import Any

import pytest

from backfleet import identity
from identity.signed_tokens import ISSUER, ec_key, public, token
from rollouts.fleet import Fleet

RAM, STS = "2015-05-01", "2015-04-01"
KEYS = json.dumps({"keys": [public(ec_key("ours"), "k1")]})
GATE = 'name = "rest"\ngates = [{ kind = "approval", people = 2 }]'


class Office:
    """Two registrations of one identity provider, and a role that whoever it vouches for, or the account, takes on."""

    def __init__(self, hosts: Fleet) -> None:
        self.hosts, self.account = hosts, hosts.helpers.account
        self.providers = [f"acs:ram::{self.account}:oidc-provider/{name}" for name in ("hub", "again")]
        for name, audience in (("hub", "backfleet"), ("again", "other")):
            self._ram("CreateOIDCProvider", OIDCProviderName=name, IssuerUrl=ISSUER, ClientIds=audience, Keys=KEYS)
        for name in ("First", "Second"):
            self._ram("CreateRole", RoleName=name, AssumeRolePolicyDocument=self._trust())
            self._ram("AttachPolicyToRole", PolicyName="AdministratorAccess", PolicyType="System", RoleName=name)

    def sign_in(self, subject: str, session: str = "day", *, registration: int = 0) -> identity.Caller:
        """Return the session of whom the provider authenticates."""
        at = int(self.hosts.env.now.timestamp())
        audience = ("backfleet", "other")[registration]
        claims = {"iss": ISSUER, "sub": subject, "aud": audience, "iat": at - 60, "exp": at + 600}
        return self._session(
            "AssumeRoleWithOIDC",
            identity.ANONYMOUS,
            OIDCProviderArn=self.providers[registration],
            RoleArn=f"acs:ram::{self.account}:role/First",
            RoleSessionName=session,
            OIDCToken=token(ec_key("ours"), claims),
        )

    def go_on(self, caller: identity.Caller, session: str = "more") -> identity.Caller:
        """Return the session of another role that a caller makes."""
        role = f"acs:ram::{self.account}:role/Second"
        return self._session("AssumeRole", caller, RoleArn=role, RoleSessionName=session)

    def _session(self, action: str, caller: identity.Caller, **fields: Any) -> identity.Caller:
        status, body = self.hosts.env.ask(STS, action, caller, **fields)
        assert status == 200, body
        return self.open(body["Credentials"]["SecurityToken"])

    def open(self, text: str) -> identity.Caller:
        content = identity.open_token(self.hosts.env.services.vault, text)
        with self.hosts.helpers.database.reading() as tx:
            found = identity.session_caller(tx, content, now=self.hosts.now)
        assert found is not None
        return found

    def _ram(self, action: str, **fields: str) -> None:
        status, body = self.hosts.env.ask(RAM, action, **fields)
        assert status == 200, body

    def _trust(self) -> str:
        principals = {"Federated": self.providers, "RAM": [f"acs:ram::{self.account}:root"]}
        statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principals}
        return json.dumps({"Version": "1", "Statement": [statement]})


@pytest.fixture
def office(hosts: Fleet) -> Office:
    hosts.grow(4)
    return Office(hosts)


def start(hosts: Fleet, author: identity.Caller | None = None) -> str:
    text = hosts.policy().replace('name = "rest"', GATE)
    rollout: str = hosts.ask("CreateRollout", author, Policy=text, Start="true")["RolloutId"]
    hosts.run(rollout, 4)
    return rollout


def agreed(hosts: Fleet, rollout: str) -> str:
    hosts.step()
    waits: str = hosts.show(rollout)["WaitsFor"]
    return waits


def test_two_persons_of_one_provider_are_two(hosts: Fleet, office: Office) -> None:
    """The token's issuer and subject tell them apart."""
    rollout = start(hosts)
    for subject in ("alice", "bob"):
        hosts.ask("ApproveRollout", office.sign_in(subject), RolloutId=rollout)
    assert hosts.run(rollout)["State"] == "completed"


def test_one_person_counts_once_through_any_chain(hosts: Fleet, office: Office) -> None:
    """By another session, another role, or another registration of the same provider."""
    rollout = start(hosts)
    alice = office.sign_in("alice")
    again = [alice, office.sign_in("alice", "night"), office.go_on(alice), office.sign_in("alice", registration=1)]
    for caller in again:
        hosts.ask("ApproveRollout", caller, RolloutId=rollout)
    assert agreed(hosts, rollout) == "approval: 1 of 2 persons agreed"


def test_an_author_cannot_approve_through_another_role(hosts: Fleet, office: Office) -> None:
    """Whether they came by a provider or with a key."""
    rollout = start(hosts, office.sign_in("alice"))
    for caller in (office.go_on(office.sign_in("alice", "night")), office.sign_in("alice", registration=1)):
        status, body = hosts.try_to("ApproveRollout", caller, RolloutId=rollout)
        assert (status, body["Code"]) == (403, "NotAnApprover")
    hosts.ask("ApproveRollout", office.sign_in("bob"), RolloutId=rollout)
    hosts.ask("CancelRollout", RolloutId=rollout)
    hosts.run(rollout)
    hosts.grow(4)
    carol = hosts.env.user("carol", "AdministratorAccess")
    rollout = start(hosts, carol)
    assert hosts.try_to("ApproveRollout", office.go_on(carol), RolloutId=rollout)[1]["Code"] == "NotAnApprover"


def test_a_session_whose_token_names_no_person_approves_nothing(
    hosts: Fleet, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens of an earlier version open, and act; their person may be anybody, so nobody of the provider approves."""
    with monkeypatch.context() as earlier:
        earlier.setattr(identity, "federated_person", lambda issuer, subject: "")
        old = office.sign_in("alice")
    rollout = start(hosts)
    assert "begin a new one" in hosts.try_to("ApproveRollout", old, RolloutId=rollout)[1]["Message"]
    hosts.ask("ApproveRollout", office.sign_in("alice"), RolloutId=rollout)
    hosts.ask("CancelRollout", RolloutId=rollout)
    hosts.run(rollout)
    hosts.grow(4)
    rollout = start(hosts, old)
    assert hosts.try_to("ApproveRollout", office.sign_in("bob"), RolloutId=rollout)[1]["Code"] == "NotAnApprover"


def test_a_long_subject_is_still_one_person(hosts: Fleet, office: Office) -> None:
    """It is longer than what tokens and approvals hold."""
    rollout = start(hosts)
    for end in ("a", "b", "a"):
        hosts.ask("ApproveRollout", office.sign_in("s" * 254 + end), RolloutId=rollout)
    assert hosts.run(rollout)["State"] == "completed"
