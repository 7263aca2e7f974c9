"""Versions of custom policies. The default version is in force. A system policy has one version."""

from datetime import datetime
from typing import Final

from backfleet.identity import _store
from backfleet.identity.errors import LimitReached, NotFound, StillInUse
from backfleet.identity.model import CUSTOM, SYSTEM, Policy, PolicyVersion
from backfleet.identity.policies import find_policy
from backfleet.identity.policy import parse_document
from backfleet.storage import Transaction

VERSIONS_PER_POLICY: Final = 5


def add_version(
    tx: Transaction,
    account_id: str,
    name: str,
    document: str,
    *,
    default: bool = False,
    rotate: bool = False,
    now: datetime,
) -> PolicyVersion:
    """Add a version to a custom policy. Version numbers are never used twice.

    Args:
        tx: the transaction to write in.
        account_id: the account.
        name: the policy's name.
        document: the new version's document.
        default: put it in force.
        rotate: if there are VERSIONS_PER_POLICY, delete the oldest version that is not the default.
        now: the time of the call.

    Raises:
        MalformedPolicy: the engine could not carry out the document exactly.
        NotFound: the account has no custom policy of that name.
        LimitReached: there are VERSIONS_PER_POLICY, and `rotate` is false.
    """
    parse_document(document)
    policy = _custom(tx, account_id, name)
    versions = _store.policies.versions(tx, account_id, policy)
    if len(versions) >= VERSIONS_PER_POLICY:
        if not rotate:
            raise LimitReached("Policy.Version", VERSIONS_PER_POLICY)
        oldest = next(version.number for version in versions if not version.is_default)
        _store.policies.drop_version(tx, account_id, name, oldest)
    number = _store.policies.last_version(tx, account_id, name) + 1
    _store.policies.add_version(tx, account_id, name, number, document, now)
    changes = {"default_version": number} if default else {}
    _store.policies.change(tx, account_id, name, **changes, last_version=number, updated_at=now)
    return PolicyVersion(number, document, default, now)


def list_versions(tx: Transaction, account_id: str, name: str, kind: str) -> list[PolicyVersion]:
    """Return the versions of a policy, oldest first.

    Raises:
        NotFound: there is no policy of that name and type, or it belongs to another account.
    """
    found = find_policy(tx, account_id, name, kind)
    if kind == SYSTEM:
        return [PolicyVersion(1, found.document, True)]
    return _store.policies.versions(tx, account_id, found)


def find_version(tx: Transaction, account_id: str, name: str, kind: str, number: int) -> PolicyVersion:
    """Return one version of a policy.

    Raises:
        NotFound: there is no such policy or version.
    """
    for version in list_versions(tx, account_id, name, kind):
        if version.number == number:
            return version
    raise NotFound("Policy.Version", f"v{number}")


def set_default_version(tx: Transaction, account_id: str, name: str, number: int, *, now: datetime) -> None:
    """Put a version in force, from the next request on.

    Raises:
        NotFound: there is no such custom policy, or no such version.
    """
    _custom(tx, account_id, name)
    find_version(tx, account_id, name, CUSTOM, number)
    _store.policies.change(tx, account_id, name, default_version=number, updated_at=now)


def delete_version(tx: Transaction, account_id: str, name: str, number: int) -> None:
    """Delete a version that is not in force.

    Raises:
        NotFound: there is no such custom policy, or no such version.
        StillInUse: it is the default version.
    """
    policy = _custom(tx, account_id, name)
    find_version(tx, account_id, name, CUSTOM, number)
    if number == policy.version:
        raise StillInUse("Policy.Version.Default", f"v{number}")
    _store.policies.drop_version(tx, account_id, name, number)


def _custom(tx: Transaction, account_id: str, name: str) -> Policy:
    """Return a custom policy, locked. Raises NotFound."""
    found = _store.policies.find(tx, account_id, name, lock=True)
    if found is None:
        raise NotFound("Policy", name)
    return found
