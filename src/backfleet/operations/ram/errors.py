"""RAM's refusals: families of codes with the kind of thing in them. Source: RAM 2015-05-01, error messages."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from backfleet import identity
from backfleet.identity.policy import MalformedPolicy
from backfleet.wire.errors import ApiError

TEXTS: Final = {
    "EntityNotExist.User": "The user does not exist.",
    "EntityNotExist.User.AccessKey": "The user access key does not exist.",
    "EntityNotExist.User.Policy": "The indicate policy of the user does not exist.",
    "EntityNotExist.Policy": "The policy does not exist.",
    "EntityAlreadyExists.User": "The user does already exist.",
    "EntityAlreadyExists.User.Policy": "The user has already been attached this policy.",
    "EntityAlreadyExists.Policy": "The policy does already exist.",
    "DeleteConflict.User.AccessKey": "The user can not have any access key while deleting the user.",
    "DeleteConflict.User.Policy": "The user can not have any attached policy while deleting the user.",
    "DeleteConflict.Policy.User": "The policy can not be attached to any user while deleting the policy.",
    "DeleteConflict.Account.AccessKey": "The account must keep an active access key of its own: nobody could get in.",
    "LimitExceeded.User": "The count of users beyond the current limits.",
    "LimitExceeded.User.AccessKey": "The access key count of the user access keys beyond the current limits.",
    "LimitExceeded.User.Policy": "The policy count of the user attached policies beyond the current limits.",
    "LimitExceeded.Policy": "The count of policies beyond the current limits.",
}

FAULTS: Final = {
    "Length": 'The parameter - "{}" beyond the length limit.',
    "InvalidChars": 'The parameter - "{}" contains invalid chars.',
    "Format": 'The format of the parameter - "{}" is incorrect.',
}


class RamRefusal(ApiError):
    """A refusal of one of the families; its code is `<family>.<kind>`."""

    def __init__(self, family: str, kind: str, status: int, found: str) -> None:
        code = f"{family}.{kind}"
        self.code, self.status = code, status  # type: ignore[misc]  # a family, not one code
        super().__init__(f"{TEXTS.get(code, code)} {found}")


class BadParameter(ApiError):
    """A parameter's value is not one RAM takes; `told` says what it takes."""

    status = 400

    def __init__(self, parameter: str, fault: str, told: str) -> None:
        self.code = f"InvalidParameter.{parameter}.{fault}"  # type: ignore[misc]  # a family, not one code
        super().__init__(f"{FAULTS[fault].format(parameter)} {told}")


class BadPolicyType(ApiError):
    """Neither System nor Custom."""

    code = "InvalidParameter.PolicyType"
    status = 400

    def __init__(self) -> None:
        super().__init__('The parameter - "PolicyType" is incorrect. It is System or Custom.')


class NoResourceGroups(ApiError):
    """Asked to attach a policy for a resource group: it would hold for the whole account here."""

    code = "InvalidParameter.ResourceGroupId"
    status = 400

    def __init__(self) -> None:
        super().__init__("There are no resource groups here. Leave ResourceGroupId out to attach to the whole account.")


class MalformedPolicyDocument(ApiError):
    """The policy could not be carried out to the letter."""

    code = "MalformedPolicyDocument"
    status = 400

    def __init__(self, why: str) -> None:
        super().__init__(f"The policy document is refused: {why}.")


@contextmanager
def in_rams_words() -> Iterator[None]:
    """Say the room's refusals as RAM does."""
    try:
        yield
    except identity.NotFound as no:
        raise RamRefusal("EntityNotExist", no.kind, 404, f"Name: {no.name[:128]!r}.") from None
    except identity.AlreadyExists as no:
        raise RamRefusal("EntityAlreadyExists", no.kind, 409, f"Name: {no.name[:128]!r}.") from None
    except identity.StillInUse as no:
        raise RamRefusal("DeleteConflict", no.kind, 409, f"Name: {no.name[:128]!r}.") from None
    except identity.LimitReached as no:
        raise RamRefusal("LimitExceeded", no.kind, 409, f"Limit: {no.limit}.") from None
    except MalformedPolicy as no:
        raise MalformedPolicyDocument(str(no)) from None
