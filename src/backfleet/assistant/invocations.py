"""Commands that are kept, what was asked with them, what became of that on each instance, and each single run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from backfleet.assistant import _store
from backfleet.assistant.schedules import Schedule, read_frequency
from backfleet.assistant.states import Overall, Status
from backfleet.ids import Draw, new_id
from backfleet.paging import Listing, Page
from backfleet.storage import Conflict, Transaction

TOPIC = "assistant"
MOST_COMMANDS = 500  # kept by one account
MOST_A_DAY = 10_000  # invocations of one account
TOKEN_LIFE = timedelta(hours=24)


class Repeat(StrEnum):
    """When a command runs; the words are the API's."""

    ONCE = "Once"
    PERIOD = "Period"
    NEXT_BOOT = "NextRebootOnly"
    EVERY_BOOT = "EveryReboot"
    DRY_RUN = "DryRun"


class TooMany(Exception):
    """The account has as many commands, or has asked as often today, as it may."""


class TokenReused(Exception):
    """The same ClientToken came with other parameters."""


@dataclass(frozen=True, slots=True)
class Command:
    """What can be run, whether it is kept or not."""

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


@dataclass(frozen=True, slots=True)
class Wish:
    """How a command is to be run."""

    instance_ids: Sequence[str]
    repeat: Repeat = Repeat.ONCE
    frequency: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)
    username: str = ""
    working_directory: str = ""
    timeout_seconds: int = 60
    termination: str = "Process"


@dataclass(frozen=True, slots=True)
class File:
    """A file to be sent; `content` as the caller sent it."""

    folder: str
    content: str = field(repr=False)
    content_type: str
    owner: str
    group: str
    mode: str
    overwrite: bool


@dataclass(frozen=True, slots=True)
class Invocation:
    """One wish, and the command as it was then."""

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
        """Whether it follows a schedule."""
        return self.repeat is Repeat.PERIOD

    def schedule(self) -> Schedule:
        """When it runs again."""
        return read_frequency(self.frequency, since=self.created_at, timeout=timedelta(0))


@dataclass(frozen=True, slots=True)
class Run:
    """One run on one instance."""

    id: str
    invocation_id: str
    instance_id: str
    number: int
    status: Status
    error_code: str
    error_text: str
    exit_code: int | None
    output: bytes
    dropped: int
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    stopped_at: datetime | None
    deliver_by: datetime | None
    undelivered: bool


@dataclass(frozen=True, slots=True)
class Record:
    """What became of an invocation on one instance. `run` is the newest one; None before the first."""

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


@dataclass(frozen=True, slots=True)
class InvocationFilter:
    """Which invocations are meant; None and empty mean all."""

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


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Which records are meant; None and empty mean all."""

    invocation_id: str | None = None
    command_id: str | None = None
    instance_id: str | None = None
    statuses: Sequence[Status] | None = None
    tags: Sequence[tuple[str, str | None]] = ()


@dataclass(frozen=True, slots=True)
class CommandFilter:
    """Which kept commands are meant; None and empty mean all. `*` stands for any characters."""

    ids: Sequence[str] | None = None
    name: str | None = None
    description: str | None = None
    kind: str | None = None
    tags: Sequence[tuple[str, str | None]] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """How an instance was used."""

    last_at: datetime | None = None
    count: int = 0
    active: int = 0


# --- Commands -------------------------------------------------------------------------------------------------------


def keep_command(tx: Transaction, command: Command) -> None:
    """Keep a command for later.

    Raises:
        TooMany: the account keeps as many as it may.
    """
    if _store.count_commands(tx, command.account_id) >= MOST_COMMANDS:
        raise TooMany
    _store.add_command(tx, command)


def command(tx: Transaction, account_id: str, region: str, command_id: str) -> Command | None:
    """A kept command of the account."""
    found = _store.commands_page(tx, account_id, region, CommandFilter(ids=[command_id]), Page(1, 1))
    return found.items[0] if found.items else None


def find_commands(tx: Transaction, account_id: str, region: str, wanted: CommandFilter, page: Page) -> Listing[Command]:
    """Kept commands, newest first."""
    return _store.commands_page(tx, account_id, region, wanted, page)


def change_command(tx: Transaction, changed: Command) -> None:
    """Name, description, content, time and folder of a kept command. What was invoked before stays as it was."""
    _store.update_command(tx, changed)


def delete_command(tx: Transaction, command_id: str) -> None:
    """Forget a kept command. What was invoked before stays, and goes on."""
    _store.drop_command(tx, command_id)


# --- Invocations ----------------------------------------------------------------------------------------------------


def invoke(
    tx: Transaction, command: Command, wish: Wish, *, now: datetime, draw: Draw, file: File | None = None
) -> str:
    """Write down that a command is to be run, and ring for the worker; the invocation's id.

    Raises:
        TooMany: the account has asked as often today as it may.
    """
    if _store.invocations_since(tx, command.account_id, now - timedelta(days=1), MOST_A_DAY) >= MOST_A_DAY:
        raise TooMany
    made = _invocation(command, wish, file, now, draw)
    next_at = _first_time(made, now)
    _store.add_invocation(
        tx,
        made,
        instance_ids=list(dict.fromkeys(wish.instance_ids)),
        status=Status.PENDING if next_at == now else Status.SCHEDULED,
        next_at=next_at,
        at_boot=made.repeat in (Repeat.NEXT_BOOT, Repeat.EVERY_BOOT),
    )
    if file is not None:
        _store.add_file(tx, made.id, file)
    else:
        _store.count_invocation(tx, command.id)
    tx.publish(TOPIC)
    return made.id


def _invocation(command: Command, wish: Wish, file: File | None, now: datetime, draw: Draw) -> Invocation:
    at_once = wish.repeat in (Repeat.ONCE, Repeat.DRY_RUN)
    return Invocation(
        id=new_id("f" if file else "t", draw),
        account_id=command.account_id,
        region=command.region,
        is_file=file is not None,
        command_id=command.id,
        name=command.name,
        description=command.description,
        kind=command.kind,
        content=command.content,
        working_directory=wish.working_directory or command.working_directory,
        username=wish.username,
        timeout_seconds=wish.timeout_seconds,
        has_parameters=command.has_parameters,
        parameters=wish.parameters,
        repeat=wish.repeat,
        frequency=wish.frequency,
        termination=wish.termination,
        status=Overall.PENDING if at_once else Overall.SCHEDULED,
        created_at=now,
    )


def _first_time(made: Invocation, now: datetime) -> datetime | None:
    """By the clock; None for those that wait for a boot."""
    if made.repeat in (Repeat.ONCE, Repeat.DRY_RUN):
        return now
    return made.schedule().after(now) if made.timed else None


def find_invocations(
    tx: Transaction, account_id: str, region: str, wanted: InvocationFilter, page: Page
) -> Listing[Invocation]:
    """Invocations, newest first."""
    return _store.invocations_page(tx, account_id, region, wanted, page)


def records_of(
    tx: Transaction, invocation_ids: Sequence[str], instance_id: str | None = None, *, output: bool
) -> dict[str, list[Record]]:
    """What became of these invocations on each instance, or on one; without output unless it is asked for."""
    return _store.records_of(tx, invocation_ids, instance_id, output=output)


def find_records(
    tx: Transaction, account_id: str, region: str, wanted: RecordFilter, page: Page
) -> Listing[tuple[Invocation, Record]]:
    """What became of commands on instances, newest first."""
    return _store.records_page(tx, account_id, region, wanted, page)


def find_runs(
    tx: Transaction, account_id: str, region: str, wanted: RecordFilter, page: Page
) -> Listing[tuple[Invocation, Run]]:
    """Every run that is remembered, newest first."""
    return _store.runs_page(tx, account_id, region, wanted, page)


def files_of(tx: Transaction, invocation_ids: Sequence[str]) -> dict[str, File]:
    """The files that these invocations send."""
    return _store.files_of(tx, invocation_ids)


def usage(tx: Transaction, instance_ids: Sequence[str]) -> dict[str, Usage]:
    """How these instances were used; those that never were are not there."""
    return _store.usage(tx, instance_ids)


# --- Tokens ---------------------------------------------------------------------------------------------------------


def answered_before(
    tx: Transaction, account_id: str, token: str, fingerprint: str, *, now: datetime
) -> dict[str, str] | None:
    """What the call with this ClientToken was answered; None if the token is new.

    Raises:
        TokenReused: it came with other parameters then.
    """
    known = _store.token(tx, account_id, token, now)
    if known is None:
        return None
    if known.fingerprint != fingerprint:
        raise TokenReused
    answer: dict[str, str] = json.loads(known.answer)
    return answer


def remember_answer(
    tx: Transaction, account_id: str, token: str, fingerprint: str, answer: Mapping[str, str], *, now: datetime
) -> None:
    """Give the same answer to the same call for a day.

    Raises:
        Conflict: the same token came twice at once; begin again.
    """
    if not _store.add_token(tx, account_id, token, fingerprint, json.dumps(answer), now + TOKEN_LIFE):
        raise Conflict("the same ClientToken came twice at once")
