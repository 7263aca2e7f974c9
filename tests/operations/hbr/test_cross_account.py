"""Calls in another account: whom a role trusts, what it may do there, and what each audit trail has of it."""

import json
from datetime import timedelta
from typing import Any

import pytest

from backfleet import identity, upgrades
from backfleet.operations._tables import audit_events
from backfleet.operations.catalogue import BACKFLEET, HBR
from backfleet.paging import Page
from operations.environment import OTHER, Environment

SERVICE = "crossbackup.hbr.aliyuncs.com"
ROLE = "hbrcrossrole"
CROSS_ACCOUNT = {"CrossAccountType": "CROSS_ACCOUNT", "CrossAccountUserId": OTHER, "CrossAccountRoleName": ROLE}


def trusting(principal: dict[str, Any], **more: Any) -> str:
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal, **more}
    return json.dumps({"Version": "1", "Statement": [statement]})


class Across:
    """Two accounts: ours makes the calls; theirs has the servers, and a role whose trust the test sets."""

    def __init__(self, env: Environment) -> None:
        self.env, self.ours = env, env.root.account_id
        self.instance_id = env.host(account=OTHER)
        self.client_id = env.client(self.instance_id, account=OTHER)

    def ask(self, action: str, caller: identity.Caller | None = None, **parameters: Any) -> tuple[int, dict[str, Any]]:
        return self.env.ask(HBR.version, action, caller, **parameters)

    def upgrade(self, caller: identity.Caller | None = None, **parameters: Any) -> tuple[int, str]:
        """Status and code of an upgrade of their client."""
        asked = {"ClientIds": [self.client_id], **CROSS_ACCOUNT, **parameters}
        status, body = self.ask("UpgradeBackupClients", caller, **asked)
        return status, body["Code"]

    def role(self, trust: str, *policies: str, name: str = ROLE) -> None:
        services, now = self.env.services, self.env.now
        with services.database.transaction() as tx:
            identity.create_role(tx, OTHER, name, trust, now=now, draw=services.draw)
            for policy in policies or ("AliyunHBRFullAccess",):
                identity.attach_policy(tx, OTHER, name, policy, "System", to="Role", now=now)

    def trusting_us(self, *policies: str) -> None:
        self.role(trusting({"RAM": f"acs:ram::{self.ours}:root"}), *policies)

    def linked_role(self) -> None:
        with self.env.services.database.transaction() as tx:
            identity.create_service_role(tx, self.ours, SERVICE, now=self.env.now, draw=self.env.services.draw)

    def pair(self, **parameters: Any) -> tuple[int, dict[str, Any]]:
        return self.ask("AddCrossAccount", **{"CrossAccountUserId": OTHER, "CrossAccountRoleName": ROLE, **parameters})

    def trail(self, account: str) -> list[tuple[str, str, str]]:
        with self.env.services.database.reading() as tx:
            chosen = audit_events.select().where(audit_events.c.account_id == account)
            rows = tx.rows(chosen.order_by(audit_events.c.action.desc()))
        return [(row.action, row.verdict, row.error_code) for row in rows]


@pytest.fixture
def across(env: Environment) -> Across:
    return Across(env)


# --- Whom the role trusts ------------------------------------------------------------------------------------------

LINKED = "acs:ram::{ours}:role/AliyunServiceRoleForHbrCrossAccountBackup"
TRUSTS = [
    pytest.param({"RAM": "acs:ram::{ours}:root"}, False, False, (200, "200"), id="our account"),
    pytest.param({"RAM": "acs:ram::{ours}:user/ann"}, False, False, (403, "AssumeRoleFail"), id="a user of ours"),
    pytest.param({"RAM": "acs:ram::1:root"}, False, False, (403, "AssumeRoleFail"), id="somebody else"),
    pytest.param({"Service": SERVICE}, False, False, (403, "AssumeRoleFail"), id="the service, no pair"),
    pytest.param({"Service": SERVICE}, True, False, (200, "200"), id="the service, a pair"),
    pytest.param({"Service": f"{{ours}}@{SERVICE}"}, False, False, (200, "200"), id="the service, for our account"),
    pytest.param(
        {"Service": f"1@{SERVICE}"}, True, False, (403, "AssumeRoleFail"), id="the service, for another account"
    ),
    pytest.param({"RAM": "acs:ram::{ours}:root", "Service": []}, False, False, (200, "200"), id="no service beside us"),
    pytest.param({"Service": SERVICE}, False, True, (403, "AssumeRoleFail"), id="the service, a linked role"),
    pytest.param({"Service": "ecs.aliyuncs.com"}, True, True, (403, "AssumeRoleFail"), id="another service"),
    pytest.param({"RAM": LINKED}, False, True, (200, "200"), id="our linked role"),
    pytest.param({"RAM": LINKED}, False, False, (403, "AssumeRoleFail"), id="a linked role we do not have"),
]


@pytest.mark.parametrize(("principal", "paired", "linked", "expected"), TRUSTS)
def test_a_role_is_assumed_by_whom_it_trusts(
    across: Across, principal: dict[str, str], paired: bool, linked: bool, expected: tuple[int, str]
) -> None:
    """Trust in the service counts for a registered pair only, as it does not name the account that it is meant for."""
    if linked:
        across.linked_role()
    across.role(trusting({kind: name and name.format(ours=across.ours) for kind, name in principal.items()}))
    if paired:
        with across.env.services.database.transaction() as tx:
            services = across.env.services
            identity.pair_accounts(tx, across.ours, OTHER, ROLE, alias="", now=across.env.now, draw=services.draw)
    assert across.upgrade() == expected


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        pytest.param("AliyunHBRFullAccess", (200, "200"), id="everything"),
        pytest.param("AliyunHBRReadOnlyAccess", (403, "NoPermission"), id="reading only"),
        pytest.param("AliyunECSFullAccess", (403, "NoPermission"), id="something else"),
    ],
)
def test_the_roles_own_policies_decide(across: Across, policy: str, expected: tuple[int, str]) -> None:
    """Whatever the caller may do in its own account."""
    across.trusting_us(policy)
    assert across.upgrade() == expected
    assert across.trail(OTHER) == [
        (
            "UpgradeBackupClients",
            "allowed" if expected[0] == 200 else "denied",
            "" if expected[0] == 200 else expected[1],
        )
    ]


def test_the_caller_needs_permission_in_its_own_account(across: Across) -> None:
    """Without it, the other account is not even read."""
    across.trusting_us()
    assert across.upgrade(across.env.user("ann", "AliyunHBRReadOnlyAccess")) == (403, "NoPermission")
    assert across.upgrade(across.env.user("bob", "AliyunHBRFullAccess")) == (200, "200")
    assert len(across.trail(OTHER)) == 1


def test_a_role_may_be_restricted_to_one_user(across: Across) -> None:
    """The conditions of its trust are checked against the caller."""
    only = {"StringEquals": {"acs:PrincipalARN": f"acs:ram::{across.ours}:user/ann"}}
    across.role(trusting({"RAM": f"acs:ram::{across.ours}:root"}, Condition=only))
    assert across.upgrade() == (403, "AssumeRoleFail")
    assert across.upgrade(across.env.user("ann", "AliyunHBRFullAccess")) == (200, "200")


@pytest.mark.parametrize(
    ("user_id", "role"),
    [
        pytest.param(OTHER, "none", id="no such role"),
        pytest.param("1", ROLE, id="no such account"),
        pytest.param(OTHER, "角色", id="a name no role has"),
    ],
)
def test_a_missing_role_is_answered_like_one_that_does_not_trust(across: Across, user_id: str, role: str) -> None:
    """By every operation that takes one: nobody may find out which roles another account has."""
    across.trusting_us()
    across.linked_role()
    assert across.upgrade(CrossAccountUserId=user_id, CrossAccountRoleName=role) == (403, "AssumeRoleFail")
    named = {"CrossAccountUserId": user_id, "CrossAccountRoleName": role}
    for action, more in (("CheckRole", {"CheckRoleType": "CrossAccountRole"}), ("AddCrossAccount", {})):
        status, body = across.ask(action, **named, **more)
        assert (action, status, body["Code"]) == (action, 403, "AssumeRoleFail")
    assert across.trail(OTHER) == []


# --- What happens there ---------------------------------------------------------------------------------------------


def test_a_task_is_ours_and_moves_their_clients(across: Across) -> None:
    """Only we can read it; both audit trails have the call."""
    across.trusting_us()
    across.env.release("2.0")
    status, body = across.ask("UpgradeBackupClients", InstanceIds=[across.instance_id], **CROSS_ACCOUNT)
    assert (status, body["InstanceStatuses"][0]["ValidInstance"]) == (200, True)
    _, task = across.ask("DescribeTask", TaskId=body["TaskId"])
    (item,) = json.loads(task["Result"])
    assert (item["clientId"], item["toVersion"]) == (across.client_id, "2.0")
    hidden, refusal = across.ask("DescribeTask", across.env.other_account, TaskId=body["TaskId"])
    assert (hidden, refusal["Code"]) == (404, "TaskNotFound")
    assert across.trail(OTHER)[0] == ("UpgradeBackupClients", "allowed", "")
    assert ("UpgradeBackupClients", "allowed", "") in across.trail(across.ours)


def test_a_client_that_they_are_moving_is_left_to_their_task(across: Across) -> None:
    """One client has one live task, whoever asked for it."""
    across.trusting_us()
    across.env.release("2.0")
    _, theirs = across.ask("UpgradeBackupClients", across.env.other_account, ClientIds=[across.client_id])
    _, ours = across.ask("UpgradeBackupClients", ClientIds=[across.client_id], **CROSS_ACCOUNT)
    _, task = across.ask("DescribeTask", TaskId=ours["TaskId"])
    (item,) = json.loads(task["Result"])
    assert item["errorCode"] == "UpgradeInProgress"
    assert theirs["TaskId"] in item["message"]


def test_a_client_token_belongs_to_the_calling_account(across: Across) -> None:
    """The same call again gives the same task; with the same token in our own account it is another call."""
    across.trusting_us()
    across.env.release("2.0")
    parameters = {"ClientIds": [across.client_id], "ClientToken": "once"}
    _, first = across.ask("UpgradeBackupClients", **parameters, **CROSS_ACCOUNT)
    _, again = across.ask("UpgradeBackupClients", **parameters, **CROSS_ACCOUNT)
    assert first["TaskId"] == again["TaskId"]
    assert across.ask("UpgradeBackupClients", **parameters)[1]["Code"] == "IdempotentParameterMismatch"


def test_every_operation_with_the_parameters_acts_there(across: Across) -> None:
    """Installing, uninstalling and listing, too."""
    across.trusting_us()
    across.env.release("2.0")
    listed = across.ask("DescribeBackupClients", ClientType="ECS_CLIENT", **CROSS_ACCOUNT)[1]
    assert [client["ClientId"] for client in listed["Clients"]] == [across.client_id]
    assert across.ask("DescribeBackupClients", ClientType="ECS_CLIENT")[1]["Clients"] == []
    bare = across.env.host(account=OTHER)
    assert across.ask("InstallBackupClients", InstanceIds=[bare], **CROSS_ACCOUNT)[0] == 200
    assert across.ask("UninstallBackupClients", ClientIds=[across.client_id], **CROSS_ACCOUNT)[0] == 200


def test_ids_of_one_account_mean_nothing_in_the_other(across: Across) -> None:
    """The answers are those for ids that do not exist."""
    across.trusting_us()
    ours = across.env.host()
    nowhere = "mi-" + "x" * 20

    def answer_for(instance_id: str, **parameters: str) -> dict[str, Any]:
        answer = across.ask("UpgradeBackupClients", InstanceIds=[instance_id], **parameters)[1]
        return json.loads(json.dumps(answer).replace(instance_id, "ID"))

    assert answer_for(across.instance_id) == answer_for(nowhere)
    assert answer_for(ours, **CROSS_ACCOUNT) == answer_for(nowhere, **CROSS_ACCOUNT)


def test_a_deleted_role_refuses_the_next_call(across: Across) -> None:
    """What was started goes on, and we can still read it."""
    across.trusting_us()
    across.env.release("2.0")
    _, begun = across.ask("UpgradeBackupClients", ClientIds=[across.client_id], **CROSS_ACCOUNT)
    with across.env.services.database.transaction() as tx:
        identity.detach_policy(tx, OTHER, ROLE, "AliyunHBRFullAccess", "System", of="Role")
        identity.delete_role(tx, OTHER, ROLE)
    assert across.upgrade() == (403, "AssumeRoleFail")
    assert across.ask("DescribeTask", TaskId=begun["TaskId"])[0] == 200


def test_the_role_of_a_registered_pair_may_be_said_to_be_gone(across: Across) -> None:
    """The pair shows that it existed: CheckRole and calls say what is wrong."""
    across.trusting_us()
    across.linked_role()
    assert across.pair()[0] == 200
    with across.env.services.database.transaction() as tx:
        identity.detach_policy(tx, OTHER, ROLE, "AliyunHBRFullAccess", "System", of="Role")
        identity.delete_role(tx, OTHER, ROLE)
    assert across.upgrade() == (404, "RoleNotExist")
    named = {"CrossAccountUserId": OTHER, "CrossAccountRoleName": ROLE}
    status, body = across.ask("CheckRole", CheckRoleType="CrossAccountRole", **named)
    assert (status, body["Code"]) == (404, "RoleNotExist")


MISFITS = [
    pytest.param({"CrossAccountType": "CROSS_ACCOUNT"}, "MissingParameter", id="nothing else"),
    pytest.param({**CROSS_ACCOUNT, "CrossAccountUserId": ""}, "MissingParameter", id="no account"),
    pytest.param({**CROSS_ACCOUNT, "CrossAccountRoleName": ""}, "MissingParameter", id="no role"),
    pytest.param({**CROSS_ACCOUNT, "CrossAccountUserId": "me"}, "InvalidParameter", id="an account that is no number"),
    pytest.param({**CROSS_ACCOUNT, "CrossAccountUserId": "-1"}, "InvalidParameter", id="a negative account"),
    pytest.param(
        {**CROSS_ACCOUNT, "CrossAccountUserId": "9" * 19}, "InvalidParameter", id="an account that is too long"
    ),
    pytest.param({**CROSS_ACCOUNT, "CrossAccountRoleName": "r" * 65}, "InvalidParameter", id="a long role"),
    pytest.param(
        {**CROSS_ACCOUNT, "CrossAccountType": "SELF_ACCOUNT"}, "InvalidParameter", id="our own account, with a role"
    ),
    pytest.param({**CROSS_ACCOUNT, "CrossAccountType": "CROSS_ACCOUNT_BY_RD"}, "InvalidParameter", id="by directory"),
    pytest.param({"CrossAccountUserId": OTHER}, "InvalidParameter", id="an account without a type"),
]


@pytest.mark.parametrize(("parameters", "code"), MISFITS)
@pytest.mark.parametrize(
    ("action", "more"),
    [
        ("UpgradeBackupClients", {"InstanceIds": ["mi-1"]}),
        ("InstallBackupClients", {"InstanceIds": ["mi-1"]}),
        ("UninstallBackupClients", {"InstanceIds": ["mi-1"]}),
        ("DescribeBackupClients", {"ClientType": "ECS_CLIENT"}),
    ],
)
def test_parameters_that_do_not_fit_together_are_refused_by_every_operation(
    across: Across, action: str, more: dict[str, Any], parameters: dict[str, str], code: str
) -> None:
    """Before anything is read: the other account's audit trail has nothing of it."""
    across.trusting_us()
    status, body = across.ask(action, **more, **parameters)
    assert (status, body["Code"]) == (400, code)
    assert across.trail(OTHER) == []


# --- Pairs ----------------------------------------------------------------------------------------------------------


def test_a_pair_is_added_renamed_listed_and_removed(across: Across) -> None:
    """To add it again renames it; once removed, the trust in the service counts no more."""
    across.role(trusting({"Service": SERVICE}))
    assert across.pair(Alias="web")[0] == 200
    assert across.pair(Alias="shop")[0] == 200
    listed = across.ask("DescribeCrossAccounts")[1]
    (pair,) = listed["CrossAccounts"]["CrossAccount"]
    assert (pair["CrossAccountUserId"], pair["CrossAccountRoleName"], pair["Alias"]) == (int(OTHER), ROLE, "shop")
    assert (pair["OwnerId"], pair["CrossAccountType"], listed["TotalCount"]) == (int(across.ours), "CROSS_ACCOUNT", 1)
    assert across.upgrade() == (200, "200")
    assert across.ask("DescribeCrossAccounts", across.env.other_account)[1]["TotalCount"] == 0
    removed = across.ask("DeleteCrossAccount", CrossAccountUserId=OTHER, CrossAccountRoleName=ROLE)
    assert removed[0] == 200
    again = across.ask("DeleteCrossAccount", CrossAccountUserId=OTHER, CrossAccountRoleName=ROLE)
    assert (again[0], again[1]["Code"]) == (404, "ResourceNotFound")
    assert across.upgrade() == (403, "AssumeRoleFail")


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        pytest.param({"CrossAccountRoleName": "none"}, (403, "AssumeRoleFail"), id="no such role"),
        pytest.param({"CrossAccountUserId": "1"}, (403, "AssumeRoleFail"), id="no such account"),
        pytest.param({"CrossAccountRoleName": ""}, (400, "MissingParameter"), id="no role"),
        pytest.param({"CrossAccountUserId": ""}, (400, "MissingParameter"), id="no account"),
        pytest.param({"CrossAccountType": "ALL"}, (400, "InvalidParameter"), id="another type"),
        pytest.param({"Alias": "x" * 33}, (400, "InvalidParameter"), id="a long alias"),
        pytest.param(
            {"CrossAccountType": "CROSS_ACCOUNT_BY_RD"}, (400, "AccountNotEnableRdTrustedService"), id="by directory"
        ),
    ],
)
def test_a_refused_pair_is_not_registered(
    across: Across, parameters: dict[str, str], expected: tuple[int, str]
) -> None:
    """Each with the code for what is wrong."""
    across.trusting_us()
    status, body = across.pair(**parameters)
    assert (status, body["Code"]) == expected
    assert across.ask("DescribeCrossAccounts")[1]["TotalCount"] == 0


def test_a_pair_needs_the_roles_trust(across: Across) -> None:
    """An account cannot register itself either."""
    across.role(trusting({"RAM": "acs:ram::1:root"}))
    assert (across.pair()[0], across.pair()[1]["Code"]) == (403, "AssumeRoleFail")
    status, body = across.pair(CrossAccountUserId=across.ours)
    assert (status, body["Code"]) == (400, "InvalidParameter")


def test_pairs_are_listed_in_pages(across: Across) -> None:
    """Oldest first; a page beyond the last is empty."""
    for number in range(5):
        across.role(trusting({"Service": SERVICE}), name=f"role-{number}")
        across.env.now += timedelta(seconds=1)
        assert across.pair(CrossAccountRoleName=f"role-{number}")[0] == 200
    pages = [across.ask("DescribeCrossAccounts", PageNumber=number, PageSize=2)[1] for number in (1, 2, 3, 4)]
    names = [[pair["CrossAccountRoleName"] for pair in page["CrossAccounts"]["CrossAccount"]] for page in pages]
    assert names == [["role-0", "role-1"], ["role-2", "role-3"], ["role-4"], []]
    assert {page["TotalCount"] for page in pages} == {5}


def test_checking_a_role_reports_what_is_missing(across: Across) -> None:
    """Our own missing role with HTTP 200, as in the cloud; what is wrong with theirs by its own code."""

    def check(**parameters: str) -> tuple[int, str, bool]:
        status, body = across.ask("CheckRole", **parameters)
        return status, body["Code"], body.get("Success", False)

    assert check(CheckRoleType="EcsBackupRole") == (200, "200", True)
    cross = {"CheckRoleType": "CrossAccountRole", "CrossAccountUserId": OTHER, "CrossAccountRoleName": ROLE}
    assert check(**cross) == (200, "CrossAccountBackupSlrNotExist", False)
    across.linked_role()
    assert check(CheckRoleType="CrossAccountRole") == (200, "200", True)
    assert check(**cross) == (403, "AssumeRoleFail", False)
    across.role(trusting({"Service": SERVICE}))
    assert check(**cross) == (403, "AssumeRoleFail", False)
    across.pair()
    assert check(**cross) == (200, "200", True)
    assert check(CheckRoleType="NoRole")[:2] == (400, "InvalidParameter")


# --- Accounts -------------------------------------------------------------------------------------------------------


def test_the_administrator_account_makes_accounts(env: Environment) -> None:
    """A new one has a working key, and sees nothing of the others."""
    status, made = env.ask(BACKFLEET.version, "CreateAccount", AccountName="shop")
    assert status == 200
    with env.services.database.reading() as tx:
        known = identity.find_key(tx, env.services.vault, made["AccessKeyId"])
        assert known is not None
        assert (known.secret, known.caller.kind) == (made["AccessKeySecret"], "Account")
        assert upgrades.find(tx, made["AccountId"], Page(1, 10)).total == 0
    listed = env.ask(BACKFLEET.version, "ListAccounts")[1]["Accounts"]
    assert [account["IsOperator"] for account in listed].count(True) == 1
    assert ("shop", made["AccountId"]) in [(account["AccountName"], account["AccountId"]) for account in listed]
    assert made["AccessKeySecret"] not in json.dumps(listed)


ADMINISTRATOR_ONLY = [
    ("CreateAccount", {"AccountName": "x"}),
    ("ListAccounts", {}),
    ("WithdrawRelease", {"PackageName": "courier", "ReleaseVersion": "2.0", "Platform": "linux-amd64"}),
    ("AddRelease", {"PackageName": "courier", "ReleaseVersion": "2.0", "Platform": "linux-amd64", "Format": "binary"}),
]


@pytest.mark.parametrize(("action", "parameters"), ADMINISTRATOR_ONLY)
def test_only_the_administrator_account_changes_what_belongs_to_all(
    env: Environment, action: str, parameters: dict[str, str]
) -> None:
    """The root of another account may do everything there, but none of this."""
    env.release("2.0")
    status, body = env.ask(BACKFLEET.version, action, env.other_account, **parameters)
    assert (status, body["Code"]) == (403, "Forbidden.RAM")
    assert len(env.ask(BACKFLEET.version, "ListAccounts")[1]["Accounts"]) == 2
    assert not env.ask(BACKFLEET.version, "ListReleases")[1]["Releases"][0]["Withdrawn"]
