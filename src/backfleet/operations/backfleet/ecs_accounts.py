"""Cloud accounts of the carrier `ecs`, and what is imported from them."""

from typing import Any, Final

from backfleet.carriers.ecs import EcsImport
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

ROLE: Final = r"acs:ram::[0-9]{1,20}:role/[A-Za-z0-9._-]{1,64}"
ECS_IMPORT: Final = IMPORT | {"ResourceGroupId": str}


class EcsAccountNotFound(CloudAccountNotFound):
    """The account has no cloud account of this name."""

    code = "EcsAccountNotFound"
    text = "This account has no cloud account of this name. CreateEcsAccount makes one."


class EcsAccountExists(CloudAccountExists):
    """The account has a cloud account of this name."""

    code = "EntityAlreadyExists.EcsAccount"


class EcsAccountInUse(CloudAccountInUse):
    """Instances are imported from this cloud account."""

    code = "DeleteConflict.EcsAccount"
    what = "this cloud account"


class EcsImportNotFound(CloudImportNotFound):
    """The account has no such import."""

    code = "EcsImportNotFound"
    text = "This account has no such import. ListEcsImports has them all."


class TooManyEcsEntries(TooManyCloudEntries):
    """The account has as many cloud accounts, or imports, as it may."""

    code = "QuotaExceeded.Ecs"


class EcsRefused(CloudRefused):
    """The cloud refused what was asked of it, or was not reached."""

    code = "EcsRefused"


ECS: Final = CloudAccounts(
    CarrierKind.ECS, EcsAccountNotFound, EcsAccountExists, EcsAccountInUse, EcsImportNotFound, TooManyEcsEntries,
    EcsRefused,
)  # fmt: skip


@value_object
class CreateEcsAccount(AnyCloudAccount):
    """A name, credentials, and where the cloud is."""

    role_arn: str | None = text("RoleArn", longest=255, pattern=ROLE)


@value_object
class ImportEcsInstances(AnyImport):
    """A cloud account, one of its regions, and which instances there: all conditions must be met."""

    resource_group: str = text("ResourceGroupId", default="", longest=64)


@operation(
    BACKFLEET,
    "CreateEcsAccount",
    action="backfleet:CreateEcsAccount",
    resources=ECS.one,
    answer=ACCOUNT,
    errors=(EcsAccountExists, TooManyEcsEntries),
)
def create_ecs_account(call: Call, asked: CreateEcsAccount) -> dict[str, Any]:
    """Store how an account of Alibaba Cloud is asked: with which credentials, and where it is.

    CredentialSource is `key`, `chain`, `profile` or `machine-role`; only for `key` the secret is stored, sealed. The
    others are what the SDK finds where the server runs, and are for accounts that `ecs_own_credentials_for` names.
    With RoleArn these credentials take on that role, by AssumeRole. DownloadsAddress is how the instances reach this
    server, where that is not its own address. DownloadsUrl is a copy of what is below this server's `/downloads`, in
    an object store or on a web server: instances ask it first, verify what it sends, and else ask this server. It is
    reached with the certificates that the instances' systems trust, or with those of DownloadsAuthority.
    """
    return ECS.create(call, asked)


@operation(
    BACKFLEET,
    "ListEcsAccounts",
    action="backfleet:ListEcsAccounts",
    resources=ECS.every,
    answer={"Accounts": [ACCOUNT]},
)
def list_ecs_accounts(call: Call, asked: NoParameters) -> dict[str, Any]:
    """List the account's cloud accounts by name, without their secrets, and what is wrong with each."""
    return ECS.list(call)


@operation(
    BACKFLEET,
    "DeleteEcsAccount",
    action="backfleet:DeleteEcsAccount",
    resources=ECS.one,
    answer={},
    errors=(EcsAccountNotFound, EcsAccountInUse),
)
def delete_ecs_account(call: Call, asked: OneCloudAccount) -> dict[str, Any]:
    """Delete a cloud account that no instance is reached through, and its imports."""
    return ECS.delete(call, asked)


@operation(
    BACKFLEET,
    "ImportEcsInstances",
    action="backfleet:ImportEcsInstances",
    resources=ECS.one,
    answer={"ImportId": str, "Found": int},
    errors=(EcsAccountNotFound, EcsRefused, TooManyEcsEntries),
)
def import_ecs_instances(call: Call, asked: ImportEcsInstances) -> dict[str, Any]:
    """Register instances of a cloud account, and keep them up to date: new ones come, and released ones go.

    The cloud is asked once before this answers, so that a wrong key, region or permission is an error here; for at
    most 20 s, and `Found` is how many it named by then. The instances are there within seconds, and can be ordered to
    once they have said which processor they have.
    """
    return ECS.start_import(call, asked)


@operation(
    BACKFLEET,
    "ListEcsImports",
    action="backfleet:ListEcsImports",
    resources=ECS.every,
    answer={"Imports": [ECS_IMPORT]},
)
def list_ecs_imports(call: Call, asked: NoParameters) -> dict[str, Any]:
    """List what is imported from cloud accounts, when each selection was last read, and what was wrong then."""
    return ECS.list_imports(call, _shown)


@operation(
    BACKFLEET,
    "DeleteEcsImport",
    action="backfleet:DeleteEcsImport",
    resources=ECS.every,
    answer={},
    errors=(EcsImportNotFound,),
)
def delete_ecs_import(call: Call, asked: OneImport) -> dict[str, Any]:
    """Import nothing more for a selection. Its instances stay until they are deregistered or released."""
    return ECS.delete_import(call, asked)


def _shown(one: EcsImport) -> dict[str, Any]:
    return shown_import(one) | {"ResourceGroupId": one.selection.resource_group}
