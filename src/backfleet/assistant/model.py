"""The nouns of the assistant: saved commands, invocations, and what became of them on each instance."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from enum import StrEnum

from backfleet.assistant.schedules import Schedule, read_frequency
from backfleet.assistant.states import Overall, Status
from backfleet.values import value_object


class Repeat(StrEnum):
    """When a command runs, in the API's words."""

    ONCE = "Once"
    PERIOD = "Period"
    NEXT_BOOT = "NextRebootOnly"
    EVERY_BOOT = "EveryReboot"
    DRY_RUN = "DryRun"


class QuotaExceeded(Exception):
    """The account has as many commands, or has made as many invocations today, as it may."""


@value_object
class SavedCommand:
    """A command that can be invoked. RunCommand makes one that is never saved."""

    id: str
    account_id: str
    region: str
    name: str
    description: str
    kind: str  # RunShellScript and its like
    content: str = field(repr=False)
    working_directory: str
    timeout_seconds: int
    has_parameters: bool
    parameter_names: tuple[str, ...]
    created_at: datetime
    invoke_count: int = 0


@value_object
class InvocationOptions:
    """Where, when and how a command runs."""

    instance_ids: Sequence[str]
    repeat: Repeat = Repeat.ONCE
    frequency: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)
    username: str = ""
    working_directory: str = ""
    timeout_seconds: int = 60
    termination: str = "Process"


@value_object
class SentFile:
    """A file for instances; `content` as the caller sent it."""

    folder: str
    content: str = field(repr=False)
    content_type: str
    owner: str
    group: str
    mode: str
    overwrite: bool


@value_object
class Invocation:
    """One call of a command: its options, and the command as it was then."""

    id: str
    account_id: str
    region: str
    is_file: bool
    command_id: str
    name: str
    description: str
    kind: str
    content: str = field(repr=False)
    working_directory: str
    username: str
    timeout_seconds: int
    has_parameters: bool
    parameters: Mapping[str, str] = field(repr=False)
    repeat: Repeat
    frequency: str
    termination: str
    status: Overall
    created_at: datetime

    @property
    def timed(self) -> bool:
        """True if it follows a schedule."""
        return self.repeat is Repeat.PERIOD

    def schedule(self) -> Schedule:
        """Return the schedule that its frequency stands for."""
        return read_frequency(self.frequency, since=self.created_at, timeout=timedelta(0), is_new=False)


@value_object
class Run:
    """One run of an invocation on one instance."""

    id: str
    invocation_id: str
    instance_id: str
    number: int
    status: Status
    error_code: str
    error_text: str
    exit_code: int | None
    output: bytes
    dropped: int  # bytes of output that were not kept
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    stopped_at: datetime | None
    deliver_by: datetime | None
    undelivered: bool


@value_object
class Record:
    """What became of an invocation on one instance. `run` is the newest run; None before the first."""

    invocation_id: str
    instance_id: str
    status: Status
    repeats: int
    next_at: datetime | None
    at_boot: bool
    last_due_at: datetime | None
    stop_asked: bool
    stopped_at: datetime | None
    created_at: datetime
    changed_at: datetime
    run: Run | None


@value_object
class CommandFilter:
    """A choice of saved commands; None and empty choose all. `*` in a text stands for any characters."""

    ids: Sequence[str] | None = None
    name: str | None = None
    description: str | None = None
    kind: str | None = None
    tags: Sequence[tuple[str, str | None]] = ()


@value_object
class InvocationFilter:
    """A choice of invocations; None and empty choose all."""

    ids: Sequence[str] | None = None
    command_id: str | None = None
    name: str | None = None
    kind: str | None = None
    statuses: Sequence[Overall] | None = None
    repeat: str | None = None
    timed: bool | None = None
    instance_id: str | None = None
    is_file: bool = False
    tags: Sequence[tuple[str, str | None]] = ()


@value_object
class RecordFilter:
    """A choice of records or runs; None and empty choose all."""

    invocation_id: str | None = None
    command_id: str | None = None
    instance_id: str | None = None
    statuses: Sequence[Status] | None = None
    tags: Sequence[tuple[str, str | None]] = ()


@value_object
class Usage:
    """How much an instance was used: its last invocation, how many it had, and how many are going on."""

    last_at: datetime | None = None
    count: int = 0
    active: int = 0
