"""Accounts, and pairs of them."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant."""

    id: str
    name: str
    created_at: datetime
    is_administrator: bool  # the first account, which runs this installation


@dataclass(frozen=True, slots=True)
class AccountPair:
    """An account that may act in another account, by one of the other's roles."""

    id: int
    account_id: str
    other_account_id: str
    role_name: str
    alias: str
    created_at: datetime
    updated_at: datetime
