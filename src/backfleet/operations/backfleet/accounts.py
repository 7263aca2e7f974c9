"""Accounts of this installation: the operator's makes the others."""

from dataclasses import dataclass
from typing import Any

from backfleet import identity
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.operations.hbr.answers import seconds
from backfleet.wire.errors import OperationConflict
from backfleet.wire.parameters import text


@dataclass(frozen=True, slots=True)
class CreateAccount:
    """How it is called; for people, not unique."""

    name: str = text("AccountName", required=True, longest=64)


@dataclass(frozen=True, slots=True)
class ListAccounts:
    """No parameters: there are not many."""


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
    """Another account and its root key. The secret is in this answer and, but for its sealed form, nowhere else."""
    services = call.services
    with services.database.transaction() as tx:
        try:
            made = identity.create_account(tx, services.vault, asked.name, now=call.now, draw=services.draw)
        except identity.LimitReached as no:
            raise OperationConflict(f"There are {no.limit} accounts; no more are taken.") from None
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
    """Every account, oldest first."""
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
