"""Policies, their versions, and who has them."""

from datetime import datetime
from enum import StrEnum
from typing import Final

from backfleet.values import value_object

CUSTOM: Final = "Custom"
SYSTEM: Final = "System"


class HolderKind(StrEnum):
    """What a policy can be attached to."""

    USER = "User"
    GROUP = "Group"
    ROLE = "Role"


@value_object
class Policy:
    """A policy. System policies have no dates: they come with the program."""

    name: str
    kind: str  # System or Custom
    description: str
    document: str
    created_at: datetime | None = None
    updated_at: datetime | None = None
    version: int = 1  # number of the default version; always 1 for system policies
    attached: int = 0  # to how many users, groups and roles of the account
    attached_at: datetime | None = None  # to the holder that was asked for


@value_object
class PolicyVersion:
    """One version of a policy. The default version is in force."""

    number: int
    document: str
    is_default: bool
    created_at: datetime | None = None


@value_object
class Holder:
    """A user, group or role that a policy is attached to."""

    kind: str  # User, Group or Role
    id: str
    name: str
    note: str  # display name of a user, comments of a group, description of a role
    attached_at: datetime
