"""What the cloud's error codes mean: one table. Source: the error tables of ECS 2014-05-26, RAM and STS, as of 2025."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from backfleet.carriers.ecs.model import (
    AGENT_NOT_RUNNING,
    BAD_ANSWER,
    CLOCK_WRONG,
    COMMAND_REFUSED,
    INSTANCE_NOT_FOUND,
    INSTANCE_NOT_RUNNING,
    KEY_REFUSED,
    NOT_ALLOWED,
    PERMISSION_MISSING,
    QUOTA_USED_UP,
    REGION_REFUSED,
    THROTTLED,
    UNREACHABLE,
    EcsProblem,
    Trouble,
    code_for,
)
from backfleet.fleet import CarrierKind
from backfleet.outbound import NotAllowed
from backfleet.values import value_object
from backfleet_host.texts import printable

LONGEST: Final = 400  # characters of what the cloud says that are shown

_TABLE: Final[tuple[tuple[str, str, Trouble, str], ...]] = (
    ("Throttling", THROTTLED, Trouble.PASSES, "It is asked again, more slowly."),
    ("ServiceUnavailable", UNREACHABLE, Trouble.PASSES, "It is asked again."),
    ("InternalError", UNREACHABLE, Trouble.PASSES, "It is asked again."),
    ("IdempotentProcessing", UNREACHABLE, Trouble.PASSES, "It is asked again."),
    ("SignatureNonceUsed", UNREACHABLE, Trouble.PASSES, "Something doubled the request. It is asked again."),
    ("IdempotentParameterMismatch", BAD_ANSWER, Trouble.DOUBT, "The host is asked what became of it."),
    ("InvalidInvokeId", BAD_ANSWER, Trouble.DOUBT, "The host is asked what became of it."),
    ("InvalidTimeStamp", CLOCK_WRONG, Trouble.ACCOUNT, "Set the clock that is wrong (`timedatectl set-ntp true`)."),
    ("InvalidAccessKeyId", KEY_REFUSED, Trouble.ACCOUNT, "Give a key that exists and is active."),
    ("SignatureDoesNotMatch", KEY_REFUSED, Trouble.ACCOUNT, "Give the secret that belongs to the key."),
    ("IncompleteSignature", KEY_REFUSED, Trouble.ACCOUNT, "Give the secret that belongs to the key."),
    ("InvalidSecurityToken", KEY_REFUSED, Trouble.ACCOUNT, "Give credentials that have not expired."),
    ("MissingSecurityToken", KEY_REFUSED, Trouble.ACCOUNT, "Give credentials that have not expired."),
    ("EntityNotExist.Role", KEY_REFUSED, Trouble.ACCOUNT, "Give a role that exists."),
    ("NoPermission", PERMISSION_MISSING, Trouble.ACCOUNT, "Allow it by a RAM policy."),
    ("Forbidden", PERMISSION_MISSING, Trouble.ACCOUNT, "Allow it by a RAM policy."),
    ("NotAuthorized", PERMISSION_MISSING, Trouble.ACCOUNT, "Allow it by a RAM policy."),
    ("Operation.Forbidden", PERMISSION_MISSING, Trouble.ACCOUNT, "Allow it by a RAM policy."),
    ("RegionId.ApiNotSupported", REGION_REFUSED, Trouble.ACCOUNT, "Give a region that has it."),
    ("InvalidRegionId", REGION_REFUSED, Trouble.ACCOUNT, "Give the region that the instances are in."),
    ("InvalidResourceGroup", REGION_REFUSED, Trouble.ACCOUNT, "Give a resource group that exists."),
    ("Invocation.ExceedQuota", QUOTA_USED_UP, Trouble.COMMAND, "Try again tomorrow, or have the quota raised."),
    ("InvalidInstance.NotMatch", COMMAND_REFUSED, Trouble.INSTANCE, "It is for instances with Linux."),
    ("InvalidInstanceStatus", INSTANCE_NOT_RUNNING, Trouble.INSTANCE, "Start the instance."),
    ("IncorrectInstanceStatus", INSTANCE_NOT_RUNNING, Trouble.INSTANCE, "Start the instance."),
    ("InvalidInstance", INSTANCE_NOT_FOUND, Trouble.INSTANCE, "Import the instances again."),
    ("InstanceIds.ExceedLimit", COMMAND_REFUSED, Trouble.INSTANCE, "Fewer are sent at once."),
    ("CmdContent", COMMAND_REFUSED, Trouble.COMMAND, "Give a shorter command."),
)
"""How a code of the cloud begins, ours, whom it is about, and what to do. The first row that fits counts."""

INSTANCE_ERRORS: Final[Mapping[str, tuple[str, bool, str]]] = {
    "InstanceNotExists": (INSTANCE_NOT_FOUND, False, "The instance was released; its import removes it here, too."),
    "InstanceReleased": (INSTANCE_NOT_FOUND, False, "The instance was released; its import removes it here, too."),
    "InstanceNotRunning": (INSTANCE_NOT_RUNNING, False, "Start the instance."),
    "ClientNotRunning": (AGENT_NOT_RUNNING, False, "Start the Cloud Assistant agent on it."),
    "ClientNotResponse": (AGENT_NOT_RUNNING, False, "Restart the Cloud Assistant agent on it."),
    "ClientIsUpgrading": (AGENT_NOT_RUNNING, False, "Its Cloud Assistant agent is being upgraded; try again then."),
    "ClientNeedUpgrade": (AGENT_NOT_RUNNING, False, "Upgrade the Cloud Assistant agent on it."),
    "DeliveryTimeout": (AGENT_NOT_RUNNING, False, "Look at the agent's network; it did not fetch the command in time."),
    "SecurityGroupRuleDenied": (AGENT_NOT_RUNNING, False, "Let its security group reach the cloud's own addresses."),
    "CommandNotApplicable": (COMMAND_REFUSED, False, "It is for instances with Linux."),
    "AccountNotExists": (COMMAND_REFUSED, False, "Give a user that the instance has."),
    "DirectoryNotExists": (COMMAND_REFUSED, False, "Give a working directory that the instance has."),
    "TaskConcurrencyLimit": (COMMAND_REFUSED, False, "Try again when fewer commands run on it."),
    "ExecutionException": ("", True, ""),
    "ExecutionInterrupted": ("", True, ""),
}
"""What the cloud says of one instance: our code, whether the command may have run all the same, and what to do."""


@value_object
class Clocks:
    """When a call was signed, and what its answer says of the cloud's clock: a date of HTTP, or ""."""

    here: datetime
    there: str = ""

    def __str__(self) -> str:
        there = f"the cloud's {printable(self.there)[:40]}" if self.there else "the cloud's is not known"
        return f"this server's clock shows {self.here:%Y-%m-%d %H:%M:%S} UTC, {there}"


def problem_of(
    action: str,
    code: str,
    message: str,
    status: int,
    detail: Mapping[str, Any] | None,
    clocks: Clocks | None = None,
) -> EcsProblem:
    """Return what an error of the cloud means.

    Args:
        action: the operation that was called, such as `ecs:RunCommand`.
        code: the cloud's own.
        message: what the cloud says to it.
        status: of HTTP; 0 if there was none.
        detail: what it says of a missing permission, if it does.
        clocks: said where the cloud refuses the time of the request.
    """
    heard = f"{code}: {printable(message)[:LONGEST]}"
    for begin, ours, trouble, advice in _TABLE:
        if code.startswith(begin):
            if ours == PERMISSION_MISSING:
                action = printable(str((detail or {}).get("AuthAction") or action))[:64]
                return EcsProblem(ours, f"{action} is not permitted ({heard}). {advice}", trouble, code)
            if ours == CLOCK_WRONG and clocks is not None:
                return EcsProblem(ours, f"{action} was refused: {clocks} ({heard}). {advice}", trouble, code)
            return EcsProblem(ours, f"{action} was refused ({heard}). {advice}", trouble, code)
    return unlisted(CarrierKind.ECS, action, code, heard, is_passing=status >= 500 or status == 429 or not code,
                    status=status)  # fmt: skip


def unlisted(cloud: CarrierKind, action: str, code: str, heard: str, *, is_passing: bool, status: int) -> EcsProblem:
    """Return what an error means that is in no table. `heard` is what the cloud said, for people."""
    if is_passing:
        text = f"{action} had no useful answer (HTTP {status}, {heard}). It is asked again."
        return EcsProblem(code_for(cloud, UNREACHABLE), text, Trouble.PASSES, code)
    text = f"{action} was refused ({heard}). It is not sent again: look up what the cloud means by that code."
    return EcsProblem(code_for(cloud, COMMAND_REFUSED), text, Trouble.COMMAND, code)


def no_answer(cloud: CarrierKind, action: str, problem: Exception) -> EcsProblem:
    """Return the problem of a call that the cloud did not answer."""
    text = f"{action} had no answer: {printable(str(problem))[:200]}"
    return EcsProblem(code_for(cloud, UNREACHABLE), text, Trouble.PASSES)


def not_allowed(cloud: CarrierKind, problem: NotAllowed) -> EcsProblem:
    """Return the problem of an address that the settings do not allow."""
    return EcsProblem(code_for(cloud, NOT_ALLOWED), f"the server may not go there: {problem}", Trouble.ACCOUNT)


def bad_answer(cloud: CarrierKind, action: str, what: str | Exception) -> EcsProblem:
    """Return the problem of an answer that this cloud does not give. `what` is what it was, or why it is not read."""
    found = what if isinstance(what, str) else printable(f"{type(what).__name__}: {what}")[:100]
    text = f"{action} was answered with something else: {found}. Is it the endpoint?"
    return EcsProblem(code_for(cloud, BAD_ANSWER), text, Trouble.PASSES)
