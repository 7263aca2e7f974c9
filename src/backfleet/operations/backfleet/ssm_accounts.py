"""Accounts of AWS, of the carrier `ssm`, and what is imported from them."""

from dataclasses import dataclass
from typing import Any, Final

from backfleet.carriers import ecs
from backfleet.carriers.ecs import EcsProblem
from backfleet.fleet import CarrierKind
from backfleet.operations.backfleet.clouds import import_from
from backfleet.operations.backfleet.ecs_accounts import (
    ACCOUNT,
    IMPORT,
    MOST_IDS,
    MOST_TAGS,
    CreateEcsAccount,
    NoParameters,
    OneEcsAccount,
    OneEcsImport,
    account_of,
    shown_account,
    shown_import,
)
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.operations.tags import Tag, tag_type
from backfleet.storage import Conflict
from backfleet.wire.errors import ApiError
from backfleet.wire.parameters import repeat, repeat_objects, text

ROLE: Final = r"arn:aws[a-z-]{0,16}:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]{1,200}"
SSM_ACCOUNT: Final = ACCOUNT
SSM_IMPORT: Final = {name: kind for name, kind in IMPORT.items() if name != "ResourceGroupId"}
SSM: Final = CarrierKind.SSM


class SsmAccountNotFound(ApiError):
    """The account has no account of AWS of this name."""

    code = "SsmAccountNotFound"
    status = 404

    def __init__(self) -> None:
        super().__init__("This account has no account of AWS of this name. CreateSsmAccount makes one.")


class SsmAccountExists(ApiError):
    """The account has a cloud account of this name."""

    code = "EntityAlreadyExists.SsmAccount"
    status = 409

    def __init__(self) -> None:
        super().__init__("This account has a cloud account of this name. Delete it first, or choose another name.")


class SsmAccountInUse(ApiError):
    """Instances are imported from this account of AWS."""

    code = "DeleteConflict.SsmAccount"
    status = 409

    def __init__(self, hosts: int = 1) -> None:
        super().__init__(f"{hosts} instance(s) are reached through this account of AWS. Deregister them first.")


class SsmImportNotFound(ApiError):
    """The account has no such import."""

    code = "SsmImportNotFound"
    status = 404

    def __init__(self) -> None:
        super().__init__("This account has no such import. ListSsmImports has them all.")


class TooManySsmEntries(ApiError):
    """The account has as many cloud accounts, or imports, as it may."""

    code = "QuotaExceeded.Ssm"
    status = 409

    def __init__(self) -> None:
        super().__init__("The account has as many cloud accounts, or imports from them, as it may.")


class SsmRefused(ApiError):
    """AWS refused what was asked of it, or was not reached."""

    code = "SsmRefused"
    status = 409

    def __init__(self, problem: EcsProblem | None = None) -> None:
        super().__init__(f"{problem.code}: {problem.message}" if problem else "AWS refused it.")


@dataclass(frozen=True, slots=True)
class CreateSsmAccount(CreateEcsAccount):
    """A name, credentials, and where the cloud is."""

    role_arn: str | None = text("RoleArn", longest=255, pattern=ROLE)


@dataclass(frozen=True, slots=True)
class ImportSsmInstances:
    """An account of AWS, one of its regions, and which instances there: all conditions must be met."""

    name: str = text("AccountName", required=True, longest=64, pattern=ecs.NAME)
    cloud_region: str = text("CloudRegionId", required=True, longest=64, pattern=ecs.REGION)
    instance_ids: tuple[str, ...] = repeat("InstanceIds", most=MOST_IDS)
    tags: tuple[Tag, ...] = repeat_objects("Tag", of=tag_type(longest_key=128), most=MOST_TAGS)


def every_account(call: Call, asked: Any) -> list[str]:
    """Return the ARN of an account's accounts of AWS."""
    return [f"acs:backfleet:{call.region}:{call.account_id}:ssm-account/*"]


def one_account(call: Call, asked: Any) -> list[str]:
    """Return the ARN of the account of AWS that a request names."""
    return [f"acs:backfleet:{call.region}:{call.account_id}:ssm-account/{getattr(asked, 'name', '')}"]


@operation(
    BACKFLEET,
    "CreateSsmAccount",
    action="backfleet:CreateSsmAccount",
    resources=one_account,
    answer=SSM_ACCOUNT,
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
    made = account_of(call, asked, SSM)
    try:
        with call.services.database.transaction() as tx:
            ecs.add_account(tx, made)
    except (ecs.AccountExists, Conflict):
        raise SsmAccountExists from None
    except ecs.TooMany:
        raise TooManySsmEntries from None
    return shown_account(made)


@operation(
    BACKFLEET,
    "ListSsmAccounts",
    action="backfleet:ListSsmAccounts",
    resources=every_account,
    answer={"Accounts": [SSM_ACCOUNT]},
)
def list_ssm_accounts(call: Call, asked: NoParameters) -> dict[str, Any]:
    """List the account's accounts of AWS by name, without their secrets, and what is wrong with each."""
    with call.services.database.reading() as tx:
        return {"Accounts": [shown_account(each) for each in ecs.accounts_of(tx, call.account_id, SSM)]}


@operation(
    BACKFLEET,
    "DeleteSsmAccount",
    action="backfleet:DeleteSsmAccount",
    resources=one_account,
    answer={},
    errors=(SsmAccountNotFound, SsmAccountInUse),
)
def delete_ssm_account(call: Call, asked: OneEcsAccount) -> dict[str, Any]:
    """Delete an account of AWS that no instance is reached through, and its imports."""
    try:
        with call.services.database.transaction() as tx:
            ecs.delete_account(tx, call.account_id, asked.name, SSM)
    except ecs.AccountNotFound:
        raise SsmAccountNotFound from None
    except ecs.AccountInUse as problem:
        raise SsmAccountInUse(problem.hosts) from None
    return {}


@operation(
    BACKFLEET,
    "ImportSsmInstances",
    action="backfleet:ImportSsmInstances",
    resources=lambda call, asked: [f"acs:backfleet:{call.region}:{call.account_id}:ssm-account/{asked.name}"],
    answer={"ImportId": str, "Found": int},
    errors=(SsmAccountNotFound, SsmRefused, TooManySsmEntries),
)
def import_ssm_instances(call: Call, asked: ImportSsmInstances) -> dict[str, Any]:
    """Register instances that Systems Manager manages, EC2's and hybrid ones, and keep them up to date.

    New ones come, and terminated ones go. AWS is asked once before this answers, so that a wrong key, region or
    permission is an error here; for at most 20 s, and `Found` is how many it named by then. The instances are there
    within seconds, and can be ordered to once they have said which processor they have.
    """
    try:
        return import_from(call, asked, SSM)
    except ecs.AccountNotFound:
        raise SsmAccountNotFound from None
    except EcsProblem as problem:
        raise SsmRefused(problem) from None
    except ecs.TooMany:
        raise TooManySsmEntries from None


@operation(
    BACKFLEET,
    "ListSsmImports",
    action="backfleet:ListSsmImports",
    resources=every_account,
    answer={"Imports": [SSM_IMPORT]},
)
def list_ssm_imports(call: Call, asked: NoParameters) -> dict[str, Any]:
    """List what is imported from accounts of AWS, when each selection was last read, and what was wrong then."""
    with call.services.database.reading() as tx:
        found = [shown_import(each) for each in ecs.imports_of(tx, call.account_id, SSM)]
    return {"Imports": [{name: each[name] for name in SSM_IMPORT if name in each} for each in found]}


@operation(
    BACKFLEET,
    "DeleteSsmImport",
    action="backfleet:DeleteSsmImport",
    resources=every_account,
    answer={},
    errors=(SsmImportNotFound,),
)
def delete_ssm_import(call: Call, asked: OneEcsImport) -> dict[str, Any]:
    """Import nothing more for a selection. Its instances stay until they are deregistered or terminated."""
    with call.services.database.transaction() as tx:
        if not ecs.delete_import(tx, call.account_id, asked.import_id, SSM):
            raise SsmImportNotFound
    return {}
