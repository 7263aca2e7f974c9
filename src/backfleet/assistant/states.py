"""The statuses of commands: on one instance, over all of them, and as older clients know them.

Source: ECS 2014-05-26, "View execution results". It lists Success with Stopped twice; here that mix is Success.
"""

from collections.abc import Collection, Iterable
from enum import StrEnum
from typing import Final

from backfleet.commands import Outcome, State
from backfleet.values import value_object


class Status(StrEnum):
    """The status of an invocation on one instance."""

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
    """The status of an invocation over all of its instances."""

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
FAILURES: Final = frozenset({Status.INVALID, Status.ABORTED, Status.FAILED, Status.TIMEOUT, Status.ERROR})
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
"""The ErrorInfo of each ErrorCode, as the cloud words it."""

_REFUSED: Final = {
    "TypeInvalid": "CommandNotApplicable",
    "workingDirectory": "DirectoryNotExists",
    "UsernameOrPasswordInvalid": "AccountNotExists",
    "cron": "BadCronExpression",
}
"""The ErrorCode of an agent's refusal, by the parameter that it names; CommandNotApplicable for any other."""


@value_object
class RunResult:
    """How one run goes, or how it ended."""

    status: Status
    error_code: str = ""
    detail: str = ""  # beyond the fixed text of the code

    @property
    def error_text(self) -> str:
        """The ErrorInfo of the run."""
        fixed = ERROR_TEXTS.get(self.error_code, self.error_code)
        return f"{fixed}: {self.detail}" if self.detail else fixed


def overall(statuses: Iterable[Status]) -> Overall:
    """Return the status of an invocation from those of its instances. No instance at all is a success."""
    found = set(statuses)
    for status, of_all in _OPEN_IN_ORDER:
        if status in found:
            return of_all
    if found and found <= STOPPED:
        return Overall.STOPPED
    if Status.SUCCESS in found or not found:
        return Overall.PARTIAL if found & FAILURES else Overall.SUCCESS
    return Overall.FAILED


def result_of(outcome: Outcome, *, stop_asked: bool, undelivered: bool) -> RunResult:
    """Return the result of a run from what its agent reported.

    Args:
        stop_asked: the caller stopped the run.
        undelivered: no agent took the run in time, so that it was withdrawn.
    """
    state = outcome.state
    if state is State.FINISHED:
        return RunResult(Status.SUCCESS) if outcome.exit_code == 0 else RunResult(Status.FAILED, "ExitCodeNonzero")
    if state is State.CANCELLED:
        return RunResult(Status.ABORTED, "DeliveryTimeout") if undelivered else RunResult(Status.CANCELLED)
    if state is State.GONE:
        return RunResult(Status.ABORTED, "InstanceReleased")
    if state is State.REFUSED:
        code = _REFUSED.get(outcome.error_code, "CommandNotApplicable")
        return RunResult(Status.INVALID, code, outcome.error_text)
    if state is State.LOST:
        return RunResult(Status.STOPPING) if stop_asked else RunResult(Status.ERROR, "ClientNotResponse")
    return _further_results(outcome, stop_asked=stop_asked)[state]


def _further_results(outcome: Outcome, *, stop_asked: bool) -> dict[State, RunResult]:
    return {
        State.RUNNING: RunResult(Status.STOPPING if stop_asked else Status.RUNNING),
        State.TIMED_OUT: RunResult(Status.TIMEOUT, "ExecutionTimeout"),
        State.STOPPED: RunResult(Status.TERMINATED),
        State.FAILED: RunResult(Status.ERROR, "ExecutionException", outcome.error_text),
        State.WAITING: RunResult(Status.PENDING),
        State.HANDED: RunResult(Status.PENDING),
    }


# --- The statuses of older clients ----------------------------------------------------------------------------------

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
"""The statuses by which lists can be filtered: the older ones, and three of the newer ones."""


def legacy(status: Status) -> str:
    """Return InstanceInvokeStatus or InvokeRecordStatus. Every failure is Failed, so that Finished is never one."""
    return _LEGACY.get(status, "Failed")


def legacy_overall(status: Overall) -> str:
    """Return InvokeStatus."""
    return _LEGACY_OVERALL[status]


def statuses_for(status_filter: str) -> Collection[Status]:
    """Return the statuses of instances that a filter chooses."""
    return {status for status in Status if status_filter in (status.value, legacy(status))}


def overalls_for(status_filter: str) -> Collection[Overall]:
    """Return the statuses of invocations that a filter chooses."""
    return {status for status in Overall if status_filter in (status.value, legacy_overall(status))}
