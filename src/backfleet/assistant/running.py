"""Runs as they come and go: begun when their time comes, stopped when asked, ended as their agents say."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from backfleet import commands, fleet
from backfleet.assistant import _store
from backfleet.assistant.content import filled
from backfleet.assistant.invocations import TOPIC, Invocation, Record, Repeat, Run
from backfleet.assistant.states import OPEN, Status, Verdict, judge, overall
from backfleet.commands import NewInvocation, Outcome
from backfleet.fleet import Instance, Reachability
from backfleet.ids import Draw, new_id
from backfleet.storage import Transaction
from backfleet_host.contract import FIRST_LINE

DELIVERY = timedelta(seconds=60)  # within which an agent must take a command
IN_HAND = timedelta(seconds=10)  # until one that an agent took, and of which nothing is heard, is looked at again
SAME_BOOT = timedelta(seconds=60)  # a host that is heard to boot again so soon is heard twice
RUNS_KEPT = 100  # of one command on one instance
LATEST_MS = 4_102_444_800_000  # 2100: a host's clock that says later is not believed
LONGEST_TEXT = 1024  # characters of ErrorInfo

_UNFIT: Final = {
    Reachability.NOT_EXISTS: Verdict(Status.ABORTED, "InstanceReleased"),
    Reachability.NOT_RUNNING: Verdict(Status.ABORTED, "InstanceNotRunning"),
    Reachability.AGENT_NOT_RUNNING: Verdict(Status.ABORTED, "ClientNotRunning"),
}
ANY_ORDER: Final = FIRST_LINE.partition(" ")[0]  # of whatever version
FILE_CODES: Final = {
    101: "FilePathInvalid",
    102: "FileAlreadyExists",
    103: "FileCreateFail",
    104: "FileAuthorityInvalid",
    105: "FileContentInvalid",
}
"""What the script that writes a file says by its exit code."""


# --- Beginning ------------------------------------------------------------------------------------------------------


def begin_due(tx: Transaction, *, now: datetime, draw: Draw, fit_within: timedelta, limit: int) -> int:
    """Begin what the clock says; how many records were looked at."""
    due = _store.due(tx, now, limit)
    of = _store.invocations_by_id(tx, list({record.invocation_id for record in due}))
    _begin(tx, [(of[record.invocation_id], record) for record in due], now, draw, fit_within)
    return len(due)


def begin_booted(tx: Transaction, *, now: datetime, draw: Draw, fit_within: timedelta, limit: int) -> int:
    """Begin what waits for hosts that booted; how many boots there were."""
    boots = fleet.take_boots(tx, limit=limit)
    waiting = [
        record
        for record in _store.waiting_for_boot(tx, list(boots))
        if boots[record.instance_id] > record.created_at
        and (record.last_due_at is None or boots[record.instance_id] - record.last_due_at > SAME_BOOT)
    ]
    of = _store.invocations_by_id(tx, list({record.invocation_id for record in waiting}))
    _begin(tx, [(of[record.invocation_id], record) for record in waiting], now, draw, fit_within)
    return len(boots)


def _begin(
    tx: Transaction,
    found: Sequence[tuple[Invocation, Record]],
    now: datetime,
    draw: Draw,
    fit_within: timedelta,
) -> None:
    """Each of them once; one whose last run goes on is left out this time."""
    instances = _instances(tx, found)
    sends: list[NewInvocation] = []
    for invocation, record in found:
        instance = instances.get(record.instance_id)
        goes_on = instance is not None  # a host that is gone does not come back under its id
        next_at = invocation.schedule().after(now) if invocation.timed and goes_on else None
        at_boot = invocation.repeat is Repeat.EVERY_BOOT and goes_on
        plan = {"next_at": next_at, "at_boot": at_boot, "last_due_at": now}
        if record.run is not None and record.run.status in OPEN:
            _store.change_record(tx, record, **plan)
            continue
        content = "" if instance is None else _content(invocation, instance)
        verdict = _verdict(invocation, instance, content, now, fit_within)
        run = _new_run(record, verdict, now, draw)
        _store.add_run(tx, run, keep=RUNS_KEPT)
        waits = verdict is not None and (next_at is not None or at_boot)
        status = Status.SCHEDULED if waits else run.status
        _store.change_record(tx, record, **plan, run_id=run.id, repeats=run.number, status=status, changed_at=now)
        if verdict is None and instance is not None:
            sends.append(_send(invocation, run, content))
    commands.send(tx, sends, topic=TOPIC, now=now, draw=draw)
    settle(tx, [invocation.id for invocation, _ in found])


def _instances(tx: Transaction, found: Sequence[tuple[Invocation, Record]]) -> dict[str, Instance]:
    by_place: dict[tuple[str, str], set[str]] = {}
    for invocation, record in found:
        by_place.setdefault((invocation.account_id, invocation.region), set()).add(record.instance_id)
    instances: dict[str, Instance] = {}
    for (account_id, region), ids in by_place.items():
        instances |= fleet.resolve(tx, account_id, region, sorted(ids), []).instances
    return instances


def _new_run(record: Record, verdict: Verdict | None, now: datetime, draw: Draw) -> Run:
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
        deliver_by=now + DELIVERY,
        undelivered=False,
    )
    if verdict is None:
        return made
    return replace(
        made,
        status=verdict.status,
        error_code=verdict.error_code,
        error_text=verdict.error_text,
        ended_at=now,
        deliver_by=None,
    )


def _verdict(
    invocation: Invocation, instance: Instance | None, content: str, now: datetime, fit_within: timedelta
) -> Verdict | None:
    """What is known of a run before anything is sent; None if it is to be sent.

    Hosts that allow no shell take orders for their backup clients all the same. Those are given by tasks only: a caller
    who writes one by hand would get past the permission, the trail and the rules of upgrades.
    """
    unfit = _UNFIT.get(fleet.reachability(instance, now=now, reachable_within=fit_within))
    if unfit is not None:
        return unfit
    if content.startswith(ANY_ORDER):
        return Verdict(Status.INVALID, "CommandNotApplicable", "it is an order for a backup client")
    return Verdict(Status.SUCCESS) if invocation.repeat is Repeat.DRY_RUN else None


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
    return filled(invocation.content, {**invocation.parameters, **built_in})


# --- What agents say ------------------------------------------------------------------------------------------------


def collect(tx: Transaction, *, now: datetime, limit: int) -> int:
    """Write down what agents have told; how much news there was."""
    news = commands.outcomes(tx, TOPIC, limit=limit)
    known = _store.runs_for_update(tx, [outcome.reference for outcome in news])
    of = _store.invocations_by_id(tx, list({run.invocation_id for run in known.values()}))
    for outcome in news:
        run = known.get(outcome.reference)
        if run is not None:
            _take(tx, of[run.invocation_id], run, outcome, now)
    commands.mark_collected(tx, news)
    settle(tx, list(of))
    return len(news)


def _take(tx: Transaction, invocation: Invocation, run: Run, outcome: Outcome, now: datetime) -> None:
    verdict = judge(outcome, stop_asked=run.stopped_at is not None, undelivered=run.undelivered)
    if invocation.is_file:
        verdict = _of_file(verdict, outcome)
    is_open = verdict.status in OPEN
    _store.change_run(
        tx,
        run.id,
        status=verdict.status,
        error_code=verdict.error_code,
        error_text=verdict.error_text[:LONGEST_TEXT],
        exit_code=outcome.exit_code,
        output=outcome.output,
        dropped=outcome.dropped,
        started_at=_moment(outcome.started_ms) or run.started_at,
        ended_at=None if is_open else _moment(outcome.ended_ms) or outcome.changed_at,
        deliver_by=None,
    )
    _store.note_status(tx, run.id, verdict.status, scheduled=not is_open, now=now)


def _of_file(verdict: Verdict, outcome: Outcome) -> Verdict:
    if verdict.status is not Status.FAILED:
        return verdict
    text = outcome.output.decode(errors="replace").strip()[:LONGEST_TEXT]
    return Verdict(Status.FAILED, FILE_CODES.get(outcome.exit_code or 0, "FileCreateFail"), text)


def _moment(milliseconds: int | None) -> datetime | None:
    """By the host's clock; None where nothing ran, or where that clock cannot be believed."""
    if milliseconds is None or not 0 < milliseconds < LATEST_MS:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def settle(tx: Transaction, invocation_ids: Sequence[str]) -> None:
    """Write down where these invocations stand now, over all of their instances."""
    for invocation_id, (before, statuses) in _store.settle(tx, sorted(set(invocation_ids))).items():
        now_stands = overall(statuses)
        if now_stands is not before:
            _store.set_overall(tx, invocation_id, now_stands)


# --- Ending before the end ------------------------------------------------------------------------------------------


def give_up(tx: Transaction, run_ids: Sequence[str], *, now: datetime) -> None:
    """Take back what no agent has begun in time. What one has in hand is looked at again a little later."""
    # First the room below, then our rows: the order in which news are collected.
    in_hand = commands.withdraw(tx, TOPIC, run_ids, now=now)
    _store.runs_for_update(tx, run_ids)
    _store.put_off_delivery(tx, in_hand, now + IN_HAND)
    _store.give_up_delivery(tx, [run_id for run_id in run_ids if run_id not in in_hand])


def stop(tx: Transaction, invocation_id: str, instance_ids: Sequence[str] | None, *, now: datetime) -> None:
    """End what runs, keep what waits from beginning, and let no further time come; None: on every instance."""
    newest = _store.newest_runs(tx, invocation_id)
    chosen = [run for instance_id, run in newest.items() if instance_ids is None or instance_id in instance_ids]
    commands.stop(tx, TOPIC, chosen, now=now)
    runs = _store.runs_for_update(tx, chosen)
    begun_meanwhile = []
    for record in _store.lock_records(tx, invocation_id, instance_ids):
        run = record.run
        if run is not None and run.id not in runs:
            begun_meanwhile.append(run.id)
        _stop_record(tx, record, runs.get(run.id, run) if run is not None else None, now)
    commands.stop(tx, TOPIC, begun_meanwhile, now=now)
    settle(tx, [invocation_id])
    tx.publish(TOPIC)


def _stop_record(tx: Transaction, record: Record, run: Run | None, now: datetime) -> None:
    if record.status not in OPEN:
        return
    values: dict[str, object] = {"next_at": None, "at_boot": False, "stop_asked": True, "stopped_at": now}
    if run is not None and run.status in OPEN:
        status = Status.STOPPING
        _store.change_run(tx, run.id, status=status, stopped_at=now, deliver_by=None)
    else:
        status = Status.TERMINATED if record.repeats else Status.CANCELLED
    _store.change_record(tx, record, **values, status=status, changed_at=now)


def instances_of(tx: Transaction, invocation_id: str) -> list[str]:
    """The instances of an invocation, whosever it is."""
    return _store.instances_of(tx, invocation_id)


# --- Files ----------------------------------------------------------------------------------------------------------

_WRITE: Final = """set -u
dir={folder}; name={name}; mode={mode}; owner={owner}
umask 077
mkdir -p -- "$dir" 2>&1 || exit 101
[ -d "$dir" ] || exit 101
part=$(mktemp "$dir/.backfleet-XXXXXXXX") || exit 103
trap 'rm -f -- "$part"' EXIT
base64 -d > "$part" <<'BACKFLEET_END_OF_FILE' || exit 105
{content}
BACKFLEET_END_OF_FILE
if [ -n "$owner" ]; then chown -- "$owner" "$part" 2>&1 || exit 104; fi
chmod -- "$mode" "$part" 2>&1 || exit 104
[ -d "$dir/$name" ] && exit 103
if {overwrite}; then
  mv -f -- "$part" "$dir/$name" 2>&1 || exit 103
else
  ln -- "$part" "$dir/$name" 2>&1 || {{ [ -e "$dir/$name" ] && exit 102; exit 103; }}
fi
exit 0
"""


def write_script(name: str, folder: str, encoded: str, *, mode: str, owner: str, group: str, overwrite: bool) -> str:
    """A script that writes a file whole or not at all: `encoded` is its content in base64, of one line or many.

    A script, and not the agents' own file tasks: those are not done once but as often as they are listed, and the one
    report about them may be lost.
    """
    lines = "\n".join(encoded[start : start + 76] for start in range(0, len(encoded), 76))
    who = f"{owner}:{group}" if group else owner
    said: Mapping[str, str] = {
        "folder": shlex.quote(folder),
        "name": shlex.quote(name),
        "mode": shlex.quote(mode),
        "owner": shlex.quote(who),
        "content": lines,
        "overwrite": "true" if overwrite else "false",
    }
    return _WRITE.format(**said)
