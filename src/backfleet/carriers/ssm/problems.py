"""What the error codes and states of AWS mean: one table each. Source: the API references of SSM, EC2 and STS, 2025."""

from collections.abc import Mapping
from typing import Final

from backfleet.carriers.ecs.model import (
    AGENT_NOT_RUNNING,
    BAD_ANSWER,
    COMMAND_REFUSED,
    INSTANCE_NOT_FOUND,
    KEY_REFUSED,
    NOT_DELIVERED,
    PERMISSION_MISSING,
    REGION_REFUSED,
    THROTTLED,
    UNREACHABLE,
    EcsProblem,
    Meaning,
    Trouble,
    code_for,
)
from backfleet.carriers.ecs.problems import LONGEST, unlisted
from backfleet.fleet import CarrierKind
from backfleet_host.texts import printable

_KEY: Final = "Give a key that exists and is active, with its secret."
_POLICY: Final = "Allow it by an IAM policy."


def named(code: str) -> str:
    """Return a code as it is for this cloud."""
    return code_for(CarrierKind.SSM, code)


_ERRORS: Final[Mapping[str, tuple[str, Trouble, str]]] = {
    "ThrottlingException": (THROTTLED, Trouble.PASSES, "It is asked again, more slowly."),
    "Throttling": (THROTTLED, Trouble.PASSES, "It is asked again, more slowly."),
    "RequestLimitExceeded": (THROTTLED, Trouble.PASSES, "It is asked again, more slowly."),
    "TooManyRequestsException": (THROTTLED, Trouble.PASSES, "It is asked again, more slowly."),
    "InternalServerError": (UNREACHABLE, Trouble.PASSES, "It is asked again."),
    "InternalError": (UNREACHABLE, Trouble.PASSES, "It is asked again."),
    "ServiceUnavailable": (UNREACHABLE, Trouble.PASSES, "It is asked again."),
    "Unavailable": (UNREACHABLE, Trouble.PASSES, "It is asked again."),
    "InvocationDoesNotExist": (UNREACHABLE, Trouble.PASSES, "The cloud does not show it yet. It is asked again."),
    "InvalidCommandId": (BAD_ANSWER, Trouble.DOUBT, "The host is asked what became of it."),
    "RequestExpired": (KEY_REFUSED, Trouble.ACCOUNT, "Set this machine's clock."),
    "InvalidSignatureException": (KEY_REFUSED, Trouble.ACCOUNT, f"{_KEY} Set this machine's clock."),
    "SignatureDoesNotMatch": (KEY_REFUSED, Trouble.ACCOUNT, f"{_KEY} Set this machine's clock."),
    "UnrecognizedClientException": (KEY_REFUSED, Trouble.ACCOUNT, _KEY),
    "InvalidClientTokenId": (KEY_REFUSED, Trouble.ACCOUNT, _KEY),
    "AuthFailure": (KEY_REFUSED, Trouble.ACCOUNT, _KEY),
    "IncompleteSignature": (KEY_REFUSED, Trouble.ACCOUNT, _KEY),
    "MissingAuthenticationToken": (KEY_REFUSED, Trouble.ACCOUNT, _KEY),
    "ExpiredTokenException": (KEY_REFUSED, Trouble.ACCOUNT, "Give credentials that have not expired."),
    "ExpiredToken": (KEY_REFUSED, Trouble.ACCOUNT, "Give credentials that have not expired."),
    "AccessDeniedException": (PERMISSION_MISSING, Trouble.ACCOUNT, _POLICY),
    "AccessDenied": (PERMISSION_MISSING, Trouble.ACCOUNT, _POLICY),
    "UnauthorizedOperation": (PERMISSION_MISSING, Trouble.ACCOUNT, _POLICY),
    "OptInRequired": (REGION_REFUSED, Trouble.ACCOUNT, "Enable the region for the account."),
    "RegionDisabledException": (REGION_REFUSED, Trouble.ACCOUNT, "Enable the region for the account."),
    "InvalidInstanceId": (INSTANCE_NOT_FOUND, Trouble.INSTANCE, "It must run, with the SSM Agent connected."),
    "DuplicateInstanceId": (COMMAND_REFUSED, Trouble.INSTANCE, "Each is sent on its own."),
    "UnsupportedPlatformType": (COMMAND_REFUSED, Trouble.INSTANCE, "It is for instances with Linux."),
    "MaxDocumentSizeExceeded": (COMMAND_REFUSED, Trouble.COMMAND, "Give a shorter command."),
}
"""A code of the cloud, ours, whom it is about, and what to do."""

STATES: Final[Mapping[str, str]] = {
    "Pending": "Pending",
    "Delayed": "Pending",
    "InProgress": "Running",
    "Cancelling": "Stopping",
    "Success": "Success",
    "Failed": "Failed",
    "ExecutionTimedOut": "Timeout",
    "Cancelled": "Cancelled",
    "Canceled": "Cancelled",
    "TimedOut": "Error",  # without saying which time: it may have run
}
"""What AWS says of a command on an instance, in the words of `Result`."""

NOT_RUN: Final[Mapping[str, Meaning]] = {
    "DeliveryTimedOut": Meaning(
        named(AGENT_NOT_RUNNING), False, "Look at the SSM Agent: it did not fetch the command."
    ),
    "Undeliverable": Meaning(
        named(NOT_DELIVERED), False, "Look whether the instance runs, with the SSM Agent connected."
    ),
    "Terminated": Meaning(named(NOT_DELIVERED), False, "The cloud stopped sending the command; try again."),
    "InvalidPlatform": Meaning(named(COMMAND_REFUSED), False, "It is for instances with Linux."),
    "AccessDenied": Meaning(named(PERMISSION_MISSING), False, _POLICY),
}
"""What AWS says of a command that did not run on an instance."""


def problem_of(action: str, code: str, message: str, status: int) -> EcsProblem:
    """Return what an error of the cloud means.

    Args:
        action: the operation that was called, such as `ssm:SendCommand`.
        code: the cloud's own.
        message: what the cloud says to it.
        status: of HTTP; 0 if there was none.
    """
    heard = f"{code}: {printable(message)[:LONGEST]}"
    found = _ERRORS.get(code.removesuffix("Fault"))
    if found is not None:
        ours, trouble, advice = found
        did = "is not permitted" if ours == PERMISSION_MISSING else "was refused"
        return EcsProblem(
            named(ours), f"{action} {did} ({heard}). {advice}", trouble, code, not_taken=ours == THROTTLED
        )
    passes = status >= 500 or status == 429 or not code or code.isdecimal()
    return unlisted(CarrierKind.SSM, action, code, heard, is_passing=passes, status=status)
