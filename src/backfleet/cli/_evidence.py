"""backfleet rollout evidence: what happened to a rollout as a file, and whether such a file is whole and unchanged."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from backfleet.cli._client import Client
from backfleet.cli._options import calls_the_api, fail, json_option
from backfleet.cli._print import print_json, say
from backfleet_host.files import write_file

MOST_EVENTS = 500  # in one call: the API's maximum
MEMBERS_PAGE = 500
TRIES, PAUSE_SECONDS = 5, 1.0  # while the rollout moves under the hand that reads it
LARGEST_KEY = 64 * 1024  # bytes
_NEW_FILE = click.Path(dir_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def evidence() -> None:
    """Evidence: everything that happened to a rollout, signed, as a file that another machine can verify."""


@evidence.command()
@click.argument("rollout_id")
@click.argument("file", type=_NEW_FILE)
@json_option
@calls_the_api
def export(api: Client, rollout_id: str, file: Path, as_json: bool) -> None:
    """Write a rollout's policy, events, members and logs to FILE, with the heads that the server signed and its seal.

    Logs are the first and last lines that hosts sent of orders that failed or were rolled back.
    """
    from backfleet.rollouts.evidence import digest_of, lines_of, opened, read_public_key  # costs more than the rest

    key = read_public_key(api.call("backfleet", "GetEvidenceKey")["PublicKey"].encode())
    for _ in range(TRIES):
        policy = api.call("backfleet", "DescribeRollout", RolloutId=rollout_id)["Policy"]
        members = [member_row(each) for each in all_members(api, rollout_id)]
        found = api.call("backfleet", "GetRolloutEvidence", RolloutId=rollout_id)
        seal = opened(json.loads(found["Seal"]), key)
        if seal["members_sha256"] == digest_of(members):
            break
        time.sleep(PAUSE_SECONDS)
    else:
        fail(f"the members of {rollout_id} change while they are read: pause it, or try again when it has ended")
    events = [event_row(each) for each in all_events(api, rollout_id)][: seal["events"]]
    heads = [json.loads(each) for each in found["Heads"]]
    logs = [json.loads(each) for each in found["Logs"]] if "logs" in seal else None  # an older server sends none
    lines = lines_of(policy, events, heads, members, logs, json.loads(found["Seal"]))
    try:
        write_file(file, "".join(f"{line}\n" for line in lines).encode())
    except OSError as problem:
        fail(f"{file} cannot be written: {problem.strerror}")
    if as_json:
        counts = {"Events": len(events), "Members": len(members), "Heads": len(heads), "Logs": len(logs or [])}
        print_json({"File": str(file), **counts, "State": seal["state"]})
    else:
        found_in = f"{len(events)} events, {len(members)} members, {len(heads)} signed heads{_logs(seal)}"
        say(f"{file}: {found_in}; {seal['state']}")


@evidence.command(name="verify")
@click.argument("file", type=_FILE)
@click.option("--key", type=_FILE, required=True, help="The installation's public key: `rollout evidence key`.")
@json_option
def verify_file(file: Path, key: Path, as_json: bool) -> None:
    """Tell whether FILE is whole and as it was signed. No server is asked; exits with 1 if anything does not agree."""
    from backfleet.rollouts.evidence import read_public_key, verify

    try:
        with key.open("rb") as opened_key:
            public = read_public_key(opened_key.read(LARGEST_KEY))
    except (OSError, ValueError) as problem:
        fail(f"--key {key}: {problem}")
    try:
        with file.open(encoding="utf-8", newline="\n") as lines:
            found = verify(lines, public)
    except (OSError, UnicodeDecodeError) as problem:
        fail(f"{file} cannot be read: {problem}")
    if as_json:
        print_json({"Intact": not found.faults, "Faults": found.faults, "Seal": found.seal})
    else:
        for fault in found.faults:
            say(fault)
        say(_verdict(file, found.seal, is_intact=not found.faults))
    raise SystemExit(1 if found.faults else 0)


@evidence.command(name="key")
@json_option
@calls_the_api
def show_key(api: Client, as_json: bool) -> None:
    """Print the public key that verifies the evidence of this installation. Keep it where no server can change it."""
    key = api.call("backfleet", "GetEvidenceKey")["PublicKey"]
    if as_json:
        print_json({"PublicKey": key})
        return
    for line in key.splitlines():
        say(line)


def all_events(api: Client, rollout_id: str) -> list[dict[str, Any]]:
    """Return every event of a rollout, oldest first."""
    found: list[dict[str, Any]] = []
    while True:
        after = found[-1]["Number"] if found else 0
        answer = api.call(
            "backfleet", "DescribeRolloutEvents", RolloutId=rollout_id, After=after, MaxResults=MOST_EVENTS
        )
        found += answer["Events"]
        if len(answer["Events"]) < MOST_EVENTS:
            return found


def all_members(api: Client, rollout_id: str) -> list[dict[str, Any]]:
    """Return every member of a rollout, by ring."""
    found: list[dict[str, Any]] = []
    while True:
        page = len(found) // MEMBERS_PAGE + 1
        answer = api.call(
            "backfleet", "DescribeRolloutMembers", RolloutId=rollout_id, PageNumber=page, PageSize=MEMBERS_PAGE
        )
        found += answer["Members"]
        if len(answer["Members"]) < MEMBERS_PAGE:
            return found


def event_row(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event of the API as a file of evidence has it."""
    return {
        "number": found["Number"],
        "at": found["TimeMilliseconds"],
        "what": found["What"],
        "name": found["Name"],
        "change": found["Change"],
        "why": found["Reason"],
        "hash": found["Hash"],
    }


def member_row(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return a member of the API as it is sealed: what it waits for is not."""
    from backfleet.rollouts.states import FINAL

    return {
        "client_id": found["ClientId"],
        "instance_id": found["InstanceId"],
        "ring": found["Ring"],
        "state": found["State"],
        "reason": found["Reason"] if found["State"] in FINAL else "",
        "code": found["ErrorCode"],
        "from_version": found["FromVersion"],
        "first_run": found["FirstRun"],
        "task_id": found["TaskId"],
        "held": found["Held"],
        "attempts": found["Attempts"],
    }


def _verdict(file: Path, seal: Mapping[str, Any], *, is_intact: bool) -> str:
    if not is_intact:
        return f"{file}: NOT as it was signed"
    return (
        f"{file}: intact. Rollout {seal['rollout_id']} ({seal['name']}) of account {seal['account_id']} to"
        f" {seal['target_version']}: {seal['state']} when it was sealed at {seal['signed_at']};"
        f" {seal['events']} events, {seal['members']} members{_logs(seal)}"
    )


def _logs(seal: Mapping[str, Any]) -> str:
    """Return how many logs a seal covers, and how many had no space; "" for seals of before there were any."""
    if "logs" not in seal:
        return ""
    left_out = f" ({seal['logs_left_out']} more left out)" if seal.get("logs_left_out") else ""
    return f", {seal['logs']} logs{left_out}"
