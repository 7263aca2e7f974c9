"""Cloud accounts of the carrier `ecs`, and what is imported from them."""

import re
from dataclasses import dataclass
from typing import Any, Final

from backfleet.carriers import ecs
from backfleet.carriers.ecs import EcsAccount, EcsHost, EcsImport, EcsProblem, Source
from backfleet.fleet import CarrierKind
from backfleet.operations.backfleet.clouds import BOX, import_from
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.operations.hbr.answers import seconds
from backfleet.operations.tags import Tag, tag_type
from backfleet.storage import Conflict
from backfleet.wire.errors import ApiError, InvalidParameter, MissingParameter
from backfleet.wire.parameters import repeat, repeat_objects, text
from backfleet.wire.shapes import Maybe

MOST_IDS: Final = 100
MOST_TAGS: Final = 20
ENDPOINT: Final = r"[A-Za-z0-9.-]{1,200}(:[0-9]{1,5})?"
MIRROR: Final = r"https?://[A-Za-z0-9.-]{1,200}(:[0-9]{1,5})?(/[A-Za-z0-9._~-]{1,100}){0,10}/?"
LONGEST_MIRROR_AUTHORITY: Final = 4096  # characters: it is part of every command, of which the cloud takes 24 KB
ACCOUNT: Final = {
    **dict.fromkeys(
        ("Name", "CredentialSource", "KeyId", "SourceName", "RoleArn", "Endpoint", "StsEndpoint",
         "DownloadsAddress", "DownloadsUrl", "ProblemCode", "Problem"), str),
    "CreatedTime": int,
    "AskedTime": Maybe(int),
}  # fmt: skip
IMPORT: Final = {
    **dict.fromkeys(("ImportId", "AccountName", "RegionId", "ResourceGroupId", "ProblemCode", "Problem"), str),
    "InstanceIds": [str],
    "Tags": [{"Key": str, "Value": str}],
    "Found": int,
    "CreatedTime": int,
    "SyncedTime": Maybe(int),
}


class EcsAccountNotFound(ApiError):
    """The account has no cloud account of this name."""

    code = "EcsAccountNotFound"
    status = 404

    def __init__(self) -> None:
        super().__init__("This account has no cloud account of this name. CreateEcsAccount makes one.")


class EcsAccountExists(ApiError):
    """The account has a cloud account of this name."""

    code = "EntityAlreadyExists.EcsAccount"
    status = 409

    def __init__(self) -> None:
        super().__init__("This account has a cloud account of this name. Delete it first, or choose another name.")


class EcsAccountInUse(ApiError):
    """Instances are imported from this cloud account."""

    code = "DeleteConflict.EcsAccount"
    status = 409

    def __init__(self, hosts: int = 1) -> None:
        super().__init__(f"{hosts} instance(s) are reached through this cloud account. Deregister them first.")


class EcsImportNotFound(ApiError):
    """The account has no such import."""

    code = "EcsImportNotFound"
    status = 404

    def __init__(self) -> None:
        super().__init__("This account has no such import. ListEcsImports has them all.")


class TooManyEcsEntries(ApiError):
    """The account has as many cloud accounts, or imports, as it may."""

    code = "QuotaExceeded.Ecs"
    status = 409

    def __init__(self) -> None:
        super().__init__("The account has as many cloud accounts, or imports from them, as it may.")


class EcsRefused(ApiError):
    """The cloud refused what was asked of it, or was not reached."""

    code = "EcsRefused"
    status = 409

    def __init__(self, problem: EcsProblem | None = None) -> None:
        super().__init__(f"{problem.code}: {problem.message}" if problem else "The cloud refused it.")


@dataclass(frozen=True, slots=True)
class CreateEcsAccount:
    """A name, credentials, and where the cloud is."""

    name: str = text("Name", required=True, longest=64, pattern=ecs.NAME)
    source: str = text("CredentialSource", default=Source.KEY.value, choices=[each.value for each in Source])
    key_id: str | None = text("KeyId", longest=128)
    secret: str | None = text("KeySecret", longest=256, secret=True)
    source_name: str = text("SourceName", default="", longest=64)
    role_arn: str | None = text("RoleArn", longest=255, pattern=r"acs:ram::[0-9]{1,20}:role/[A-Za-z0-9._-]{1,64}")
    external_id: str | None = text("ExternalId", longest=1224, secret=True)
    endpoint: str | None = text("Endpoint", longest=206, pattern=ENDPOINT)
    sts_endpoint: str | None = text("StsEndpoint", longest=206, pattern=ENDPOINT)
    authority: str = text("Authority", default="", longest=65_536, raw=True)
    address: str | None = text("DownloadsAddress", longest=206, pattern=ENDPOINT)
    mirror: str = text("DownloadsUrl", default="", longest=500)
    mirror_authority: str = text("DownloadsAuthority", default="", longest=LONGEST_MIRROR_AUTHORITY, raw=True)


@dataclass(frozen=True, slots=True)
class OneEcsAccount:
    """A cloud account."""

    name: str = text("Name", required=True, longest=64, pattern=ecs.NAME)


@dataclass(frozen=True, slots=True)
class NoParameters:
    """Nothing."""


@dataclass(frozen=True, slots=True)
class ImportEcsInstances:
    """A cloud account, one of its regions, and which instances there: all conditions must be met."""

    name: str = text("AccountName", required=True, longest=64, pattern=ecs.NAME)
    cloud_region: str = text("CloudRegionId", required=True, longest=64, pattern=ecs.REGION)
    instance_ids: tuple[str, ...] = repeat("InstanceIds", most=MOST_IDS)
    tags: tuple[Tag, ...] = repeat_objects("Tag", of=tag_type(longest_key=128), most=MOST_TAGS)
    resource_group: str = text("ResourceGroupId", default="", longest=64)


@dataclass(frozen=True, slots=True)
class OneEcsImport:
    """An import."""

    import_id: str = text("ImportId", required=True, longest=64)


def every_account(call: Call, asked: Any) -> list[str]:
    """Return the ARN of an account's cloud accounts."""
    return [f"acs:backfleet:{call.region}:{call.account_id}:ecs-account/*"]


def one_account(call: Call, asked: Any) -> list[str]:
    """Return the ARN of the cloud account that a request names."""
    return [f"acs:backfleet:{call.region}:{call.account_id}:ecs-account/{getattr(asked, 'name', '')}"]


@operation(
    BACKFLEET,
    "CreateEcsAccount",
    action="backfleet:CreateEcsAccount",
    resources=one_account,
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
    made = account_of(call, asked, CarrierKind.ECS)
    try:
        with call.services.database.transaction() as tx:
            ecs.add_account(tx, made)
    except (ecs.AccountExists, Conflict):
        raise EcsAccountExists from None
    except ecs.TooMany:
        raise TooManyEcsEntries from None
    return shown_account(made)


def account_of(call: Call, asked: Any, cloud: CarrierKind) -> EcsAccount:
    """Return the cloud account that a request describes, with its secrets sealed.

    Args:
        call: the call.
        asked: CreateEcsAccount, or what has its fields.
        cloud: the carrier of its instances.
    """
    source, seal = Source(asked.source), call.services.vault.box(BOX).seal
    sealed = ""
    if source is Source.KEY:
        for name, value in (("KeyId", asked.key_id), ("KeySecret", asked.secret)):
            if not value:
                raise MissingParameter(name)
        sealed = seal(asked.secret or "")
    elif asked.key_id or asked.secret:
        raise InvalidParameter(f"`KeyId` is for the CredentialSource `key`, not for `{source.value}`.")
    if source is Source.PROFILE and not asked.source_name:
        raise MissingParameter("SourceName")
    _check_certificate("Authority", asked.authority)
    _check_mirror(asked)
    return EcsAccount(
        account_id=call.account_id,
        name=asked.name,
        source=source,
        created_at=call.now,
        key_id=asked.key_id or "",
        sealed=sealed,
        source_name=asked.source_name,
        role_arn=asked.role_arn or "",
        external_id=seal(asked.external_id) if asked.external_id else "",
        endpoint=asked.endpoint or "",
        sts_endpoint=asked.sts_endpoint or "",
        authority=asked.authority,
        address=asked.address or "",
        mirror=asked.mirror.rstrip("/"),
        mirror_authority=asked.mirror_authority,
        cloud=cloud,
    )


def _check_mirror(asked: Any) -> None:
    if asked.mirror and (not re.fullmatch(MIRROR, asked.mirror) or "/.." in asked.mirror):
        raise InvalidParameter("`DownloadsUrl` is like https://bucket.oss-cn-beijing.aliyuncs.com/prefix: no more.")
    if asked.mirror_authority and not asked.mirror.startswith("https://"):
        raise InvalidParameter("`DownloadsAuthority` is for a `DownloadsUrl` that begins with https://.")
    _check_certificate("DownloadsAuthority", asked.mirror_authority)


def _check_certificate(name: str, pem: str) -> None:
    if pem and not re.search(r"-----BEGIN CERTIFICATE-----.+-----END CERTIFICATE-----", pem, re.S):
        raise InvalidParameter(f"`{name}` is no certificate in PEM form.")


@operation(
    BACKFLEET,
    "ListEcsAccounts",
    action="backfleet:ListEcsAccounts",
    resources=every_account,
    answer={"Accounts": [ACCOUNT]},
)
def list_ecs_accounts(call: Call, asked: NoParameters) -> dict[str, Any]:
    """List the account's cloud accounts by name, without their secrets, and what is wrong with each."""
    with call.services.database.reading() as tx:
        return {"Accounts": [shown_account(each) for each in ecs.accounts_of(tx, call.account_id, CarrierKind.ECS)]}


@operation(
    BACKFLEET,
    "DeleteEcsAccount",
    action="backfleet:DeleteEcsAccount",
    resources=one_account,
    answer={},
    errors=(EcsAccountNotFound, EcsAccountInUse),
)
def delete_ecs_account(call: Call, asked: OneEcsAccount) -> dict[str, Any]:
    """Delete a cloud account that no instance is reached through, and its imports."""
    try:
        with call.services.database.transaction() as tx:
            ecs.delete_account(tx, call.account_id, asked.name, CarrierKind.ECS)
    except ecs.AccountNotFound:
        raise EcsAccountNotFound from None
    except ecs.AccountInUse as problem:
        raise EcsAccountInUse(problem.hosts) from None
    return {}


@operation(
    BACKFLEET,
    "ImportEcsInstances",
    action="backfleet:ImportEcsInstances",
    resources=lambda call, asked: [f"acs:backfleet:{call.region}:{call.account_id}:ecs-account/{asked.name}"],
    answer={"ImportId": str, "Found": int},
    errors=(EcsAccountNotFound, EcsRefused, TooManyEcsEntries),
)
def import_ecs_instances(call: Call, asked: ImportEcsInstances) -> dict[str, Any]:
    """Register instances of a cloud account, and keep them up to date: new ones come, and released ones go.

    The cloud is asked once before this answers, so that a wrong key, region or permission is an error here; for at
    most 20 s, and `Found` is how many it named by then. The instances are there within seconds, and can be ordered to
    once they have said which processor they have.
    """
    try:
        return import_from(call, asked, CarrierKind.ECS)
    except ecs.AccountNotFound:
        raise EcsAccountNotFound from None
    except EcsProblem as problem:
        raise EcsRefused(problem) from None
    except ecs.TooMany:
        raise TooManyEcsEntries from None


@operation(
    BACKFLEET,
    "ListEcsImports",
    action="backfleet:ListEcsImports",
    resources=every_account,
    answer={"Imports": [IMPORT]},
)
def list_ecs_imports(call: Call, asked: NoParameters) -> dict[str, Any]:
    """List what is imported from cloud accounts, when each selection was last read, and what was wrong then."""
    with call.services.database.reading() as tx:
        return {"Imports": [shown_import(each) for each in ecs.imports_of(tx, call.account_id, CarrierKind.ECS)]}


@operation(
    BACKFLEET,
    "DeleteEcsImport",
    action="backfleet:DeleteEcsImport",
    resources=every_account,
    answer={},
    errors=(EcsImportNotFound,),
)
def delete_ecs_import(call: Call, asked: OneEcsImport) -> dict[str, Any]:
    """Import nothing more for a selection. Its instances stay until they are deregistered or released."""
    with call.services.database.transaction() as tx:
        if not ecs.delete_import(tx, call.account_id, asked.import_id, CarrierKind.ECS):
            raise EcsImportNotFound
    return {}


def ecs_of(host: EcsHost | None, name: str) -> dict[str, Any]:
    """Return what DescribeInstance shows, under this name, of what a cloud says of an instance."""
    if host is None:
        return {}
    found: dict[str, Any] = {
        "AccountName": host.ecs_account,
        "RegionId": host.region,
        "InstanceId": host.remote_id,
        "ProblemCode": host.problem_code,
        "Problem": host.problem,
    }
    return {name: found | ({"AskedTime": seconds(host.asked_at)} if host.asked_at else {})}


def shown_account(account: EcsAccount) -> dict[str, Any]:
    """Return what is shown of a cloud account."""
    return {
        "Name": account.name,
        "CredentialSource": account.source.value,
        "KeyId": account.key_id,
        "SourceName": account.source_name,
        "RoleArn": account.role_arn,
        "Endpoint": account.endpoint,
        "StsEndpoint": account.sts_endpoint,
        "DownloadsAddress": account.address,
        "DownloadsUrl": account.mirror,
        "ProblemCode": account.problem_code,
        "Problem": account.problem,
        "CreatedTime": seconds(account.created_at),
        **({"AskedTime": seconds(account.asked_at)} if account.asked_at else {}),
    }


def shown_import(one: EcsImport) -> dict[str, Any]:
    """Return what is shown of an import."""
    return {
        "ImportId": one.import_id,
        "AccountName": one.ecs_account,
        "RegionId": one.selection.region,
        "InstanceIds": list(one.selection.instance_ids),
        "Tags": [{"Key": key, "Value": value} for key, value in one.selection.tags],
        "ResourceGroupId": one.selection.resource_group,
        "Found": one.found,
        "ProblemCode": one.problem_code,
        "Problem": one.problem,
        "CreatedTime": seconds(one.created_at),
        **({"SyncedTime": seconds(one.synced_at)} if one.synced_at else {}),
    }
