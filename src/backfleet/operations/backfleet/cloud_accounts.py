"""What the operations on every cloud's accounts and imports have in common: requests, answers, refusals."""

import re
from collections.abc import Callable
from typing import Any, ClassVar, Final

from backfleet.carriers import ecs
from backfleet.carriers.ecs import EcsAccount, EcsHost, EcsImport, EcsProblem, Source
from backfleet.fleet import CarrierKind
from backfleet.operations.backfleet.clouds import BOX, import_from
from backfleet.operations.catalogue import Call
from backfleet.operations.hbr.answers import seconds
from backfleet.operations.tags import Tag, tag_type
from backfleet.storage import Conflict
from backfleet.values import value_object
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
    **dict.fromkeys(("ImportId", "AccountName", "RegionId", "ProblemCode", "Problem"), str),
    "InstanceIds": [str],
    "Tags": [{"Key": str, "Value": str}],
    "Found": int,
    "CreatedTime": int,
    "SyncedTime": Maybe(int),
}


class CloudAccountNotFound(ApiError):
    """The account has no account of this cloud of this name."""

    status = 404
    text: ClassVar[str]

    def __init__(self) -> None:
        super().__init__(self.text)


class CloudAccountExists(ApiError):
    """The account has a cloud account of this name, of whichever cloud."""

    status = 409

    def __init__(self) -> None:
        super().__init__("This account has a cloud account of this name. Delete it first, or choose another name.")


class CloudAccountInUse(ApiError):
    """Instances are imported from this account of the cloud. `what` is how it is called."""

    status = 409
    what: ClassVar[str]

    def __init__(self, hosts: int = 1) -> None:
        super().__init__(f"{hosts} instance(s) are reached through {self.what}. Deregister them first.")


class CloudImportNotFound(ApiError):
    """The account has no such import from this cloud."""

    status = 404
    text: ClassVar[str]

    def __init__(self) -> None:
        super().__init__(self.text)


class TooManyCloudEntries(ApiError):
    """The account has as many cloud accounts, or imports, as it may."""

    status = 409

    def __init__(self) -> None:
        super().__init__("The account has as many cloud accounts, or imports from them, as it may.")


class CloudRefused(ApiError):
    """The cloud refused what was asked of it, or was not reached."""

    status = 409

    def __init__(self, problem: EcsProblem) -> None:
        super().__init__(f"{problem.code}: {problem.message}")


@value_object
class AnyCloudAccount:
    """A name, credentials, and where the cloud is."""

    name: str = text("Name", required=True, longest=64, pattern=ecs.NAME)
    source: str = text("CredentialSource", default=Source.KEY.value, choices=[each.value for each in Source])
    key_id: str | None = text("KeyId", longest=128)
    secret: str | None = text("KeySecret", longest=256, secret=True)
    source_name: str = text("SourceName", default="", longest=64)
    role_arn: str | None = text("RoleArn", longest=255)
    external_id: str | None = text("ExternalId", longest=1224, secret=True)
    endpoint: str | None = text("Endpoint", longest=206, pattern=ENDPOINT)
    sts_endpoint: str | None = text("StsEndpoint", longest=206, pattern=ENDPOINT)
    authority: str = text("Authority", default="", longest=65_536, raw=True)
    address: str | None = text("DownloadsAddress", longest=206, pattern=ENDPOINT)
    mirror: str = text("DownloadsUrl", default="", longest=500)
    mirror_authority: str = text("DownloadsAuthority", default="", longest=LONGEST_MIRROR_AUTHORITY, raw=True)


@value_object
class AnyImport:
    """A cloud account, one of its regions, and which instances there: all conditions must be met."""

    name: str = text("AccountName", required=True, longest=64, pattern=ecs.NAME)
    cloud_region: str = text("CloudRegionId", required=True, longest=64, pattern=ecs.REGION)
    instance_ids: tuple[str, ...] = repeat("InstanceIds", most=MOST_IDS)
    tags: tuple[Tag, ...] = repeat_objects("Tag", of=tag_type(longest_key=128), most=MOST_TAGS)


@value_object
class OneCloudAccount:
    """A cloud account."""

    name: str = text("Name", required=True, longest=64, pattern=ecs.NAME)


@value_object
class OneImport:
    """An import."""

    import_id: str = text("ImportId", required=True, longest=64)


@value_object
class NoParameters:
    """Nothing."""


@value_object
class CloudAccounts:
    """The accounts of one cloud: what its operations do, and how they refuse."""

    cloud: CarrierKind
    not_found: type[CloudAccountNotFound]
    exists: type[CloudAccountExists]
    in_use: type[CloudAccountInUse]
    no_import: type[CloudImportNotFound]
    too_many: type[TooManyCloudEntries]
    refused: type[CloudRefused]

    def every(self, call: Call, asked: Any) -> list[str]:
        """Return the ARN of all of an account's accounts of this cloud."""
        return [f"acs:backfleet:{call.region}:{call.account_id}:{self.cloud.value}-account/*"]

    def one(self, call: Call, asked: Any) -> list[str]:
        """Return the ARN of the account of this cloud that a request names."""
        return [f"acs:backfleet:{call.region}:{call.account_id}:{self.cloud.value}-account/{asked.name}"]

    def create(self, call: Call, asked: AnyCloudAccount) -> dict[str, Any]:
        """Store what a request describes, with its secrets sealed; return the answer."""
        made = _account_of(call, asked, self.cloud)
        try:
            with call.services.database.transaction() as tx:
                ecs.add_account(tx, made)
        except (ecs.AccountExists, Conflict):
            raise self.exists from None
        except ecs.TooMany:
            raise self.too_many from None
        return _shown_account(made)

    def list(self, call: Call) -> dict[str, Any]:
        """Return the answer of a list of accounts."""
        with call.services.database.reading() as tx:
            return {"Accounts": [_shown_account(each) for each in ecs.accounts_of(tx, call.account_id, self.cloud)]}

    def delete(self, call: Call, asked: OneCloudAccount) -> dict[str, Any]:
        """Delete an account that no instance is reached through, and its imports; return the answer."""
        try:
            with call.services.database.transaction() as tx:
                ecs.delete_account(tx, call.account_id, asked.name, self.cloud)
        except ecs.AccountNotFound:
            raise self.not_found from None
        except ecs.AccountInUse as problem:
            raise self.in_use(problem.hosts) from None
        return {}

    def start_import(self, call: Call, asked: AnyImport) -> dict[str, Any]:
        """Ask the cloud for a selection, and keep it; return the answer."""
        try:
            return import_from(call, asked, self.cloud)
        except ecs.AccountNotFound:
            raise self.not_found from None
        except EcsProblem as problem:
            raise self.refused(problem) from None
        except ecs.TooMany:
            raise self.too_many from None

    def list_imports(self, call: Call, show: Callable[[EcsImport], dict[str, Any]]) -> dict[str, Any]:
        """Return the answer of a list of imports, each as `show` shows it."""
        with call.services.database.reading() as tx:
            return {"Imports": [show(each) for each in ecs.imports_of(tx, call.account_id, self.cloud)]}

    def delete_import(self, call: Call, asked: OneImport) -> dict[str, Any]:
        """Import nothing more for a selection; return the answer."""
        with call.services.database.transaction() as tx:
            if not ecs.delete_import(tx, call.account_id, asked.import_id, self.cloud):
                raise self.no_import
        return {}


def _account_of(call: Call, asked: AnyCloudAccount, cloud: CarrierKind) -> EcsAccount:
    """Return the account that a request describes, with its secrets sealed."""
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


def _check_mirror(asked: AnyCloudAccount) -> None:
    if asked.mirror and (not re.fullmatch(MIRROR, asked.mirror) or "/.." in asked.mirror):
        raise InvalidParameter("`DownloadsUrl` is like https://bucket.oss-cn-beijing.aliyuncs.com/prefix: no more.")
    if asked.mirror_authority and not asked.mirror.startswith("https://"):
        raise InvalidParameter("`DownloadsAuthority` is for a `DownloadsUrl` that begins with https://.")
    _check_certificate("DownloadsAuthority", asked.mirror_authority)


def _check_certificate(name: str, pem: str) -> None:
    if pem and not re.search(r"-----BEGIN CERTIFICATE-----.+-----END CERTIFICATE-----", pem, re.S):
        raise InvalidParameter(f"`{name}` is no certificate in PEM form.")


def host_of(host: EcsHost | None, name: str) -> dict[str, Any]:
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


def _shown_account(account: EcsAccount) -> dict[str, Any]:
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
        "Found": one.found,
        "ProblemCode": one.problem_code,
        "Problem": one.problem,
        "CreatedTime": seconds(one.created_at),
        **({"SyncedTime": seconds(one.synced_at)} if one.synced_at else {}),
    }
