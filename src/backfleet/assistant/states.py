"""The words for where a command stands: on one instance, over all of them, and in the words of older clients.

Rules: ECS 2014-05-26, "View execution results". Where the public text lists a mix twice (Success with Stopped), it is
Success.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from backfleet.commands import Outcome, State


class Status(StrEnum):
    """Of one instance."""

    PENDING = "Pending"
    SCHEDULED = "Scheduled"
    RUNNING = "Running"
    STOPPING = "Stopping"
    SUCCESS = "Success"
    FAILED = "Failed"
    INVALID = "Invalid"
    ABORTED = "Aborted"
    ERROR = "Error"
    TIMEOUT = "Timeout"
    CANCELLED = "Cancelled"
    TERMINATED = "Terminated"


class Overall(StrEnum):
    """Of an invocation."""

    PENDING = "Pending"
    SCHEDULED = "Scheduled"
    RUNNING = "Running"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    FAILED = "Failed"
    SUCCESS = "Success"
    PARTIAL = "PartialFailed"


OPEN: Final = frozenset({Status.PENDING, Status.SCHEDULED, Status.RUNNING, Status.STOPPING})
STOPPED: Final = frozenset({Status.CANCELLED, Status.TERMINATED})
UNWELL: Final = frozenset({Status.INVALID, Status.ABORTED, Status.FAILED, Status.TIMEOUT, Status.ERROR})
OVER: Final = frozenset({Overall.STOPPED, Overall.FAILED, Overall.SUCCESS, Overall.PARTIAL})

_OPEN_IN_ORDER: Final = (
    (Status.PENDING, Overall.PENDING),
    (Status.SCHEDULED, Overall.SCHEDULED),
    (Status.RUNNING, Overall.RUNNING),
    (Status.STOPPING, Overall.STOPPING),
)

ERROR_TEXTS: Final = {
    "InstanceNotExists": "the specified instance does not exists",
    "InstanceReleased": "the instance has released when create task",
    "InstanceNotRunning": "the instance is not running when create task",
    "CommandNotApplicable": "the command is not applicable",
    "AccountNotExists": "the specified account does not exists",
    "DirectoryNotExists": "the specified directory does not exists",
    "BadCronExpression": "the cron job expression is invalid",
    "ClientNotRunning": "the aliyun service is not running on the instance",
    "ClientNotResponse": "the aliyun service in the instance does not response",
    "DeliveryTimeout": "the command delivery has been timeout",
    "ExecutionTimeout": "the command execution has been timeout",
    "ExecutionException": "the command execution got an exception",
    "ExecutionInterrupted": "the command execution has been interrupted",
    "ExitCodeNonzero": "the command execution exit code is not zero",
}
"""What ErrorInfo says beside each ErrorCode; the words are the cloud's."""

_REFUSED: Final = {
    "TypeInvalid": "CommandNotApplicable",
    "workingDirectory": "DirectoryNotExists",
    "UsernameOrPasswordInvalid": "AccountNotExists",
    "cron": "BadCronExpression",
}
"""What an agent's refusal means, by the parameter it names; any other: the command is not applicable."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is now known of one run."""

    status: Status
    error_code: str = ""
    detail: str = ""  # beyond the fixed text of the code

    @property
    def error_text(self) -> str:
        """What ErrorInfo says."""
        fixed = ERROR_TEXTS.get(self.error_code, self.error_code)
        return f"{fixed}: {self.detail}" if self.detail else fixed


def overall(statuses: Iterable[Status]) -> Overall:
    """Where an invocation stands whose instances stand there. Nothing at all is a success."""
    found = set(statuses)
    for status, of_all in _OPEN_IN_ORDER:
        if status in found:
            return of_all
    if found and found <= STOPPED:
        return Overall.STOPPED
    if Status.SUCCESS in found or not found:
        return Overall.PARTIAL if found & UNWELL else Overall.SUCCESS
    return Overall.FAILED


def judge(outcome: Outcome, *, stop_asked: bool, undelivered: bool) -> Verdict:
    """What an agent's news mean for a run that was to be stopped, or that was given up as undeliverable."""
    state = outcome.state
    if state is State.FINISHED:
        return Verdict(Status.SUCCESS) if outcome.exit_code == 0 else Verdict(Status.FAILED, "ExitCodeNonzero")
    if state is State.CANCELLED:
        return Verdict(Status.ABORTED, "DeliveryTimeout") if undelivered else Verdict(Status.CANCELLED)
    if state is State.REFUSED:
        code = _REFUSED.get(outcome.error_code, "CommandNotApplicable")
        return Verdict(Status.INVALID, code, outcome.error_text)
    if state is State.LOST:
        return Verdict(Status.STOPPING) if stop_asked else Verdict(Status.ERROR, "ClientNotResponse")
    return _verdicts(outcome, stop_asked=stop_asked)[state]


def _verdicts(outcome: Outcome, *, stop_asked: bool) -> dict[State, Verdict]:
    return {
        State.RUNNING: Verdict(Status.STOPPING if stop_asked else Status.RUNNING),
        State.TIMED_OUT: Verdict(Status.TIMEOUT, "ExecutionTimeout"),
        State.STOPPED: Verdict(Status.TERMINATED),
        State.FAILED: Verdict(Status.ERROR, "ExecutionException", outcome.error_text),
        State.WAITING: Verdict(Status.PENDING),
        State.HANDED: Verdict(Status.PENDING),
    }


# --- In the words of older clients ----------------------------------------------------------------------------------

_LEGACY: Final = {
    Status.PENDING: "Running",
    Status.SCHEDULED: "Running",
    Status.RUNNING: "Running",
    Status.STOPPING: "Stopping",
    Status.SUCCESS: "Finished",
    Status.CANCELLED: "Stopped",
    Status.TERMINATED: "Stopped",
}
_LEGACY_OVERALL: Final = {
    Overall.PENDING: "Running",
    Overall.SCHEDULED: "Running",
    Overall.RUNNING: "Running",
    Overall.STOPPING: "Stopping",
    Overall.STOPPED: "Stopped",
    Overall.FAILED: "Failed",
    Overall.SUCCESS: "Finished",
    Overall.PARTIAL: "PartialFailed",
}
FILTERS: Final = (
    "Running", "Finished", "Failed", "PartialFailed", "Stopped", "Stopping", "Success", "Pending", "Scheduled",
)  # fmt: skip
"""What lists can be filtered by: the older words, and three of the newer ones."""


def legacy(status: Status) -> str:
    """InstanceInvokeStatus, InvokeRecordStatus. Whatever went wrong is Failed, so that Finished is never a failure."""
    return _LEGACY.get(status, "Failed")


def legacy_overall(status: Overall) -> str:
    """InvokeStatus."""
    return _LEGACY_OVERALL[status]


def statuses_for(word: str) -> Collection[Status]:
    """Which instances a filter's word means."""
    return {status for status in Status if word in (status.value, legacy(status))}


def overalls_for(word: str) -> Collection[Overall]:
    """Which invocations a filter's word means."""
    return {status for status in Overall if word in (status.value, legacy_overall(status))}
