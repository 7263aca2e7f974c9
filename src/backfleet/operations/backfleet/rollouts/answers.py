"""Rollouts, rings, members and events in the API's words."""

import json
from datetime import datetime
from typing import Any, Final

from backfleet import fleet
from backfleet.operations.hbr.answers import seconds
from backfleet.rollouts import Event, MemberRecord, MemberState, RolloutRecord, RolloutView
from backfleet.rollouts.policy import Policy
from backfleet.rollouts.reading import WAITING, shown_reason, shown_ring, shown_state, wait_reason
from backfleet.wire.shapes import Maybe

_STATES: Final = {state.value: "".join(part.capitalize() for part in state.split("_")) for state in MemberState}
COUNTS: Final = {**_STATES, WAITING: "Waiting"}
"""The name of the count of each state."""

RING: Final = {
    "Name": str,
    "State": str,
    "Members": int,
    "StartedTime": Maybe(int),
    "FinishedTime": Maybe(int),
    "FailuresLeft": Maybe(int),
    **dict.fromkeys(COUNTS.values(), int),
}
SETTINGS: Final = [{"Name": str, "Value": str}]
ROLLOUT: Final = {
    "RolloutId": str,
    "Name": str,
    "Package": str,
    "Kind": str,
    "State": str,
    "Reason": str,
    "WaitsFor": str,
    "TargetVersion": str,
    "Settings": SETTINGS,
    "Deadline": int,
    "PolicySha256": str,
    "CreatedTime": int,
    "UpdatedTime": int,
    "StartTime": Maybe(int),
    "StartedTime": Maybe(int),
    "EndedTime": Maybe(int),
    "Members": int,
    "FailuresAllowed": Maybe(int),
    "FailuresLeft": Maybe(int),
    "Failures": Maybe(int),
    "ExpectedEndTime": Maybe(int),
    "ExpectedEndReason": str,
    "CanGoBack": bool,
    "Waits": [{"For": str, "Members": int}],
    "Rings": [RING],
}
MEMBER: Final = {
    "ClientId": str,
    "InstanceId": str,
    "InstanceName": str,
    "Hostname": str,
    "Ring": str,
    "State": str,
    "Reason": str,
    "ErrorCode": str,
    "FromVersion": str,
    "FirstRun": str,
    "TaskId": str,
    "Held": bool,
    "Attempts": int,
    "Since": Maybe(int),
    "NotBefore": Maybe(int),
}
EVENT: Final = {
    "Number": int,
    "Time": int,
    "TimeMilliseconds": int,
    "What": str,
    "Name": str,
    "Change": str,
    "Reason": str,
    "Hash": str,
}


def settings_answer(policy: Policy) -> list[dict[str, str]]:
    """Return what a policy of kind `settings` sets, each value as TOML has it; nothing for other kinds."""
    return [
        {"Name": name, "Value": value if isinstance(value, str) else json.dumps(value)}
        for name, value in policy.settings.items()
    ]


def rollout_answer(shown: RolloutView) -> dict[str, Any]:
    """Return a rollout with its rings."""
    record, figures = shown.record, shown.figures
    return {
        "RolloutId": record.id,
        "Name": record.name,
        "Package": record.package,
        "Kind": record.kind,
        "State": record.state.value,
        "Reason": shown_reason(record),
        "WaitsFor": record.waits_for,
        "TargetVersion": record.target_version,
        "Settings": [] if record.unreadable else settings_answer(record.document),
        "Deadline": seconds(record.deadline),
        "PolicySha256": record.policy_sha256,
        "CreatedTime": seconds(record.created_at),
        "UpdatedTime": seconds(record.updated_at),
        "StartTime": seconds(record.start_at),
        "StartedTime": seconds(record.started_at),
        "EndedTime": seconds(record.ended_at),
        "Members": sum(ring.members for ring in shown.rings),
        "FailuresAllowed": None if figures.budget is None else figures.budget.allowed,
        "FailuresLeft": None if figures.budget is None else max(figures.budget.left, 0),
        "Failures": None if figures.budget is None else figures.budget.failed,
        "ExpectedEndTime": seconds(figures.expected.at),
        "ExpectedEndReason": figures.expected.why,
        "CanGoBack": shown.can_go_back,
        "Waits": [{"For": what, "Members": number} for what, number in record.waiting.items()],
        "Rings": [
            {
                "Name": ring.name,
                "State": shown_ring(record, ring.run),
                "Members": ring.members,
                "StartedTime": seconds(ring.run.started_at),
                "FinishedTime": seconds(ring.run.finished_at),
                "FailuresLeft": max(figures.own[number].left, 0) if number in figures.own else None,
                **{name: ring.counts.get(state, 0) for state, name in COUNTS.items()},
            }
            for number, ring in enumerate(shown.rings)
        ],
    }


def member_answer(
    record: RolloutRecord, found: MemberRecord, host: fleet.Instance | None, now: datetime
) -> dict[str, Any]:
    """Return a member with the names of its host, and with what it waits for if it has not begun."""
    member = found.member
    return {
        "ClientId": member.client_id,
        "InstanceId": member.instance_id,
        "InstanceName": host.name if host else "",
        "Hostname": host.hostname if host else "",
        "Ring": record.ring_names[member.ring],
        "State": shown_state(record, member),
        "Reason": wait_reason(record, member, now) or member.reason,
        "ErrorCode": member.code,
        "FromVersion": member.from_version,
        "FirstRun": member.first_run.value,
        "TaskId": found.task_id,
        "Held": member.is_held,
        "Attempts": member.attempts,
        "Since": seconds(member.since),
        "NotBefore": seconds(member.not_before),
    }


def event_answer(event: Event) -> dict[str, Any]:
    """Return an event."""
    return {
        "Number": event.number,
        "Time": seconds(event.at),
        "TimeMilliseconds": round(event.at.timestamp() * 1000),
        "What": event.what,
        "Name": event.name,
        "Change": event.change,
        "Reason": event.why,
        "Hash": event.hash,
    }
