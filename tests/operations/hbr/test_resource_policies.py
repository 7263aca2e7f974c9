"""Policies on single clients and instances: who may touch which, at home and in another account."""

import json
from typing import Any

import pytest

from backfleet import identity
from backfleet.operations.catalogue import ECS, HBR
from operations.environment import OTHER, REGION, Environment

UPGRADE = "hbr:UpgradeBackupClients"
ROLE = "hbrcrossrole"
CROSS_ACCOUNT = {"CrossAccountType": "CROSS_ACCOUNT", "CrossAccountUserId": OTHER, "CrossAccountRoleName": ROLE}
Statement = dict[str, Any]


def allow(resource: str | list[str] = "*", action: str | list[str] = "hbr:*", **more: Any) -> Statement:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(resource: str | list[str], action: str | list[str] = "hbr:*", **more: Any) -> Statement:
    return {**allow(resource, action, **more), "Effect": "Deny"}


class Fleet:
    """Two hosts with a client each; the first has the tag of the web team."""

    def __init__(self, env: Environment) -> None:
        self.env = env
        self.ids: dict[str, str] = {"unknown": "c-" + "x" * 20, "nowhere": "mi-" + "x" * 20}
        for name in ("web", "shop"):
            host, client = env.host_with_client()
            self.ids |= {name: client, f"{name} host": host}
        self.tag(self.ids["web host"], "web")

    def tag(self, host: str, team: str, caller: identity.Caller | None = None) -> None:
        named = {"ResourceType": "instance", "ResourceId.1": host, "Tag.1.Key": "team", "Tag.1.Value": team}
        assert self.env.ask(ECS.version, "TagResources", caller, RegionId=REGION, **named)[0] == 200

    def resource(self, pattern: str) -> str:
        """`client/<web>` and `instance/<web host>` as ARNs; anything else as it is."""
        for name, value in self.ids.items():
            pattern = pattern.replace(f"<{name}>", value)
        product = {"client/": "hbr", "instance/": "ecs"}.get(pattern[: pattern.find("/") + 1])
        return f"acs:{product}:*:*:{pattern}" if product else pattern

    def user(self, *statements: Statement) -> identity.Caller:
        def filled(one: Statement) -> Statement:
            resources = [one["Resource"]] if isinstance(one["Resource"], str) else one["Resource"]
            return {**one, "Resource": [self.resource(each) for each in resources]}

        return self.env.user_with("ann", *map(filled, statements))

    def upgrade(self, caller: identity.Caller, *names: str, **more: Any) -> tuple[int, dict[str, Any]]:
        ids = [self.ids[name] for name in names]
        return self.env.ask(HBR.version, "UpgradeBackupClients", caller, ClientIds=ids, **more)


@pytest.fixture
def hosts(env: Environment) -> Fleet:
    env.release("2.0")
    return Fleet(env)


WEB_TAG = {"Condition": {"StringEquals": {"acs:ResourceTag/team": "web"}}}
NOT_WEB = {"Condition": {"StringNotEquals": {"ecs:tag/team": "web"}}}
DECISIONS: list[tuple[str, list[Statement], list[str], int]] = [
    ("everything", [allow()], ["web", "shop"], 200),
    ("everything of the product", [allow("acs:hbr:*:*:*")], ["web", "shop"], 200),
    ("one client, allowed", [allow("client/<web>")], ["web"], 200),
    ("one client, another one", [allow("client/<web>")], ["shop"], 403),
    ("one client, and another one too", [allow("client/<web>")], ["web", "shop"], 403),
    ("a client by its instance", [allow("instance/<web host>")], ["web"], 200),
    ("an instance whose only client is allowed", [allow("client/<web>")], ["web host"], 200),
    ("an instance", [allow("instance/<web host>")], ["web host"], 200),
    ("another instance", [allow("instance/<web host>")], ["shop host"], 403),
    ("all clients", [allow("client/*")], ["web", "shop host"], 200),
    ("a denied client", [allow(), deny("client/<shop>")], ["shop"], 403),
    ("a denied client beside another one", [allow(), deny("client/<shop>")], ["web", "shop"], 403),
    ("a client beside the denied one", [allow(), deny("client/<shop>")], ["web"], 200),
    ("a denied client by its instance", [allow(), deny("client/<shop>")], ["shop host"], 403),
    ("a client on a denied instance", [allow(), deny("instance/<shop host>")], ["shop"], 403),
    ("a Deny on the instance, an Allow on the client", [allow("client/*"), deny("instance/*")], ["web"], 403),
    ("a tag", [allow("*", **WEB_TAG)], ["web"], 200),
    ("a missing tag", [allow("*", **WEB_TAG)], ["shop"], 403),
    ("a denied tag", [allow(), deny("*", **WEB_TAG)], ["web"], 403),
    ("a denied tag, of another one", [allow(), deny("*", **WEB_TAG)], ["shop"], 200),
    ("all but a tag", [allow("*", **NOT_WEB)], ["web"], 403),
    ("an unknown client, unpermitted", [allow("client/<web>")], ["unknown"], 403),
    ("an unknown client, permitted", [allow()], ["unknown"], 404),
    ("an unknown instance, unpermitted", [allow("instance/<web host>")], ["nowhere"], 403),
    ("an unknown instance, permitted", [allow()], ["nowhere"], 400),
    ("another action", [allow("client/<web>", "hbr:UninstallBackupClients")], ["web"], 403),
]


@pytest.mark.parametrize(("statements", "named", "expected"), [pytest.param(*row[1:], id=row[0]) for row in DECISIONS])
def test_each_target_is_decided_by_its_own_arns(
    hosts: Fleet, statements: list[Statement], named: list[str], expected: int
) -> None:
    """An Allow on the client, its instance or `*` suffices, a Deny on either wins, one refusal refuses the call."""
    status, body = hosts.upgrade(hosts.user(*statements), *named)
    assert status == expected, body
    assert hosts.env.tasks() == (1 if expected == 200 else 0)


def test_a_refusal_is_the_same_whether_the_client_exists(hosts: Fleet) -> None:
    """The answers for another team's client and for none differ in the id only."""
    ann = hosts.user(allow("client/<web>"))

    def refusal(name: str) -> str:
        body = hosts.upgrade(ann, name)[1]
        body["AccessDeniedDetail"].pop("EncodedDiagnosticMessage")
        return json.dumps(body).replace(hosts.ids[name], "ID")

    assert refusal("shop") == refusal("unknown")
    assert refusal("shop host") == refusal("nowhere")


def test_a_refusal_names_the_statement_and_the_target(hosts: Fleet) -> None:
    """So that whoever wrote the policy finds it."""
    ann = hosts.user(allow(), deny("instance/<shop host>"))
    status, body = hosts.upgrade(ann, "web", "shop")
    assert (status, body["Code"]) == (403, "NoPermission")
    for part in ("statement 2", "Custom/ann-policy", UPGRADE, f"client/{hosts.ids['shop']}"):
        assert part in body["Message"]
    assert hosts.ids["shop host"] not in json.dumps(body), "the call did not name it"


OTHER_OPERATIONS: list[tuple[str, dict[str, Any]]] = [
    ("UninstallBackupClients", {"ClientIds": ["<{}>"]}),
    ("InstallBackupClients", {"InstanceIds": ["<{} host>"]}),
    ("CreateClients", {"VaultId": "v-1", "ClientInfo": [{"instanceId": "<{} host>"}]}),
    ("UpgradeClient", {"ClientId": "<{}>"}),
    ("UninstallClient", {"ClientId": "<{}>"}),
    ("UpdateClientSettings", {"ClientId": "<{}>", "UseHttps": "true"}),
    ("DescribeBackupClients", {"ClientType": "ECS_CLIENT", "ClientIds": ["<{}>"]}),
    ("DescribeBackupClients", {"ClientType": "ECS_CLIENT", "InstanceIds": ["<{} host>"]}),
    ("DescribeClients", {"ClientId": "<{}>"}),
    ("DeleteBackupClient", {"ClientId": "<{}>"}),
    ("DeleteClient", {"ClientId": "<{}>"}),
]


@pytest.mark.parametrize(("action", "fields"), OTHER_OPERATIONS)
def test_every_operation_on_clients_is_decided_by_target(hosts: Fleet, action: str, fields: dict[str, Any]) -> None:
    """By the instance; the other one is refused, and so is what a Deny names."""
    ann = hosts.user(allow("instance/<web host>"))

    def ask(name: str, caller: identity.Caller) -> tuple[int, str]:
        text = json.dumps(fields).replace("{}", name)
        for each, value in hosts.ids.items():
            text = text.replace(f"<{each}>", value)
        status, body = hosts.env.ask(HBR.version, action, caller, **json.loads(text))
        return status, body.get("Code", "")

    assert ask("shop", ann) == (403, "NoPermission")
    assert ask("web", ann)[0] != 403


def test_an_install_needs_the_instance_and_no_deny_on_its_client(hosts: Fleet) -> None:
    """A client that is allowed does not let another package onto its host."""
    named = {"InstanceIds": [hosts.ids["web host"]], "PackageName": "courier"}
    ann = hosts.user(allow("client/<web>"))
    assert hosts.env.ask(HBR.version, "InstallBackupClients", ann, **named)[0] == 403
    bob = hosts.env.user_with("bob", allow(), deny(hosts.resource("client/<web>")))
    assert hosts.env.ask(HBR.version, "InstallBackupClients", bob, **named)[0] == 403
    assert hosts.env.ask(HBR.version, "InstallBackupClients", bob, **{**named, "PackageName": "other"})[0] == 200


def test_a_list_needs_permission_for_all(hosts: Fleet) -> None:
    """As every list of the API does."""
    asked = {"ClientType": "ECS_CLIENT"}
    ann = hosts.user(allow("client/<web>"))
    assert hosts.env.ask(HBR.version, "DescribeBackupClients", ann, **asked)[0] == 403
    bob = hosts.env.user_with("bob", allow(hosts.resource("client/*")))
    status, body = hosts.env.ask(HBR.version, "DescribeBackupClients", bob, **asked)
    assert (status, len(body["Clients"])) == (200, 2)


# --- Across accounts ------------------------------------------------------------------------------------------------


class Across:
    """Their account has a host with a client and the tag web, and a role that trusts ours."""

    def __init__(self, env: Environment) -> None:
        self.env, self.ours = env, env.root.account_id
        self.host = env.host(account=OTHER)
        self.client = env.client(self.host, account=OTHER)
        Fleet.tag(self, self.host, "web", env.other_account)  # type: ignore[arg-type]  # it has what tag needs

    def role(self, *statements: Statement) -> None:
        services, now = self.env.services, self.env.now
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": f"acs:ram::{self.ours}:root"}}
        with services.database.transaction() as tx:
            text = json.dumps({"Version": "1", "Statement": [trust]})
            identity.create_role(tx, OTHER, ROLE, text, now=now, draw=services.draw)
            document = json.dumps({"Version": "1", "Statement": [self.filled(one) for one in statements]})
            identity.create_policy(tx, OTHER, "theirs", document, description="", now=now)
            identity.attach_policy(tx, OTHER, ROLE, "theirs", "Custom", to="Role", now=now)

    def filled(self, one: Statement) -> Statement:
        text = json.dumps(one)
        for name, value in (("OURS", self.ours), ("THEIRS", OTHER), ("CLIENT", self.client), ("HOST", self.host)):
            text = text.replace(name, value)
        filled: Statement = json.loads(text)
        return filled

    def ask(self, action: str, caller: identity.Caller, role: str = ROLE) -> tuple[int, str]:
        named: dict[str, Any] = {"ClientIds": [self.client]}
        if action == "InstallBackupClients":
            named = {"InstanceIds": [self.host]}
        if action.startswith("Describe"):
            named |= {"ClientType": "ECS_CLIENT"}
        asked = {**CROSS_ACCOUNT, "CrossAccountRoleName": role, **named}
        status, body = self.env.ask(HBR.version, action, caller, **asked)
        return status, body["Code"]


@pytest.fixture
def across(env: Environment) -> Across:
    env.release("2.0")
    return Across(env)


OWN: list[tuple[str, list[Statement], tuple[int, str]]] = [
    ("the operation only", [allow()], (200, "200")),
    ("STS denied", [allow(), deny("*", "sts:*")], (403, "NoPermission")),
    ("the role denied", [allow(), deny("acs:ram::THEIRS:role/hbrcrossrole", "sts:AssumeRole")], (403, "NoPermission")),
    ("the role denied, in capitals", [allow(), deny("acs:ram::*:role/HbrCrossRole", "*")], (403, "NoPermission")),
    ("another role denied", [allow(), deny("acs:ram::THEIRS:role/other", "sts:AssumeRole")], (200, "200")),
    ("their account denied", [allow(), deny("acs:*:*:THEIRS:*", "*")], (403, "NoPermission")),
    ("their clients denied", [allow(), deny("acs:hbr:*:THEIRS:*")], (403, "NoPermission")),
    ("their client denied", [allow(), deny("acs:hbr:*:*:client/CLIENT")], (403, "NoPermission")),
    ("their instance denied", [allow(), deny("acs:ecs:*:THEIRS:instance/HOST")], (403, "NoPermission")),
    ("their tag denied", [allow(), deny("*", **WEB_TAG)], (403, "NoPermission")),
    ("ours allowed", [allow("acs:hbr:*:OURS:*")], (200, "200")),
    ("one of our clients allowed", [allow("acs:hbr:*:OURS:client/c-1")], (403, "NoPermission")),
    ("their clients and hosts allowed", [allow(["acs:hbr:*:THEIRS:*", "acs:ecs:*:THEIRS:*"])], (200, "200")),
    ("another client of theirs allowed", [allow("acs:hbr:*:THEIRS:client/c-1")], (403, "NoPermission")),
]


@pytest.mark.parametrize("action", [UPGRADE.partition(":")[2], "InstallBackupClients", "DescribeBackupClients"])
@pytest.mark.parametrize(("statements", "expected"), [pytest.param(*row[1:], id=row[0]) for row in OWN])
def test_the_callers_own_policies_count_in_another_account(
    across: Across, statements: list[Statement], expected: tuple[int, str], action: str
) -> None:
    """A Deny on the operation, on the role or on what is over there refuses, and starts nothing."""
    if "client/CLIENT" in json.dumps(statements) and action == "InstallBackupClients":
        expected = (403, "NoPermission")
    across.role(allow())
    ann = across.env.user_with("ann", *map(across.filled, statements))
    assert across.ask(action, ann) == expected
    if expected[0] != 200:
        assert across.env.tasks() == 0


def test_a_role_in_other_letters_does_not_avoid_a_deny(across: Across) -> None:
    """Requests may write it in any; for STS just as for HBR."""
    across.role(allow())
    denied = deny(f"acs:ram::{OTHER}:role/hbrcrossrole", "sts:AssumeRole")
    ann = across.env.user_with("ann", allow("*", "*"), denied)
    assert across.ask("UpgradeBackupClients", ann, "HBRCrossRole") == (403, "NoPermission")
    named = {"RoleArn": f"acs:ram::{OTHER}:role/HBRCrossRole", "RoleSessionName": "night"}
    assert across.env.ask("2015-04-01", "AssumeRole", ann, **named)[0] == 403


THEIRS: list[tuple[str, list[Statement], int]] = [
    ("one client", [allow("acs:hbr:*:*:client/CLIENT")], 200),
    ("its instance", [allow("acs:ecs:*:*:instance/HOST")], 200),
    ("another client", [allow("acs:hbr:*:*:client/c-1")], 403),
    ("by tag", [allow("*", **WEB_TAG)], 200),
    ("all but the tag", [allow("*", **NOT_WEB)], 403),
    ("its instance denied", [allow(), deny("acs:ecs:*:*:instance/HOST")], 403),
]


@pytest.mark.parametrize(("statements", "expected"), [pytest.param(*row[1:], id=row[0]) for row in THEIRS])
def test_the_roles_policies_decide_target_by_target(across: Across, statements: list[Statement], expected: int) -> None:
    """As at home."""
    across.role(*map(across.filled, statements))
    assert across.ask("UpgradeBackupClients", across.env.root)[0] == expected


def test_nothing_of_the_other_account_shows_before_its_role_agrees(across: Across) -> None:
    """A Deny on their instance does not tell on which one a client is, where the role does not trust us."""
    ann = across.env.user_with("ann", allow(), deny(f"acs:ecs:*:*:instance/{across.host}"))
    assert across.ask("UpgradeBackupClients", ann) == (403, "AssumeRoleFail")
