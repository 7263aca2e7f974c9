"""Accounts, and pairs of them."""

from datetime import datetime

from backfleet.values import value_object


@value_object
class Account:
    """A tenant."""

    id: str
    name: str
    created_at: datetime
    is_administrator: bool  # the first account, which runs this installation


@value_object
class AccountPair:
    """An account that may act in another account, by one of the other's roles."""

    id: int
    account_id: str
    other_account_id: str
    role_name: str
    alias: str
    created_at: datetime
    updated_at: datetime
