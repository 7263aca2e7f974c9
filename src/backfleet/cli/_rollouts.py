"""backfleet rollout: move a fleet in rings, by a policy that its owner keeps in a file."""

import sys
import time
from pathlib import Path
from typing import Any

import click

from backfleet.cli._client import Client
from backfleet.cli._drawing import Drawing
from backfleet.cli._evidence import all_events, all_members, evidence
from backfleet.cli._options import Done, calls_the_api, json_option, print_faults, prints_the_answer
from backfleet.cli._policies import POLICY_FILE, call_with_policy
from backfleet.cli._previews import HEADINGS, first_of, say_what_holds
from backfleet.cli._previews import rows as rows_of
from backfleet.cli._print import moment, print_json, print_text, say
from backfleet.cli._rollout_members import members_named
from backfleet.cli._rollout_steps import NEEDS_SOMEBODY, next_step
from backfleet.cli._simulations import simulate_policy
from backfleet.cli._tables import Output, layout, output_options, print_table, terminal_width
from backfleet.cli._waiting import Poller, stoppable
from backfleet_host.texts import counted, printable

POLL_SECONDS = 2.0
ENDED = ("completed", "rolled_back", "cancelled", "expired")
_TOO_NEW = {"ExpectedEndTime": None, "ExpectedEndReason": ""}  # what changes all the time, where nothing is drawn over
BAR = 24  # characters

_RING_COUNTS = (
    "Waiting", "Upgrading", "Verifying", "RollingBack", "Succeeded", "AlreadyThere", "Failed", "RolledBack", "Lost",
    "Skipped", "Expired",
)  # fmt: skip


@click.group()
def rollout() -> None:
    """Rollouts: a fleet moves to one version, in rings, inside windows, within a budget."""


rollout.add_command(simulate_policy)
rollout.add_command(evidence)


@rollout.command()
@click.argument("file", type=POLICY_FILE)
@output_options
@calls_the_api
def preview(api: Client, file: Path, output: Output) -> None:
    """Show what a policy would do to the fleet as it is now. Nothing changes; exits with 1 if it would be refused."""
    found = call_with_policy(api, "PreviewRollout", file)
    if output.form != "table" or output.columns or output.sort:
        output.show(HEADINGS, rows_of(found), found)
    else:
        verb = "install" if found.get("Kind") == "install" else "to"
        say(f"{verb} {goal_of(found)}: {counted(found['Members'], 'member')}; {found['AlreadyThere']} have it already")
        rows = [(ring["Name"], ring["Members"], " ".join(first_of(found, ring))) for ring in found["Rings"]]
        print_table(("RING", "MEMBERS", "FIRST"), rows)
        if found["Dynamic"]:
            others = ", ".join(found["TagSetters"]) or "no policy in use"
            say(f"dynamic: whoever may set tags decides what is taken in: the account itself, {others}")
        say_what_holds(found)
        if found["LeftOut"]:
            say(f"in no ring: {' '.join(found['LeftOut'])}")
        print_faults(found["Faults"], file)
    raise SystemExit(1 if found["Faults"] else 0)


@rollout.command()
@click.argument("file", type=POLICY_FILE)
@click.option("--start/--draft", default=True, show_default=True, help="Start it, or only create it.")
@json_option
@calls_the_api
def apply(api: Client, file: Path, start: bool, as_json: bool) -> None:
    """Roll out by the policy in FILE. The same file again changes nothing; a policy with faults is refused whole."""
    found = call_with_policy(api, "CreateRollout", file, Start=start)
    if as_json:
        print_json(found)
        return
    state = "created" if found["Created"] else "already there, nothing changed"
    say(f"{found['RolloutId']}: {found['Name']} to {goal_of(found)}: {state}; {found['State']}")
    verb, command = ("start", "start") if found["State"] == "draft" else ("follow", "watch")
    say(f"{verb} it with `backfleet rollout {command} {found['RolloutId']}`")


@rollout.command()
@click.argument("rollout_id")
@json_option
@calls_the_api
def start(api: Client, rollout_id: str, as_json: bool) -> None:
    """Start a draft."""
    _print_state(api.call("backfleet", "StartRollout", RolloutId=rollout_id), as_json)


@rollout.command(name="list")
@click.option("--state", "states", multiple=True, help="Only these states. May be given several times.")
@output_options
@calls_the_api
def list_rollouts(api: Client, states: tuple[str, ...], output: Output) -> None:
    """List rollouts, newest first."""
    found: list[dict[str, Any]] = []
    while True:
        page = len(found) // 50 + 1
        answer = api.call("backfleet", "ListRollouts", States=list(states) or None, PageNumber=page, PageSize=50)
        found += answer["Rollouts"]
        if len(found) >= answer["TotalCount"] or not answer["Rollouts"]:
            break
    output.show(
        ("ROLLOUT", "NAME", "TO", "STATE", "MEMBERS", "DONE", "DEADLINE"),
        [
            (r["RolloutId"], r["Name"], goal_of(r), r["State"], r["Members"], _done(r), moment(r["Deadline"]))
            for r in found
        ],
        found,
    )


def _done(found: dict[str, Any]) -> int:
    return sum(ring["Succeeded"] + ring["AlreadyThere"] for ring in found["Rings"])


@rollout.command()
@click.argument("rollout_id")
@click.option("--members", is_flag=True, help="Show every member, too.")
@json_option
@calls_the_api
def show(api: Client, rollout_id: str, members: bool, as_json: bool) -> None:
    """Show one rollout: its rings, what it waits for, and its members if asked for."""
    found = api.call("backfleet", "DescribeRollout", RolloutId=rollout_id)
    listed = all_members(api, rollout_id) if members else []
    if as_json:
        print_json({**found, **({"MemberList": listed} if members else {})})
        return
    print_text(_picture(found))
    if found["State"] in NEEDS_SOMEBODY:
        say(next_step(found))
    if members:
        print_table(
            ("HOST", "CLIENT", "INSTANCE", "RING", "STATE", "CODE", "REASON"),
            [
                (host_of(m), m["ClientId"], m["InstanceId"], m["Ring"], m["State"], m["ErrorCode"], m["Reason"])
                for m in listed
            ],
        )


def host_of(member: dict[str, Any]) -> str:
    """Return what people call a member's host; its id if it has no name, or an older server does not say it."""
    return str(member.get("InstanceName") or member.get("Hostname") or member["InstanceId"])


def goal_of(found: dict[str, Any]) -> str:
    """Return where a rollout goes, for people: to a version, or to settings."""
    return found["TargetVersion"] or " ".join(f"{each['Name']}={each['Value']}" for each in found["Settings"])


def _picture(found: dict[str, Any]) -> str:
    """Return a rollout as text: its state, and a bar for each ring."""
    why = f": {found['Reason']}" if found["Reason"] else ""
    lines = [
        f"{found['RolloutId']}: {found['Name']} to {goal_of(found)}: {found['State']}{why}",
        *([f"waits for {found['WaitsFor']}"] if found["WaitsFor"] else []),
        *([next_step(found)] if found["State"] == "running" and next_step(found) else []),
        f"deadline {moment(found['Deadline'])}{_end_and_budget(found)}",
    ]
    rows = [(ring["Name"], ring["State"], _bar(ring), ring["Members"], _counts(ring)) for ring in found["Rings"]]
    text = "\n".join(printable(line) for line in lines)
    return f"{text}\n{layout(('RING', 'STATE', 'DONE', 'MEMBERS', 'COUNTS'), rows, terminal_width())}"


def _end_and_budget(found: dict[str, Any]) -> str:
    """Return when it may be over, and how many members may still fail."""
    end, why, left = found.get("ExpectedEndTime"), found.get("ExpectedEndReason"), found.get("FailuresLeft")
    text = f", about over at {moment(end)} at the pace so far" if end else ""
    text += f" {why}" if end and why else f", its end cannot be foreseen: {why}" if why else ""
    if left is None:
        return text
    own = [f", ring {ring['Name']}: {_left(ring['FailuresLeft'])}" for ring in found["Rings"] if "FailuresLeft" in ring]
    allowed, failures = found["FailuresAllowed"], found.get("Failures", 0)
    if failures > allowed:
        return f"{text}; budget: spent, {counted(failures, 'failure')} where it bears {allowed}{''.join(own)}"
    return f"{text}; budget: {_left(left)} of {allowed}{''.join(own)}"


def _left(number: int) -> str:
    return f"{number} left" if number >= 0 else "spent"


def _bar(ring: dict[str, Any]) -> str:
    done = ring["Succeeded"] + ring["AlreadyThere"]
    bad = ring["Failed"] + ring["RolledBack"] + ring["Lost"]
    total = max(1, ring["Members"])
    good_cells = done * BAR // total
    bad_cells = min(BAR - good_cells, -(-bad * BAR // total))
    return f"[{'#' * good_cells}{'!' * bad_cells}{'.' * (BAR - good_cells - bad_cells)}]"


def _counts(ring: dict[str, Any]) -> str:
    return ", ".join(f"{ring[name]} {name}" for name in _RING_COUNTS if ring[name])


@rollout.command()
@click.argument("rollout_id")
@json_option
@calls_the_api
def watch(api: Client, rollout_id: str, as_json: bool) -> None:
    """Show a rollout until it ends or needs somebody. Exits with 0 only if it is completed."""
    go_on = f"go on with `backfleet rollout watch {rollout_id}`"
    poller = Poller(f"The rollout goes on without this command; {go_on}")
    stopped = [f"stopped watching; {rollout_id} goes on without this command", go_on]
    with stoppable(lambda: stopped), Drawing() as drawing:
        while True:
            found = poller.poll(lambda: api.call("backfleet", "DescribeRollout", RolloutId=rollout_id))
            if not as_json:
                drawing.show(_picture(found if drawing.is_redrawn else {**found, **_TOO_NEW}).splitlines())
            if found["State"] in (*ENDED, *NEEDS_SOMEBODY):
                break
            time.sleep(POLL_SECONDS)
    if as_json:
        print_json(found)
    else:
        if sys.stdout.isatty():
            print_text(_picture(found))
        if found["State"] in NEEDS_SOMEBODY:
            say(next_step(found))
    raise SystemExit(0 if found["State"] == "completed" else 1)


@rollout.command()
@click.argument("rollout_id")
@output_options
@calls_the_api
def events(api: Client, rollout_id: str, output: Output) -> None:
    """List what happened to a rollout, oldest first."""
    found = all_events(api, rollout_id)
    output.show(
        ("TIME", "WHAT", "NAME", "CHANGE", "REASON"),
        [(moment(e["Time"]), e["What"], e["Name"], e["Change"], e["Reason"]) for e in found],
        found,
    )


def _print_state(found: dict[str, Any], as_json: bool) -> None:
    print_json(found) if as_json else say(f"{found['RolloutId']}: {found['State']}")


@rollout.command()
@click.argument("rollout_id")
@json_option
@calls_the_api
def pause(api: Client, rollout_id: str, as_json: bool) -> None:
    """Stop a rollout until it is resumed. Orders that no host has fetched are withdrawn."""
    _print_state(api.call("backfleet", "PauseRollout", RolloutId=rollout_id), as_json)


@rollout.command()
@click.argument("rollout_id")
@json_option
@calls_the_api
def resume(api: Client, rollout_id: str, as_json: bool) -> None:
    """Let a paused or halted rollout go on, or confirm the manual gate that it waits for."""
    _print_state(api.call("backfleet", "ResumeRollout", RolloutId=rollout_id), as_json)


@rollout.command()
@click.argument("rollout_id")
@json_option
@calls_the_api
def cancel(api: Client, rollout_id: str, as_json: bool) -> None:
    """End a rollout. Hosts that have begun finish, or roll back by themselves."""
    _print_state(api.call("backfleet", "CancelRollout", RolloutId=rollout_id), as_json)


@rollout.command()
@click.argument("rollout_id")
@click.option("--ring", help="The ring. Default: the next one that asks for an approval.")
@json_option
@calls_the_api
def approve(api: Client, rollout_id: str, ring: str | None, as_json: bool) -> None:
    """Approve a ring. The policy's author and whoever started the rollout cannot."""
    found = api.call("backfleet", "ApproveRollout", RolloutId=rollout_id, Ring=ring)
    if as_json:
        print_json(found)
        return
    before = "; you had approved it before, and count once" if found["CountedBefore"] else ""
    agreed, wanted = counted(found["Agreed"], "person"), found["Wanted"]
    say(f"{rollout_id}: ring {found['Ring']}: {agreed} agreed, {wanted} must{before}")


@rollout.command(name="roll-back")
@click.argument("rollout_id")
@click.option("--ring", help="Only this ring.")
@json_option
@calls_the_api
def roll_back(api: Client, rollout_id: str, ring: str | None, as_json: bool) -> None:
    """Take every member, or one ring, back to the version that it had."""
    _print_state(api.call("backfleet", "RollBackRollout", RolloutId=rollout_id, Ring=ring), as_json)


@rollout.command()
@click.argument("rollout_id")
@click.option("--client", "clients", multiple=True, metavar="NAME", help="Only these members, by host or client.")
@prints_the_answer
@calls_the_api
def retry(api: Client, rollout_id: str, clients: tuple[str, ...]) -> Done:
    """Let members that ended without success begin again."""
    ids = members_named(api, rollout_id, clients) if clients else None
    found = api.call("backfleet", "RetryRolloutMembers", RolloutId=rollout_id, ClientIds=ids)
    if not found["Retried"]:
        which = "none of these members" if clients else "no member"
        return found, f"{rollout_id}: {which} ended without success, so nothing is to be tried again"
    return found, f"{rollout_id}: {counted(found['Retried'], 'member')} to begin again"


@rollout.command()
@click.argument("rollout_id")
@click.argument("name")
@click.option("--release", is_flag=True, help="Let it in again.")
@prints_the_answer
@calls_the_api
def hold(api: Client, rollout_id: str, name: str, release: bool) -> Done:
    """Take one member, by its host or client, out of the way. What it has begun ends by itself."""
    (client_id,) = members_named(api, rollout_id, (name,))
    found = api.call("backfleet", "HoldRolloutMember", RolloutId=rollout_id, ClientId=client_id, Held=not release)
    return found, f"{name}: {'released' if release else 'held'}"
