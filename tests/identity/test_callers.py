"""Callers and their permissions."""

from datetime import datetime

import pytest

from backfleet import identity
from backfleet.identity.policy import decide
from backfleet.ids import Draw
from backfleet.storage import Database

READ = "hbr:DescribeTask"
WRITE = "hbr:UpgradeBackupClients"
RESOURCE = "acs:hbr:cn-hangzhou:1:*"


def may(database: Database, caller: identity.Caller, action: str, resource: str = RESOURCE) -> bool:
    with database.reading() as tx:
        return decide(identity.statements_for(tx, caller), action, resource, {}).allowed


@pytest.fixture
def alice(database: Database, vault: identity.Vault, account: str, now: datetime, draw: Draw) -> identity.KnownKey:
    """Create a user and return the user's key."""
    with database.transaction() as tx:
        identity.create_user(tx, account, "alice", now=now, draw=draw)
        key = identity.create_key(tx, vault, account, "alice", now=now, draw=draw)
        known = identity.find_key(tx, vault, key.access_key_id)
    assert known is not None
    assert known.secret == key.access_key_secret
    return known


def test_a_key_leads_to_its_user(alice: identity.KnownKey, account: str) -> None:
    """The caller has the names that the API uses for users."""
    caller = alice.caller
    assert alice.active
    assert (caller.account_id, caller.kind, caller.user_name) == (account, "RAMUser", "alice")
    assert caller.arn == f"acs:ram::{account}:user/alice"
    assert caller.principal_id == caller.user_id


@pytest.mark.parametrize("key_id", ["", "LTAInobody", "x" * 65, "a\x00b", "ключ", "' OR 1=1 --"])
def test_an_unknown_key_leads_to_nobody(database: Database, vault: identity.Vault, account: str, key_id: str) -> None:
    """Whatever is sent as a key id."""
    with database.reading() as tx:
        assert identity.find_key(tx, vault, key_id) is None


def test_a_new_user_may_do_nothing(database: Database, alice: identity.KnownKey) -> None:
    """Without a policy there is no permission."""
    assert not may(database, alice.caller, READ)


def test_a_root_may_do_everything_in_its_account(
    database: Database, vault: identity.Vault, root: identity.NewAccessKey
) -> None:
    """And nothing in another account."""
    with database.reading() as tx:
        known = identity.find_key(tx, vault, root.access_key_id)
    assert known is not None
    assert may(database, known.caller, WRITE, f"acs:hbr:cn-hangzhou:{root.account_id}:*")
    assert not may(database, known.caller, WRITE, "acs:hbr:cn-hangzhou:9999999999999999:*")


def test_policies_apply_from_the_next_request_on(
    database: Database, alice: identity.KnownKey, account: str, now: datetime
) -> None:
    """Attached, it allows; detached, it no longer does."""
    with database.transaction() as tx:
        identity.attach_policy(tx, account, "alice", "AliyunHBRReadOnlyAccess", "System", now=now)
    assert may(database, alice.caller, READ)
    assert not may(database, alice.caller, WRITE)
    with database.transaction() as tx:
        identity.attach_policy(tx, account, "alice", "AliyunHBRFullAccess", "System", now=now)
    assert may(database, alice.caller, WRITE)
    with database.transaction() as tx:
        for name in ("AliyunHBRFullAccess", "AliyunHBRReadOnlyAccess"):
            identity.detach_policy(tx, account, "alice", name, "System")
    assert not may(database, alice.caller, READ)


def test_system_and_custom_policies_are_evaluated_together(
    database: Database, alice: identity.KnownKey, account: str, now: datetime
) -> None:
    """A Deny in a custom policy outweighs the system policy, and the decision names the policy."""
    denying = '{"Version":"1","Statement":[{"Effect":"Deny","Action":"hbr:Upgrade*","Resource":"*"}]}'
    with database.transaction() as tx:
        identity.create_policy(tx, account, "NoUpgrades", denying, now=now)
        identity.attach_policy(tx, account, "alice", "NoUpgrades", "Custom", now=now)
        identity.attach_policy(tx, account, "alice", "AliyunHBRFullAccess", "System", now=now)
    assert may(database, alice.caller, READ)
    with database.reading() as tx:
        decision = decide(identity.statements_for(tx, alice.caller), WRITE, RESOURCE, {})
    assert decision.explicit_deny
    assert decision.because is not None
    assert decision.because.source == "Custom/NoUpgrades"


def test_a_key_is_deactivated_and_activated_at_once(
    database: Database, vault: identity.Vault, alice: identity.KnownKey, account: str
) -> None:
    """The next request sees each change."""
    for active in (False, True):
        with database.transaction() as tx:
            identity.set_key(tx, account, "alice", alice.access_key_id, active=active)
        with database.reading() as tx:
            known = identity.find_key(tx, vault, alice.access_key_id)
        assert known is not None
        assert known.active is active


def test_a_deleted_key_is_gone(
    database: Database, vault: identity.Vault, alice: identity.KnownKey, account: str
) -> None:
    """From the next request on."""
    with database.transaction() as tx:
        identity.delete_key(tx, account, "alice", alice.access_key_id)
    with database.reading() as tx:
        assert identity.find_key(tx, vault, alice.access_key_id) is None


def test_a_new_user_does_not_inherit_from_a_deleted_one(
    database: Database, alice: identity.KnownKey, account: str, now: datetime, draw: Draw
) -> None:
    """A user with the same name has none of the permissions."""
    with database.transaction() as tx:
        identity.attach_policy(tx, account, "alice", "AdministratorAccess", "System", now=now)
        identity.detach_policy(tx, account, "alice", "AdministratorAccess", "System")
        identity.delete_key(tx, account, "alice", alice.access_key_id)
        identity.delete_user(tx, account, "alice")
        again = identity.create_user(tx, account, "alice", now=now, draw=draw)
    assert again.id != alice.caller.user_id
    assert not may(database, alice.caller, READ)


def test_a_caller_of_unknown_kind_may_do_nothing(database: Database, account: str) -> None:
    """Only a root, users and roles have statements."""
    unknown = identity.Caller(account, "AssumedRoleUser", f"acs:sts::{account}:assumed-role/r/s", "1:s")
    assert not may(database, unknown, READ)


def test_another_vault_cannot_use_the_keys(
    database: Database, root: identity.NewAccessKey, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A copy of the database alone lets nobody in."""
    other_vault = identity.Vault.open(tmp_path_factory.mktemp("elsewhere"))
    with database.reading() as tx, pytest.raises(identity.CannotOpen):
        identity.find_key(tx, other_vault, root.access_key_id)
