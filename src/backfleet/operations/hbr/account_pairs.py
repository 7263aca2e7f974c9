"""AddCrossAccount, DescribeCrossAccounts, DeleteCrossAccount, CheckRole: which other accounts are looked after."""

from dataclasses import dataclass
from typing import Any, Final

from backfleet import identity
from backfleet.operations.catalogue import HBR, Call, operation
from backfleet.operations.hbr.answers import COMMON, common, seconds
from backfleet.operations.hbr.cross_account import CROSS_ACCOUNT, LARGEST_ID, act_in, has_linked_role
from backfleet.operations.hbr.errors import (
    AssumeRoleFailed,
    NotInDirectory,
    PairNotFound,
    RoleNotExist,
    TooManyPairs,
)
from backfleet.wire.errors import InvalidParameter, MissingParameter
from backfleet.wire.parameters import integer, text
from backfleet.wire.shapes import Maybe

BY_DIRECTORY: Final = "CROSS_ACCOUNT_BY_RD"
TYPES: Final = (CROSS_ACCOUNT, BY_DIRECTORY)
ROLE_TYPES: Final = (
    "EcsRole", "CsgRole", "NasRole", "OssRole", "UdmRole", "VMwareLocalRole", "VMwareCloudRole", "EcsBackupRole",
    "OtsRole", "CrossAccountRole",
)  # fmt: skip
NO_LINKED_ROLE: Final = "CrossAccountBackupSlrNotExist"


@dataclass(frozen=True, slots=True)
class AddCrossAccount:
    """Which account, by which of its roles, and how it is called here."""

    user_id: int = integer("CrossAccountUserId", required=True, least=0, most=LARGEST_ID)
    role_name: str | None = text("CrossAccountRoleName", longest=64)
    kind: str = text("CrossAccountType", default=CROSS_ACCOUNT, choices=TYPES)
    alias: str = text("Alias", default="", longest=32)


@dataclass(frozen=True, slots=True)
class DescribeCrossAccounts:
    """Which page."""

    page_number: int = integer("PageNumber", default=1, least=1, most=1_000_000)
    page_size: int = integer("PageSize", default=10, least=1, most=99)


@dataclass(frozen=True, slots=True)
class DeleteCrossAccount:
    """Which pair."""

    user_id: int = integer("CrossAccountUserId", required=True, least=0, most=LARGEST_ID)
    role_name: str = text("CrossAccountRoleName", required=True, longest=64)
    kind: str = text("CrossAccountType", default=CROSS_ACCOUNT, choices=TYPES)


@dataclass(frozen=True, slots=True)
class CheckRole:
    """Which role; of another account, if it is one by which it is looked after."""

    kind: str | None = text("CheckRoleType", choices=ROLE_TYPES)
    user_id: int | None = integer("CrossAccountUserId", least=0, most=LARGEST_ID)
    role_name: str | None = text("CrossAccountRoleName", longest=64)


@operation(
    HBR,
    "AddCrossAccount",
    action="hbr:AddCrossAccount",
    answer=COMMON,
    errors=(RoleNotExist, AssumeRoleFailed, NotInDirectory, TooManyPairs),
)
def add_cross_account(call: Call, asked: AddCrossAccount) -> dict[str, Any]:
    """Register another account. Its role must be there and trust this account or the service.

    The same pair again changes its alias.
    """
    if asked.kind == BY_DIRECTORY:
        raise NotInDirectory
    if asked.role_name is None:
        raise MissingParameter("CrossAccountRoleName")
    other, services = str(asked.user_id), call.services
    if other == call.account_id:
        raise InvalidParameter("CrossAccountUserId is this account itself; it needs no role to look after its own.")
    with services.database.transaction() as tx:
        act_in(tx, call, other, asked.role_name, paired=True)
        try:
            identity.pair_accounts(
                tx, call.account_id, other, asked.role_name, alias=asked.alias, now=call.now, draw=services.draw
            )
        except identity.LimitReached as no:
            raise TooManyPairs(no.limit) from None
    return common()


@operation(
    HBR,
    "DescribeCrossAccounts",
    action="hbr:DescribeCrossAccounts",
    answer={
        **COMMON,
        "CrossAccounts": {
            "CrossAccount": [
                {
                    "Id": int,
                    "OwnerId": int,
                    "CrossAccountUserId": int,
                    "CrossAccountRoleName": str,
                    "CrossAccountType": str,
                    "Alias": Maybe(str),
                    "CreatedTime": int,
                    "UpdatedTime": int,
                }
            ]
        },
        "PageNumber": int,
        "PageSize": int,
        "TotalCount": int,
    },
)
def describe_cross_accounts(call: Call, asked: DescribeCrossAccounts) -> dict[str, Any]:
    """The registered accounts, oldest first."""
    offset = (asked.page_number - 1) * asked.page_size
    with call.services.database.reading() as tx:
        found, total = identity.list_pairs(tx, call.account_id, offset=offset, limit=asked.page_size)
    return common(
        CrossAccounts={"CrossAccount": [_shown(pair) for pair in found]},
        PageNumber=asked.page_number,
        PageSize=asked.page_size,
        TotalCount=total,
    )


@operation(HBR, "DeleteCrossAccount", action="hbr:DeleteCrossAccount", answer=COMMON, errors=(PairNotFound,))
def delete_cross_account(call: Call, asked: DeleteCrossAccount) -> dict[str, Any]:
    """Forget a registered account. What is under way there goes on."""
    with call.services.database.transaction() as tx:
        try:
            identity.unpair_accounts(tx, call.account_id, str(asked.user_id), asked.role_name)
        except identity.NotFound:
            raise PairNotFound from None
    return common()


@operation(HBR, "CheckRole", action=None, needs_tls=True, answer=COMMON, errors=(RoleNotExist, AssumeRoleFailed))
def check_role(call: Call, asked: CheckRole) -> dict[str, Any]:
    """Whether a role that is needed is there. For its own instances an account needs none here.

    That the account's own service-linked role is missing is told under HTTP 200, as the cloud does.
    """
    if asked.kind != "CrossAccountRole":
        return common()
    with call.services.database.reading() as tx:
        if not has_linked_role(tx, call.account_id):
            text = "AliyunServiceRoleForHbrCrossAccountBackup doesn't exist, please create this role."
            return {"Code": NO_LINKED_ROLE, "Message": text, "Success": False}
        if asked.user_id is not None and asked.role_name is not None:
            other = str(asked.user_id)
            paired = identity.are_paired(tx, call.account_id, other, asked.role_name)
            act_in(tx, call, other, asked.role_name, paired=paired)
    return common()


def _shown(pair: identity.AccountPair) -> dict[str, Any]:
    return {
        "Id": pair.id,
        "OwnerId": int(pair.account_id),
        "CrossAccountUserId": int(pair.other_account_id),
        "CrossAccountRoleName": pair.role_name,
        "CrossAccountType": CROSS_ACCOUNT,
        "Alias": pair.alias,
        "CreatedTime": seconds(pair.created_at),
        "UpdatedTime": seconds(pair.updated_at),
    }
