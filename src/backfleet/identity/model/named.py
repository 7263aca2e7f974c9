"""What an account has by name: users, groups, roles and identity providers; and the access keys of users."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta

from backfleet.values import value_object


@value_object
class User:
    """A user of an account."""

    id: str
    name: str
    display_name: str
    comments: str
    email: str
    mobile_phone: str
    created_at: datetime
    updated_at: datetime


@value_object
class Group:
    """A group of users."""

    id: str
    name: str
    comments: str
    created_at: datetime
    updated_at: datetime


@value_object
class Role:
    """A role of an account."""

    id: str
    account_id: str
    name: str
    description: str
    trust: str  # the trust policy, as JSON
    max_session: timedelta
    created_at: datetime
    updated_at: datetime
    tags: Mapping[str, str] = field(default_factory=dict)
    service: str = ""  # the service that owns this role; "" for a role of the account's own

    @property
    def arn(self) -> str:
        """The name of the role in policies."""
        return f"acs:ram::{self.account_id}:role/{self.name}"


@value_object
class Provider:
    """An identity provider of an account."""

    id: str
    account_id: str
    name: str
    issuer: str
    client_ids: tuple[str, ...]
    keys: str  # a JSON Web Key Set
    description: str
    created_at: datetime
    updated_at: datetime

    @property
    def arn(self) -> str:
        """The name of the provider in trust policies."""
        return f"acs:ram::{self.account_id}:oidc-provider/{self.name}"


@value_object
class AccessKey:
    """An access key without its secret."""

    id: str
    active: bool
    created_at: datetime


@value_object
class NewAccessKey:
    """An access key with its secret, which is shown this once. `repr` leaves the secret out."""

    account_id: str
    access_key_id: str
    access_key_secret: str = field(repr=False)
    created_at: datetime
