"""Errors of RAM operations: families of codes, each with the kind of resource.

Source: RAM 2015-05-01, error messages.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import ClassVar, Final

from backfleet import identity
from backfleet.identity.policy import MalformedPolicy
from backfleet.wire.errors import ApiError

STATUSES: Final = {
    "EntityNotExist": 404,
    "EntityAlreadyExists": 409,
    "DeleteConflict": 409,
    "LimitExceeded": 409,
    "OperationDenied": 403,
}
"""The HTTP status of each family."""

TEXTS: Final = {
    "EntityNotExist.User": "The user does not exist.",
    "EntityNotExist.User.AccessKey": "The user access key does not exist.",
    "EntityNotExist.User.Policy": "The indicate policy of the user does not exist.",
    "EntityNotExist.User.Group": "The user is not in the group.",
    "EntityNotExist.User.LoginProfile": "The login profile does not exist: users log in to no console here.",
    "EntityNotExist.User.MFADevice": "The user has no MFA device: there are none here.",
    "EntityNotExist.Group": "The group does not exist.",
    "EntityNotExist.Group.Policy": "The indicate policy of the group does not exist.",
    "EntityNotExist.Role": "The role does not exist.",
    "EntityNotExist.Role.Policy": "The indicate policy of the role does not exist.",
    "EntityNotExist.Policy": "The policy does not exist.",
    "EntityNotExist.Policy.Version": "The policy version does not exist.",
    "EntityNotExist.OIDCProvider": "The OIDC provider does not exist.",
    "EntityNotExist.ServiceName": "The service has no role of its own here.",
    "EntityAlreadyExists.User": "The user does already exist.",
    "EntityAlreadyExists.User.Policy": "The user has already been attached this policy.",
    "EntityAlreadyExists.User.Group": "The user is already in the group.",
    "EntityAlreadyExists.Group": "The group does already exist.",
    "EntityAlreadyExists.Group.Policy": "The group has already been attached this policy.",
    "EntityAlreadyExists.Role": "The role does already exist.",
    "EntityAlreadyExists.Role.Policy": "The role has already been attached this policy.",
    "EntityAlreadyExists.Policy": "The policy does already exist.",
    "EntityAlreadyExists.OIDCProvider": "The OIDC provider does already exist.",
    "DeleteConflict.User.AccessKey": "The user can not have any access key while deleting the user.",
    "DeleteConflict.User.Policy": "The user can not have any attached policy while deleting the user.",
    "DeleteConflict.User.Group": "The user can not be in any group while deleting the user.",
    "DeleteConflict.Group.User": "The group can not have any user while deleting the group.",
    "DeleteConflict.Group.Policy": "The group can not have any attached policy while deleting the group.",
    "DeleteConflict.Role.Policy": "The role can not have any attached policy while deleting the role.",
    "DeleteConflict.Policy.User": "The policy can not be attached to any user while deleting the policy.",
    "DeleteConflict.Policy.Group": "The policy can not be attached to any group while deleting the policy.",
    "DeleteConflict.Policy.Role": "The policy can not be attached to any role while deleting the policy.",
    "DeleteConflict.Policy.Version": "The policy can not have versions beside the default one; see CascadingDelete.",
    "DeleteConflict.Policy.Version.Default": "The default version of a policy can not be deleted.",
    "DeleteConflict.Account.AccessKey": "The account must keep an active access key of its own: nobody could get in.",
    "LimitExceeded.User": "The count of users beyond the current limits.",
    "LimitExceeded.User.AccessKey": "The access key count of the user access keys beyond the current limits.",
    "LimitExceeded.User.Policy": "The policy count of the user attached policies beyond the current limits.",
    "LimitExceeded.User.Group": "The count of the groups of the user beyond the current limits.",
    "LimitExceeded.Group": "The count of groups beyond the current limits.",
    "LimitExceeded.Group.Policy": "The policy count of the group attached policies beyond the current limits.",
    "LimitExceeded.Role": "The count of roles beyond the current limits.",
    "LimitExceeded.Role.Policy": "The policy count of the role attached policies beyond the current limits.",
    "LimitExceeded.Policy": "The count of policies beyond the current limits.",
    "LimitExceeded.Policy.Version": "The count of versions of the policy beyond the current limits.",
    "LimitExceeded.Tag": "The count of tags of the resource beyond the current limits.",
    "LimitExceeded.OIDCProvider": "The count of OIDC providers beyond the current limits.",
    "LimitExceeded.OIDCProvider.ClientId": "The count of client ids must be at least one, and within the limits.",
    "OperationDenied.Role.ServiceLinked": "The trust policy of a service linked role can not be changed.",
}

FAULTS: Final = {
    "Length": 'The parameter - "{}" beyond the length limit.',
    "InvalidChars": 'The parameter - "{}" contains invalid chars.',
    "Format": 'The format of the parameter - "{}" is incorrect.',
}


class RamError(ApiError):
    """An error of one of the families. Its code is `<family>.<kind>`."""

    def __init__(self, found: str) -> None:
        super().__init__(f"{TEXTS[self.code]} {found}")


def _of_family(code: str, text: str) -> type[RamError]:
    described = {"code": code, "status": STATUSES[code.partition(".")[0]], "__doc__": text}
    return type(code.replace(".", ""), (RamError,), described)


REFUSALS: Final = {code: _of_family(code, text) for code, text in TEXTS.items()}


def refusals(*codes: str) -> tuple[type[ApiError], ...]:
    """Return the error classes of these codes."""
    return tuple(REFUSALS[code] for code in codes)


class BadParameter(ApiError):
    """The value of a parameter is not one that RAM takes; `hint` says what it takes."""

    status = 400
    parameter: ClassVar[str]
    fault: ClassVar[str]

    def __init__(self, hint: str) -> None:
        super().__init__(f"{FAULTS[self.fault].format(self.parameter)} {hint}")


@cache
def bad_parameter(parameter: str, fault: str) -> type[BadParameter]:
    """Return the error class of one fault of one parameter. Its code is `InvalidParameter.<parameter>.<fault>`."""
    code = f"InvalidParameter.{parameter}.{fault}"
    described = {"code": code, "parameter": parameter, "fault": fault, "__doc__": FAULTS[fault].format(parameter)}
    return type(f"Bad{parameter}{fault}", (BadParameter,), described)


def bad_names(*parameters: str) -> tuple[type[ApiError], ...]:
    """Return the errors of parameters that are names."""
    return tuple(bad_parameter(name, fault) for name in parameters for fault in ("Length", "InvalidChars"))


def bad_texts(*parameters: str) -> tuple[type[ApiError], ...]:
    """Return the errors of parameters that are free text."""
    return bad_names(*parameters)


class BadPolicyType(ApiError):
    """The policy type is neither System nor Custom."""

    code = "InvalidParameter.PolicyType"
    status = 400

    def __init__(self) -> None:
        super().__init__('The parameter - "PolicyType" is incorrect. It is System or Custom.')


class NoResourceGroups(ApiError):
    """A resource group is given; here an attachment applies to the whole account."""

    code = "InvalidParameter.ResourceGroupId"
    status = 400

    def __init__(self) -> None:
        super().__init__("There are no resource groups here. Leave ResourceGroupId out to attach to the whole account.")


class MalformedPolicyDocument(ApiError):
    """The policy document is malformed, or has something in it that cannot be enforced exactly."""

    code = "MalformedPolicyDocument"
    status = 400

    def __init__(self, why: str) -> None:
        super().__init__(f"The policy document is refused: {why}.")


class BadDuration(ApiError):
    """The maximum session duration is not between one hour and twelve."""

    code = "InvalidParameter.MaxSessionDuration"
    status = 400

    def __init__(self) -> None:
        super().__init__('The parameter - "MaxSessionDuration" is incorrect. It is 3600 to 43200, in seconds.')


class BadVersionId(ApiError):
    """The version id has not the form of one."""

    code = "InvalidParameter.VersionId"
    status = 400

    def __init__(self) -> None:
        super().__init__('The parameter - "VersionId" is incorrect. It is of the form v1.')


class BadKeySet(ApiError):
    """The keys of the identity provider cannot be used."""

    code = "InvalidParameter.Keys"
    status = 400

    def __init__(self, why: str) -> None:
        super().__init__(f'The parameter - "Keys" is incorrect: {why}.')


class BadDiagnosis(ApiError):
    """The message is not a diagnosis of a refusal in this account."""

    code = "InvalidParameter.EncodedDiagnosticMessage"
    status = 400

    def __init__(self) -> None:
        super().__init__("It is the EncodedDiagnosticMessage of a refusal of this account, as it was answered.")


@contextmanager
def ram_errors() -> Iterator[None]:
    """Turn errors of the identity module into those of RAM."""
    try:
        yield
    except identity.NotFound as problem:
        raise REFUSALS[f"EntityNotExist.{problem.kind}"](f"Name: {problem.name[:128]!r}.") from None
    except identity.AlreadyExists as problem:
        raise REFUSALS[f"EntityAlreadyExists.{problem.kind}"](f"Name: {problem.name[:128]!r}.") from None
    except identity.StillInUse as problem:
        raise REFUSALS[f"DeleteConflict.{problem.kind}"](f"Name: {problem.name[:128]!r}.") from None
    except identity.Unchangeable as problem:
        raise REFUSALS[f"OperationDenied.{problem.kind}"](f"Name: {problem.name[:128]!r}.") from None
    except identity.LimitReached as problem:
        raise REFUSALS[f"LimitExceeded.{problem.kind}"](f"Limit: {problem.limit}.") from None
    except MalformedPolicy as problem:
        raise MalformedPolicyDocument(str(problem)) from None
    except identity.BadKeys as problem:
        raise BadKeySet(str(problem)) from None
