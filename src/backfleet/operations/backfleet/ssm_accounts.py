"""Accounts of AWS, of the carrier `ssm`, and what is imported from them."""

from typing import Any, Final

from backfleet.fleet import CarrierKind
from backfleet.operations.backfleet.cloud_accounts import (
    ACCOUNT,
    IMPORT,
    AnyCloudAccount,
    AnyImport,
    CloudAccountExists,
    CloudAccountInUse,
    CloudAccountNotFound,
    CloudAccounts,
    CloudImportNotFound,
    CloudRefused,
    NoParameters,
    OneCloudAccount,
    OneImport,
    TooManyCloudEntries,
    shown_import,
)
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.values import value_object
from backfleet.wire.parameters import text

ROLE: Final = r"arn:aws[a-z-]{0,16}:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]{1,200}"


class SsmAccountNotFound(CloudAccountNotFound):
    """The account has no account of AWS of this name."""

    code = "SsmAccountNotFound"
    text = "This account has no account of AWS of this name. CreateSsmAccount makes one."


class SsmAccountExists(CloudAccountExists):
    """The account has a cloud account of this name."""

    code = "EntityAlreadyExists.SsmAccount"


class SsmAccountInUse(CloudAccountInUse):
    """Instances are imported from this account of AWS."""

    code = "DeleteConflict.SsmAccount"
    what = "this account of AWS"


class SsmImportNotFound(CloudImportNotFound):
    """The account has no such import."""

    code = "SsmImportNotFound"
    text = "This account has no such import. ListSsmImports has them all."


class TooManySsmEntries(TooManyCloudEntries):
    """The account has as many cloud accounts, or imports, as it may."""

    code = "QuotaExceeded.Ssm"


class SsmRefused(CloudRefused):
    """AWS refused what was asked of it, or was not reached."""

    code = "SsmRefused"


SSM: Final = CloudAccounts(
    CarrierKind.SSM, SsmAccountNotFound, SsmAccountExists, SsmAccountInUse, SsmImportNotFound, TooManySsmEntries,
    SsmRefused,
)  # fmt: skip


@value_object
class CreateSsmAccount(AnyCloudAccount):
    """A name, credentials, and where the cloud is."""

    role_arn: str | None = text("RoleArn", longest=255, pattern=ROLE)


@value_object
class ImportSsmInstances(AnyImport):
    """An account of AWS, one of its regions, and which instances there: all conditions must be met."""


@operation(
    BACKFLEET,
    "CreateSsmAccount",
    action="backfleet:CreateSsmAccount",
    resources=SSM.one,
    answer=ACCOUNT,
    errors=(SsmAccountExists, TooManySsmEntries),
)
def create_ssm_account(call: Call, asked: CreateSsmAccount) -> dict[str, Any]:
    """Store how an account of AWS is asked: with which credentials, and where it is.

    CredentialSource is `key`, `chain`, `profile` or `machine-role`; only for `key` the secret is stored, sealed. The
    others are what the SDK finds where the server runs, and are for accounts that `ssm_own_credentials_for` names.
    `chain` is the environment and the SDK's files; only `machine-role` asks the metadata of the machine. With RoleArn
    these credentials take on that role, by AssumeRole. Endpoint answers for SSM and EC2, where that is not AWS's own.
    DownloadsAddress, DownloadsUrl and DownloadsAuthority are as in CreateEcsAccount.
    """
    return SSM.create(call, asked)


@operation(
    BACKFLEET,
    "ListSsmAccounts",
    action="backfleet:ListSsmAccounts",
    resources=SSM.every,
    answer={"Accounts": [ACCOUNT]},
)
def list_ssm_accounts(call: Call, asked: NoParameters) -> dict[str, Any]:
    """List the account's accounts of AWS by name, without their secrets, and what is wrong with each."""
    return SSM.list(call)


@operation(
    BACKFLEET,
    "DeleteSsmAccount",
    action="backfleet:DeleteSsmAccount",
    resources=SSM.one,
    answer={},
    errors=(SsmAccountNotFound, SsmAccountInUse),
)
def delete_ssm_account(call: Call, asked: OneCloudAccount) -> dict[str, Any]:
    """Delete an account of AWS that no instance is reached through, and its imports."""
    return SSM.delete(call, asked)


@operation(
    BACKFLEET,
    "ImportSsmInstances",
    action="backfleet:ImportSsmInstances",
    resources=SSM.one,
    answer={"ImportId": str, "Found": int},
    errors=(SsmAccountNotFound, SsmRefused, TooManySsmEntries),
)
def import_ssm_instances(call: Call, asked: ImportSsmInstances) -> dict[str, Any]:
    """Register instances that Systems Manager manages, EC2's and hybrid ones, and keep them up to date.

    New ones come, and terminated ones go. AWS is asked once before this answers, so that a wrong key, region or
    permission is an error here; for at most 20 s, and `Found` is how many it named by then. The instances are there
    within seconds, and can be ordered to once they have said which processor they have.
    """
    return SSM.start_import(call, asked)


@operation(
    BACKFLEET,
    "ListSsmImports",
    action="backfleet:ListSsmImports",
    resources=SSM.every,
    answer={"Imports": [IMPORT]},
)
def list_ssm_imports(call: Call, asked: NoParameters) -> dict[str, Any]:
    """List what is imported from accounts of AWS, when each selection was last read, and what was wrong then."""
    return SSM.list_imports(call, shown_import)


@operation(
    BACKFLEET,
    "DeleteSsmImport",
    action="backfleet:DeleteSsmImport",
    resources=SSM.every,
    answer={},
    errors=(SsmImportNotFound,),
)
def delete_ssm_import(call: Call, asked: OneImport) -> dict[str, Any]:
    """Import nothing more for a selection. Its instances stay until they are deregistered or terminated."""
    return SSM.delete_import(call, asked)
