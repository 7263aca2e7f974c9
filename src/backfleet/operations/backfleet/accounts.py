"""Accounts of this installation. The administrator account makes the others."""

from typing import Any

from backfleet import identity
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.operations.hbr.answers import seconds
from backfleet.values import value_object
from backfleet.wire.errors import OperationConflict
from backfleet.wire.parameters import text


@value_object
class CreateAccount:
    """The name of an account, for people; it need not be unique."""

    name: str = text("AccountName", required=True, longest=64)


@value_object
class ListAccounts:
    """No parameters."""


@operation(
    BACKFLEET,
    "CreateAccount",
    action="backfleet:CreateAccount",
    needs_tls=True,
    administrator_only=True,
    answer={"AccountId": str, "AccountName": str, "AccessKeyId": str, "AccessKeySecret": str},
    errors=(OperationConflict,),
)
def create_account(call: Call, asked: CreateAccount) -> dict[str, Any]:
    """Make an account and its root key. This answer is the only place that has the secret unsealed."""
    services = call.services
    with services.database.transaction() as tx:
        try:
            made = identity.create_account(tx, services.vault, asked.name, now=call.now, draw=services.draw)
        except identity.LimitReached as problem:
            raise OperationConflict(f"There are {problem.limit} accounts, and no more can be made.") from None
    return {
        "AccountId": made.account_id,
        "AccountName": asked.name,
        "AccessKeyId": made.access_key_id,
        "AccessKeySecret": made.access_key_secret,
    }


@operation(
    BACKFLEET,
    "ListAccounts",
    action="backfleet:ListAccounts",
    administrator_only=True,
    answer={"Accounts": [{"AccountId": str, "AccountName": str, "CreatedTime": int, "IsOperator": bool}]},
)
def list_accounts(call: Call, asked: ListAccounts) -> dict[str, Any]:
    """List every account, oldest first."""
    with call.services.database.reading() as tx:
        found = identity.list_accounts(tx)
    return {
        "Accounts": [
            {
                "AccountId": account.id,
                "AccountName": account.name,
                "CreatedTime": seconds(account.created_at),
                "IsOperator": account.is_administrator,
            }
            for account in found
        ]
    }
