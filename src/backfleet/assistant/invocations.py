"""Invocations: a command on instances, once or on a schedule, and lists of what became of it."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from backfleet.assistant import _store
from backfleet.assistant.model import (
    Invocation,
    InvocationFilter,
    InvocationOptions,
    QuotaExceeded,
    Record,
    RecordFilter,
    Repeat,
    Run,
    SavedCommand,
    SentFile,
    Usage,
)
from backfleet.assistant.states import Overall, Status
from backfleet.ids import Draw, new_id
from backfleet.paging import Listing, Page
from backfleet.storage import Transaction

TOPIC = "assistant"
MOST_A_DAY = 10_000  # invocations of one account
TOKEN_LIFE = timedelta(hours=24)


def invoke(
    tx: Transaction,
    command: SavedCommand,
    options: InvocationOptions,
    *,
    now: datetime,
    draw: Draw,
    file: SentFile | None = None,
) -> str:
    """Write an invocation down, publish it to the worker, and return its id.

    Raises:
        QuotaExceeded: the account has made MOST_A_DAY invocations within a day.
    """
    if _store.invocations_since(tx, command.account_id, now - timedelta(days=1), MOST_A_DAY) >= MOST_A_DAY:
        raise QuotaExceeded
    made = _invocation(command, options, file, now, draw)
    next_at = _first_time(made, now)
    _store.add_invocation(
        tx,
        made,
        instance_ids=list(dict.fromkeys(options.instance_ids)),
        status=Status.PENDING if next_at == now else Status.SCHEDULED,
        next_at=next_at,
        at_boot=made.repeat in (Repeat.NEXT_BOOT, Repeat.EVERY_BOOT),
    )
    if file is not None:
        _store.add_file(tx, made.id, file)
    else:
        _store.count_use(tx, command.id)
    tx.publish(TOPIC)
    return made.id


def _invocation(
    command: SavedCommand, options: InvocationOptions, file: SentFile | None, now: datetime, draw: Draw
) -> Invocation:
    at_once = options.repeat in (Repeat.ONCE, Repeat.DRY_RUN)
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
        working_directory=options.working_directory or command.working_directory,
        username=options.username,
        timeout_seconds=options.timeout_seconds,
        has_parameters=command.has_parameters,
        parameters=options.parameters,
        repeat=options.repeat,
        frequency=options.frequency,
        termination=options.termination,
        status=Overall.PENDING if at_once else Overall.SCHEDULED,
        created_at=now,
    )


def _first_time(made: Invocation, now: datetime) -> datetime | None:
    """Return the time of the first run; None if it waits for a boot."""
    if made.repeat in (Repeat.ONCE, Repeat.DRY_RUN):
        return now
    return made.schedule().after(now) if made.timed else None


def find_invocations(
    tx: Transaction, account_id: str, region: str, wanted: InvocationFilter, page: Page
) -> Listing[Invocation]:
    """Return one page of the account's invocations, newest first."""
    return _store.invocations_page(tx, account_id, region, wanted, page)


def records_of(
    tx: Transaction, invocation_ids: Sequence[str], instance_id: str | None = None, *, output: bool
) -> dict[str, list[Record]]:
    """Return the records of each invocation, on every instance or on one; without output unless it is asked for."""
    return _store.records_of(tx, invocation_ids, instance_id, output=output)


def find_records(
    tx: Transaction, account_id: str, region: str, wanted: RecordFilter, page: Page
) -> Listing[tuple[Invocation, Record]]:
    """Return one page of the account's records with their invocations, newest first."""
    return _store.records_page(tx, account_id, region, wanted, page)


def find_runs(
    tx: Transaction, account_id: str, region: str, wanted: RecordFilter, page: Page
) -> Listing[tuple[Invocation, Run]]:
    """Return one page of the account's remembered runs with their invocations, newest first."""
    return _store.runs_page(tx, account_id, region, wanted, page)


def files_of(tx: Transaction, invocation_ids: Sequence[str]) -> dict[str, SentFile]:
    """Return the files that these invocations send, by invocation."""
    return _store.files_of(tx, invocation_ids)


def usage(tx: Transaction, instance_ids: Sequence[str]) -> dict[str, Usage]:
    """Return how much each of these instances was used; an instance without invocations is left out."""
    return _store.usage(tx, instance_ids)


def instances_of(tx: Transaction, invocation_id: str) -> list[str]:
    """Return the ids of an invocation's instances, of whatever account."""
    return _store.instances_of(tx, invocation_id)


# --- ClientTokens ---------------------------------------------------------------------------------------------------


def answered_before(
    tx: Transaction, account_id: str, token: str, fingerprint: str, *, now: datetime
) -> dict[str, str] | None:
    """Return the answer to the call that came with this ClientToken before; None if the token is new.

    Raises:
        TokenReused: that call had other parameters.
    """
    known = _store.client_tokens.find(tx, account_id, token, fingerprint, now=now)
    answer: dict[str, str] | None = None if known is None else json.loads(known)
    return answer


def remember_answer(
    tx: Transaction, account_id: str, token: str, fingerprint: str, answer: Mapping[str, str], *, now: datetime
) -> None:
    """Remember the answer to a call with a ClientToken for TOKEN_LIFE.

    Raises:
        Conflict: another call bound the same token at the same time; run the transaction again.
    """
    _store.client_tokens.bind(tx, account_id, token, fingerprint, json.dumps(answer), until=now + TOKEN_LIFE)
