"""AddCrossAccount, DescribeCrossAccounts, DeleteCrossAccount, CheckRole: other accounts that an account manages."""

from typing import Any, Final

from backfleet import identity
from backfleet.operations.catalogue import HBR, Call, operation
from backfleet.operations.hbr.answers import COMMON, PAGE, common, page_answer, seconds
from backfleet.operations.hbr.cross_account import LARGEST_ID, assume_role, has_linked_role
from backfleet.operations.hbr.errors import (
    AssumeRoleFailed,
    NotInDirectory,
    PairNotFound,
    RoleNotExist,
    TooManyPairs,
)
from backfleet.operations.hbr.identifiers import CROSS_ACCOUNT
from backfleet.operations.hbr.requests import page_number, page_size
from backfleet.paging import Page
from backfleet.values import value_object
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


@value_object
class AddCrossAccount:
    """The account to register, which of its roles to use, and its name here."""

    user_id: int = integer("CrossAccountUserId", required=True, least=0, most=LARGEST_ID)
    role_name: str | None = text("CrossAccountRoleName", longest=64)
    kind: str = text("CrossAccountType", default=CROSS_ACCOUNT, choices=TYPES)
    alias: str = text("Alias", default="", longest=32)


@value_object
class DescribeCrossAccounts:
    """The page of the list."""

    page_number: int = page_number()
    page_size: int = page_size()


@value_object
class DeleteCrossAccount:
    """The registered account and role."""

    user_id: int = integer("CrossAccountUserId", required=True, least=0, most=LARGEST_ID)
    role_name: str = text("CrossAccountRoleName", required=True, longest=64)
    kind: str = text("CrossAccountType", default=CROSS_ACCOUNT, choices=TYPES)


@value_object
class CheckRole:
    """The role to check; for one of another account, that account too."""

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
    """Register another account. Its role must exist and trust this account or the service.

    To register the same pair again changes its alias.
    """
    if asked.kind == BY_DIRECTORY:
        raise NotInDirectory
    if asked.role_name is None:
        raise MissingParameter("CrossAccountRoleName")
    other, services = str(asked.user_id), call.services
    if other == call.account_id:
        raise InvalidParameter("CrossAccountUserId is this account itself; it needs no role to manage its own clients.")
    with services.database.transaction() as tx:
        assume_role(tx, call, other, asked.role_name, registering=True)
        try:
            identity.pair_accounts(
                tx, call.account_id, other, asked.role_name, alias=asked.alias, now=call.now, draw=services.draw
            )
        except identity.LimitReached as reached:
            raise TooManyPairs(reached.limit) from None
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
        **PAGE,
    },
)
def describe_cross_accounts(call: Call, asked: DescribeCrossAccounts) -> dict[str, Any]:
    """List the registered accounts, oldest first."""
    page = Page(asked.page_number, asked.page_size)
    with call.services.database.reading() as tx:
        found, total = identity.list_pairs(tx, call.account_id, offset=page.offset, limit=page.size)
    return common(
        CrossAccounts={"CrossAccount": [_pair_answer(pair) for pair in found]},
        **page_answer(page, total),
    )


@operation(HBR, "DeleteCrossAccount", action="hbr:DeleteCrossAccount", answer=COMMON, errors=(PairNotFound,))
def delete_cross_account(call: Call, asked: DeleteCrossAccount) -> dict[str, Any]:
    """Remove a registered account. Tasks that are under way there go on."""
    with call.services.database.transaction() as tx:
        try:
            identity.unpair_accounts(tx, call.account_id, str(asked.user_id), asked.role_name)
        except identity.NotFound:
            raise PairNotFound from None
    return common()


@operation(HBR, "CheckRole", action=None, needs_tls=True, answer=COMMON, errors=(RoleNotExist, AssumeRoleFailed))
def check_role(call: Call, asked: CheckRole) -> dict[str, Any]:
    """Check whether a role that is needed exists. For its own instances an account needs no role here.

    A missing service-linked role of the account itself is answered with HTTP 200, as in the cloud.
    """
    if asked.kind != "CrossAccountRole":
        return common()
    with call.services.database.reading() as tx:
        if not has_linked_role(tx, call.account_id):
            text = "AliyunServiceRoleForHbrCrossAccountBackup doesn't exist, please create this role."
            return {"Code": NO_LINKED_ROLE, "Message": text, "Success": False}
        if asked.user_id is not None and asked.role_name is not None:
            assume_role(tx, call, str(asked.user_id), asked.role_name)
    return common()


def _pair_answer(pair: identity.AccountPair) -> dict[str, Any]:
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
