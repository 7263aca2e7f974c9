"""Begin runs when their time comes, stop them when asked, and take over what their agents report."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from backfleet import commands, fleet
from backfleet.assistant import _store
from backfleet.assistant.content import fill_in
from backfleet.assistant.files import ERROR_CODES
from backfleet.assistant.invocations import TOPIC
from backfleet.assistant.model import Invocation, Record, Repeat, Run
from backfleet.assistant.states import OPEN, RunResult, Status, overall, result_of
from backfleet.commands import NewInvocation, Outcome
from backfleet.fleet import Instance, Reachability
from backfleet.ids import Draw, new_id
from backfleet.storage import Transaction
from backfleet_host.contract import FIRST_LINE

DELIVERY = timedelta(seconds=60)  # the time in which an agent must take a command
IN_HAND = timedelta(seconds=10)  # more time for a command that an agent took without a report so far
SAME_BOOT = timedelta(seconds=60)  # two boots of a host within it are one boot, reported twice
RUNS_KEPT = 100  # of one command on one instance
LATEST_MS = 4_102_444_800_000  # the year 2100: a host's clock that shows a later time is wrong
LONGEST_TEXT = 1024  # characters of ErrorInfo

_UNREACHABLE: Final = {
    Reachability.NOT_EXISTS: RunResult(Status.ABORTED, "InstanceReleased"),
    Reachability.NOT_RUNNING: RunResult(Status.ABORTED, "InstanceNotRunning"),
    Reachability.AGENT_NOT_RUNNING: RunResult(Status.ABORTED, "ClientNotRunning"),
}
ORDER_PREFIX: Final = FIRST_LINE.partition(" ")[0]  # the first line of an order, without its version


# --- Beginning ------------------------------------------------------------------------------------------------------


def begin_due(tx: Transaction, *, now: datetime, draw: Draw, reachable_within: timedelta, limit: int) -> int:
    """Begin runs whose time has come; return the number of records, at most `limit`."""
    due = _store.due_records(tx, now, limit)
    of = _store.invocations_by_id(tx, list({record.invocation_id for record in due}))
    _begin(tx, [(of[record.invocation_id], record) for record in due], now, draw, reachable_within)
    return len(due)


def begin_booted(tx: Transaction, *, now: datetime, draw: Draw, reachable_within: timedelta, limit: int) -> int:
    """Begin runs that waited for a boot of their host; return the number of boots, at most `limit`."""
    boots = fleet.take_boots(tx, limit=limit)
    waiting = [
        record
        for record in _store.records_waiting_for_boot(tx, list(boots))
        if boots[record.instance_id] > record.created_at
        and (record.last_due_at is None or boots[record.instance_id] - record.last_due_at > SAME_BOOT)
    ]
    of = _store.invocations_by_id(tx, list({record.invocation_id for record in waiting}))
    _begin(tx, [(of[record.invocation_id], record) for record in waiting], now, draw, reachable_within)
    return len(boots)


def _begin(
    tx: Transaction,
    found: Sequence[tuple[Invocation, Record]],
    now: datetime,
    draw: Draw,
    reachable_within: timedelta,
) -> None:
    """Begin one run per record. A record whose last run still goes on skips this time."""
    instances = _instances(tx, found)
    sends: list[NewInvocation] = []
    for invocation, record in found:
        instance = instances.get(record.instance_id)
        goes_on = instance is not None  # a host that was deregistered never returns under the same id
        next_at = invocation.schedule().after(now) if invocation.timed and goes_on else None
        at_boot = invocation.repeat is Repeat.EVERY_BOOT and goes_on
        plan = {"next_at": next_at, "at_boot": at_boot, "last_due_at": now}
        if record.run is not None and record.run.status in OPEN:
            _store.update_record(tx, record, **plan)
            continue
        content = "" if instance is None else _content(invocation, instance)
        dial = _awaited_dial(invocation, instance, now, reachable_within)
        result = _result_without_sending(invocation, instance, content, now, reachable_within, waits=dial is not None)
        run = _new_run(record, result, now, draw, deliver_by=(dial or now) + DELIVERY)
        _store.add_run(tx, run, keep=RUNS_KEPT)
        waits = result is not None and (next_at is not None or at_boot)
        status = Status.SCHEDULED if waits else run.status
        _store.update_record(tx, record, **plan, run_id=run.id, repeats=run.number, status=status, changed_at=now)
        if result is None and instance is not None:
            sends.append(_send(invocation, run, content))
    commands.send(tx, sends, topic=TOPIC, now=now, draw=draw)
    update_overall(tx, [invocation.id for invocation, _ in found])


def _instances(tx: Transaction, found: Sequence[tuple[Invocation, Record]]) -> dict[str, Instance]:
    by_place: dict[tuple[str, str], set[str]] = {}
    for invocation, record in found:
        by_place.setdefault((invocation.account_id, invocation.region), set()).add(record.instance_id)
    instances: dict[str, Instance] = {}
    for (account_id, region), ids in by_place.items():
        instances |= fleet.resolve(tx, account_id, region, sorted(ids), []).instances
    return instances


def _new_run(record: Record, result: RunResult | None, now: datetime, draw: Draw, *, deliver_by: datetime) -> Run:
    made = Run(
        id=new_id("r", draw),
        invocation_id=record.invocation_id,
        instance_id=record.instance_id,
        number=record.repeats + 1,
        status=Status.PENDING,
        error_code="",
        error_text="",
        exit_code=None,
        output=b"",
        dropped=0,
        created_at=now,
        started_at=None,
        ended_at=None,
        stopped_at=None,
        deliver_by=deliver_by,
        undelivered=False,
    )
    if result is None:
        return made
    return replace(
        made,
        status=result.status,
        error_code=result.error_code,
        error_text=result.error_text,
        ended_at=now,
        deliver_by=None,
    )


def _awaited_dial(
    invocation: Invocation, instance: Instance | None, now: datetime, reachable_within: timedelta
) -> datetime | None:
    """Return when an agent that cannot be told of a run now will connect by itself; None if that is not waited for.

    That of a host that has just enrolled is waited for, and another one if the command's own time-out is as long.
    """
    if instance is None:
        return None
    if fleet.reachability(instance, now=now, reachable_within=reachable_within) is not Reachability.AGENT_NOT_RUNNING:
        return None
    dial = fleet.next_dial(instance, now=now, reachable_within=reachable_within)
    is_new = fleet.connects_for_the_first_time(instance, now=now, reachable_within=reachable_within)
    is_soon = dial is not None and dial <= now + timedelta(seconds=invocation.timeout_seconds)
    return dial if is_new or is_soon else None


def _result_without_sending(
    invocation: Invocation,
    instance: Instance | None,
    content: str,
    now: datetime,
    reachable_within: timedelta,
    *,
    waits: bool,
) -> RunResult | None:
    """Return the result of a run that is not sent to its host; None if it is to be sent.

    Hosts that allow no shell still accept orders for their backup clients. Only tasks may give such orders: an order
    in a command would bypass the permissions, the audit trail and the rules of upgrades. A run that `waits` is sent:
    the agent fetches it as soon as it connects.
    """
    reachability = fleet.reachability(instance, now=now, reachable_within=reachable_within)
    if reachability in _UNREACHABLE and not waits:
        return _UNREACHABLE[reachability]
    if content.startswith(ORDER_PREFIX):
        return RunResult(Status.INVALID, "CommandNotApplicable", "it is an order for a backup client")
    return RunResult(Status.SUCCESS) if invocation.repeat is Repeat.DRY_RUN else None


def _send(invocation: Invocation, run: Run, content: str) -> NewInvocation:
    return NewInvocation(
        account_id=invocation.account_id,
        instance_id=run.instance_id,
        content=content,
        timeout_seconds=invocation.timeout_seconds,
        reference=run.id,
        kind=invocation.kind,
        working_directory=invocation.working_directory,
        username=invocation.username,
        termination=invocation.termination,
    )


def _content(invocation: Invocation, instance: Instance) -> str:
    if not invocation.has_parameters:
        return invocation.content
    built_in = {
        "ACS::RegionId": invocation.region,
        "ACS::AccountId": invocation.account_id,
        "ACS::InstanceId": instance.id,
        "ACS::InstanceName": instance.name,
        "ACS::InvokeId": invocation.id,
        "ACS::CommandId": invocation.command_id,
    }
    return fill_in(invocation.content, {**invocation.parameters, **built_in})


# --- Reports of agents ----------------------------------------------------------------------------------------------


def collect(tx: Transaction, *, now: datetime, limit: int) -> int:
    """Take over what agents reported; return the number of outcomes, at most `limit`."""
    reported = commands.outcomes(tx, TOPIC, limit=limit)
    known = _store.runs_for_update(tx, [outcome.reference for outcome in reported])
    of = _store.invocations_by_id(tx, list({run.invocation_id for run in known.values()}))
    for outcome in reported:
        run = known.get(outcome.reference)
        if run is not None:
            _apply(tx, of[run.invocation_id], run, outcome, now)
    commands.mark_collected(tx, reported)
    update_overall(tx, list(of))
    return len(reported)


def _apply(tx: Transaction, invocation: Invocation, run: Run, outcome: Outcome, now: datetime) -> None:
    result = result_of(outcome, stop_asked=run.stopped_at is not None, undelivered=run.undelivered)
    if invocation.is_file:
        result = _of_file(result, outcome)
    is_open = result.status in OPEN
    _store.update_run(
        tx,
        run.id,
        status=result.status,
        error_code=result.error_code,
        error_text=result.error_text[:LONGEST_TEXT],
        exit_code=outcome.exit_code,
        output=outcome.output,
        dropped=outcome.dropped,
        started_at=_moment(outcome.started_ms) or run.started_at,
        ended_at=None if is_open else _moment(outcome.ended_ms) or outcome.changed_at,
        deliver_by=None,
    )
    _store.note_run_status(tx, run.id, result.status, is_over=not is_open, now=now)


def _of_file(result: RunResult, outcome: Outcome) -> RunResult:
    if result.status is not Status.FAILED:
        return result
    text = outcome.output.decode(errors="replace").strip()[:LONGEST_TEXT]
    return RunResult(Status.FAILED, ERROR_CODES.get(outcome.exit_code or 0, "FileCreateFail"), text)


def _moment(milliseconds: int | None) -> datetime | None:
    """Return a time of the host's clock; None where nothing ran, or where that clock must be wrong."""
    if milliseconds is None or not 0 < milliseconds < LATEST_MS:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def update_overall(tx: Transaction, invocation_ids: Sequence[str]) -> None:
    """Compute the status of these invocations anew from those of their instances."""
    for invocation_id, (before, statuses) in _store.statuses_for_update(tx, sorted(set(invocation_ids))).items():
        status = overall(statuses)
        if status is not before:
            _store.set_overall(tx, invocation_id, status)


# --- Stopping -------------------------------------------------------------------------------------------------------


def give_up(tx: Transaction, run_ids: Sequence[str], *, now: datetime) -> None:
    """Withdraw runs that no agent has begun in time. A run that an agent has taken gets IN_HAND more time."""
    # Lock the rows of commands before our own, as `collect` does: another order could deadlock.
    in_hand = commands.withdraw(tx, TOPIC, run_ids, now=now)
    _store.runs_for_update(tx, run_ids)
    _store.postpone_delivery(tx, in_hand, now + IN_HAND)
    _store.mark_undelivered(tx, [run_id for run_id in run_ids if run_id not in in_hand])


def stop(tx: Transaction, invocation_id: str, instance_ids: Sequence[str] | None, *, now: datetime) -> None:
    """Stop the runs of an invocation on these instances, or on all (None), and begin no more of them."""
    newest = _store.newest_runs(tx, invocation_id)
    chosen = [run for instance_id, run in newest.items() if instance_ids is None or instance_id in instance_ids]
    commands.stop(tx, TOPIC, chosen, now=now)
    runs = _store.runs_for_update(tx, chosen)
    begun_since = []
    for record in _store.records_for_update(tx, invocation_id, instance_ids):
        run = record.run
        if run is not None and run.id not in runs:
            begun_since.append(run.id)
        _stop_record(tx, record, runs.get(run.id, run) if run is not None else None, now)
    commands.stop(tx, TOPIC, begun_since, now=now)
    update_overall(tx, [invocation_id])
    tx.publish(TOPIC)


def _stop_record(tx: Transaction, record: Record, run: Run | None, now: datetime) -> None:
    if record.status not in OPEN:
        return
    values: dict[str, object] = {"next_at": None, "at_boot": False, "stop_asked": True, "stopped_at": now}
    if run is not None and run.status in OPEN:
        status = Status.STOPPING
        _store.update_run(tx, run.id, status=status, stopped_at=now, deliver_by=None)
    else:
        status = Status.TERMINATED if record.repeats else Status.CANCELLED
    _store.update_record(tx, record, **values, status=status, changed_at=now)
